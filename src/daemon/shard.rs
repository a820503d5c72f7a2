//! One shard: a plain synchronous loop over one seat in the consumer group. Between two turns no epoch is open, so a
//! partition can be handed over, or the shard dropped, at any of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    commit::{self, Refused},
    forecasts::ForecastWriter,
    intake::{self, Taken},
    models::ModelWatch,
    partition::{PartitionLife, SLICE_WAIT, Slice},
    plan::Plan,
    report,
    snapshots::RestoreFacts,
    standby::Standby,
    status::{Status, TaskStatus},
    topics,
};
use crate::{
    broker::{Batch, Broker, BrokerError, Member, MemberEvent, Partition},
    dashboard::state::PartitionState,
    engine::Engine,
    env::Clock,
    nn::NetworkError,
    wire::{DecodeSpecError, Decoder},
};

/// How long a turn waits for something to happen.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// How long a restore that met passing trouble waits before it is tried again, in microseconds.
const BACKOFF: u64 = 200_000;
/// Partitions that are restored at the same time, or begun in one turn: each has a client of its own, and fetches ahead.
const RESTORED_AT_ONCE: usize = 8;
/// How often the shard tells the outside how its tasks are, in microseconds: adding up the states' memory visits every
/// series (20 ms for a million). Where they stand is told with each commit.
const TELL_EVERY: u64 = 5_000_000;

/// Why a shard cannot go on. It is dropped; whoever runs it decides whether to take a new seat.
#[derive(Debug, thiserror::Error)]
pub enum ShardEnd {
    /// It was asked to stop before it had a seat.
    #[error("it was asked to stop")]
    Stopped,
    /// The broker's answer leaves this seat useless; all but [`BrokerError::Refused`] call for a new one.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The configured network is impossible.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The configured decoding contradicts itself.
    #[error(transparent)]
    Decode(#[from] DecodeSpecError),
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was there to do.
    Idle,
    /// Work was done that has nothing to commit: a partition came or went, a restore went on.
    Moved,
    /// An epoch was committed.
    Committed,
    /// An epoch was rolled back and its input will be read again; the caller should let the trouble pass first.
    RolledBack,
}

/// One seat in the group and everything behind it.
pub struct Shard {
    plan: Arc<Plan>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    member: Box<dyn Member>,
    engine: Engine,
    models: ModelWatch,
    decoders: Vec<Decoder>,
    forecasts: ForecastWriter,
    partitions: BTreeMap<Partition, PartitionLife>,
    inbox: Vec<Batch>,
    refused: Vec<Refused>,
    /// Partitions of which records were left out of the epoch, to be read again.
    left: BTreeSet<Partition>,
    /// Bytes of the last epoch for each of its records.
    record_weight: f64,
    transactional_id: String,
    standby: Standby,
    last_commit: u64,
    told: u64,
    /// Whether something has changed since.
    untold: bool,
    seat: SeatState,
    /// Whether the last look at what the standby follows found something new.
    behind: bool,
}

/// What the group has said of this seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeatState {
    /// Nothing yet.
    Waiting,
    /// That there is nothing for it, as things stand.
    Spare,
    /// Partitions.
    Given,
}

