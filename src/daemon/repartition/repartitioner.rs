//! The repartitioner of one stream: merges its input partitions by time, and copies their observations.
//!
//! A series whose readings are in several partitions must see them in about the order of their times, or the readings
//! of the partition that is read later come late. A partition that is known to have more records therefore holds the
//! others back until its next one is there.

use std::collections::BTreeMap;

use super::backoff::Backoff;
use super::pending::Pending;
use super::source::{Source, SourceDecoder};
use super::start;
use crate::broker::{Broker, BrokerError, Isolation, Member, Partition};
use crate::daemon::plan::{Plan, StreamPlan};
use crate::daemon::restore::group_positions;
use crate::daemon::status::SourceStatus;
use crate::telemetry::{LeftOut, LogLimit, kind_of};
use crate::wire::{DecodeSpecError, Decoder};

/// Pause, in microseconds, between two looks for partitions that were added.
const LOOK_EVERY: u64 = 5_000_000;
/// How old, in microseconds, the known ends of the partitions may be where some have records, and where none has.
const ENDS_AGE: u64 = 250_000;
const IDLE_ENDS_AGE: u64 = 5_000_000;
/// What cannot be read for so many microseconds is an obstacle.
const PATIENCE: u64 = 30_000_000;
/// Positions are committed so often even without input, in microseconds: the cluster forgets those of topics that the
/// group does not subscribe to after `offsets.retention.minutes`.
const COMMIT_AGE: u64 = 3_600_000_000;

/// Lines about partitions that cannot be read.
static LIMIT: LogLimit = LogLimit::growing();

/// What a repartitioner works with.
pub struct RepartitionInputs<'a> {
    pub plan: &'a Plan,
    pub broker: &'a dyn Broker,
    pub member: &'a mut dyn Member,
    /// Microseconds of the monotonic clock.
    pub now: u64,
    /// Milliseconds since the Unix epoch.
    pub wall: i64,
    /// The most bytes of copies in one transaction.
    pub max_bytes: usize,
}

/// The repartitioner of one stream.
pub struct Repartitioner {
    /// The index of the stream in the plan.
    pub stream: usize,
    /// The stream without its repartition topic.
    plan: StreamPlan,
    decoder: SourceDecoder,
    sources: BTreeMap<Partition, Source>,
    pub pending: Pending,
    is_full: bool,
    /// When partitions are next looked for, in microseconds of the monotonic clock.
    look_at: u64,
    look_backoff: Backoff,
    /// When the ends of the partitions were asked for.
    ends_at: Option<u64>,
    ends_backoff: Backoff,
    committed_at: u64,
    /// Why partitions cannot be looked for, or their ends not asked for.
    failure: String,
    /// Nothing is copied before this time: a topic has refused a record.
    paused_until: u64,
}

impl Repartitioner {
    /// A repartitioner that has not looked for partitions yet.
    ///
    /// # Errors
    /// A decoding that contradicts itself.
    pub fn new(plan: &Plan, stream: usize, now: u64) -> Result<Self, DecodeSpecError> {
        let of_sources = plan.streams[stream].of_sources();
        let decoder = Decoder::new(of_sources.decode.clone())?;
        Ok(Self {
            stream,
            decoder: SourceDecoder { keys: of_sources.engine.series.extra.future_covariates.clone(), decoder },
            plan: of_sources,
            sources: BTreeMap::new(),
            pending: Pending::default(),
            is_full: false,
            look_at: 0,
            look_backoff: Backoff::default(),
            ends_at: None,
            ends_backoff: Backoff::default(),
            committed_at: now,
            failure: String::new(),
            paused_until: 0,
        })
    }

    /// The name of the stream.
    pub fn name(&self) -> &str {
        &self.plan.engine.name
    }

    /// Where the input partitions stand.
    pub fn sources(&self) -> impl Iterator<Item = (&Partition, SourceStatus)> {
        self.sources.iter().map(|(partition, source)| {
            let (position, passed, remaining) = (source.position(), source.passed(), source.remaining());
            (partition, SourceStatus { position, passed, remaining })
        })
    }

