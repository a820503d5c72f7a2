//! A shard: one member of the consumer group, and a synchronous loop over what it is assigned.
//!
//! No transaction is open between two poll iterations. A partition can then be handed over, or the shard dropped.

mod commit;
mod commit_metrics;
mod ended_series;
mod intake;
mod membership;
mod missing_inputs;
mod record_limits;
mod refusals;
mod telemetry;
mod transaction;
mod transaction_limit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    forecasts::ForecastWriter,
    model_subscription::ModelSubscription,
    plan::Plan,
    repartition::{RepartitionInputs, Repartitioners},
    restore::{RestoreInputs, RestoreSchedule, RestoreStats, commit_metadata, group_positions},
    split_series::WATCHED_SERIES,
    status::Status,
    topics,
};
use crate::{
    broker::{Broker, BrokerError, MemberEvent, Partition},
    engine::Engine,
    env::Clock,
    nn::NetworkError,
    telemetry::{LeftOut, LogLimit, kind_of, metrics},
    wire::{DecodeSpecError, Decoder},
};
use commit::{CommitInputs, Written, commit};
use commit_metrics::{CommittedTransaction, TransactionTimes, clear_covariate_dead_letters};
use membership::{GroupMembership, Membership};
use missing_inputs::MissingInputs;
use record_limits::{Outbox, RecordLimits};
use refusals::{Refusals, affected_partitions};
use telemetry::ShardTelemetry;
use transaction::OpenTransaction;
pub use transaction_limit::TransactionLimit;

/// How long a poll iteration waits for records while there is no other work.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// Lines about transactions that fail, which a cluster in trouble causes again and again.
static ROLLBACK_LIMIT: LogLimit = LogLimit::growing();

/// Why a shard cannot go on. It is dropped; the supervisor decides whether to join again.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The process stopped before the shard had joined the group.
    #[error("stopped before it joined the consumer group")]
    Stopped,
    /// The group membership is useless. All errors but [`BrokerError::Rejected`] call for a new one.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The configured network is impossible.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The configured decoding contradicts itself.
    #[error(transparent)]
    Decode(#[from] DecodeSpecError),
}

/// The outcome of a poll iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollOutcome {
    /// There was nothing to do.
    Idle,
    /// Work without a commit: a rebalance, a slice of a restore, standby copies.
    Progress,
    /// A transaction was committed.
    Committed,
    /// A transaction was rolled back, and its input will be read again. The caller pauses first.
    RolledBack,
}

/// One member of the consumer group, with the engine, the tasks and the transaction behind it.
pub struct Shard {
    plan: Arc<Plan>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    transactional_id: String,
    engine: Engine,
    models: ModelSubscription,
    decoders: Vec<Decoder>,
    membership: GroupMembership,
    missing_inputs: MissingInputs,
    restores: RestoreSchedule,
    repartitioners: Repartitioners,
    transaction: OpenTransaction,
    forecasts: ForecastWriter,
    telemetry: ShardTelemetry,
    limits: RecordLimits,
    refusals: Refusals,
    /// Why the last transaction was rolled back, where that may last; `None` after a commit.
    failure: Option<String>,
}