impl Shard {
    /// Takes a seat in the group and reads the weights that are published so far, unless it is `stopped` meanwhile.
    ///
    /// # Errors
    /// What the broker answers, or an impossible network; [`ShardEnd::Stopped`].
    pub fn join(
        plan: Arc<Plan>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        status: Arc<Status>,
        transactional_id: &str,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Self, ShardEnd> {
        let mut engine = Engine::new(plan.streams.iter().map(|stream| stream.engine.clone()).collect())?;
        let mut models = ModelWatch::open(&plan.models_topic, &*broker)?;
        let published = models.catch_up(&*broker, stopped)?.ok_or(ShardEnd::Stopped)?;
        models.install(&plan, &mut engine, &status, &published);
        for topic in plan.topics() {
            topics::input_partitions(&*broker, &topic)?;
        }
        let member = broker.join(&plan.app, transactional_id, &plan.topics())?;
        let decoders =
            plan.streams.iter().map(|stream| Decoder::new(stream.decode.clone())).collect::<Result<_, _>>()?;
        let last_commit = clock.monotonic_micros();
        let mut standby = Standby::default();
        standby.unsettle(last_commit);
        Ok(Self {
            plan,
            broker,
            clock,
            status,
            member,
            engine,
            models,
            decoders,
            forecasts: ForecastWriter::default(),
            partitions: BTreeMap::new(),
            inbox: Vec::new(),
            refused: Vec::new(),
            left: BTreeSet::new(),
            record_weight: 0.0,
            transactional_id: transactional_id.to_owned(),
            standby,
            last_commit,
            told: 0,
            untold: false,
            seat: SeatState::Waiting,
            behind: false,
        })
    }

    /// Does one round: weights, what the group says, a piece of each restore, and one epoch if records have come.
    ///
    /// # Errors
    /// When this seat cannot go on.
    pub fn turn(&mut self) -> Result<Turn, ShardEnd> {
        let published = self.models.look()?;
        self.models.install(&self.plan, &mut self.engine, &self.status, &published);
        let moved = self.gather()?;
        let restored = self.restore()?;
        let copied = self.look_around()?;
        if self.inbox.is_empty() {
            self.tell_in_time(self.clock.monotonic_micros());
            return Ok(if moved || restored || copied { Turn::Moved } else { Turn::Idle });
        }
        self.epoch()
    }

    /// Leaves the group in good order. Nothing is lost without it; a successor only starts sooner.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn leave(mut self) -> Result<(), BrokerError> {
        self.member.leave()
    }

    /// Bytes of others' states that it keeps for a takeover.
    pub fn standby_copy_bytes(&self) -> usize {
        self.standby.bytes()
    }

    /// What the restores of its partitions have met.
    pub fn restore_facts(&self) -> Vec<RestoreFacts> {
        self.partitions.values().map(PartitionLife::facts).collect()
    }

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the group has given it its partitions and all of them are served, or has had nothing for it for a while.
    pub fn serving(&self) -> bool {
        match self.seat {
            SeatState::Waiting => false,
            SeatState::Spare => self.standby.settled(self.clock.monotonic_micros()),
            SeatState::Given => self.partitions.values().all(PartitionLife::running),
        }
    }

    /// Keeps the copies of others' states up to date.
    fn look_around(&mut self) -> Result<bool, BrokerError> {
        let Self { plan, broker, partitions, standby, .. } = self;
        let owned =
            |topic: &String, number| partitions.contains_key(&Partition { topic: topic.as_str().into(), number });
        let wanted = |number: i32| !plan.topics().iter().all(|topic| owned(topic, number));
        let behind = standby.look(plan, &**broker, self.clock.monotonic_micros(), wanted)?;
        if behind != self.behind {
            report::copied(&self.transactional_id, standby.bytes());
            self.behind = behind;
        }
        Ok(behind)
    }

    /// Tells what has changed once the last telling is old enough.
    fn tell_in_time(&mut self, now: u64) {
        if self.untold && now.saturating_sub(self.told) >= TELL_EVERY {
            self.tell();
        }
    }

    /// Tells the outside how every task is.
    fn tell(&mut self) {
        (self.told, self.untold) = (self.clock.monotonic_micros(), false);
        for life in self.partitions.values() {
            for served in &life.served {
                let status = TaskStatus {
                    state: life.state(),
                    position: self.engine.position(served.task),
                    series: self.engine.series_count(served.task) as u64,
                    state_bytes: self.engine.state_bytes(served.task) as u64,
                    remaining: life.remaining(self.engine.position(served.task)),
                };
                self.status.set(self.engine.id(served.task), status);
            }
        }
    }

    /// Polls until the commit interval is over (counted from the first record), an epoch is full, or nothing comes.
    fn gather(&mut self) -> Result<bool, ShardEnd> {
        let busy = self.behind || self.partitions.values().any(|life| !life.running());
        let wait = if busy { Duration::ZERO } else { IDLE_WAIT };
        let mut deadline = self.clock.monotonic_micros() + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let (mut records, mut bytes, mut moved) = (0, 0, false);
        loop {
            let left = deadline.saturating_sub(self.clock.monotonic_micros());
            // An epoch of more than half its bytes is not filled up: what does not fit would be read again.
            let room = (self.plan.max_transaction_bytes as f64 / 2.0 / self.record_weight) as usize;
            let most = room.saturating_sub(records).clamp(1, self.plan.max_poll_records);
            match self.member.poll(Duration::from_micros(left), most)? {
                None => break,
                Some(MemberEvent::Records(batch)) => {
                    if self.inbox.is_empty() {
                        deadline = self.clock.monotonic_micros() + self.plan.commit_interval;
                    }
                    records += batch.len();
                    bytes += batch.bytes();
                    self.inbox.push(batch);
                }
                Some(MemberEvent::Assigned(partitions)) => {
                    moved = true;
                    report::rebalanced();
                    self.assigned(&partitions)?;
                }
                Some(MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) => {
                    moved = true;
                    report::rebalanced();
                    self.close(&partitions)?;
                }
            }
            if records >= self.plan.max_transaction_records.min(room)
                || bytes >= self.plan.max_transaction_bytes
                || self.clock.monotonic_micros() >= deadline
            {
                break;
            }
        }
        report::gathered(records);
        Ok(moved)
    }

