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
    models::ModelWatch,
    partition::{PartitionLife, Slice},
    plan::Plan,
    report,
    status::{Status, TaskStatus},
};
use crate::{
    broker::{Batch, Broker, BrokerError, Member, MemberEvent, Partition},
    engine::{Acceptance, Engine},
    env::Clock,
    nn::NetworkError,
    wire::{DecodeSpecError, Decoder, Refusal},
};

/// How long a turn waits for something to happen.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// How long a restore that met passing trouble waits before it is tried again, in microseconds.
const BACKOFF: u64 = 200_000;
/// How often the shard tells the outside where its tasks are, in microseconds: adding up the states' memory visits every
/// series (20 ms for a million).
const TELL_EVERY: u64 = 5_000_000;

/// Why a shard cannot go on. It is dropped; whoever runs it decides whether to take a new seat.
#[derive(Debug, thiserror::Error)]
pub enum ShardEnd {
    /// The broker's answer leaves this seat useless; [`BrokerError::Fenced`] and passing trouble call for a new one.
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
    last_commit: u64,
    told: u64,
    seated: bool,
}

impl Shard {
    /// Takes a seat in the group and reads the weights that are published so far.
    ///
    /// # Errors
    /// What the broker answers, or an impossible network.
    pub fn join(
        plan: Arc<Plan>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        status: Arc<Status>,
        transactional_id: &str,
    ) -> Result<Self, ShardEnd> {
        let mut engine = Engine::new(plan.streams.iter().map(|stream| stream.engine.clone()).collect())?;
        let mut models = ModelWatch::open(&plan.models_topic, &*broker)?;
        let published = models.catch_up(&*broker)?;
        models.install(&plan, &mut engine, &status, &published);
        let member = broker.join(&plan.app, transactional_id, &plan.topics())?;
        let decoders =
            plan.streams.iter().map(|stream| Decoder::new(stream.decode.clone())).collect::<Result<_, _>>()?;
        let last_commit = clock.monotonic_micros();
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
            last_commit,
            told: 0,
            seated: false,
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
        if self.inbox.is_empty() {
            return Ok(if moved || restored { Turn::Moved } else { Turn::Idle });
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

    /// The engine, to look at.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the group has given it its partitions and all of them are served.
    pub fn serving(&self) -> bool {
        self.seated && self.partitions.values().all(PartitionLife::running)
    }

    /// Tells the outside where every task is.
    fn tell(&mut self) {
        self.told = self.clock.monotonic_micros();
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
        let restoring = self.partitions.values().any(|life| !life.running());
        let wait = if restoring { Duration::ZERO } else { IDLE_WAIT };
        let mut deadline = self.clock.monotonic_micros() + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let (mut records, mut bytes, mut moved) = (0, 0, false);
        loop {
            let left = deadline.saturating_sub(self.clock.monotonic_micros());
            match self.member.poll(Duration::from_micros(left), self.plan.max_poll_records)? {
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
            if records >= self.plan.max_epoch_records
                || bytes >= self.plan.max_epoch_bytes
                || self.clock.monotonic_micros() >= deadline
            {
                break;
            }
        }
        report::gathered(records);
        Ok(moved)
    }

    fn assigned(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        let committed = self.member.committed(partitions)?;
        for (partition, committed) in partitions.iter().zip(committed) {
            let life = PartitionLife::open(&self.plan, &*self.broker, &mut self.engine, partition, committed)?;
            tracing::info!(%partition, ?committed, "partition assigned; restoring it");
            self.partitions.insert(partition.clone(), life);
            self.seated = true;
        }
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
        self.member.release(partitions)
    }

    fn restore(&mut self) -> Result<bool, BrokerError> {
        let now = self.clock.monotonic_micros();
        let (mut moved, mut ready) = (false, false);
        for (partition, life) in &mut self.partitions {
            let slice =
                life.restore_slice(&self.plan, &*self.broker, &mut self.engine, &mut self.decoders, partition, now);
            match slice {
                Ok(Slice::Nothing) => continue,
                Ok(Slice::More) => {}
                Ok(Slice::Ready(offset)) => {
                    tracing::info!(%partition, offset, facts = ?life.facts(), "partition restored; serving it");
                    if let Some(served) = life.served.first() {
                        report::restored(&self.plan.streams[served.stream].engine.name, life.facts());
                    }
                    self.member.start(partition, offset)?;
                    ready = true;
                }
                Err(BrokerError::Retry(why)) => {
                    tracing::warn!(%partition, why, "the restore is put off");
                    life.suspend(&mut self.engine, now + BACKOFF);
                }
                Err(error) => return Err(error),
            }
            moved = true;
        }
        // Telling adds up every series' memory: not after each slice.
        if ready || moved && now.saturating_sub(self.told) >= TELL_EVERY {
            self.tell();
        }
        Ok(moved)
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
                self.engine.committed(&epoch);
                report::written(&self.plan, &bytes);
                self.last_commit = now;
                let times = report::Times { started, stepped, committed: now, wall: self.clock.wall_millis() };
                report::committed(&self.plan, &self.engine, &epoch, &self.inbox, &self.refused, times, &self.status);
                report::show(&self.status, &self.engine, &epoch);
                if now.saturating_sub(self.told) >= TELL_EVERY {
                    self.tell();
                }
                self.engine.recycle(epoch);
                self.partitions.values_mut().for_each(|life| life.letters_written(&self.plan));
                self.inbox.clear();
                self.refused.clear();
                Ok(Turn::Committed)
            }
            Err(error @ (BrokerError::Retry(_) | BrokerError::Aborted(_))) => {
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
        let positions: BTreeMap<_, _> = self.engine.roll_back().into_iter().collect();
        let touched: BTreeSet<_> = self.inbox.drain(..).map(|batch| batch.partition).collect();
        self.refused.clear();
        for (partition, life) in self.partitions.iter().filter(|(partition, _)| touched.contains(*partition)) {
            if let Some(position) = life.served.iter().find_map(|served| positions.get(&served.task)) {
                self.member.start(partition, *position)?;
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
            let batches = inbox.iter().filter(|batch| batch.partition == *partition);
            let newest = batches.flat_map(Batch::iter).filter_map(|record| record.timestamp).max();
            if !inbox.iter().any(|batch| batch.partition == *partition) {
                continue;
            }
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
        engine.begin(true);
        for (place, batch) in inbox.iter().enumerate() {
            let Some(life) = partitions.get(&batch.partition).filter(|life| life.running()) else { continue };
            for served in &life.served {
                let task = served.task;
                engine.activate(task, engine.newest_version(&plan.streams[served.stream].engine.name));
                for (index, record) in batch.iter().enumerate() {
                    let mut turned_away = None;
                    let decoded = decoders[served.stream].decode(
                        record.key,
                        record.timestamp,
                        record.payload,
                        &mut |series: &str, time, value, covariates| match engine.accept(
                            task,
                            record.offset,
                            series,
                            time,
                            value,
                            covariates,
                        ) {
                            Acceptance::Taken | Acceptance::Known => {}
                            Acceptance::Late { by } => turned_away = Some(Refusal::late(series, by)),
                            Acceptance::Duplicate => turned_away = Some(Refusal::duplicate(series)),
                            Acceptance::SeriesLimit => {
                                let most = plan.streams[served.stream].engine.max_series;
                                turned_away = Some(Refusal::series_limit(series, most));
                            }
                        },
                    );
                    if let Some(refusal) = decoded.err().or(turned_away) {
                        refused.push(Refused { batch: place, record: index, stream: served.stream, refusal });
                    }
                }
                if let Some(next) = batch.next_offset() {
                    engine.advance(task, next);
                }
            }
        }
    }
}
