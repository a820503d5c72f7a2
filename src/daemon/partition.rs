//! A partition's life in a shard.
//!
//! ```text
//!  assigned         turn to restore        snapshots read         replay done
//! ──────────► Waiting ───────────► Loading ───────────────► Replaying ───────► Running ───┐ rollback: goes back
//!                                     │                         │                 ▲  └────┘ to its last commit
//!                                     │ passing trouble         │                 │
//!                                     └──────► Suspended ◄──────┘                 │
//!                                                  └── Loading again, later ──────┘
//!  revoked or lost, from anywhere: closed (removed from the shard's map)
//! ```

use std::{sync::Arc, time::Duration};

use super::{
    known::Feed,
    plan::Plan,
    replay, report,
    snapshots::{RestoreFacts, Snapshots},
    standby::Copied,
};
use crate::{
    broker::{Broker, BrokerError, Partition, Reader, StartPosition},
    dashboard::state::PartitionState,
    engine::{Engine, TaskHandle, TaskId, Transaction},
    wire::{Decoder, TaskCheckpoint},
};

/// Records read from the state topic or replayed in one slice, between two looks at the other partitions.
const SLICE_RECORDS: usize = 20_000;
/// How long the slices of one turn wait for records, all together.
pub const SLICE_WAIT: Duration = Duration::from_millis(20);
/// How long a topic must have ended before what was read of it to be taken for another one, in microseconds.
const DOUBT: u64 = 5_000_000;
/// How often a record is looked for that tells a topic from another.
const MARK_LOOKS: usize = 250;

/// The partition that a task reads.
pub fn input(task: &TaskId) -> Partition {
    Partition { topic: Arc::clone(&task.topic), number: task.partition }
}

/// A task of a partition, with the index of its stream in the plan.
pub struct Served {
    /// The task in the engine.
    pub task: TaskHandle,
    /// The stream's index in the plan.
    pub stream: usize,
    /// What the state topic says of the task, as far as this shard knows.
    pub written: Option<TaskCheckpoint>,
    /// When that was written, in microseconds of the monotonic clock.
    pub written_at: u64,
    /// Series of a former life of the topic, whose snapshots are to be deleted with the next commit.
    pub outlived: Vec<String>,
    /// What it knows in advance, where the stream has a second topic; open once the snapshots are in.
    pub feed: Option<Feed>,
}

/// A partition that the group has given to this shard.
pub struct PartitionLife {
    /// The streams that read it.
    pub served: Vec<Served>,
    phase: Phase,
    /// What the group has committed.
    committed: Option<i64>,
    /// Where serving begins.
    begin: i64,
    /// What a standby has kept of its part of the state topic, until it has been loaded.
    warm: Option<Arc<Copied>>,
    /// When it was assigned, in microseconds of the monotonic clock.
    assigned: u64,
    /// Whether the topic has been seen to end before what was read of it.
    doubted: bool,
    facts: RestoreFacts,
}