    fn assigned(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        let committed = self.member.committed_offsets(partitions)?;
        let now = self.clock.monotonic_micros();
        let state = |partition: &Partition| partition.number % self.plan.state_partitions;
        let warm = self.standby.take(partitions.iter().map(state));
        for (partition, committed) in partitions.iter().zip(committed) {
            let warm = warm.get(&state(partition)).cloned();
            tracing::info!(%partition, ?committed, warm = warm.is_some(), "partition assigned; restoring it");
            let life = PartitionLife::open(&self.plan, &mut self.engine, partition, committed, (warm, now));
            self.partitions.insert(partition.clone(), life);
        }
        if !partitions.is_empty() {
            self.seat = SeatState::Given;
        } else if self.seat == SeatState::Waiting {
            self.seat = SeatState::Spare;
        }
        self.standby.unsettle(now);
        Ok(())
    }

    /// Lets go of partitions. No epoch is open, so nothing of them is half done; records polled but not taken are
    /// read by the next owner.
    fn close(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        self.inbox.retain(|batch| !partitions.contains(&batch.partition));
        for partition in partitions {
            if let Some(life) = self.partitions.remove(partition) {
                for served in life.served {
                    self.status.remove(self.engine.id(served.task));
                    self.engine.close(served.task);
                }
                tracing::info!(%partition, "partition handed over");
            }
        }
        self.standby.unsettle(self.clock.monotonic_micros());
        self.member.release(partitions)
    }

    fn restore(&mut self) -> Result<bool, BrokerError> {
        let now = self.clock.monotonic_micros();
        let (mut moved, mut ready) = (false, false);
        let mut at_once = self.partitions.values().filter(|life| life.restoring()).count();
        let wait = SLICE_WAIT / u32::try_from(at_once.max(1)).unwrap_or(1);
        for (partition, life) in &mut self.partitions {
            let before = life.state();
            let slice = life.restore_slice(
                &self.plan,
                &*self.broker,
                &mut self.engine,
                &mut self.decoders,
                partition,
                (now, at_once < RESTORED_AT_ONCE, wait),
            );
            // One that has nothing to read has taken its time as well.
            at_once += usize::from(before != PartitionState::Restoring && before != life.state());
            match slice {
                Ok(Slice::Nothing) => continue,
                Ok(Slice::More) => {}
                Ok(Slice::Ready(offset)) => {
                    tracing::info!(%partition, offset, facts = ?life.facts(), "partition restored; serving it");
                    if let Some(served) = life.served.first() {
                        let took = now.saturating_sub(life.assigned());
                        report::restored(&self.plan.streams[served.stream].engine.name, life.facts(), took);
                    }
                    self.member.start(partition, offset)?;
                    ready = true;
                }
                // What is refused may be a topic that is being made anew.
                Err(BrokerError::Retriable(why) | BrokerError::Rejected(why)) => {
                    tracing::warn!(%partition, why, "the restore is put off");
                    life.suspend(&mut self.engine, now + BACKOFF);
                }
                Err(error) => return Err(error),
            }
            moved = true;
        }
        // Insertion adds up every series' memory: not after each slice.
        if ready || moved && now.saturating_sub(self.told) >= TELL_EVERY {
            self.tell();
            self.log_progress();
        }
        Ok(moved)
    }

    /// Says how far the restores have come.
    fn log_progress(&self) {
        for (partition, life) in self.partitions.iter().filter(|(_, life)| life.restoring()) {
            let position = life.served.first().map_or(0, |served| self.engine.position(served.task));
            let (snapshots, replayed) = (life.facts().snapshots, life.facts().replayed);
            let left = life.remaining(position);
            tracing::info!(%partition, snapshots, replayed, left, "restoring");
        }
    }