    /// What keeps input from being copied, if anything does for longer.
    pub fn obstacle(&self, now: u64) -> Option<String> {
        let failing_for = self.look_backoff.failing_for(now).max(self.ends_backoff.failing_for(now));
        if failing_for >= PATIENCE {
            let (name, seconds, why) = (self.name(), failing_for / 1_000_000, &self.failure);
            return Some(format!("the input of stream {name} cannot be copied as a whole for {seconds} s: {why}"));
        }
        let (partition, _) = self.sources.iter().find(|(_, source)| source.is_given_up())?;
        Some(format!("{partition} does not deliver the records that it has"))
    }

    /// Takes records into the open transaction, as many as it may hold. Returns whether it took any.
    ///
    /// # Errors
    /// The broker's, where the group membership cannot go on. A partition that cannot be read is tried again.
    pub fn poll(&mut self, inputs: &mut RepartitionInputs<'_>) -> Result<bool, BrokerError> {
        let now = inputs.now;
        if now < self.paused_until {
            return Ok(false);
        }
        if now >= self.look_at && self.look_backoff.is_over(now) {
            let found = self.find_sources(inputs);
            match &found {
                Ok(()) => {
                    self.look_at = now + LOOK_EVERY;
                    self.look_backoff.succeed();
                }
                Err(error) => {
                    self.failure = error.to_string();
                    self.look_backoff.fail(now);
                }
            }
            self.tolerate(found, now)?;
        }
        let taken = self.pending.count;
        self.merge(inputs)?;
        Ok(self.pending.count > taken)
    }

    /// Whether a commit is due: the open transaction is full or old enough, or the group does not know where a
    /// partition begins, or may forget it.
    pub fn is_due(&self, plan: &Plan, now: u64) -> bool {
        let is_old = |since: u64| now.saturating_sub(since) >= plan.commit_interval;
        self.is_full
            || self.pending.since.is_some_and(is_old)
            || now >= self.paused_until && self.sources.values().any(|source| !source.is_recorded())
            || !self.sources.is_empty() && now.saturating_sub(self.committed_at) >= COMMIT_AGE
    }

    /// Sets the texts that the commit carries.
    pub fn set_commit_metadata(&self, member: &mut dyn Member) {
        for (partition, source) in self.sources.iter().filter(|(_, source)| !source.is_recorded()) {
            member.set_commit_metadata(partition, &source.commit_metadata());
        }
    }

    /// The transaction is committed.
    pub fn commit(&mut self, now: u64) {
        self.sources.values_mut().for_each(Source::commit);
        self.pending.clear();
        (self.is_full, self.committed_at) = (false, now);
    }

    /// The transaction has failed: what it has copied is read again.
    pub fn roll_back(&mut self) {
        self.sources.values_mut().for_each(Source::roll_back);
        self.pending.clear();
        self.is_full = false;
    }

    /// Copies nothing until then, in microseconds of the monotonic clock.
    pub fn pause(&mut self, until: u64) {
        self.paused_until = until;
    }

    /// Looks for partitions that it does not know yet.
    fn find_sources(&mut self, inputs: &mut RepartitionInputs<'_>) -> Result<(), BrokerError> {
        let RepartitionInputs { plan, broker, member, wall, .. } = inputs;
        let mut found = Vec::new();
        for topic in &self.plan.topics {
            let partitions = broker.partitions(topic)?.unwrap_or(0);
            let all = (0..partitions).map(|number| Partition::new(topic, number));
            found.extend(all.filter(|partition| !self.sources.contains_key(partition)));
        }
        if found.is_empty() {
            return Ok(());
        }
        let committed = member.committed(&found)?;
        let positions = group_positions(plan, *broker, &found, &committed)?;
        let mut sources = Vec::new();
        for (partition, position) in found.into_iter().zip(&positions) {
            let start = start::find(*broker, &self.plan, &partition, position, *wall)?;
            let source = Source::new(partition.clone(), start, position.first_partitions);
            member.set_commit_metadata(&partition, &source.commit_metadata());
            tracing::info!(
                stream = self.name(), topic = %partition.topic, partition = partition.number,
                offset = start.read_from, "copying the partition to the repartition topic"
            );
            sources.push((partition, source));
        }
        // Where each begins is decided for all of them, or for none.
        self.sources.extend(sources);
        self.ends_at = None;
        Ok(())
    }

