//! Replay: reads input again from the snapshots to the committed position, and writes nothing.

use crate::broker::{Batch, BrokerError, Record};
use crate::daemon::partition_task::PartitionTask;
use crate::engine::{Deletion, Engine, Observation, TaskHandle};
use crate::wire::{Decoded, Decoder};

/// Replays the records of `batch` below `end`. Weights change, and future covariates are shown, at the positions that
/// the task's checkpoint names; without a checkpoint, covariates are shown as they are when input is first read.
/// Returns how many records were replayed. `now` is in microseconds of the monotonic clock.
///
/// # Errors
/// The broker's, from reading future covariates.
pub fn replay_batch(
    engine: &mut Engine,
    decoders: &mut [Decoder],
    tasks: &mut [PartitionTask],
    batch: &Batch,
    end: i64,
    now: u64,
) -> Result<usize, BrokerError> {
    let mut replayed = 0;
    for task in tasks {
        let handle = task.handle;
        show_arrived_covariates(engine, task, batch, now)?;
        let start = engine.position(handle);
        engine.begin(false);
        let mut change = next_change(engine, handle, start);
        for record in batch.iter().filter(|record| record.offset >= start && record.offset < end) {
            if change.is_some_and(|at| record.offset >= at) {
                advance(engine, task, record.offset);
                change = next_change(engine, handle, record.offset);
            }
            replay_record(engine, handle, &mut decoders[task.stream], record);
            replayed += 1;
        }
        if let Some(next) = batch.next_offset() {
            advance(engine, task, next.clamp(start, end.max(start)));
        }
        engine.finish(0.0);
    }
    Ok(replayed)
}

/// Applies a record to the series that do not contain it yet.
fn replay_record(engine: &mut Engine, task: TaskHandle, decoder: &mut Decoder, record: Record<'_>) {
    let Record { offset, timestamp, key, payload } = record;
    // Rejected records went to the dead-letter topic when they were first read.
    let _rejected = decoder.decode_record(key, timestamp, payload, &mut |decoded: Decoded<'_>| match decoded {
        Decoded::Observation { series, time, timestamp, value, covariates, warm_up } => {
            engine.accept(task, &Observation { offset, series, time, timestamp, value, covariates, warm_up });
        }
        Decoded::Deleted { series, warm_up } => engine.delete(task, &Deletion { offset, series, warm_up }),
    });
}

/// Shows a task without a checkpoint the future covariates that had arrived when the batch was written.
fn show_arrived_covariates(
    engine: &mut Engine,
    task: &mut PartitionTask,
    batch: &Batch,
    now: u64,
) -> Result<(), BrokerError> {
    let PartitionTask { handle, checkpoint: None, feed: Some(feed), .. } = task else { return Ok(()) };
    feed.show_arrived(engine, *handle, batch.iter().filter_map(|record| record.timestamp).max(), now)?;
    // Their dead letters were written when they were first read.
    feed.dead_letters.clear();
    Ok(())
}

/// Offsets from `next` on, up to the end of `batch` but below `end`, that hold no record.
pub fn holes(batch: &Batch, next: i64, end: i64) -> u64 {
    let records = batch.iter().filter(|record| (next..end).contains(&record.offset)).count();
    let passed = batch.next_offset().map_or(0, |after| (after.min(end) - next).max(0));
    u64::try_from(passed).unwrap_or(0).saturating_sub(records as u64)
}

/// Advances the tasks to `end`, where serving begins, also past offsets that hold no record (transaction markers).
pub fn finish_replay(engine: &mut Engine, tasks: &mut [PartitionTask], end: i64) {
    engine.begin(false);
    for task in tasks {
        let handle = task.handle;
        advance(engine, task, end.max(engine.position(handle)));
        engine.finish(0.0);
        if !task.rebuild_due {
            engine.keep_partial_series(handle);
        }
    }
}

/// Advances a task to `position`, and repeats every change that is recorded up to there, `position` included: a
/// transaction without input may have recorded one at the very end of what is replayed.
fn advance(engine: &mut Engine, task: &mut PartitionTask, position: i64) {
    let handle = task.handle;
    while let Some(at) = next_change(engine, handle, engine.position(handle)).filter(|&at| at <= position) {
        engine.advance(handle, at);
        engine.finish(0.0);
        activate_recorded_weights(engine, handle, at);
        show_recorded_covariates(engine, task, at);
    }
    engine.advance(handle, position);
}

/// The next position after `position` at which weights change or more future covariates are shown.
fn next_change(engine: &Engine, task: TaskHandle, position: i64) -> Option<i64> {
    let watermark = engine.watermarks_after(task, position).first().map(|watermark| watermark.position);
    engine.next_activation(task, position).into_iter().chain(watermark).min()
}

/// Shows the engine the future covariates that were read when the input at `position` was first served.
pub fn show_recorded_covariates(engine: &mut Engine, task: &mut PartitionTask, position: i64) {
    if let (Some(feed), Some(watermark)) = (&mut task.feed, engine.watermark_at(task.handle, position))
        && engine.covariate_offset(task.handle) < watermark.next
    {
        feed.show_until(engine, task.handle, watermark);
    }
}

/// Activates the weights that the task's checkpoint names for `position`.
pub fn activate_recorded_weights(engine: &mut Engine, task: TaskHandle, position: i64) {
    let version = engine.recorded_version(task, position);
    if !engine.activate(task, version) && engine.version(task) != version {
        let (id, serving) = (engine.id(task), engine.version(task));
        tracing::warn!(
            stream = %id.stream, topic = %id.topic, partition = id.partition, offset = position, version, serving,
            "the models topic no longer holds the weights of this input; replaying with others. Forecasts may differ \
             until the next burn-in"
        );
    }
}
