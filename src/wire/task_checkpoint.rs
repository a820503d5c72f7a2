//! The checkpoint of a task.

use serde::{Deserialize, Serialize};

use super::state_error::StateError;
use crate::snapshot::TaskProgress;
use crate::time::PartitionClock;

/// The checkpoint of a task: what a new owner needs besides the series' snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCheckpoint {
    /// Where the input must be replayed from, and with what.
    pub progress: TaskProgress,
    /// The fingerprint of the network that made the state.
    pub fingerprint: u64,
    /// The newest record of the input that was read. It distinguishes the topic from a recreated one of the same name.
    pub topic_fingerprint: Option<TopicFingerprint>,
    /// How many series the task has. A restore that finds fewer lacks snapshots. It follows the other fields, and is
    /// missing in the first records of this layout.
    #[serde(skip)]
    pub series: Option<u64>,
}

/// One record of a topic: where it is stored, and its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicFingerprint {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl TaskCheckpoint {
    /// The body of its envelope (postcard).
    ///
    /// # Errors
    /// [`StateError::Body`] where it cannot be encoded, which does not happen to a value in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let error = |error: postcard::Error| StateError::Body(error.to_string());
        let mut bytes = postcard::to_stdvec(self).map_err(error)?;
        if let Some(series) = self.series {
            bytes.extend(postcard::to_stdvec(&series).map_err(error)?);
            // Like the number of series, the clock came to this layout later.
            if self.progress.clock != PartitionClock::default() {
                bytes.extend(postcard::to_stdvec(&self.progress.clock).map_err(error)?);
            }
        }
        Ok(bytes)
    }

    /// Reads the body of its envelope.
    ///
    /// # Errors
    /// [`StateError::Body`] where the bytes are no task checkpoint, or more than one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let wrong = |problem| StateError::Body(format!("task checkpoint: {problem}"));
        let (mut checkpoint, mut rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(|error| wrong(error.to_string()))?;
        if !rest.is_empty() {
            let (series, after) = postcard::take_from_bytes(rest).map_err(|error| wrong(error.to_string()))?;
            (checkpoint.series, rest) = (Some(series), after);
        }
        if !rest.is_empty() {
            (checkpoint.progress.clock, rest) =
                postcard::take_from_bytes(rest).map_err(|error| wrong(error.to_string()))?;
        }
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes too many", rest.len())));
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{CovariateWatermark, WeightsActivation};

    #[test]
    fn a_task_checkpoint_is_read_back_and_nothing_else_is() {
        let progress = TaskProgress {
            replay_from: 5,
            event_time: -70_000,
            rebuilt_to: 900,
            activations: [(0, 0), (900, 1)].map(|(position, version)| WeightsActivation { position, version }).into(),
            watermarks: vec![
                CovariateWatermark { position: 5, oldest: 0, next: 7, digest: 1 },
                CovariateWatermark { position: 9, oldest: 3, next: 12, digest: u64::MAX },
            ],
            emit_from: 700,
            clock: PartitionClock::default(),
        };
        let topic_fingerprint = Some(TopicFingerprint { offset: 899, timestamp: -5 });
        let first = TaskCheckpoint { progress, fingerprint: u64::MAX, topic_fingerprint, series: None };
        assert_eq!(TaskCheckpoint::from_bytes(&first.to_bytes().unwrap()).unwrap(), first);
        let checkpoint = TaskCheckpoint { series: Some(1_000), ..first };
        assert_eq!(TaskCheckpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap(), checkpoint);
        let mut checkpoint = checkpoint;
        for (series, time) in [(1, 5_000), (2, 5_010), (3, 9_999_999)] {
            checkpoint.progress.clock.observe(series, time, 100);
        }
        let mut bytes = checkpoint.to_bytes().unwrap();
        assert_eq!(TaskCheckpoint::from_bytes(&bytes).unwrap(), checkpoint);
        bytes.push(0);
        assert!(matches!(TaskCheckpoint::from_bytes(&bytes), Err(StateError::Body(_))));
        assert!(matches!(TaskCheckpoint::from_bytes(&[]), Err(StateError::Body(_))));
    }
}
