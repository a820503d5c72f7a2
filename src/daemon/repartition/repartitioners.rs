//! The repartitioners of a shard: one for each stream of whose repartition topic it has partition 0.

use std::collections::BTreeMap;

use super::pending::{ReadRecords, RefusedRecord};
use super::repartitioner::{RepartitionInputs, Repartitioner};
use crate::broker::{BrokerError, Member, Partition};
use crate::daemon::plan::Plan;
use crate::daemon::status::Status;
use crate::engine::TaskId;
use crate::wire::DecodeSpecError;

/// How often the positions are reported without a commit, in microseconds.
const REPORT_EVERY: u64 = 1_000_000;

/// The repartitioners of a shard.
#[derive(Default)]
pub struct Repartitioners {
    /// By partition 0 of the repartition topic.
    running: BTreeMap<Partition, Repartitioner>,
    reported_at: u64,
}

impl Repartitioners {
    /// Begins to copy where partition 0 of a repartition topic is assigned.
    ///
    /// # Errors
    /// A decoding that contradicts itself.
    pub fn assign(&mut self, plan: &Plan, partitions: &[Partition], now: u64) -> Result<(), DecodeSpecError> {
        for partition in partitions.iter().filter(|partition| partition.number == 0) {
            let is_of = |topic: &str| *partition.topic == *topic;
            let mut streams = plan.streams.iter();
            let stream = streams.position(|stream| stream.repartition.as_ref().is_some_and(|plan| is_of(&plan.topic)));
            if let Some(stream) = stream {
                self.running.insert(partition.clone(), Repartitioner::new(plan, stream, now)?);
            }
        }
        Ok(())
    }

    /// Ends to copy where partition 0 is revoked. No transaction is open.
    pub fn revoke(&mut self, partitions: &[Partition], status: &Status) {
        for partition in partitions {
            if let Some(revoked) = self.running.remove(partition) {
                for (source, _) in revoked.sources() {
                    status.remove_source(&source_id(&revoked, source));
                }
            }
        }
    }

    /// Takes records into the open transaction. Returns whether there were any.
    ///
    /// # Errors
    /// The broker's, where the group membership cannot go on.
    pub fn poll(&mut self, inputs: &mut RepartitionInputs<'_>, status: &Status) -> Result<bool, BrokerError> {
        let mut found = false;
        for repartitioner in self.running.values_mut() {
            found |= repartitioner.poll(inputs)?;
        }
        if inputs.now.saturating_sub(self.reported_at) >= REPORT_EVERY {
            self.report(status, inputs.now);
        }
        Ok(found)
    }

    /// Whether a commit is due.
    pub fn is_due(&self, plan: &Plan, now: u64) -> bool {
        self.running.values().any(|repartitioner| repartitioner.is_due(plan, now))
    }

    /// What keeps input from being copied, if anything does for longer.
    pub fn obstacle(&self, now: u64) -> Option<String> {
        self.running.values().find_map(|repartitioner| repartitioner.obstacle(now))
    }

    /// Sets the texts that the commit carries.
    pub fn set_commit_metadata(&self, member: &mut dyn Member) {
        self.running.values().for_each(|repartitioner| repartitioner.set_commit_metadata(member));
    }

    /// The positions that the open transaction commits.
    pub fn positions(&self) -> impl Iterator<Item = (Partition, i64)> {
        let all = self.running.values().flat_map(Repartitioner::sources);
        all.map(|(partition, status)| (partition.clone(), status.position))
    }

    /// The copies of the open transaction: the stream's index in the plan, the repartition topic, the key, the copy.
    pub fn copies(&self) -> impl Iterator<Item = (usize, &str, &[u8], &[u8])> {
        self.running.iter().flat_map(|(partition, repartitioner)| {
            let (stream, topic) = (repartitioner.stream, &*partition.topic);
            repartitioner.pending.copies.iter().map(move |(key, copy)| (stream, topic, key, copy))
        })
    }

    /// The records of the open transaction that cannot be used, with the stream's index in the plan.
    pub fn refused(&self) -> impl Iterator<Item = (usize, &RefusedRecord)> {
        let all = self.running.values();
        all.flat_map(|repartitioner| repartitioner.pending.refused.iter().map(|one| (repartitioner.stream, one)))
    }

    /// The records that the open transaction has read, by the stream's index in the plan and partition.
    pub fn records(&self) -> impl Iterator<Item = (usize, &Partition, ReadRecords)> {
        self.running.values().flat_map(|repartitioner| {
            let stream = repartitioner.stream;
            repartitioner.pending.records.iter().map(move |(partition, records)| (stream, partition, *records))
        })
    }

    /// The transaction is committed.
    pub fn commit(&mut self, status: &Status, now: u64) {
        self.running.values_mut().for_each(|repartitioner| repartitioner.commit(now));
        self.report(status, now);
    }

    /// The transaction has failed: what it has copied is read again.
    pub fn roll_back(&mut self) {
        self.running.values_mut().for_each(Repartitioner::roll_back);
    }

    /// Whether the open transaction writes records of a repartitioner to `topic`.
    pub fn writes_to(&self, plan: &Plan, topic: &str) -> bool {
        let writes = |(partition, repartitioner): (&Partition, &Repartitioner)| {
            *partition.topic == *topic && repartitioner.pending.copies.bytes() > 0
                || plan.dead_letter_topic == topic && !repartitioner.pending.refused.is_empty()
        };
        self.running.iter().any(writes)
    }

    /// `topic` refuses records: those that write to it wait until then, in microseconds of the monotonic clock.
    pub fn pause(&mut self, plan: &Plan, topic: &str, until: u64) {
        for (partition, repartitioner) in &mut self.running {
            if *partition.topic == *topic
                || plan.dead_letter_topic == topic && !repartitioner.pending.refused.is_empty()
            {
                repartitioner.pause(until);
            }
        }
    }

    /// Reports the positions to the lag monitor.
    fn report(&mut self, status: &Status, now: u64) {
        self.reported_at = now;
        for repartitioner in self.running.values() {
            for (partition, found) in repartitioner.sources() {
                status.set_source(&source_id(repartitioner, partition), found);
            }
        }
    }
}

fn source_id(repartitioner: &Repartitioner, partition: &Partition) -> TaskId {
    TaskId { stream: repartitioner.name().into(), topic: partition.topic.clone(), partition: partition.number }
}
