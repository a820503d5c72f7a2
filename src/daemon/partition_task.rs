//! One task of an assigned partition: a stream that reads it.

use std::sync::Arc;

use super::future_covariates::FutureCovariateFeed;
use crate::broker::Partition;
use crate::engine::{Engine, TaskHandle, TaskId};
use crate::wire::{TaskCheckpoint, TopicFingerprint};

/// What a shard keeps of a task beside the engine's state.
pub struct PartitionTask {
    /// The task in the engine.
    pub handle: TaskHandle,
    /// The index of its stream in the plan.
    pub stream: usize,
    /// The newest checkpoint in the state topic that this shard knows of.
    pub checkpoint: Option<TaskCheckpoint>,
    /// When that was written, in microseconds of the monotonic clock.
    pub checkpoint_at: u64,
    /// The input position of the checkpoint that was restored.
    pub checkpoint_position: Option<i64>,
    /// Where it begins on a partition that the group has never read, until a commit has recorded it.
    pub first_start: Option<FirstStart>,
    /// Whether partial series are rebuilt while the task is served.
    pub rebuild_due: bool,
    /// Where the topic was deleted and recreated: the series of the earlier topic. The next commit deletes their
    /// snapshots and replaces the checkpoint.
    pub stale_series: Option<Vec<String>>,
    /// Reads the future covariates, where the stream has some. Opened once the snapshots are restored.
    pub feed: Option<FutureCovariateFeed>,
}

impl PartitionTask {
    /// A task of which nothing is restored yet.
    pub fn new(handle: TaskHandle, stream: usize) -> Self {
        Self {
            handle,
            stream,
            checkpoint: None,
            checkpoint_at: 0,
            checkpoint_position: None,
            first_start: None,
            rebuild_due: false,
            stale_series: None,
            feed: None,
        }
    }

    /// The highest input position of the state that was restored.
    pub fn restored_position(&self, engine: &Engine) -> Option<i64> {
        engine.restored_position(self.handle).max(self.checkpoint_position)
    }
}

/// Where a stream begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstStart {
    /// The first offset that is read.
    pub read_from: i64,
    /// The first offset that is forecast; those before it are learnt from.
    pub emit_from: i64,
    /// The last record before that: by it a restart tells whether the topic was recreated, before anything is read.
    pub topic_fingerprint: Option<TopicFingerprint>,
}

/// The partition that a task reads.
pub fn input_partition(task: &TaskId) -> Partition {
    Partition { topic: Arc::clone(&task.topic), number: task.partition }
}
