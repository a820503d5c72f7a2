//! A group member on the in-memory cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cluster::MemoryCluster;
use super::faults::{Delivery, Fault, Operation};
use super::group::{MemberId, Notice};
use foretide::broker::TransactionState;
use foretide::broker::{BrokerError, Result};
use foretide::broker::{CommittedOffset, Member, MemberEvent};
use foretide::broker::{Partition, ProducerRecord};

#[derive(Debug)]
pub(super) struct MemoryMember {
    cluster: MemoryCluster,
    group: String,
    transactional_id: String,
    topics: Vec<String>,
    id: MemberId,
    epoch: u64,
    /// The newest generation of which the member has reported all events.
    generation: u64,
    transaction: TransactionState,
    /// Partitions that the member has reported as assigned.
    assigned: BTreeSet<Partition>,
    /// The text that the commits of a partition carry.
    metadata: BTreeMap<Partition, String>,
    /// The next offset of each partition that delivers.
    positions: BTreeMap<Partition, i64>,
    /// The partition of the last batch. The one after it comes first in the next poll.
    last: Option<Partition>,
}

impl MemoryMember {
    pub(super) fn join(cluster: MemoryCluster, group: &str, transactional_id: &str, topics: &[String]) -> Result<Self> {
        let (id, epoch) = {
            let mut state = cluster.lock();
            let id = state.join(group, transactional_id, topics)?;
            (id, state.fence(transactional_id))
        };
        Ok(Self {
            cluster,
            group: group.to_owned(),
            transactional_id: transactional_id.to_owned(),
            topics: topics.to_vec(),
            id,
            epoch,
            generation: 0,
            transaction: TransactionState::None,
            assigned: BTreeSet::new(),
            metadata: BTreeMap::new(),
            positions: BTreeMap::new(),
            last: None,
        })
    }

    /// Counts a call and applies its planned fault.
    fn strike(&mut self, operation: Operation) -> Result<()> {
        let Some(fault) = self.cluster.faults().count(operation) else { return Ok(()) };
        if fault == Fault::Fenced {
            self.cluster.lock().fence(&self.transactional_id);
        }
        if self.transaction == TransactionState::Open {
            self.transaction = TransactionState::Failed;
        }
        Err(fault.error())
    }

    /// Returns an error after which the transaction can only be aborted.
    fn fail(&mut self, error: BrokerError) -> BrokerError {
        self.transaction = TransactionState::Failed;
        error
    }

    fn try_commit(&mut self, positions: &[(Partition, i64)]) -> Result<()> {
        let mut state = self.cluster.lock();
        state.check_epoch(&self.transactional_id, self.epoch)?;
        let group = state.groups.entry(self.group.clone()).or_default();
        if !group.has_member(self.id) {
            return Err(BrokerError::Fenced(format!("group {} has removed this member", self.group)));
        }
        if group.generation != self.generation {
            let (ours, theirs) = (self.generation, group.generation);
            return Err(BrokerError::Aborted(format!("group {} is at generation {theirs}, not {ours}", self.group)));
        }
        let committed = |(partition, offset): &(Partition, i64)| {
            let metadata = self.metadata.get(partition).cloned().unwrap_or_default();
            (partition.clone(), CommittedOffset { offset: *offset, metadata })
        };
        let positions = positions.iter().map(committed).collect();
        state.commit(&self.transactional_id, &self.group, positions);
        Ok(())
    }

    /// The records of the next partition in round-robin order.
    fn records(&mut self, max_records: usize) -> Result<Option<MemberEvent>> {
        let in_turn = Delivery { skip: 0, max_records };
        let delivery = self.cluster.faults().next_delivery().unwrap_or(in_turn);
        let max_records = max_records.min(delivery.max_records);
        if max_records == 0 {
            return Ok(None);
        }
        let state = self.cluster.lock();
        let last = self.last.take();
        let after = self.positions.keys().filter(|partition| Some(*partition) > last.as_ref());
        let before = self.positions.keys().filter(|partition| Some(*partition) <= last.as_ref());
        let mut order: Vec<Partition> = after.chain(before).cloned().collect();
        let skip = delivery.skip.checked_rem(order.len()).unwrap_or(0);
        order.rotate_left(skip);
        for partition in order {
            let log = state.log(&partition.topic, partition.number)?;
            let Some(position) = self.positions.get_mut(&partition) else { continue };
            if let Some(batch) = log.read(&partition, position, max_records) {
                self.last = Some(partition);
                return Ok(Some(MemberEvent::Records(batch)));
            }
        }
        Ok(None)
    }
}

