//! Streams that were removed from the configuration and added again, while others went on to read their topic.

use crate::daemon::partition_task::PartitionTask;
use crate::engine::Engine;

/// Logs which tasks of a partition that is served from `serve_from` have missed input that others have read. The replay
/// shows it to them without forecasting it. Tasks that run together write their checkpoints several times while the
/// snapshots of all series are written once, so that none of them is older than where another one's replay begins.
pub fn report(engine: &Engine, tasks: &[PartitionTask], serve_from: i64) {
    let replay_from = |task: &PartitionTask| task.checkpoint.as_ref().map(|checkpoint| checkpoint.progress.replay_from);
    let Some(covered) = tasks.iter().filter_map(replay_from).max() else { return };
    for task in tasks {
        if let Some(stopped_at) = task.checkpoint_position.filter(|position| *position < covered) {
            let id = engine.id(task.handle);
            tracing::info!(
                stream = %id.stream, topic = %id.topic, partition = id.partition, stopped_at, offset = serve_from,
                "the stream was removed and is there again: it learns from the input in between and does not forecast \
                 it"
            );
        }
    }
}