impl Shard {
    /// Reads the published weights, then joins the group as a reader of the input topics that exist. `stopped` says
    /// whether to give up meanwhile.
    ///
    /// # Errors
    /// The broker's, an impossible network or decoding, or [`ShardError::Stopped`].
    pub fn join(
        plan: Arc<Plan>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        status: Arc<Status>,
        transactional_id: &str,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Self, ShardError> {
        let mut engine = Engine::new(plan.streams.iter().map(|stream| stream.engine.clone()).collect())?;
        let mut models = ModelSubscription::open(&plan.models_topic, &*broker)?;
        let published = models.catch_up(&*broker, stopped)?.ok_or(ShardError::Stopped)?;
        models.install(&plan, &mut engine, &status, &published);
        let missing = topics::inputs(&*broker, &plan)?.missing;
        let plan = Arc::new(Plan { missing_inputs: missing.keys().cloned().collect(), ..(*plan).clone() });
        let limits = RecordLimits::ask(&plan, &*broker)?;
        let membership = GroupMembership::new(broker.join(&plan.app, transactional_id, &plan.topics())?);
        let decoders =
            plan.streams.iter().map(|stream| Decoder::new(stream.decode.clone())).collect::<Result<_, _>>()?;
        let now = clock.monotonic_micros();
        let limit = TransactionLimit::new(plan.max_transaction_bytes);
        let missing_inputs = MissingInputs::new(missing, now);
        missing_inputs.report(now);
        Ok(Self {
            plan,
            broker,
            clock,
            transactional_id: transactional_id.to_owned(),
            engine,
            models,
            decoders,
            membership,
            missing_inputs,
            restores: RestoreSchedule::new(now),
            repartitioners: Repartitioners::default(),
            transaction: OpenTransaction::new(limit, now),
            forecasts: ForecastWriter::default(),
            telemetry: ShardTelemetry::new(status),
            limits,
            refusals: Refusals::default(),
            failure: None,
        })
    }

    /// The most bytes of the next transaction.
    pub fn transaction_limit(&self) -> TransactionLimit {
        self.transaction.limit
    }

    /// Goes on with the limit of an earlier shard, whose timeouts have reduced it.
    pub fn set_transaction_limit(&mut self, limit: TransactionLimit) {
        self.transaction.limit = limit;
        self.telemetry.transaction_limit(&self.transactional_id, limit, limit);
    }

    /// What keeps transactions from being committed, or partitions from being served, if anything.
    pub fn obstacle(&mut self) -> Option<String> {
        let now = self.clock.monotonic_micros();
        let refused = self.failure.clone().or_else(|| self.refusals.reason(now));
        refused.or_else(|| self.repartitioners.obstacle(now))
    }

    /// Runs one poll iteration: new weights, rebalances, a slice of each restore, and a transaction where records came.
    pub fn poll(&mut self) -> Result<PollOutcome, ShardError> {
        let published = self.models.poll()?;
        self.models.install(&self.plan, &mut self.engine, &self.telemetry.status, &published);
        let rebalanced = self.poll_group()?;
        let restored = self.advance_restores()?;
        let now = self.clock.monotonic_micros();
        let copied = self.restores.poll_standby(&self.plan, &*self.broker, &self.transactional_id, now)?;
        let repartitioned = self.poll_repartitioners()?;
        let repartition_due = self.repartitioners.is_due(&self.plan, now);
        if self.transaction.inbox.is_empty() && !self.restores.awaits_commit() && !repartition_due {
            self.telemetry.report_if_due(&self.restores, &self.engine, now);
            let member = &mut *self.membership.member;
            self.telemetry.report_passed_if_due(&self.restores, &self.engine, member, now);
            return Ok(if rebalanced || restored || copied || repartitioned {
                PollOutcome::Progress
            } else {
                PollOutcome::Idle
            });
        }
        self.run_transaction()
    }

    /// The input topics that it does not read since they are missing, and why.
    pub fn missing_inputs(&self) -> &BTreeMap<String, String> {
        &self.missing_inputs.reasons
    }

    /// Whether a missing input topic has appeared. A new shard reads it.
    pub fn input_appeared(&mut self) -> bool {
        self.missing_inputs.appeared(&*self.broker, &self.plan, self.clock.monotonic_micros())
    }

    /// Leaves the group. Without it the partitions are only reassigned after the session timeout.
    pub fn leave(mut self) -> Result<(), BrokerError> {
        self.membership.member.leave()
    }

    /// The size of the standby copies in bytes.
    pub fn standby_copy_bytes(&self) -> usize {
        self.restores.standby.bytes()
    }

    /// Counts of the restores of the assigned partitions.
    pub fn restore_stats(&self) -> Vec<RestoreStats> {
        self.restores.partitions.values().map(|assigned| assigned.stats).collect()
    }

    /// Whether every assigned partition is served, or the group had no partition for it for a while.
    pub fn serving(&self) -> bool {
        match self.membership.state {
            Membership::Unassigned => false,
            Membership::Idle => self.restores.standby.settled(self.clock.monotonic_micros()),
            Membership::Assigned => self.restores.all_running(),
        }
    }

    /// What a shard that does not serve waits for.
    pub fn waits_for(&self) -> &'static str {
        match self.membership.state {
            Membership::Unassigned => "no partition is assigned yet: the consumer group rebalances, or does not answer",
            Membership::Idle => "the consumer group has no partition for it so far",
            Membership::Assigned => "restoring partitions",
        }
    }

