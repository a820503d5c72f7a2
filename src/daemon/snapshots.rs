//! Records of the state topic, taken up by the tasks that they belong to.

use std::collections::BTreeMap;

use super::partition::Served;
use crate::{
    broker::Partition,
    engine::{EncodedSnapshot, Engine, SnapshotError},
    wire::{Envelope, StateError, StateKey, StateKind, TaskCheckpoint},
};

/// What a restore met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreFacts {
    /// Series put back from snapshots.
    pub snapshots: usize,
    /// How many of these a standby had copied before.
    pub warm: usize,
    /// Records of the state topic that could not be used.
    pub refused: usize,
    /// Input records read again.
    pub replayed: usize,
    /// Input records that should have been read again, or for the first time, and that retention had taken.
    pub lost: u64,
    /// The farthest input position that any record of the state topic stands at.
    pub furthest: Option<i64>,
}

/// Takes up records for the tasks of one partition.
pub struct Snapshots<'a> {
    engine: &'a mut Engine,
    served: &'a mut [Served],
    partition: &'a Partition,
    facts: &'a mut RestoreFacts,
    /// How the keys of each task's series begin.
    prefixes: Vec<String>,
}

impl<'a> Snapshots<'a> {
    /// For the tasks of `partition`; what is met is added to `facts`.
    pub fn new(
        engine: &'a mut Engine,
        served: &'a mut [Served],
        partition: &'a Partition,
        facts: &'a mut RestoreFacts,
    ) -> Self {
        let prefix = |served: &Served| {
            let mut prefix = String::new();
            StateKey::write_series(&mut prefix, &engine.id(served.task).stream, &partition.topic, partition.number, "");
            prefix
        };
        let prefixes = served.iter().map(prefix).collect();
        Self { engine, served, partition, facts, prefixes }
    }

    /// Takes records up, in order; those of other tasks, of streams that are no more, and tombstones are passed over.
    pub fn take<'r>(&mut self, records: impl Iterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>)>) {
        let mut series: Vec<Vec<EncodedSnapshot<'r>>> = self.served.iter().map(|_| Vec::new()).collect();
        for (key, payload) in records {
            let (Some(key), Some(payload)) = (key, payload) else { continue };
            if let Err(error) = self.sort(key, payload, &mut series) {
                self.refuse(&error);
            }
        }
        let mut discarded: BTreeMap<String, usize> = BTreeMap::new();
        for (place, series) in series.into_iter().enumerate() {
            for put in self.engine.restore(self.served[place].task, &series) {
                match put {
                    Ok(parts) => {
                        self.facts.snapshots += 1;
                        parts.iter().for_each(|part| *discarded.entry(part.to_string()).or_default() += 1);
                    }
                    Err(error) => self.refuse(&error.into()),
                }
            }
        }
        for (part, series) in discarded {
            tracing::warn!(partition = %self.partition, part, series, "snapshot parts discarded; these parts of the series begin afresh");
        }
    }

    fn refuse(&mut self, error: &StateRefusal) {
        let partition = self.partition;
        tracing::warn!(%partition, %error, "a record of the state topic is not used; what it held is rebuilt from input");
        self.facts.refused += 1;
    }

    fn sort<'r>(
        &mut self,
        key: &'r [u8],
        payload: &'r [u8],
        series: &mut [Vec<EncodedSnapshot<'r>>],
    ) -> Result<(), StateRefusal> {
        // Nearly all records are these; parsing the whole key costs several times as much.
        let own = self.prefixes.iter().position(|prefix| key.starts_with(prefix.as_bytes()));
        if let Some(place) = own {
            let name = StateKey::read_series(&key[self.prefixes[place].len()..])?;
            let envelope = Envelope::decode(payload)?;
            if envelope.kind != StateKind::Series {
                return Err(StateRefusal::Kind(String::from_utf8_lossy(key).into_owned()));
            }
            self.facts.furthest = self.facts.furthest.max(Some(envelope.position));
            let Envelope { position, body, .. } = envelope;
            series[place].push(EncodedSnapshot { series: name, position, body });
            return Ok(());
        }
        let StateKey::Task { stream, topic, partition } = StateKey::parse(key)? else { return Ok(()) };
        if *topic != *self.partition.topic || partition != self.partition.number {
            return Ok(());
        }
        let engine = &self.engine;
        let Some(served) = self.served.iter_mut().find(|served| *engine.id(served.task).stream == *stream) else {
            return Ok(());
        };
        let envelope = Envelope::decode(payload)?;
        if envelope.kind != StateKind::Task {
            return Err(StateRefusal::Kind(String::from_utf8_lossy(key).into_owned()));
        }
        self.facts.furthest = self.facts.furthest.max(Some(envelope.position));
        served.written = Some(TaskCheckpoint::from_bytes(envelope.body)?);
        Ok(())
    }
}

/// Why a record of the state topic is not used.
#[derive(Debug, thiserror::Error)]
enum StateRefusal {
    #[error(transparent)]
    Record(#[from] StateError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the record under key {0} holds a state of another kind than its key says")]
    Kind(String),
}
