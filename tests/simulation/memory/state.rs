//! The state of the in-memory cluster: topics, groups and transactional producers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::group::{Group, MemberId};
use super::log::{Log, StoredRecord};
use super::partitioner::partition_of;
use foretide::broker::{BrokerError, Result};
use foretide::broker::{CommittedOffset, Partition, ProducerRecord};
use foretide::broker::{TopicSettings, TopicSpec};

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) logs: Vec<Log>,
    compacted: bool,
    pub(super) max_record_bytes: usize,
}

impl Topic {
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.logs.len()).unwrap_or(i32::MAX)
    }

    pub(super) fn settings(&self) -> TopicSettings {
        let policy = if self.compacted { "compact" } else { "delete" };
        TopicSettings::from([("cleanup.policy".into(), policy.into())])
    }
}

/// The newest producer of a transactional id. A client with an older epoch is fenced.
#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    open: Option<Transaction>,
}

/// An open transaction.
#[derive(Debug)]
struct Transaction {
    number: u64,
    /// The member that began it; `None` for a publisher.
    member: Option<MemberId>,
    touched: BTreeSet<Partition>,
    /// Partitions whose offsets a client sent before it crashed.
    pending: Option<(String, Vec<Partition>)>,
}

/// The offsets that a transaction commits for a group.
#[derive(Debug)]
struct GroupOffsets {
    group: String,
    positions: Vec<(Partition, CommittedOffset)>,
}

/// A committed or aborted transaction with outstanding markers.
#[derive(Debug)]
struct EndedTransaction {
    transactional_id: String,
    number: u64,
    commit: bool,
    /// Partitions whose marker is outstanding.
    touched: BTreeSet<Partition>,
    /// The group's offsets, while they are outstanding.
    offsets: Option<GroupOffsets>,
}

#[derive(Debug, Default)]
pub(super) struct ClusterState {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) groups: BTreeMap<String, Group>,
    /// Timestamp of new records, in milliseconds since the Unix epoch.
    pub(super) now: i64,
    producers: BTreeMap<String, Producer>,
    delay_markers: bool,
    ended: Vec<EndedTransaction>,
    transactions: u64,
    members: MemberId,
}

impl ClusterState {
    fn topic(&self, topic: &str) -> Result<&Topic> {
        self.topics.get(topic).ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    pub(super) fn topic_mut(&mut self, topic: &str) -> Result<&mut Topic> {
        self.topics.get_mut(topic).ok_or_else(|| BrokerError::unknown_topic(topic))
    }

    pub(super) fn log(&self, topic: &str, partition: i32) -> Result<&Log> {
        let found = self.topic(topic)?;
        let log = usize::try_from(partition).ok().and_then(|index| found.logs.get(index));
        log.ok_or_else(|| BrokerError::unknown_partition(topic, partition, found.partitions()))
    }

    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Log> {
        let found = self.topic_mut(topic)?;
        let partitions = found.partitions();
        let log = usize::try_from(partition).ok().and_then(|index| found.logs.get_mut(index));
        log.ok_or_else(|| BrokerError::unknown_partition(topic, partition, partitions))
    }

    pub(super) fn create(&mut self, spec: &TopicSpec) -> Result<()> {
        let count = usize::try_from(spec.partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
            BrokerError::Rejected(format!("topic {}: {} partitions; expected at least 1", spec.name, spec.partitions))
        })?;
        let logs = || (0..count).map(|_| Log::default()).collect();
        let topic = || Topic { logs: logs(), compacted: spec.compacted, max_record_bytes: spec.max_record_bytes };
        self.topics.entry(spec.name.clone()).or_insert_with(topic);
        self.rebalance_all();
        Ok(())
    }

    pub(super) fn add_partitions(&mut self, topic: &str, total: i32) -> Result<()> {
        let found = self.topic_mut(topic)?;
        let total = usize::try_from(total).unwrap_or(0).max(found.logs.len());
        found.logs.resize_with(total, Log::default);
        self.rebalance_all();
        Ok(())
    }