    /// Polls the group until the commit interval is over (counted from the first record), the transaction is full, or
    /// nothing comes. Returns whether the group has rebalanced.
    fn poll_group(&mut self) -> Result<bool, ShardError> {
        let wait = if self.restores.busy() { Duration::ZERO } else { IDLE_WAIT };
        let mut deadline = self.clock.monotonic_micros() + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let (mut records, mut bytes, mut rebalanced) = (0, 0, false);
        loop {
            let timeout = deadline.saturating_sub(self.clock.monotonic_micros());
            let room = self.transaction.record_room();
            let max_records = room.saturating_sub(records).clamp(1, self.plan.max_poll_records);
            match self.membership.member.poll(Duration::from_micros(timeout), max_records)? {
                None => break,
                Some(MemberEvent::Records(batch)) => {
                    if self.transaction.inbox.is_empty() {
                        deadline = self.clock.monotonic_micros() + self.plan.commit_interval;
                    }
                    records += batch.len();
                    bytes += batch.bytes();
                    self.transaction.inbox.push(batch);
                }
                Some(MemberEvent::Assigned(partitions)) => {
                    rebalanced = true;
                    self.assign(&partitions)?;
                }
                Some(MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) => {
                    rebalanced = true;
                    self.revoke(&partitions)?;
                }
            }
            if records >= self.plan.max_transaction_records.min(room)
                || bytes >= self.transaction.limit.bytes()
                || self.clock.monotonic_micros() >= deadline
            {
                break;
            }
        }
        metrics::QUEUE_RECORDS.gauge(&[("queue", "transaction")]).set(records as f64);
        Ok(rebalanced)
    }