    /// Takes what was gathered through the engine and commits it.
    fn epoch(&mut self) -> Result<Turn, ShardEnd> {
        let started = self.clock.monotonic_micros();
        self.foresee()?;
        self.take_in();
        let epoch = self.engine.finish(self.snapshot_share(started));
        let stepped = self.clock.monotonic_micros();
        let written = commit::write(commit::Writing {
            plan: &self.plan,
            engine: &self.engine,
            member: &mut *self.member,
            forecasts: &mut self.forecasts,
            partitions: &mut self.partitions,
            inbox: &self.inbox,
            refused: &self.refused,
            epoch: &epoch,
            now: stepped,
            state: Vec::new(),
        });
        let now = self.clock.monotonic_micros();
        match written {
            Ok(bytes) => {
                self.engine.commit(&epoch);
                report::written(&self.plan, &bytes);
                self.last_commit = now;
                let times = report::Times { started, stepped, committed: now, wall: self.clock.wall_millis() };
                report::committed(&self.plan, &self.engine, &epoch, &self.inbox, &self.refused, times, &self.status);
                report::show(&self.status, &self.engine, &epoch);
                epoch.tasks.iter().for_each(|done| self.status.moved(self.engine.id(done.task), done.to));
                self.untold = true;
                self.tell_in_time(now);
                self.partitions.values_mut().for_each(|life| life.letters_written(&self.plan, &epoch));
                self.engine.recycle(epoch);
                self.inbox.clear();
                self.refused.clear();
                let left = std::mem::take(&mut self.left);
                self.read_again(left)?;
                Ok(Turn::Committed)
            }
            Err(error @ (BrokerError::Retriable(_) | BrokerError::Aborted(_))) => {
                tracing::warn!(%error, "the epoch is rolled back");
                report::aborted();
                self.member.abort()?;
                self.roll_back()?;
                Ok(Turn::RolledBack)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every touched partition goes back to its last commit and is read from there again.
    fn roll_back(&mut self) -> Result<(), BrokerError> {
        self.engine.roll_back();
        self.refused.clear();
        let mut touched = std::mem::take(&mut self.left);
        touched.extend(self.inbox.drain(..).map(|batch| batch.partition));
        self.read_again(touched)
    }

    /// Reads partitions again from where their tasks stand.
    fn read_again(&mut self, partitions: BTreeSet<Partition>) -> Result<(), BrokerError> {
        for partition in partitions {
            let life = self.partitions.get(&partition).filter(|life| life.running());
            if let Some(served) = life.and_then(|life| life.served.first()) {
                self.member.start(&partition, self.engine.position(served.task))?;
            }
        }
        Ok(())
    }

    /// The share of the changed series to snapshot with this commit: so much that all of them are within the
    /// checkpoint interval.
    fn snapshot_share(&self, now: u64) -> f64 {
        match self.plan.checkpoint_interval {
            0 => 1.0,
            interval => now.saturating_sub(self.last_commit) as f64 / interval as f64,
        }
    }

    /// Shows the engine what has come of second topics, before the epoch's first observation.
    fn foresee(&mut self) -> Result<(), BrokerError> {
        let Self { engine, partitions, inbox, .. } = self;
        for (partition, life) in partitions.iter_mut().filter(|(_, life)| life.running()) {
            if life.served.iter().all(|served| served.feed.is_none()) {
                continue;
            }
            let mut batches = inbox.iter().filter(|batch| batch.partition == *partition).peekable();
            if batches.peek().is_none() {
                continue;
            }
            let newest = batches.flat_map(Batch::iter).filter_map(|record| record.timestamp).max();
            for served in &mut life.served {
                if let Some(feed) = &mut served.feed {
                    feed.show(engine, served.task, newest)?;
                }
            }
        }
        Ok(())
    }

    fn take_in(&mut self) {
        let Self { plan, engine, decoders, partitions, inbox, refused, .. } = self;
        let Taken { records, left } = intake::take_in(plan, engine, decoders, partitions, inbox, refused);
        self.left = left;
        self.record_weight = engine.open_bytes() as f64 / records.max(1) as f64;
    }
}
