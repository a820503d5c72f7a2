//! Reading input again without writing anything: the way back from snapshots to the committed position.

use super::partition::Served;
use crate::{
    broker::Batch,
    engine::{Engine, Observation, TaskHandle},
    wire::Decoder,
};

/// Takes the records of `batch` below `until` through the engine, changing weights, and showing what is known in advance, where
/// the task's record says that this was done. Returns how many records were taken.
pub fn batch(engine: &mut Engine, decoders: &mut [Decoder], served: &mut [Served], batch: &Batch, until: i64) -> usize {
    let mut taken = 0;
    for served in served {
        let task = served.task;
        let resumed_at = engine.position(task);
        engine.begin(false);
        let mut change = next_change(engine, task, resumed_at);
        for record in batch.iter().filter(|record| record.offset >= resumed_at && record.offset < until) {
            while let Some(at) = change.filter(|&at| record.offset >= at) {
                engine.advance(task, at);
                engine.finish(0.0);
                take_up(engine, task, at);
                show(engine, served, at);
                change = next_change(engine, task, at);
            }
            let decoder = &mut decoders[served.stream];
            // Refusals were dead-lettered the first time.
            let _refused = decoder.decode(
                record.key,
                record.timestamp,
                record.payload,
                &mut |series: &str, time, value, covariates| {
                    engine.accept(task, &Observation { offset: record.offset, series, time, value, covariates });
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
pub fn finish(engine: &mut Engine, served: &mut [Served], until: i64) {
    engine.begin(false);
    for served in served {
        let task = served.task;
        while let Some(at) = next_change(engine, task, engine.position(task)).filter(|&at| at <= until) {
            engine.advance(task, at);
            take_up(engine, task, at);
            show(engine, served, at);
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

/// Where weights change, or more is seen of what is known in advance, next after `position`.
fn next_change(engine: &Engine, task: TaskHandle, position: i64) -> Option<i64> {
    let watermark = engine.watermarks_after(task, position).first().map(|watermark| watermark.position);
    engine.next_activation(task, position).into_iter().chain(watermark).min()
}

/// Shows what the task's record says was seen from `at` on.
pub fn show(engine: &mut Engine, served: &mut Served, at: i64) {
    if let (Some(feed), Some(watermark)) = (&mut served.feed, engine.watermark_at(served.task, at))
        && engine.covariate_offset(served.task) < watermark.next
    {
        feed.show_again(engine, served.task, watermark);
    }
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
