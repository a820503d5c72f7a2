//! The rebuild of partial series while their partition is served.
//!
//! The partition's tasks are opened and restored a second time, with all partial series rebuilt from the input. What
//! was served meanwhile is replayed after that, once more for what was served during that replay, and so on, until
//! little is left: then the partition is not served for a moment, and the rebuilt tasks take the place of the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inputs::RestoreInputs;
use super::partition::{AssignedPartition, SliceOutcome};
use crate::broker::{BrokerError, Partition};
use crate::engine::Engine;

/// How long a slice waits for records.
const SLICE_WAIT: Duration = Duration::from_millis(5);
/// A partition stops being served when no more records than this are left to replay: some tens of milliseconds.
const HANDOVER_RECORDS: i64 = 10_000;

/// The rebuild of one partition at a time, so that the state of no other is in memory twice.
#[derive(Default)]
pub struct BackgroundRebuild {
    current: Option<Rebuilding>,
}

struct Rebuilding {
    partition: Partition,
    rebuilt: AssignedPartition,
    /// Records that were left to replay when the last replay had ended.
    behind: i64,
}

impl BackgroundRebuild {
    /// Whether a rebuild is under way.
    pub fn is_active(&self) -> bool {
        self.current.is_some()
    }

    /// The partition that is rebuilt.
    pub fn current(&self) -> Option<(&Partition, &AssignedPartition)> {
        self.current.as_ref().map(|current| (&current.partition, &current.rebuilt))
    }

    /// Gives up the rebuild of a partition that is revoked, and returns its tasks.
    pub fn revoke(&mut self, partitions: &[Partition]) -> Option<AssignedPartition> {
        self.current.take_if(|current| partitions.contains(&current.partition)).map(|current| current.rebuilt)
    }

    /// Advances the rebuild by a slice, or begins the next one. Returns the partition whose rebuilt tasks have taken
    /// their place in `served`, if they have: it is restored up to where it was served.
    ///
    /// # Errors
    /// The broker's, where the group membership cannot go on. A postponed rebuild is none.
    pub fn advance(
        &mut self,
        inputs: &mut RestoreInputs<'_>,
        served: &mut BTreeMap<Partition, AssignedPartition>,
    ) -> Result<Option<Partition>, BrokerError> {
        // A partition that is suspended is restored anew.
        let is_due = |partition: &Partition| served.get(partition).is_some_and(AssignedPartition::rebuild_due);
        if let Some(given_up) = self.current.take_if(|current| !is_due(&current.partition)) {
            close(inputs.engine, &given_up.rebuilt);
        }
        if self.current.is_none() {
            self.current = served.iter().find(|(_, assigned)| assigned.rebuild_due()).map(|(partition, assigned)| {
                let rebuilt = assigned.open_rebuild(inputs.plan, inputs.engine, inputs.now);
                Rebuilding { partition: partition.clone(), rebuilt, behind: i64::MAX }
            });
        }
        let Some(Rebuilding { partition, rebuilt, behind }) = &mut self.current else { return Ok(None) };
        let position = served.get(partition).map_or(0, |assigned| assigned.position(inputs.engine));
        rebuilt.follow(position);
        let left = match rebuilt.advance(inputs, true, SLICE_WAIT) {
            Ok(SliceOutcome::Ready(offset)) => position - offset,
            Ok(SliceOutcome::More | SliceOutcome::Idle) => return Ok(None),
            Err(BrokerError::Retriable(error) | BrokerError::Rejected(error)) => {
                rebuilt.postpone(inputs, &error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        rebuilt.replay_on(inputs.engine, position);
        if left > HANDOVER_RECORDS && left < *behind / 2 {
            *behind = left;
            return Ok(None);
        }
        let Some(Rebuilding { partition, mut rebuilt, .. }) = self.current.take() else { return Ok(None) };
        tracing::info!(
            topic = %partition.topic, partition = partition.number, offset = position, records = left,
            "series are rebuilt from the input; they are served once the newest records are replayed"
        );
        rebuilt.serves_partial = true;
        if let Some(replaced) = served.insert(partition.clone(), rebuilt) {
            close(inputs.engine, &replaced);
        }
        Ok(Some(partition))
    }
}

fn close(engine: &mut Engine, assigned: &AssignedPartition) {
    assigned.tasks.iter().for_each(|task| engine.close(task.handle));
}
