//! A group member and a publisher in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    MemoryCluster,
    faults::{Delivery, Fault, Operation},
    group::Notice,
    reader::take,
};
use crate::broker::{BrokerError, Member, MemberEvent, Partition, ProducerRecord, Publisher};

fn beyond(partition: &Partition, offset: i64, end: i64) -> BrokerError {
    BrokerError::Rejected(format!(
        "{partition} ends at offset {end}, before the position {offset}: its records are gone or it was made anew; reset \
         the group's offsets to go on"
    ))
}

/// How the member's own transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    Yes,
    /// A call failed in it: nothing but an abort is allowed.
    Void,
}

#[derive(Debug)]
pub(super) struct MemoryMember {
    cluster: MemoryCluster,
    group: String,
    transactional_id: String,
    topics: Vec<String>,
    seat: u64,
    epoch: u64,
    /// The generation of which the member has been told everything.
    generation: u64,
    open: Open,
    /// What the member has been told is its own.
    held: BTreeSet<Partition>,
    /// The next offset of each partition that delivers.
    positions: BTreeMap<Partition, i64>,
    /// The partition served last: the next one comes first.
    last: Option<Partition>,
}

impl MemoryMember {
    pub(super) fn join(
        cluster: MemoryCluster,
        group: &str,
        transactional_id: &str,
        topics: &[String],
    ) -> Result<Self, BrokerError> {
        let (seat, epoch) = {
            let mut state = cluster.lock();
            let seat = state.join(group, transactional_id, topics)?;
            (seat, state.fence(transactional_id))
        };
        Ok(Self {
            cluster,
            group: group.to_owned(),
            transactional_id: transactional_id.to_owned(),
            topics: topics.to_vec(),
            seat,
            epoch,
            generation: 0,
            open: Open::No,
            held: BTreeSet::new(),
            positions: BTreeMap::new(),
            last: None,
        })
    }

    /// Counts a call and lets the fault planned for it take effect.
    fn strike(&mut self, operation: Operation) -> Result<(), BrokerError> {
        let Some(fault) = self.cluster.faults().count(operation) else { return Ok(()) };
        if fault == Fault::Fenced {
            self.cluster.lock().fence(&self.transactional_id);
        }
        if self.open == Open::Yes {
            self.open = Open::Void;
        }
        Err(fault.error())
    }

    fn require_open(&self) -> Result<(), BrokerError> {
        match self.open {
            Open::Yes => Ok(()),
            Open::No => Err(BrokerError::Rejected("no transaction is open".into())),
            Open::Void => Err(BrokerError::Aborted("an earlier call in it failed".into())),
        }
    }

    /// Hands an error on that leaves nothing to do with the transaction but to abort it.
    fn void(&mut self, error: BrokerError) -> BrokerError {
        self.open = Open::Void;
        error
    }

    fn try_commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), BrokerError> {
        let mut state = self.cluster.lock();
        state.check(&self.transactional_id, self.epoch)?;
        let group = state.groups.entry(self.group.clone()).or_default();
        if !group.has(self.seat) {
            return Err(BrokerError::Fenced(format!("group {} has dropped this member", self.group)));
        }
        if group.generation != self.generation {
            let (mine, theirs) = (self.generation, group.generation);
            return Err(BrokerError::Aborted(format!("group {} is at generation {theirs}, not {mine}", self.group)));
        }
        state.commit(&self.transactional_id, &self.group, positions);
        Ok(())
    }

    fn records(&mut self, max_records: usize) -> Result<Option<MemberEvent>, BrokerError> {
        let in_turn = Delivery { skip: 0, max_records: max_records };
        let Delivery { skip, max_records: most } = self.cluster.faults().next_delivery().unwrap_or(in_turn);
        let max_records = max_records.min(most);
        if max_records == 0 {
            return Ok(None);
        }
        let state = self.cluster.lock();
        let last = self.last.take();
        let after = self.positions.keys().filter(|partition| Some(*partition) > last.as_ref());
        let before = self.positions.keys().filter(|partition| Some(*partition) <= last.as_ref());
        let mut turn: Vec<Partition> = after.chain(before).cloned().collect();
        let skip = skip.checked_rem(turn.len()).unwrap_or(0);
        turn.rotate_left(skip);
        for partition in turn {
            let log = state.log(&partition.topic, partition.number)?;
            let Some(position) = self.positions.get_mut(&partition) else { continue };
            if let Some(batch) = take(log, &partition, position, max_records) {
                self.last = Some(partition);
                return Ok(Some(MemberEvent::Records(batch)));
            }
        }
        Ok(None)
    }
}

