//! Puts records of the state topic into the tasks that they belong to.

use super::stats::RestoreStats;
use super::unusable::UnusableState;
use crate::broker::Partition;
use crate::daemon::partition_task::PartitionTask;
use crate::engine::{EncodedSnapshot, Engine, SnapshotError};
use crate::wire::{Envelope, StateError, StateKey, StateKind, TaskCheckpoint};

/// Restores the tasks of one partition.
pub struct SnapshotLoader<'a> {
    engine: &'a mut Engine,
    tasks: &'a mut [PartitionTask],
    partition: &'a Partition,
    stats: &'a mut RestoreStats,
    unusable: &'a mut UnusableState,
    /// The common prefix of each task's series keys.
    prefixes: Vec<String>,
}

impl<'a> SnapshotLoader<'a> {
    pub fn new(
        engine: &'a mut Engine,
        tasks: &'a mut [PartitionTask],
        partition: &'a Partition,
        stats: &'a mut RestoreStats,
        unusable: &'a mut UnusableState,
    ) -> Self {
        let prefix = |task: &PartitionTask| {
            let mut prefix = String::new();
            StateKey::write_series(&mut prefix, &engine.id(task.handle).stream, &partition.topic, partition.number, "");
            prefix
        };
        let prefixes = tasks.iter().map(prefix).collect();
        Self { engine, tasks, partition, stats, unusable, prefixes }
    }

    /// Restores keys and values, in order; a tombstone deletes what came before. Skips records of other tasks or
    /// removed streams.
    pub fn load<'r>(&mut self, records: impl Iterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>)>) {
        let mut series: Vec<Vec<EncodedSnapshot<'r>>> = self.tasks.iter().map(|_| Vec::new()).collect();
        for (key, payload) in records {
            let Some(key) = key else { continue };
            if let Err(error) = self.decode(key, payload, &mut series) {
                let index = self.prefixes.iter().position(|prefix| key.starts_with(prefix.as_bytes()));
                self.reject(index, &error);
            }
        }
        for (index, series) in series.into_iter().enumerate() {
            for restored in self.engine.restore(self.tasks[index].handle, &series) {
                match restored {
                    Ok(parts) => {
                        let stream = &self.engine.id(self.tasks[index].handle).stream;
                        parts.iter().for_each(|part| self.unusable.discard(stream, part));
                    }
                    Err(error) => self.reject(Some(index), &error.into()),
                }
            }
        }
        self.stats.snapshots = self.tasks.iter().map(|task| self.engine.series_count(task.handle)).sum();
    }

    /// Counts a record that cannot be used, of the task at `index` if that is known.
    fn reject(&mut self, index: Option<usize>, error: &StateRejection) {
        let stream = index.map_or("", |index| &self.engine.id(self.tasks[index].handle).stream);
        self.unusable.reject(stream, error);
        self.stats.rejected += 1;
    }

    fn decode<'r>(
        &mut self,
        key: &'r [u8],
        payload: Option<&'r [u8]>,
        series: &mut [Vec<EncodedSnapshot<'r>>],
    ) -> Result<(), StateRejection> {
        // Nearly all records are series of these tasks, and comparing prefixes is faster than parsing the key.
        if let Some(index) = self.prefixes.iter().position(|prefix| key.starts_with(prefix.as_bytes())) {
            let name = StateKey::read_series(&key[self.prefixes[index].len()..])?;
            let envelope = payload.map(|payload| decode_as(StateKind::Series, key, payload)).transpose()?;
            let (position, body) = envelope.map_or((0, None), |envelope| (envelope.position, Some(envelope.body)));
            series[index].push(EncodedSnapshot { series: name, position, body });
            return Ok(());
        }
        let StateKey::Task { stream, topic, partition } = StateKey::parse(key)? else { return Ok(()) };
        if *topic != *self.partition.topic || partition != self.partition.number {
            return Ok(());
        }
        let engine = &self.engine;
        let Some(task) = self.tasks.iter_mut().find(|task| *engine.id(task.handle).stream == *stream) else {
            return Ok(());
        };
        let restored = match payload {
            Some(payload) => {
                let envelope = decode_as(StateKind::Task, key, payload)?;
                Some((envelope.position, TaskCheckpoint::from_bytes(envelope.body)?))
            }
            None => None,
        };
        (task.checkpoint_position, task.checkpoint) = restored.unzip();
        Ok(())
    }
}

/// The state of a record, which must be of the kind that its key says.
fn decode_as<'r>(kind: StateKind, key: &[u8], payload: &'r [u8]) -> Result<Envelope<'r>, StateRejection> {
    let envelope = Envelope::decode(payload)?;
    if envelope.kind != kind {
        return Err(StateRejection::Kind(String::from_utf8_lossy(key).into_owned()));
    }
    Ok(envelope)
}

/// Why a record of the state topic cannot be used.
#[derive(Debug, thiserror::Error)]
enum StateRejection {
    #[error(transparent)]
    Record(#[from] StateError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the record with key {0} holds another kind of state than its key says")]
    Kind(String),
}
