//! One assigned partition: its tasks, and the phase of its restore.

use std::{sync::Arc, time::Duration};

use super::first_start;
use super::group_position::GroupPosition;
use super::inputs::RestoreInputs;
use super::rebuild;
use super::replay::{finish_replay, holes, replay_batch, show_recorded_covariates};
use super::serving_position::{Evidence, ServingPosition};
use super::snapshots::SnapshotLoader;
use super::standby::StandbyCopy;
use super::stats::RestoreStats;
use super::unusable::UnusableState;
use crate::broker::{BrokerError, Partition, Reader, StartPosition};
use crate::daemon::partition_task::PartitionTask;
use crate::daemon::plan::Plan;
use crate::dashboard::state::PartitionState;
use crate::engine::{Engine, TaskHandle, TaskId};
use crate::telemetry::{LeftOut, LogLimit, ShortDuration, kind_of};

/// The most records of one slice, between two looks at the other partitions.
const SLICE_RECORDS: usize = 20_000;
/// The most of a rebuild, between two transactions of its own partition.
const REBUILD_SLICE_RECORDS: usize = 2_000;
/// How long all slices of one poll iteration wait for records together.
pub const SLICE_WAIT: Duration = Duration::from_millis(20);
/// Pause, in microseconds, before a topic that ends too early is looked at again.
const RECHECK_MICROS: u64 = 5_000_000;
/// Pause before a postponed restore starts over.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// After so many microseconds without a record, the log says what is waited for.
const NOTICE_MICROS: u64 = 5_000_000;

/// Lines about restores that are postponed: each is tried again at once, and all of them lose a cluster together.
static POSTPONED_LIMIT: LogLimit = LogLimit::growing();

/// A partition that the group has assigned to this shard.
pub struct AssignedPartition {
    pub(super) partition: Partition,
    /// The streams that read it.
    pub tasks: Vec<PartitionTask>,
    phase: Phase,
    /// The position of the group.
    pub(super) group: GroupPosition,
    /// Where serving begins.
    pub(super) serve_from: i64,
    /// Whether it is served while partial series are still to be rebuilt. Otherwise they are rebuilt first.
    pub(super) serves_partial: bool,
    /// A standby copy of its part of the state topic, until that is loaded.
    copy: Option<Arc<StandbyCopy>>,
    /// When it was assigned, in microseconds of the monotonic clock.
    pub assigned_at: u64,
    /// Whether the topic is compacted.
    compacted: bool,
    /// Whether snapshots were found to be missing, so that the input is read again from further back.
    pub(super) incomplete: bool,
    /// Offsets without a record in what was replayed of a compacted topic.
    holes: u64,
    /// Whether the topic was seen to end before the input that was read from it.
    seen_shorter: bool,
    /// Counts of its restore so far.
    pub stats: RestoreStats,
    /// What its restore could not use so far.
    unusable: UnusableState,
}

enum Phase {
    Assigned,
    LoadingSnapshots {
        reader: Box<dyn Reader>,
        /// How many entries of the standby copy are loaded.
        copied: usize,
        next: i64,
        end: i64,
        /// Since when no record has come, in microseconds of the monotonic clock.
        quiet_since: Option<u64>,
    },
    /// Reads the future covariates. The input is then replayed from this offset.
    LoadingCovariates {
        replay_from: i64,
    },
    Replaying {
        reader: Box<dyn Reader>,
        /// The offset after the newest record that was read.
        next: i64,
        /// Where and when the replay began, in microseconds of the monotonic clock.
        began: (i64, u64),
    },
    Running,
    /// Waits for its next attempt, until this time of the monotonic clock.
    Suspended {
        until: u64,
    },
}

/// The outcome of one slice of a restore.
#[derive(Debug, PartialEq, Eq)]
pub enum SliceOutcome {
    /// There is more to do.
    More,
    /// The partition can be served from this offset.
    Ready(i64),
    /// Nothing was done: it is served already, or waits for its turn.
    Idle,
}