impl Member for MemoryMember {
    fn poll(&mut self, _timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>, BrokerError> {
        self.strike(Operation::Poll)?;
        {
            let mut state = self.cluster.lock();
            let group = state.groups.entry(self.group.clone()).or_default();
            if !group.has(self.seat) {
                self.positions.clear();
                let lost: Vec<Partition> = std::mem::take(&mut self.held).into_iter().collect();
                // Kafka's client joins again by itself.
                self.seat = state.join(&self.group, &self.transactional_id, &self.topics)?;
                if !lost.is_empty() {
                    return Ok(Some(MemberEvent::Lost(lost)));
                }
            }
            let group = state.groups.entry(self.group.clone()).or_default();
            let notice = group.notice(self.seat);
            self.generation = group.generation;
            match notice {
                Some(Notice::Assigned(partitions)) => {
                    self.held.extend(partitions.iter().cloned());
                    return Ok(Some(MemberEvent::Assigned(partitions)));
                }
                Some(Notice::Revoked(partitions)) => return Ok(Some(MemberEvent::Revoked(partitions))),
                None => {}
            }
        }
        self.records(max_records)
    }

    fn committed_offsets(&mut self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, BrokerError> {
        self.strike(Operation::Committed)?;
        let state = self.cluster.lock();
        if let Some(partition) = partitions.iter().find(|partition| state.pending(&self.group, partition)) {
            return Err(BrokerError::Retriable(format!("{partition}: an open transaction may still move its offset")));
        }
        let group = state.groups.get(&self.group);
        let offset = |partition: &Partition| group.and_then(|group| group.offsets.get(partition)).copied();
        Ok(partitions.iter().map(offset).collect())
    }

    fn start(&mut self, partition: &Partition, offset: i64) -> Result<(), BrokerError> {
        self.cluster.faults().alive()?;
        if !self.held.contains(partition) {
            return Err(BrokerError::Rejected(format!("{partition} is not assigned to this member")));
        }
        let end = self.cluster.lock().log(&partition.topic, partition.number)?.next();
        if offset > end {
            return Err(beyond(partition, offset, end));
        }
        self.positions.insert(partition.clone(), offset);
        Ok(())
    }

    fn stop(&mut self, partition: &Partition) -> Result<(), BrokerError> {
        self.cluster.faults().alive()?;
        self.positions.remove(partition);
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        self.cluster.faults().alive()?;
        let mine: Vec<Partition> =
            partitions.iter().filter(|partition| self.held.contains(partition)).cloned().collect();
        self.cluster.lock().release(&self.group, self.seat, &mine)?;
        for partition in &mine {
            self.held.remove(partition);
            self.positions.remove(partition);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), BrokerError> {
        self.strike(Operation::Begin)?;
        if self.open != Open::No {
            return Err(BrokerError::Rejected("a transaction is open already".into()));
        }
        self.cluster.lock().begin(&self.transactional_id, self.epoch, Some(self.seat))?;
        self.open = Open::Yes;
        Ok(())
    }

    fn send(&mut self, record: ProducerRecord<'_>) -> Result<(), BrokerError> {
        self.require_open()?;
        self.strike(Operation::Send)?;
        let sent = self.cluster.lock().send(&self.transactional_id, self.epoch, &record);
        sent.map_err(|error| self.void(error))
    }

    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), BrokerError> {
        self.require_open()?;
        self.strike(Operation::Commit).inspect_err(|_| {
            if self.cluster.faults().crashed() {
                self.cluster.lock().leave_pending(&self.transactional_id, &self.group, positions);
            }
        })?;
        self.try_commit(positions).map_err(|error| self.void(error))?;
        self.open = Open::No;
        self.strike(Operation::CommitAnswer)
    }

    fn abort(&mut self) -> Result<(), BrokerError> {
        self.strike(Operation::Abort)?;
        if self.open != Open::No {
            let mut state = self.cluster.lock();
            state.check(&self.transactional_id, self.epoch)?;
            state.end(&self.transactional_id, false);
            self.open = Open::No;
        }
        self.strike(Operation::AbortAnswer)
    }

    fn leave(&mut self) -> Result<(), BrokerError> {
        self.cluster.faults().alive()?;
        if self.open != Open::No {
            self.abort()?;
        }
        self.cluster.lock().leave(&self.group, self.seat);
        self.held.clear();
        self.positions.clear();
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct MemoryPublisher {
    cluster: MemoryCluster,
    transactional_id: String,
    epoch: u64,
}

impl MemoryPublisher {
    pub(super) fn open(cluster: MemoryCluster, transactional_id: &str) -> Self {
        let epoch = cluster.lock().fence(transactional_id);
        Self { cluster, transactional_id: transactional_id.to_owned(), epoch }
    }
}

impl Publisher for MemoryPublisher {
    fn publish(&mut self, records: &[ProducerRecord<'_>]) -> Result<(), BrokerError> {
        if let Some(fault) = self.cluster.faults().count(Operation::Publish) {
            if fault == Fault::Fenced {
                self.cluster.lock().fence(&self.transactional_id);
            }
            return Err(fault.error());
        }
        let mut state = self.cluster.lock();
        state.check(&self.transactional_id, self.epoch)?;
        for record in records {
            state.place(record)?;
        }
        state.begin(&self.transactional_id, self.epoch, None)?;
        for record in records {
            state.send(&self.transactional_id, self.epoch, record)?;
        }
        state.end(&self.transactional_id, true);
        Ok(())
    }
}