impl Member for MemoryMember {
    fn poll(&mut self, _timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>> {
        self.strike(Operation::Poll)?;
        {
            let mut state = self.cluster.lock();
            let group = state.groups.entry(self.group.clone()).or_default();
            if !group.has_member(self.id) {
                self.positions.clear();
                let lost: Vec<Partition> = std::mem::take(&mut self.assigned).into_iter().collect();
                // Kafka's client rejoins by itself.
                self.id = state.join(&self.group, &self.transactional_id, &self.topics)?;
                if !lost.is_empty() {
                    return Ok(Some(MemberEvent::Lost(lost)));
                }
            }
            let group = state.groups.entry(self.group.clone()).or_default();
            let notice = group.next_notice(self.id);
            self.generation = group.generation;
            match notice {
                Some(Notice::Assigned(partitions)) => {
                    self.assigned.extend(partitions.iter().cloned());
                    return Ok(Some(MemberEvent::Assigned(partitions)));
                }
                Some(Notice::Revoked(partitions)) => return Ok(Some(MemberEvent::Revoked(partitions))),
                None => {}
            }
        }
        self.records(max_records)
    }

    fn committed(&mut self, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.strike(Operation::Committed)?;
        let state = self.cluster.lock();
        if let Some(partition) = partitions.iter().find(|partition| state.is_pending(&self.group, partition)) {
            return Err(BrokerError::Retriable(format!(
                "{partition}: an open transaction may still change its offset"
            )));
        }
        let group = state.groups.get(&self.group);
        Ok(partitions.iter().map(|partition| group.and_then(|group| group.committed(partition))).collect())
    }

    fn set_commit_metadata(&mut self, partition: &Partition, metadata: &str) {
        self.metadata.insert(partition.clone(), metadata.to_owned());
    }

    fn start(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        self.cluster.faults().check_alive()?;
        if !self.assigned.contains(partition) {
            return Err(BrokerError::not_assigned(partition));
        }
        let end = self.cluster.lock().log(&partition.topic, partition.number)?.next();
        if offset > end {
            return Err(BrokerError::position_after_end(partition, offset, end));
        }
        self.positions.insert(partition.clone(), offset);
        Ok(())
    }

    fn stop(&mut self, partition: &Partition) -> Result<()> {
        self.cluster.faults().check_alive()?;
        self.positions.remove(partition);
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<()> {
        self.cluster.faults().check_alive()?;
        let ours: Vec<Partition> =
            partitions.iter().filter(|partition| self.assigned.contains(partition)).cloned().collect();
        self.cluster.lock().release(&self.group, self.id, &ours)?;
        for partition in &ours {
            self.assigned.remove(partition);
            self.positions.remove(partition);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.strike(Operation::Begin)?;
        self.transaction.require_none()?;
        self.cluster.lock().begin(&self.transactional_id, self.epoch, Some(self.id))?;
        self.transaction = TransactionState::Open;
        Ok(())
    }

    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        self.transaction.require_open()?;
        self.strike(Operation::Send)?;
        let sent = self.cluster.lock().send(&self.transactional_id, self.epoch, &record);
        sent.map_err(|error| self.fail(error))
    }

    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<()> {
        self.transaction.require_open()?;
        self.strike(Operation::Commit).inspect_err(|_| {
            if self.cluster.faults().crashed() {
                self.cluster.lock().leave_pending(&self.transactional_id, &self.group, positions);
            }
        })?;
        self.try_commit(positions).map_err(|error| self.fail(error))?;
        self.transaction = TransactionState::None;
        self.strike(Operation::CommitAnswer).map_err(|error| match error {
            BrokerError::TimedOut(why) => BrokerError::OutcomeUnknown(why),
            error => error,
        })
    }

    fn abort(&mut self) -> Result<()> {
        self.strike(Operation::Abort)?;
        if self.transaction != TransactionState::None {
            let mut state = self.cluster.lock();
            state.check_epoch(&self.transactional_id, self.epoch)?;
            state.end(&self.transactional_id, false);
            self.transaction = TransactionState::None;
        }
        self.strike(Operation::AbortAnswer)
    }

    fn delivery_positions(&mut self) -> Result<Vec<(Partition, i64)>> {
        self.cluster.faults().check_alive()?;
        let state = self.cluster.lock();
        let passed = |(partition, position): (&Partition, &i64)| {
            let log = state.log(&partition.topic, partition.number)?;
            let next = log.stable_from(*position).first().map_or(log.last_stable(), |record| record.offset);
            Ok((partition.clone(), next.max(*position)))
        };
        self.positions.iter().map(passed).collect()
    }

    fn leave(&mut self) -> Result<()> {
        self.cluster.faults().check_alive()?;
        if self.transaction != TransactionState::None {
            self.abort()?;
        }
        self.cluster.lock().leave(&self.group, self.id);
        self.assigned.clear();
        self.positions.clear();
        Ok(())
    }
}