impl AssignedPartition {
    /// Opens the tasks of a partition that was just assigned. The state topic is read from the end of `copy`.
    pub fn open(
        plan: &Plan,
        engine: &mut Engine,
        partition: &Partition,
        group: GroupPosition,
        copy: Option<Arc<StandbyCopy>>,
        now: u64,
    ) -> Self {
        let serve_from = group.committed.unwrap_or(0);
        let compacted = plan.compacted_inputs.contains(&*partition.topic);
        let tasks = plan
            .streams_of(&partition.topic)
            .filter_map(|(stream, name)| {
                let id = TaskId { stream: name, topic: partition.topic.clone(), partition: partition.number };
                Some(PartitionTask::new(open_task(engine, id, serve_from, compacted)?, stream))
            })
            .collect();
        Self {
            partition: partition.clone(),
            tasks,
            phase: Phase::Assigned,
            group,
            serve_from,
            serves_partial: true,
            copy,
            assigned_at: now,
            compacted,
            incomplete: false,
            holes: 0,
            seen_shorter: false,
            stats: RestoreStats::default(),
            unusable: UnusableState::default(),
        }
    }

    pub fn running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether a commit is due even without input: it deletes state that must not come back, or records where forecasts
    /// begin.
    pub fn awaits_commit(&self) -> bool {
        self.running() && self.tasks.iter().any(|task| task.stale_series.is_some() || task.first_start.is_some())
    }

    /// Whether its restore has begun and is not done.
    pub fn restoring(&self) -> bool {
        self.state() == PartitionState::Restoring
    }

    /// Its state, as dashboard and metrics name it.
    pub fn state(&self) -> PartitionState {
        match self.phase {
            Phase::Assigned => PartitionState::Created,
            Phase::LoadingSnapshots { .. } | Phase::LoadingCovariates { .. } | Phase::Replaying { .. } => {
                PartitionState::Restoring
            }
            Phase::Running => PartitionState::Running,
            Phase::Suspended { .. } => PartitionState::Suspended,
        }
    }

    /// Records that the restore still has to read: of the state topic, or then of the input, for a task at `position`.
    pub fn remaining(&self, position: i64) -> u64 {
        let remaining = match &self.phase {
            Phase::LoadingSnapshots { next, end, .. } => end - next,
            Phase::Replaying { .. } => self.serve_from - position,
            Phase::Assigned | Phase::LoadingCovariates { .. } | Phase::Running | Phase::Suspended { .. } => 0,
        };
        u64::try_from(remaining).unwrap_or(0)
    }

    /// Seconds until the replay of a task at `position` ends, at its speed so far. `None` before anything is replayed.
    pub fn seconds_left(&self, position: i64, now: u64) -> Option<u64> {
        let Phase::Replaying { began: (from, since), .. } = self.phase else { return None };
        let done = u64::try_from(position - from).ok().filter(|done| *done > 0)?;
        let micros = u128::from(now.saturating_sub(since)) * u128::from(self.remaining(position)) / u128::from(done);
        u64::try_from(micros / 1_000_000).ok()
    }

    /// Postpones a restore after an error. It starts over at `until` (microseconds of the monotonic clock).
    pub fn suspend(&mut self, engine: &mut Engine, until: u64) {
        self.serve_from = self.group.committed.unwrap_or(0);
        self.reset(engine);
        self.phase = Phase::Suspended { until };
    }

    /// Suspends a restore after an error that calls for another attempt, and logs that.
    pub(super) fn postpone(&mut self, inputs: &mut RestoreInputs<'_>, error: &str) {
        if let Some(LeftOut(left_out)) = POSTPONED_LIMIT.admit(kind_of(error), inputs.now) {
            let Partition { topic, number } = &self.partition;
            let retry_in = ShortDuration(RETRY_DELAY);
            tracing::warn!(%topic, partition = number, %error, %retry_in, left_out, "restore postponed; retrying");
        }
        self.suspend(inputs.engine, inputs.now + RETRY_DELAY.as_micros() as u64);
    }

