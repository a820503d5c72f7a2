//! A partition's life in a shard.
//!
//! ```text
//!  assigned            snapshots read         replay done
//! ──────────► Loading ───────────────► Replaying ───────► Running ───┐ rollback: goes back
//!                │                         │                 ▲  └────┘ to its last commit
//!                │ passing trouble         │                 │
//!                └──────► Suspended ◄──────┘                 │
//!                             └── Loading again, later ──────┘
//!  revoked or lost, from anywhere: closed (removed from the shard's map)
//! ```

use std::time::Duration;

use super::{board::PartitionState, known::Feed, plan::Plan, replay, report};
use crate::{
    broker::{Broker, BrokerError, From, Partition, Reader},
    engine::{Engine, Sighting, SnapshotError, TaskHandle, TaskId, TaskProgress},
    wire::{
        Decoder,
        state::{Envelope, StateError, StateKey, StateKind, TaskRecord},
    },
};

/// Records read from the state topic or replayed in one slice, between two looks at the other partitions.
const SLICE_RECORDS: usize = 20_000;
/// How long a slice waits for records.
const SLICE_WAIT: Duration = Duration::from_millis(20);

/// A task of a partition, with the index of its stream in the plan.
pub struct Served {
    /// The task in the engine.
    pub task: TaskHandle,
    /// The stream's index in the plan.
    pub stream: usize,
    /// What the state topic says of the task, as far as this shard knows.
    pub written: Option<TaskRecord>,
    /// When that was written, in microseconds of the monotonic clock.
    pub written_at: u64,
    /// What it knows in advance, where the stream has a second topic; open once the snapshots are in.
    pub feed: Option<Feed>,
}

/// A partition that the group has given to this shard.
pub struct PartitionLife {
    /// The streams that read it.
    pub served: Vec<Served>,
    phase: Phase,
    /// The committed position at which serving begins.
    committed: i64,
    facts: RestoreFacts,
}

/// What a restore met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreFacts {
    /// Series put back from snapshots.
    pub snapshots: usize,
    /// Snapshots that could not be used.
    pub refused: usize,
    /// Input records read again.
    pub replayed: usize,
}

enum Phase {
    Loading {
        reader: Box<dyn Reader>,
        end: i64,
    },
    /// Reads what is known in advance; the input is read again from this offset on.
    Foreseeing {
        from: i64,
    },
    Replaying {
        reader: Box<dyn Reader>,
    },
    Running,
    Suspended {
        until: u64,
    },
}

/// What a slice of restoring came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Slice {
    /// There is more to do.
    More,
    /// The partition is ready to be served from this offset on.
    Ready(i64),
    /// It is served already, or waits for its next try.
    Nothing,
}