enum Phase {
    Waiting,
    Loading {
        reader: Box<dyn Reader>,
        copied: usize,
        next: i64,
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
    /// Opens the tasks of a partition that has just been assigned. `warm` is what a standby has kept of its part of the state
    /// topic, which is then read from where that ends; `assigned` is now.
    pub fn open(
        plan: &Plan,
        engine: &mut Engine,
        partition: &Partition,
        committed: Option<i64>,
        (warm, assigned): (Option<Arc<Copied>>, u64),
    ) -> Self {
        let begin = committed.unwrap_or(0);
        let served = plan
            .streams_of(&partition.topic)
            .filter_map(|(stream, name)| {
                let id = TaskId { stream: name, topic: partition.topic.clone(), partition: partition.number };
                let task = engine.open(id, begin)?;
                Some(Served { task, stream, written: None, written_at: 0, outlived: Vec::new(), feed: None })
            })
            .collect();
        Self {
            served,
            phase: Phase::Waiting,
            committed,
            begin,
            warm,
            assigned,
            doubted: false,
            facts: RestoreFacts::default(),
        }
    }

    /// Whether it is being served.
    pub fn running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether its restore has begun and is not done.
    pub fn restoring(&self) -> bool {
        matches!(self.phase, Phase::Loading { .. } | Phase::Foreseeing { .. } | Phase::Replaying { .. })
    }

    /// When it was assigned, in microseconds of the monotonic clock.
    pub fn assigned(&self) -> u64 {
        self.assigned
    }

    /// The dead letters of what is known in advance are written.
    pub fn letters_written(&mut self, plan: &Plan, epoch: &Transaction) {
        for served in &mut self.served {
            let stream: &str = &plan.streams[served.stream].engine.name;
            let feed = served.feed.as_mut().filter(|_| epoch.moved(served.task));
            let letters = feed.into_iter().flat_map(|feed| feed.letters.drain(..));
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
            Phase::Waiting => PartitionState::Created,
            Phase::Loading { .. } | Phase::Foreseeing { .. } | Phase::Replaying { .. } => PartitionState::Restoring,
            Phase::Running => PartitionState::Running,
            Phase::Suspended { .. } => PartitionState::Suspended,
        }
    }

    /// Records that the restore still has to read: of the state topic, or then of the input, seen from a task's `position`.
    pub fn remaining(&self, position: i64) -> u64 {
        let left = match &self.phase {
            Phase::Loading { next, end, .. } => end - next,
            Phase::Replaying { .. } => self.begin - position,
            Phase::Waiting | Phase::Foreseeing { .. } | Phase::Running | Phase::Suspended { .. } => 0,
        };
        u64::try_from(left).unwrap_or(0)
    }

    /// Puts a restore off after trouble; it begins anew at `until` (microseconds of the monotonic clock).
    pub fn suspend(&mut self, engine: &mut Engine, until: u64) {
        self.begin = self.committed.unwrap_or(0);
        self.forget(engine);
        self.phase = Phase::Suspended { until };
    }

    /// Takes the tasks back to nothing, standing where serving begins.
    fn forget(&mut self, engine: &mut Engine) {
        for served in &mut self.served {
            let id = engine.id(served.task).clone();
            engine.close(served.task);
            if let Some(task) = engine.open(id, self.begin) {
                served.task = task;
            }
            served.written = None;
            served.feed = None;
            served.outlived.clear();
        }
        self.facts = RestoreFacts::default();
    }

    /// Does a bounded piece of the restore, at `now`; `may_begin` says whether one that waits has its turn,
    /// `wait` how long one that goes on may wait for records.
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
        (now, may_begin, wait): (u64, bool, Duration),
    ) -> Result<Slice, BrokerError> {
        match &mut self.phase {
            Phase::Running => Ok(Slice::Nothing),
            Phase::Waiting if !may_begin => Ok(Slice::Nothing),
            Phase::Suspended { until } if !may_begin || now < *until => Ok(Slice::Nothing),
            Phase::Waiting | Phase::Suspended { .. } => {
                match self.begin_loading(plan, broker, partition)? {
                    Some(loading) => self.phase = loading,
                    None => return self.loaded(plan, broker, engine, partition, now),
                }
                Ok(Slice::More)
            }
            Phase::Loading { reader, copied, next, end } => {
                let mut snapshots = Snapshots::new(engine, &mut self.served, partition, &mut self.facts);
                if let Some(warm) = self.warm.as_ref().and_then(|warm| warm.records(*copied, SLICE_RECORDS)) {
                    snapshots.take(warm.map(|(key, value)| (Some(key), Some(value))));
                    self.facts.warm = self.facts.snapshots;
                    *copied += SLICE_RECORDS;
                } else if let Some(batch) = reader.read(wait, SLICE_RECORDS)? {
                    snapshots.take(batch.iter().map(|record| (record.key, record.payload)));
                    *next = batch.next_offset().unwrap_or(*next);
                } else if reader.has_reached(*end)? {
                    return self.loaded(plan, broker, engine, partition, now);
                }
                Ok(Slice::More)
            }
            Phase::Foreseeing { from } => {
                let from = *from;
                for feed in self.served.iter_mut().filter_map(|served| served.feed.as_mut()) {
                    if !feed.fill(wait)? {
                        return Ok(Slice::More);
                    }
                }
                self.foreseen(broker, engine, partition, from)
            }
            Phase::Replaying { reader } => {
                let batch = reader.read(wait, SLICE_RECORDS)?;
                let done = match &batch {
                    Some(batch) => batch.next_offset().is_some_and(|next| next >= self.begin),
                    None => reader.has_reached(self.begin)?,
                };
                if let Some(batch) = batch {
                    self.facts.replayed += replay::batch(engine, decoders, &mut self.served, &batch, self.begin);
                }
                Ok(if done { self.ready(engine) } else { Slice::More })
            }
        }
    }

    /// Opens the states of a partition; none where there are none.
    fn begin_loading(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        partition: &Partition,
    ) -> Result<Option<Phase>, BrokerError> {
        let number = partition.number % plan.state_partitions;
        let state = Partition { topic: plan.state_topic.as_str().into(), number };
        let offsets = broker.offsets(&state)?;
        let (oldest, end) = (offsets.start, offsets.end);
        // A topic that ends before the copy does is another one.
        self.warm = self.warm.take().filter(|warm| warm.next() <= end);
        if self.warm.is_none() && oldest == end {
            return Ok(None);
        }
        let (from, next) = match &self.warm {
            Some(warm) => (StartPosition::Offset(warm.next()), warm.next()),
            None => (StartPosition::Earliest, 0),
        };
        Ok(Some(Phase::Loading { reader: broker.reader(&state, from)?, copied: 0, next, end }))
    }