    /// Suspends a partition that is served, between two transactions. It is restored to where it stands.
    pub fn suspend_serving(&mut self, engine: &mut Engine, until: u64) {
        // A start that no commit has recorded is decided again.
        if let Some(task) = self.tasks.first().filter(|task| task.first_start.is_none()) {
            self.group.committed = Some(engine.position(task.handle));
            self.group.set_by_hand = false;
        }
        self.seen_shorter = false;
        self.suspend(engine, until);
    }

    /// Empties the tasks, at the position where serving begins.
    fn reset(&mut self, engine: &mut Engine) {
        for task in &mut self.tasks {
            let id = engine.id(task.handle).clone();
            engine.close(task.handle);
            if let Some(handle) = open_task(engine, id, self.serve_from, self.compacted) {
                task.handle = handle;
            }
            task.checkpoint = None;
            task.checkpoint_position = None;
            task.feed = None;
            (task.stale_series, task.first_start, task.rebuild_due) = (None, None, false);
        }
        (self.stats, self.holes) = (RestoreStats::default(), 0);
        self.unusable.clear();
    }

    /// Advances the restore by a bounded slice. `may_begin` says whether a restore may begin now, `wait` how long one
    /// that is under way may wait for records.
    ///
    /// # Errors
    /// The broker's. [`BrokerError::Retriable`] and [`BrokerError::Rejected`] call for [`Self::suspend`].
    pub fn advance(
        &mut self,
        inputs: &mut RestoreInputs<'_>,
        may_begin: bool,
        wait: Duration,
    ) -> Result<SliceOutcome, BrokerError> {
        let slice = if self.serves_partial { SLICE_RECORDS } else { REBUILD_SLICE_RECORDS };
        match &mut self.phase {
            Phase::Running => Ok(SliceOutcome::Idle),
            Phase::Assigned if !may_begin => Ok(SliceOutcome::Idle),
            Phase::Suspended { until } if !may_begin || inputs.now < *until => Ok(SliceOutcome::Idle),
            Phase::Assigned | Phase::Suspended { .. } => {
                match self.open_state_topic(inputs)? {
                    Some(loading) => self.phase = loading,
                    None => return self.snapshots_loaded(inputs),
                }
                Ok(SliceOutcome::More)
            }
            Phase::LoadingSnapshots { reader, copied, next, end, quiet_since } => {
                let (stats, unusable) = (&mut self.stats, &mut self.unusable);
                let mut loader = SnapshotLoader::new(inputs.engine, &mut self.tasks, &self.partition, stats, unusable);
                if let Some(copy) = self.copy.as_ref().and_then(|copy| copy.records(*copied, slice)) {
                    loader.load(copy.map(|(key, value)| (Some(key), Some(value))));
                    self.stats.from_standby = self.stats.snapshots;
                    *copied += slice;
                } else if let Some(batch) = reader.read(wait, slice)? {
                    loader.load(batch.iter().map(|record| (record.key, record.payload)));
                    (*next, *quiet_since) = (batch.next_offset().unwrap_or(*next), None);
                } else if reader.has_reached(*end)? {
                    return self.snapshots_loaded(inputs);
                } else if inputs.now.saturating_sub(*quiet_since.get_or_insert(inputs.now)) >= NOTICE_MICROS {
                    // Once: no time is that much later.
                    *quiet_since = Some(u64::MAX);
                    tracing::warn!(
                        topic = %self.partition.topic, partition = self.partition.number, offset = *next, end = *end,
                        state_topic = inputs.plan.state_topic,
                        "the restore waits for the end of the state topic: a transaction on it is still open, of an \
                         instance that has died or is cut off; the cluster ends it after kafka.transaction_timeout"
                    );
                }
                Ok(SliceOutcome::More)
            }
            Phase::LoadingCovariates { replay_from } => {
                let replay_from = *replay_from;
                for feed in self.tasks.iter_mut().filter_map(|task| task.feed.as_mut()) {
                    if !feed.fill(wait)? {
                        return Ok(SliceOutcome::More);
                    }
                }
                self.begin_replay(inputs, replay_from)
            }
            Phase::Replaying { reader, next, .. } => {
                let batch = reader.read(wait, slice)?;
                let done = match &batch {
                    Some(batch) => batch.next_offset().is_some_and(|next| next >= self.serve_from),
                    None => reader.has_reached(self.serve_from)?,
                };
                if let Some(batch) = batch {
                    // Elsewhere, transaction markers and aborted records explain what is missing.
                    let missing = if self.compacted { holes(&batch, *next, self.serve_from) } else { 0 };
                    self.holes += missing;
                    *next = batch.next_offset().unwrap_or(*next);
                    let (engine, decoders) = (&mut *inputs.engine, &mut *inputs.decoders);
                    self.stats.replayed +=
                        replay_batch(engine, decoders, &mut self.tasks, &batch, self.serve_from, inputs.now)?;
                }
                if !done {
                    return Ok(SliceOutcome::More);
                }
                let tail = if self.compacted { (self.serve_from - *next).max(0) } else { 0 };
                self.report_holes(u64::try_from(tail).unwrap_or(0));
                Ok(self.ready(inputs))
            }
        }
    }