    /// Takes input that is to be copied to repartition topics into the open transaction.
    fn poll_repartitioners(&mut self) -> Result<bool, BrokerError> {
        let mut inputs = RepartitionInputs {
            plan: &self.plan,
            broker: &*self.broker,
            member: &mut *self.membership.member,
            now: self.clock.monotonic_micros(),
            wall: self.clock.wall_millis(),
            max_bytes: self.transaction.limit.bytes() / 2,
        };
        self.repartitioners.poll(&mut inputs, &self.telemetry.status)
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<(), ShardError> {
        metrics::REBALANCES.counter(&[]).increment(1);
        let committed = self.membership.member.committed(partitions)?;
        let positions = group_positions(&self.plan, &*self.broker, partitions, &committed)?;
        for (partition, position) in partitions.iter().zip(&positions) {
            self.membership.member.set_commit_metadata(partition, &commit_metadata(position.first_partitions));
        }
        let now = self.clock.monotonic_micros();
        self.restores.assign(&self.plan, &mut self.engine, partitions, &positions, now);
        self.repartitioners.assign(&self.plan, partitions, now)?;
        self.membership.assigned(partitions);
        Ok(())
    }

    /// Hands partitions back. No transaction is open, so nothing of them is half done. The next owner reads the
    /// records that were polled and not yet processed.
    fn revoke(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        metrics::REBALANCES.counter(&[]).increment(1);
        self.transaction.discard(partitions);
        self.repartitioners.revoke(partitions, &self.telemetry.status);
        for revoked in self.restores.revoke(partitions, self.clock.monotonic_micros()) {
            for task in revoked.tasks {
                self.telemetry.status.remove(self.engine.id(task.handle));
                self.engine.close(task.handle);
            }
        }
        self.membership.revoked(self.restores.partitions.is_empty());
        self.membership.member.release(partitions)
    }

    fn advance_restores(&mut self) -> Result<bool, BrokerError> {
        let now = self.clock.monotonic_micros();
        let mut inputs = RestoreInputs {
            plan: &self.plan,
            broker: &*self.broker,
            engine: &mut self.engine,
            decoders: &mut self.decoders,
            now,
            wall: self.clock.wall_millis(),
        };
        let progress = self.restores.advance(&mut inputs, &mut *self.membership.member)?;
        self.transaction.discard(progress.taken_over.as_slice());
        for partition in &progress.ready {
            let assigned = self.restores.partitions.get(partition);
            for task in assigned.into_iter().flat_map(|assigned| &assigned.tasks) {
                let series = self.engine.keys(task.handle).take(WATCHED_SERIES);
                self.telemetry.status.split_series.observe(&self.plan.streams[task.stream], partition, series, now);
            }
        }
        if !progress.ready.is_empty() || progress.advanced && self.telemetry.is_due(now) {
            self.telemetry.report(&self.restores, &self.engine, self.clock.monotonic_micros());
            self.restores.log_progress(&self.engine, now);
        }
        Ok(progress.advanced)
    }

    /// Processes the polled records and commits what follows from them.
    fn run_transaction(&mut self) -> Result<PollOutcome, ShardError> {
        let started = self.clock.monotonic_micros();
        self.transaction.show_future_covariates(&mut self.engine, &mut self.restores.partitions, started)?;
        self.transaction.process(&self.plan, &mut self.engine, &mut self.decoders, &self.restores.partitions);
        let snapshot_share = self.transaction.snapshot_share(&self.plan, started);
        let output = self.engine.finish(snapshot_share);
        let computed = self.clock.monotonic_micros();
        let written = commit(CommitInputs {
            plan: &self.plan,
            engine: &self.engine,
            outbox: Outbox { member: &mut *self.membership.member, limits: &self.limits, oversized: Vec::new() },
            forecasts: &mut self.forecasts,
            partitions: &mut self.restores.partitions,
            repartitioners: &self.repartitioners,
            input: &self.transaction,
            output: &output,
            now: computed,
        });
        let committed = self.clock.monotonic_micros();
        match written {
            Ok(Written { forecast_bytes, oversized }) => {
                self.engine.commit(&output);
                self.limits.report(&self.plan, &oversized, committed);
                let times = TransactionTimes { started, computed, committed, wall: self.clock.wall_millis() };
                let (plan, engine, input) = (&*self.plan, &self.engine, &self.transaction);
                let repartitioners = &self.repartitioners;
                let transaction = CommittedTransaction { plan, engine, input, repartitioners, output: &output, times };
                transaction.record(&self.telemetry.status, &forecast_bytes);
                self.repartitioners.commit(&self.telemetry.status, committed);
                self.telemetry.committed(&output, &self.engine);
                self.telemetry.report_if_due(&self.restores, &self.engine, committed);
                for assigned in self.restores.partitions.values_mut() {
                    clear_covariate_dead_letters(&self.plan, &mut assigned.tasks, &output, committed);
                }
                self.engine.recycle(output);
                let before = self.transaction.limit;
                let unread = self.transaction.committed(committed, committed - computed);
                self.telemetry.transaction_limit(&self.transactional_id, before, self.transaction.limit);
                self.refusals.committed(committed);
                self.failure = None;
                self.read_again(unread)?;
                // Nothing that was delivered waits to be processed now.
                let member = &mut *self.membership.member;
                self.telemetry.report_passed_if_due(&self.restores, &self.engine, member, committed);
                Ok(PollOutcome::Committed)
            }
            Err(error) => self.roll_back(error, committed - computed),
        }
    }

    /// Rolls the transaction back after an error that came so many microseconds after its beginning.
    fn roll_back(&mut self, error: BrokerError, micros: u64) -> Result<PollOutcome, ShardError> {
        if let BrokerError::TimedOut(_) | BrokerError::OutcomeUnknown(_) = error {
            let before = self.transaction.limit;
            self.transaction.timed_out(micros);
            self.telemetry.transaction_limit(&self.transactional_id, before, self.transaction.limit);
        }
        let refusing = match &error {
            BrokerError::Retriable(_) | BrokerError::Aborted(_) | BrokerError::TimedOut(_) => None,
            BrokerError::Refused { topic, too_large: false, why } => {
                let until = self.refusals.refuse(topic, why, self.clock.monotonic_micros());
                let copied = self.repartitioners.writes_to(&self.plan, topic);
                self.repartitioners.pause(&self.plan, topic, until);
                let partitions = &self.restores.partitions;
                Some((affected_partitions(&self.plan, partitions, &self.transaction, (topic, copied)), until))
            }
            _ => return Err(error.into()),
        };
        let now = self.clock.monotonic_micros();
        if let Some(LeftOut(left_out)) = ROLLBACK_LIMIT.admit(kind_of(&error.to_string()), now) {
            tracing::warn!(%error, left_out, "transaction rolled back; its input is read again");
        }
        metrics::TRANSACTIONS.counter(&[("outcome", "aborted")]).increment(1);
        // A rebalance is no obstacle, and refusals are noted by topic.
        let lasting = matches!(error, BrokerError::Retriable(_) | BrokerError::TimedOut(_));
        self.failure = lasting.then(|| error.to_string());
        self.membership.member.abort()?;
        self.engine.roll_back();
        self.repartitioners.roll_back();
        let unread = self.transaction.rolled_back();
        if let Some((affected, until)) = refusing {
            for partition in &affected {
                self.membership.member.stop(partition)?;
                self.restores.suspend(&mut self.engine, partition, until);
            }
            self.telemetry.report(&self.restores, &self.engine, self.clock.monotonic_micros());
        }
        self.read_again(unread)?;
        Ok(PollOutcome::RolledBack)
    }

    /// Reads partitions again from the positions of their tasks.
    fn read_again(&mut self, partitions: BTreeSet<Partition>) -> Result<(), BrokerError> {
        for partition in partitions {
            let assigned = self.restores.partitions.get(&partition).filter(|assigned| assigned.running());
            if let Some(task) = assigned.and_then(|assigned| assigned.tasks.first()) {
                self.membership.member.start(&partition, self.engine.position(task.handle))?;
            }
        }
        Ok(())
    }
}
