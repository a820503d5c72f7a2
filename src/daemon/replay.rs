//! Reading input again without writing anything: the way back from snapshots to the committed position.

use super::partition::Served;
use crate::{
    broker::Batch,
    engine::{Engine, TaskHandle},
    wire::Decoder,
};

/// Takes the records of `batch` below `until` through the engine, changing weights where the task's record says they
/// were changed. Returns how many records were taken.
pub fn batch(engine: &mut Engine, decoders: &mut [Decoder], served: &[Served], batch: &Batch, until: i64) -> usize {
    let mut taken = 0;
    for served in served {
        let task = served.task;
        let resumed_at = engine.position(task);
        engine.begin(false);
        let mut change = engine.next_activation(task, resumed_at);
        for record in batch.iter().filter(|record| record.offset >= resumed_at && record.offset < until) {
            while let Some(at) = change.filter(|&at| record.offset >= at) {
                engine.advance(task, at);
                engine.finish(0.0);
                take_up(engine, task, at);
                change = engine.next_activation(task, at);
            }
            let decoder = &mut decoders[served.stream];
            // Refusals were dead-lettered the first time.
            let _refused = decoder.decode(
                record.key,
                record.timestamp,
                record.payload,
                &mut |series: &str, time, value, covariates| {
                    engine.accept(task, record.offset, series, time, value, covariates);
                },
            );
            taken += 1;
        }
        if let Some(next) = batch.next_offset() {
            engine.advance(task, next.clamp(resumed_at, until.max(resumed_at)));
        }
        engine.finish(0.0);
    }
    taken
}

/// Brings the tasks to `until`, where serving begins, also past offsets that hold no record (transaction markers).
pub fn finish(engine: &mut Engine, served: &[Served], until: i64) {
    engine.begin(false);
    for served in served {
        let task = served.task;
        while let Some(at) = engine.next_activation(task, engine.position(task)).filter(|&at| at <= until) {
            engine.advance(task, at);
            take_up(engine, task, at);
        }
        engine.advance(task, until.max(engine.position(task)));
        engine.finish(0.0);
    }
}

/// Lets a task of which nothing is recorded stand at `at`: there is nothing to read again for it.
pub fn stand(engine: &mut Engine, task: TaskHandle, at: i64) {
    engine.begin(false);
    engine.advance(task, at);
    engine.finish(0.0);
}

/// Changes to the weights that the task's record names, and says so where they cannot be had.
pub fn take_up(engine: &mut Engine, task: TaskHandle, at: i64) {
    let version = engine.recorded_version(task, at);
    if !engine.activate(task, version) && engine.version(task) != version {
        let (id, serving) = (engine.id(task).to_string(), engine.version(task));
        tracing::warn!(
            task = id,
            version,
            serving,
            "the weights that served here are not in the models topic any more; the replay goes on with others, and \
             states may differ from before until the next burn-in"
        );
    }
}