    /// Opens the partition of the state topic that holds the snapshots; `None` where it is empty.
    fn open_state_topic(&mut self, inputs: &RestoreInputs<'_>) -> Result<Option<Phase>, BrokerError> {
        let number = self.partition.number % inputs.plan.state_partitions;
        let state = Partition { topic: inputs.plan.state_topic.as_str().into(), number };
        let range = inputs.broker.offsets(&state)?;
        // A topic that ends before the copy does was recreated.
        self.copy = self.copy.take().filter(|copy| copy.next_offset <= range.end);
        if self.copy.is_none() && range.start == range.end {
            return Ok(None);
        }
        let (start, next) = match &self.copy {
            Some(copy) => (StartPosition::Offset(copy.next_offset), copy.next_offset),
            None => (StartPosition::Earliest, 0),
        };
        let reader = inputs.broker.reader(&state, start)?;
        Ok(Some(Phase::LoadingSnapshots { reader, copied: 0, next, end: range.end, quiet_since: None }))
    }

    /// All snapshots are loaded: decides where serving begins, and from where the input must be replayed for that.
    fn snapshots_loaded(&mut self, inputs: &mut RestoreInputs<'_>) -> Result<SliceOutcome, BrokerError> {
        self.copy = None;
        // A restore that starts over finds the same again, as does a rebuild.
        if !self.incomplete && self.serves_partial {
            self.unusable.log(&self.partition);
        }
        let evidence = Evidence {
            group: self.group,
            restored: self.tasks.iter().filter_map(|task| task.restored_position(inputs.engine)).max(),
            fingerprint: self.tasks.iter().find_map(|task| task.checkpoint.as_ref()?.topic_fingerprint),
            seen_shorter: self.seen_shorter,
        };
        match ServingPosition::find(inputs.broker, &self.partition, evidence)? {
            ServingPosition::At(offset) => self.serve_from = offset,
            ServingPosition::First => self.serve_from = first_start::begin(inputs, &self.partition, &mut self.tasks)?,
            ServingPosition::SetBack(offset) => self.discard_stale_state(inputs.engine, offset),
            ServingPosition::Recreated(oldest) => self.discard_stale_state(inputs.engine, oldest),
            ServingPosition::Unsure => {
                self.seen_shorter = true;
                self.suspend(inputs.engine, inputs.now + RECHECK_MICROS);
                return Ok(SliceOutcome::More);
            }
        }
        let replay_from = self.resume_tasks(inputs)?;
        if self.tasks.iter().any(|task| task.feed.is_some()) {
            self.phase = Phase::LoadingCovariates { replay_from };
            return Ok(SliceOutcome::More);
        }
        self.begin_replay(inputs, replay_from)
    }

    /// The state is of an earlier topic or of a later position: empties the tasks, and notes the series whose snapshots
    /// the next commit deletes. Serving begins at `offset`.
    fn discard_stale_state(&mut self, engine: &mut Engine, offset: i64) {
        let stale: Vec<Vec<String>> =
            self.tasks.iter().map(|task| engine.keys(task.handle).map(str::to_owned).collect()).collect();
        self.serve_from = offset;
        self.reset(engine);
        for (task, stale) in self.tasks.iter_mut().zip(stale) {
            task.stale_series = Some(stale);
        }
    }