impl PartitionLife {
    /// Opens the tasks of a partition that has just been assigned and starts to read its snapshots.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn open(
        plan: &Plan,
        broker: &dyn Broker,
        engine: &mut Engine,
        partition: &Partition,
        committed: Option<i64>,
    ) -> Result<Self, BrokerError> {
        let (oldest, _) = broker.offsets(partition)?;
        let committed = committed.unwrap_or(oldest);
        let served = plan
            .streams_of(&partition.topic)
            .filter_map(|(stream, name)| {
                let id = TaskId { stream: name, topic: partition.topic.clone(), partition: partition.number };
                engine.open(id, committed).map(|task| Served { task, stream, written: None, written_at: 0, feed: None })
            })
            .collect();
        let phase = Phase::loading(plan, broker, partition)?;
        Ok(Self { served, phase, committed, facts: RestoreFacts::default() })
    }

    /// Whether it is being served.
    pub fn running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// The dead letters of what is known in advance are written.
    pub fn letters_written(&mut self, plan: &Plan) {
        for served in &mut self.served {
            let stream: &str = &plan.streams[served.stream].engine.name;
            let letters = served.feed.iter_mut().flat_map(|feed| feed.letters.drain(..));
            letters.for_each(|(_, _, letter)| report::letter(stream, &letter.refusal));
        }
    }

    /// What its restore met.
    pub fn facts(&self) -> RestoreFacts {
        self.facts
    }

    /// Where it is, for the page and the metrics.
    pub fn state(&self) -> PartitionState {
        match self.phase {
            Phase::Loading { .. } | Phase::Foreseeing { .. } | Phase::Replaying { .. } => PartitionState::Restoring,
            Phase::Running => PartitionState::Running,
            Phase::Suspended { .. } => PartitionState::Suspended,
        }
    }

    /// Input records that the restore still has to read, seen from a task's `position`.
    pub fn remaining(&self, position: i64) -> u64 {
        u64::try_from(self.committed - position).unwrap_or(0)
    }

    /// Puts a restore off after passing trouble; it begins anew at `until` (microseconds of the monotonic clock).
    pub fn suspend(&mut self, engine: &mut Engine, until: u64) {
        for served in &mut self.served {
            let id = engine.id(served.task).clone();
            engine.close(served.task);
            if let Some(task) = engine.open(id, self.committed) {
                served.task = task;
            }
            served.written = None;
            served.feed = None;
        }
        self.facts = RestoreFacts::default();
        self.phase = Phase::Suspended { until };
    }

    /// Does a bounded piece of the restore.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn restore_slice(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        engine: &mut Engine,
        decoders: &mut [Decoder],
        partition: &Partition,
        now: u64,
    ) -> Result<Slice, BrokerError> {
        match &mut self.phase {
            Phase::Running => Ok(Slice::Nothing),
            Phase::Suspended { until } => {
                if now < *until {
                    return Ok(Slice::Nothing);
                }
                self.phase = Phase::loading(plan, broker, partition)?;
                Ok(Slice::More)
            }
            Phase::Loading { reader, end } => {
                let end = *end;
                if let Some(batch) = reader.read(SLICE_WAIT, SLICE_RECORDS)? {
                    for record in batch.iter() {
                        self.facts.take(engine, &mut self.served, partition, record.key, record.payload);
                    }
                } else if reader.reached(end)? {
                    return self.loaded(plan, broker, engine, partition);
                }
                Ok(Slice::More)
            }
            Phase::Foreseeing { from } => {
                let from = *from;
                for feed in self.served.iter_mut().filter_map(|served| served.feed.as_mut()) {
                    if !feed.fill(SLICE_WAIT)? {
                        return Ok(Slice::More);
                    }
                }
                self.foreseen(broker, engine, partition, from)
            }
            Phase::Replaying { reader } => {
                let batch = reader.read(SLICE_WAIT, SLICE_RECORDS)?;
                let done = match &batch {
                    Some(batch) => batch.next_offset().is_some_and(|next| next >= self.committed),
                    None => reader.reached(self.committed)?,
                };
                if let Some(batch) = batch {
                    self.facts.replayed += replay::batch(engine, decoders, &mut self.served, &batch, self.committed);
                }
                Ok(if done { self.ready(engine) } else { Slice::More })
            }
        }
    }

    /// All snapshots are in: finds out where replay has to begin.
    fn loaded(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        engine: &mut Engine,
        partition: &Partition,
    ) -> Result<Slice, BrokerError> {
        let mut from = self.committed;
        for served in &mut self.served {
            let sighting = |&(position, from, until, digest)| Sighting { position, from, until, digest };
            let recorded = served.written.iter().flat_map(|record| &record.sightings);
            let mut sightings: Vec<Sighting> = recorded.map(sighting).collect();
            if let Some(known) = &plan.streams[served.stream].known {
                served.feed = Some(Feed::open(broker, known, partition, &mut sightings)?);
            }
            if let Some(record) = &served.written {
                let (replay_from, activations) = (record.replay_from, record.activations.clone());
                engine.resume(served.task, &TaskProgress { replay_from, activations, sightings });
                replay::take_up(engine, served.task, record.replay_from);
                from = from.min(record.replay_from);
            }
        }
        if self.served.iter().any(|served| served.feed.is_some()) {
            self.phase = Phase::Foreseeing { from };
            return Ok(Slice::More);
        }
        self.foreseen(broker, engine, partition, from)
    }

    /// What is known in advance is in: replay begins `from` there.
    fn foreseen(
        &mut self,
        broker: &dyn Broker,
        engine: &mut Engine,
        partition: &Partition,
        from: i64,
    ) -> Result<Slice, BrokerError> {
        for served in &mut self.served {
            let begins = engine.position(served.task);
            replay::show(engine, served, begins);
        }
        if from >= self.committed {
            return Ok(self.ready(engine));
        }
        let (oldest, _) = broker.offsets(partition)?;
        if oldest > from {
            tracing::warn!(
                %partition, from, oldest,
                "retention has eaten input that the restore wanted to read again; the series that it would have rebuilt start from what is left"
            );
        }
        self.phase = Phase::Replaying { reader: broker.reader(partition, From::Offset(from))? };
        Ok(Slice::More)
    }

    fn ready(&mut self, engine: &mut Engine) -> Slice {
        replay::finish(engine, &mut self.served, self.committed);
        self.phase = Phase::Running;
        Slice::Ready(self.committed)
    }
}

impl Phase {
    fn loading(plan: &Plan, broker: &dyn Broker, partition: &Partition) -> Result<Self, BrokerError> {
        let state =
            Partition { topic: plan.state_topic.as_str().into(), number: partition.number % plan.state_partitions };
        let (_, end) = broker.offsets(&state)?;
        Ok(Self::Loading { reader: broker.reader(&state, From::Beginning)?, end })
    }
}

impl RestoreFacts {
    /// Takes up one record of the state topic, if it belongs to one of the tasks.
    fn take(
        &mut self,
        engine: &mut Engine,
        served: &mut [Served],
        partition: &Partition,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) {
        let (Some(key), Some(payload)) = (key, payload) else { return };
        if let Err(error) = self.take_record(engine, served, partition, key, payload) {
            tracing::warn!(%partition, %error, "a record of the state topic is not used; what it held is rebuilt from input");
            self.refused += 1;
        }
    }

    fn take_record(
        &mut self,
        engine: &mut Engine,
        served: &mut [Served],
        partition: &Partition,
        key: &[u8],
        payload: &[u8],
    ) -> Result<(), StateRefusal> {
        let key = StateKey::parse(key)?;
        let (StateKey::Series { stream, topic, partition: number, .. }
        | StateKey::Task { stream, topic, partition: number }) = &key;
        if **topic != *partition.topic || *number != partition.number {
            return Ok(());
        }
        let Some(served) = served.iter_mut().find(|served| *engine.id(served.task).stream == **stream) else {
            return Ok(());
        };
        let envelope = Envelope::decode(payload)?;
        match (&key, envelope.kind) {
            (StateKey::Task { .. }, StateKind::Task) => served.written = Some(TaskRecord::from_bytes(envelope.body)?),
            (StateKey::Series { series, .. }, StateKind::Series) => {
                engine.restore(served.task, series, envelope.position, envelope.body)?;
                self.snapshots += 1;
            }
            _ => return Err(StateRefusal::Kind(key.to_string())),
        }
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