    /// All snapshots are in: finds out where serving begins, and from where the input must be read again for that.
    fn loaded(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        engine: &mut Engine,
        partition: &Partition,
        now: u64,
    ) -> Result<Slice, BrokerError> {
        self.warm = None;
        let offsets = broker.offsets(partition)?;
        let (oldest, end) = (offsets.start, offsets.end);
        let furthest = self.facts.furthest.max(self.committed);
        if furthest.is_some_and(|furthest| furthest > end) {
            if !std::mem::replace(&mut self.doubted, true) {
                tracing::warn!(%partition, ?furthest, end, "the topic ends before what was read of it; looking again");
                self.suspend(engine, now + DOUBT);
                return Ok(Slice::More);
            }
            self.outlive(engine, partition, oldest, end);
        } else {
            self.begin = self.committed.or(furthest).unwrap_or(oldest);
            if let (None, Some(at)) = (self.committed, furthest) {
                if self.recognised(broker, partition, oldest)? {
                    tracing::warn!(%partition, at, "the group has lost its committed position; going on where the newest state stands");
                } else {
                    self.outlive(engine, partition, oldest, end);
                }
            }
        }
        let mut from = self.begin;
        for served in &mut self.served {
            let recorded = served.written.as_ref().map(|checkpoint| &checkpoint.progress);
            let mut progress = recorded.cloned().unwrap_or_default();
            if let Some(known) = &plan.streams[served.stream].future_covariates {
                served.feed = Some(Feed::open(broker, known, partition, &mut progress.watermarks)?);
            }
            if served.written.is_some() {
                engine.resume(served.task, &progress);
                replay::take_up(engine, served.task, progress.replay_from);
                from = from.min(progress.replay_from);
            } else {
                replay::stand(engine, served.task, self.begin);
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
        let oldest = broker.offsets(partition)?.start;
        if oldest > from {
            let lost = oldest.min(self.begin) - from;
            let unread = (oldest - self.begin).max(0);
            tracing::warn!(
                %partition, from, oldest, lost, unread,
                "retention has taken input that was still wanted: {lost} records that the restore reads again to bring \
                 series up to date (they go on from older snapshots), {unread} that nobody has read"
            );
            self.facts.lost = u64::try_from(lost + unread).unwrap_or(0);
        }
        if from >= self.begin || oldest >= self.begin {
            return Ok(self.ready(engine));
        }
        self.phase = Phase::Replaying { reader: broker.reader(partition, StartPosition::Offset(from))? };
        Ok(Slice::More)
    }

    /// Whether the topic still holds the record that was read of it last, or no longer reaches back to it.
    fn recognised(&self, broker: &dyn Broker, partition: &Partition, oldest: i64) -> Result<bool, BrokerError> {
        let mark = self.served.iter().find_map(|served| served.written.as_ref()?.topic_fingerprint);
        let Some(mark) = mark.filter(|mark| mark.offset >= oldest) else { return Ok(true) };
        let mut reader = broker.reader(partition, StartPosition::Offset(mark.offset))?;
        for _ in 0..MARK_LOOKS {
            if let Some(batch) = reader.read(SLICE_WAIT, 1)? {
                let found = batch.get(0).map(|record| (record.offset, record.timestamp));
                return Ok(found == Some((mark.offset, Some(mark.timestamp))));
            }
            if reader.has_reached(mark.offset + 1)? {
                return Ok(false);
            }
        }
        Err(BrokerError::Retriable(format!("{partition}: no answer to whether it is still the topic that was read")))
    }

    /// The topic is not the one that was read: it was deleted and made again. Its positions and states mean nothing for
    /// the new one, so that it begins at its oldest record with series of which nothing is known.
    fn outlive(&mut self, engine: &mut Engine, partition: &Partition, oldest: i64, end: i64) {
        tracing::warn!(
            %partition, committed = ?self.committed, end, oldest,
            "the topic is not the one that has been read: it was deleted and made again; its series start anew at its oldest \
             record"
        );
        let outlived: Vec<Vec<String>> = self.served.iter().map(|served| engine.keys(served.task)).collect();
        self.begin = oldest;
        self.forget(engine);
        for (served, outlived) in self.served.iter_mut().zip(outlived) {
            served.outlived = outlived;
        }
    }

    fn ready(&mut self, engine: &mut Engine) -> Slice {
        replay::finish(engine, &mut self.served, self.begin);
        self.phase = Phase::Running;
        Slice::Ready(self.begin)
    }
}