    /// Takes records in the order of their times.
    fn merge(&mut self, inputs: &mut RepartitionInputs<'_>) -> Result<(), BrokerError> {
        let now = inputs.now;
        self.sources.values_mut().for_each(Source::begin_merge);
        self.fill(inputs)?;
        self.ask_ends(inputs)?;
        // Without them nothing is known to hold others back.
        if self.ends_at.is_none() && self.ends_backoff.failing_for(now) < PATIENCE {
            return Ok(());
        }
        loop {
            self.is_full =
                self.pending.count >= inputs.plan.max_transaction_records || self.pending.bytes >= inputs.max_bytes;
            if self.is_full {
                return Ok(());
            }
            self.fill(inputs)?;
            let (mut first, mut waits): (Option<(i64, &Partition)>, bool) = (None, false);
            for (partition, source) in &mut self.sources {
                waits |= source.holds_back(now);
                if let Some(next) = source.next()
                    && first.is_none_or(|(time, _)| next.time < time)
                {
                    first = Some((next.time, partition));
                }
            }
            let first = first.filter(|_| !waits).map(|(_, partition)| partition.clone());
            let Some(taken) = first.and_then(|first| Some((self.sources.get_mut(&first)?.take()?, first))) else {
                return Ok(());
            };
            let (mut next, partition) = taken;
            self.pending.since.get_or_insert(now);
            self.pending.count += 1;
            self.pending.bytes += next.copies.bytes() + next.refused.as_ref().map_or(0, |refused| refused.bytes());
            self.pending.copies.append(&mut next.copies);
            self.pending.refused.extend(next.refused);
            let copied = self.pending.records.entry(partition).or_default();
            (copied.records, copied.bytes) = (copied.records + 1, copied.bytes + next.bytes as u64);
        }
    }

    /// Reads the next record of each partition.
    fn fill(&mut self, inputs: &RepartitionInputs<'_>) -> Result<(), BrokerError> {
        let mut failed = None;
        for source in self.sources.values_mut() {
            if let Err(error) = source.fill(inputs.broker, &mut self.decoder, inputs.now) {
                source.fail(inputs.now);
                failed = Some(error);
            }
        }
        self.tolerate(failed.map_or(Ok(()), Err), inputs.now)
    }

    /// Asks where the partitions end, where that is not known well enough.
    fn ask_ends(&mut self, inputs: &RepartitionInputs<'_>) -> Result<(), BrokerError> {
        let now = inputs.now;
        let idle = self.sources.values().all(|source| source.next().is_none());
        let age = if idle { IDLE_ENDS_AGE } else { ENDS_AGE };
        if self.ends_at.is_some_and(|asked| now.saturating_sub(asked) < age) || !self.ends_backoff.is_over(now) {
            return Ok(());
        }
        let partitions: Vec<Partition> = self.sources.keys().cloned().collect();
        match inputs.broker.end_offsets(&partitions, Isolation::Committed) {
            Ok(ends) => {
                self.sources.values_mut().zip(ends).for_each(|(source, end)| source.set_end(end));
                self.ends_at = Some(now);
                self.ends_backoff.succeed();
                Ok(())
            }
            Err(error) => {
                self.failure = error.to_string();
                self.ends_backoff.fail(now);
                self.tolerate(Err(error), now)
            }
        }
    }

    /// Logs an error that is tried again. Others end the group membership.
    fn tolerate(&self, outcome: Result<(), BrokerError>, now: u64) -> Result<(), BrokerError> {
        let Err(error) = outcome else { return Ok(()) };
        if !matches!(error, BrokerError::Retriable(_) | BrokerError::Rejected(_)) {
            return Err(error);
        }
        let text = error.to_string();
        if let Some(LeftOut(left_out)) = LIMIT.admit(kind_of(&text), now) {
            tracing::warn!(stream = self.name(), %error, left_out, "cannot read input that is repartitioned; retrying");
        }
        Ok(())
    }
}