    /// All partitions of all topics, in order.
    fn partitions(&self) -> Vec<Partition> {
        let of = |(name, topic): (&String, &Topic)| {
            let name: Arc<str> = name.as_str().into();
            (0..topic.partitions()).map(|number| Partition { topic: Arc::clone(&name), number }).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    fn rebalance_all(&mut self) {
        let all = self.partitions();
        self.groups.values_mut().for_each(|group| group.rebalance(&all));
    }

    /// Adds a member to a group and returns its id.
    pub(super) fn join(&mut self, group: &str, transactional_id: &str, topics: &[String]) -> Result<MemberId> {
        topics.iter().try_for_each(|topic| self.topic(topic).map(|_| ()))?;
        self.members += 1;
        let (member, all) = (self.members, self.partitions());
        self.groups.entry(group.to_owned()).or_default().join(member, transactional_id, topics, &all);
        Ok(member)
    }

    pub(super) fn leave(&mut self, group: &str, member: MemberId) {
        let all = self.partitions();
        if let Some(group) = self.groups.get_mut(group) {
            group.leave(member, &all);
        }
    }

    pub(super) fn release(&mut self, group: &str, member: MemberId, partitions: &[Partition]) -> Result<()> {
        let all = self.partitions();
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        group.release(member, partitions, &all).map_err(BrokerError::not_revoked)
    }

    pub(super) fn expire(&mut self, transactional_id: &str, and_transaction: bool) -> bool {
        let oldest = |(name, group): (&String, &Group)| {
            group.oldest_member(transactional_id).map(|member| (member, name.clone()))
        };
        let found = self.groups.iter().filter_map(oldest).min();
        if let Some((member, group)) = &found {
            self.leave(group, *member);
        }
        let member = found.as_ref().map(|(member, _)| *member);
        let open = self.producers.get(transactional_id).and_then(|producer| producer.open.as_ref());
        let left_open = and_transaction && open.is_some_and(|open| member.is_none() || open.member == member);
        if left_open {
            self.fence(transactional_id);
        }
        found.is_some() || left_open
    }

    /// Starts a new epoch of a transactional id: fences its older clients and aborts their open transaction.
    pub(super) fn fence(&mut self, transactional_id: &str) -> u64 {
        self.end(transactional_id, false);
        self.write_markers_of(Some(transactional_id));
        let producer = self.producers.entry(transactional_id.to_owned()).or_default();
        producer.epoch += 1;
        producer.epoch
    }

    fn producer(&mut self, transactional_id: &str, epoch: u64) -> Result<&mut Producer> {
        let found = self.producers.get_mut(transactional_id).filter(|producer| producer.epoch == epoch);
        found.ok_or_else(|| BrokerError::Fenced(format!("transactional id {transactional_id} has a newer producer")))
    }

    /// Fails if the client of `epoch` is fenced.
    pub(super) fn check_epoch(&mut self, transactional_id: &str, epoch: u64) -> Result<()> {
        self.producer(transactional_id, epoch).map(|_| ())
    }

    pub(super) fn begin(&mut self, transactional_id: &str, epoch: u64, member: Option<MemberId>) -> Result<()> {
        self.check_epoch(transactional_id, epoch)?;
        self.write_markers_of(Some(transactional_id));
        let number = self.transactions + 1;
        let producer = self.producer(transactional_id, epoch)?;
        producer.open = Some(Transaction { number, member, touched: BTreeSet::new(), pending: None });
        self.transactions = number;
        Ok(())
    }

    pub(super) fn send(&mut self, transactional_id: &str, epoch: u64, record: &ProducerRecord<'_>) -> Result<()> {
        let partition = self.target(record)?;
        let now = self.now;
        let Some(open) = self.producer(transactional_id, epoch)?.open.as_mut() else {
            return Err(BrokerError::Rejected("no transaction is open".into()));
        };
        let number = open.number;
        open.touched.insert(partition.clone());
        let stored = StoredRecord::new(now, record.key, record.payload, record.headers);
        self.log_mut(&partition.topic, partition.number)?.append(stored, Some(number));
        Ok(())
    }

    /// The partition for a record. Fails if the topic does not accept the record.
    pub(super) fn target(&self, record: &ProducerRecord<'_>) -> Result<Partition> {
        let topic = self.topic(record.topic)?;
        let bytes = record.bytes();
        if bytes > topic.max_record_bytes {
            let (name, limit) = (record.topic, topic.max_record_bytes);
            return Err(BrokerError::Rejected(format!("{name}: a record of {bytes} bytes; the topic accepts {limit}")));
        }
        let number = record.partition.unwrap_or_else(|| partition_of(record.key, topic.partitions()));
        self.log(record.topic, number)?;
        Ok(Partition::new(record.topic, number))
    }

    /// Leaves offsets pending in the open transaction, as a client does that crashes before it ends the transaction.
    pub(super) fn leave_pending(&mut self, transactional_id: &str, group: &str, positions: &[(Partition, i64)]) {
        let open = self.producers.get_mut(transactional_id).and_then(|producer| producer.open.as_mut());
        if let Some(open) = open {
            open.pending = Some((group.to_owned(), positions.iter().map(|(partition, _)| partition.clone()).collect()));
        }
    }

    /// Whether an open transaction, or one with outstanding markers, may still change the committed offset of
    /// `partition`.
    pub(super) fn is_pending(&self, group: &str, partition: &Partition) -> bool {
        let mut open = self.producers.values().filter_map(|producer| producer.open.as_ref()?.pending.as_ref());
        let mut ended = self.ended.iter().filter_map(|ended| ended.offsets.as_ref());
        open.any(|(of, partitions)| of == group && partitions.contains(partition))
            || ended.any(|ended| ended.group == group && ended.positions.iter().any(|(of, _)| of == partition))
    }

    /// Commits the open transaction together with the group's offsets.
    pub(super) fn commit(&mut self, transactional_id: &str, group: &str, positions: Vec<(Partition, CommittedOffset)>) {
        let offsets = GroupOffsets { group: group.to_owned(), positions };
        self.end_with_offsets(transactional_id, true, Some(offsets).filter(|offsets| !offsets.positions.is_empty()));
    }

    /// Ends the open transaction, if there is one: every partition that it touched gets a marker.
    pub(super) fn end(&mut self, transactional_id: &str, commit: bool) {
        self.end_with_offsets(transactional_id, commit, None);
    }

    fn end_with_offsets(&mut self, transactional_id: &str, commit: bool, offsets: Option<GroupOffsets>) {
        let open = self.producers.get_mut(transactional_id).and_then(|producer| producer.open.take());
        let Some(Transaction { number, touched, .. }) = open else { return };
        let transactional_id = transactional_id.to_owned();
        self.ended.push(EndedTransaction { transactional_id, number, commit, touched, offsets });
        if !self.delay_markers {
            self.write_markers_of(None);
        }
    }

    /// Sets whether markers stay outstanding until [`ClusterState::write_marker`].
    pub(super) fn delay_markers(&mut self, delay: bool) {
        self.delay_markers = delay;
        if !delay {
            self.write_markers_of(None);
        }
    }

    /// Writes the outstanding markers of one transactional id, or of all.
    fn write_markers_of(&mut self, transactional_id: Option<&str>) {
        let (due, others) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|ended| transactional_id.is_none_or(|id| ended.transactional_id == id));
        self.ended = due;
        while self.write_marker(0) {}
        self.ended = others;
    }

    /// Writes one outstanding marker, or commits the group offsets of one transaction. Returns whether any was
    /// outstanding.
    pub(super) fn write_marker(&mut self, choice: usize) -> bool {
        let Some(index) = choice.checked_rem(self.ended.len()) else { return false };
        let ended = &mut self.ended[index];
        let kinds = ended.touched.len() + usize::from(ended.offsets.is_some());
        let chosen = choice.checked_rem(kinds).and_then(|kind| ended.touched.iter().nth(kind).cloned());
        if let Some(partition) = chosen {
            let (number, commit) = (ended.number, ended.commit);
            ended.touched.remove(&partition);
            if let Ok(log) = self.log_mut(&partition.topic, partition.number) {
                log.end(number, commit);
            }
        } else if let Some(GroupOffsets { group, positions }) = ended.offsets.take() {
            self.groups.entry(group).or_default().offsets.extend(positions);
        }
        self.ended.retain(|ended| !ended.touched.is_empty() || ended.offsets.is_some());
        true
    }
}