    /// The input position of its tasks.
    pub(super) fn position(&self, engine: &Engine) -> i64 {
        self.tasks.first().map_or(self.serve_from, |task| engine.position(task.handle))
    }

    /// Whether its snapshots are loaded and the replay has begun.
    pub(super) fn is_resumed(&self) -> bool {
        matches!(self.phase, Phase::LoadingCovariates { .. } | Phase::Replaying { .. } | Phase::Running)
    }

    /// Replays on from where a replay has ended, to `position`.
    pub(super) fn replay_to(&mut self, position: i64) {
        let replay_from = std::mem::replace(&mut self.serve_from, position);
        self.phase = Phase::LoadingCovariates { replay_from };
    }

    /// Counts and logs the offsets of a replayed range that held no record, `tail` of them at its end.
    fn report_holes(&mut self, tail: u64) {
        let holes = self.holes + tail;
        if holes > 0 {
            self.stats.lost += holes;
            tracing::warn!(
                topic = %self.partition.topic, partition = self.partition.number, holes,
                "compaction deleted input that the restore needs: so many offsets hold no record, transaction markers \
                 among them; series lack these readings. Set cleanup.policy=delete on the input topic"
            );
        }
    }

    /// The future covariates are loaded: begins the replay, or ends the restore where there is nothing to replay.
    fn begin_replay(&mut self, inputs: &mut RestoreInputs<'_>, replay_from: i64) -> Result<SliceOutcome, BrokerError> {
        for task in &mut self.tasks {
            let position = inputs.engine.position(task.handle);
            show_recorded_covariates(inputs.engine, task, position);
        }
        let oldest = inputs.broker.offsets(&self.partition)?.start;
        if oldest > replay_from {
            let not_replayed = oldest.min(self.serve_from) - replay_from;
            let unread = (oldest - self.serve_from).max(0);
            tracing::warn!(
                topic = %self.partition.topic, partition = self.partition.number, offset = replay_from, oldest,
                not_replayed, unread,
                "retention deleted input that the restore needs; series continue from older snapshots, unread records \
                 are lost. Let the topic keep its records for longer than checkpoint_interval"
            );
            self.stats.lost += u64::try_from(not_replayed + unread).unwrap_or(0);
        }
        if replay_from >= self.serve_from || oldest >= self.serve_from {
            return Ok(self.ready(inputs));
        }
        let reader = inputs.broker.reader(&self.partition, StartPosition::Offset(replay_from))?;
        let next = replay_from.max(oldest);
        self.phase = Phase::Replaying { reader, next, began: (next, inputs.now) };
        Ok(SliceOutcome::More)
    }

    /// Ends the restore. Where series are missing, it starts over once, and reads the input from further back.
    fn ready(&mut self, inputs: &mut RestoreInputs<'_>) -> SliceOutcome {
        let missing = rebuild::missing_series(inputs.engine, &self.tasks);
        if missing > 0 && !self.incomplete {
            rebuild::report_missing(&self.partition, missing, "series are missing in the state topic");
            self.incomplete = true;
            self.suspend(inputs.engine, inputs.now);
            return SliceOutcome::More;
        }
        if missing > 0 {
            rebuild::report_missing(&self.partition, missing, "the input does not bring back all series");
            self.stats.lost_series = missing;
        }
        finish_replay(inputs.engine, &mut self.tasks, self.serve_from);
        self.phase = Phase::Running;
        SliceOutcome::Ready(self.serve_from)
    }
}

/// Opens a task. Where its input may not be there to be read again, no change of a series waits for its snapshot.
fn open_task(engine: &mut Engine, id: TaskId, position: i64, compacted: bool) -> Option<TaskHandle> {
    let task = engine.open(id, position)?;
    if compacted {
        engine.snapshot_each_transaction(task);
    }
    Some(task)
}
