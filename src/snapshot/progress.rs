//! The progress of a task: what a new owner needs to go on where the last one stopped.

use serde::{Deserialize, Serialize};

use crate::time::PartitionClock;

/// How far a task's input is covered by snapshots, and what a replay of the rest must repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Every change made by input before this position is in the series' snapshots.
    pub replay_from: i64,
    /// The event time of the task at `replay_from`, in milliseconds; [`i64::MIN`] before the first observation.
    pub event_time: i64,
    /// Series that began before this position may lack a snapshot, and a replay begins them: their state was missing
    /// and was rebuilt. 0 where there are none.
    pub rebuilt_to: i64,
    /// Which weights served, oldest first. The first one covers `replay_from`.
    pub activations: Vec<WeightsActivation>,
    /// How far the future covariates were read, oldest first. The first one covers `replay_from`, unless nothing had
    /// been read by then.
    pub watermarks: Vec<CovariateWatermark>,
    /// Where the forecasts begin. Input before this offset is learnt from only: no output follows from it.
    pub emit_from: i64,
    /// The clock of the partition at `replay_from`, where slots close by it. It is written behind the other fields.
    #[serde(skip)]
    pub clock: PartitionClock,
}

impl Default for TaskProgress {
    /// The progress of a task that has read nothing.
    fn default() -> Self {
        Self {
            replay_from: 0,
            event_time: i64::MIN,
            rebuilt_to: 0,
            activations: Vec::new(),
            watermarks: Vec::new(),
            emit_from: 0,
            clock: PartitionClock::default(),
        }
    }
}

impl TaskProgress {
    /// Lets the replay begin at `from`, where that is earlier, with the weights and the covariates of where it began.
    pub fn extend_back(&mut self, from: i64) {
        if from >= self.replay_from {
            return;
        }
        let first_activation = self.activations.first_mut().map(|first| &mut first.position);
        let first_watermark = self.watermarks.first_mut().map(|first| &mut first.position);
        for position in first_activation.into_iter().chain(first_watermark).filter(|at| **at <= self.replay_from) {
            *position = from.min(*position);
        }
        (self.replay_from, self.event_time, self.clock) = (from, i64::MIN, PartitionClock::default());
    }
}

/// From an input position on, the task was served with one version of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsActivation {
    /// The input position of the first record that the weights served.
    pub position: i64,
    /// The version of the weights.
    pub version: u64,
}

/// How far the topic of future covariates was read when the input stood at a position. A replay shows the same
/// covariates at the same position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CovariateWatermark {
    /// The input position from which on these covariates were visible.
    pub position: i64,
    /// The oldest record of the covariate topic of which a value was stored.
    pub oldest: i64,
    /// The next record of the covariate topic, which had not been read yet.
    pub next: i64,
    /// A digest of the stored values. A replay that arrives at another digest lacks records.
    pub digest: u64,
}
