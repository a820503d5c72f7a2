//! A member of a consumer group with its transactional producer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::contexts::{Change, ConsumerCallbacks, Rebalance};
use super::convert::{offset_list, partition_list, push};
use super::deadline::Deadline;
use super::error_recovery;
use super::last_error::LastClientError;
use super::metadata::MetadataClient;
use super::offset_query;
use super::options::KafkaOptions;
use super::producer::TransactionalProducer;
use crate::broker::client::{CommittedOffset, Member, MemberEvent};
use crate::broker::errors::{BrokerError, Result};
use crate::broker::records::{Batch, Partition, ProducerRecord};

/// A batch is complete at this size of keys and values in bytes, even with few records.
const BATCH_BYTES: usize = 1 << 20;

/// State of an assigned partition.
#[derive(Debug, Clone, Copy, Default)]
struct Assignment {
    /// Whether the client fetches the partition. It begins with the first start, so that no record arrives before.
    fetching: bool,
    /// Whether the member delivers its records.
    delivering: bool,
    /// The next offset to deliver.
    next: i64,
    /// Whether the group has revoked the partition and waits for its release.
    revoked: bool,
}

pub(super) struct KafkaMember {
    consumer: BaseConsumer<ConsumerCallbacks>,
    producer: TransactionalProducer,
    metadata: Arc<MetadataClient>,
    group: String,
    request_timeout: Duration,
    assignments: BTreeMap<Partition, Assignment>,
    /// Released partitions. One call answers the rebalance once all revoked partitions are released.
    released: Vec<Partition>,
    /// Records that were fetched before an event, or while a batch of another partition was being filled.
    prefetched: Option<Batch>,
    /// The group's generation at the last event that the caller has received. The current generation would be wrong:
    /// after a rebalance that the caller does not know yet, it would let the member commit offsets of partitions that
    /// it has lost.
    generation: Option<Arc<ConsumerGroupMetadata>>,
    /// The text that the commits of a partition carry.
    commit_metadata: BTreeMap<Partition, String>,
    /// The topics that it has written to, the newest last.
    written: Vec<String>,
}

impl KafkaMember {
    pub(super) fn join(
        options: &KafkaOptions,
        metadata: Arc<MetadataClient>,
        group: &str,
        transactional_id: &str,
        topics: &[String],
    ) -> Result<Self> {
        for topic in topics {
            if metadata.partitions(topic)?.is_none() {
                return Err(BrokerError::unknown_topic(topic));
            }
        }
        // The producer comes first: it ends the transaction of an earlier instance before anybody reads the group's
        // offsets.
        let producer = TransactionalProducer::start(options, transactional_id)?;
        let error = |error| error_recovery::broker_error(&format!("joining group {group}"), &error);
        let config = options.member(group, transactional_id);
        let consumer: BaseConsumer<ConsumerCallbacks> =
            config.create_with_context(ConsumerCallbacks::default()).map_err(error)?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(error)?;
        Ok(Self {
            consumer,
            producer,
            metadata,
            group: group.to_owned(),
            request_timeout: options.request_timeout,
            assignments: BTreeMap::new(),
            released: Vec::new(),
            prefetched: None,
            generation: None,
            commit_metadata: BTreeMap::new(),
            written: Vec::new(),
        })
    }

    fn last_error(&self) -> &LastClientError {
        &self.consumer.context().last_error
    }

    fn explain(&self, operation: &str, error: &KafkaError) -> BrokerError {
        self.last_error().explain(&format!("group {}: {operation}", self.group), error)
    }

    /// Applies the next rebalance, as far as the member can without its caller.
    fn next_rebalance(&mut self) -> Result<Option<MemberEvent>> {
        while let Some(Rebalance { partitions, change, metadata }) = self.consumer.context().next_rebalance() {
            self.generation = metadata;
            match change {
                Change::Assign => {
                    // Acknowledges the assignment. Fetching begins with the start of each partition.
                    let acknowledged = self.consumer.incremental_assign(&TopicPartitionList::new());
                    acknowledged.map_err(|error| self.explain("accepting partitions", &error))?;
                    let assigned = partitions.iter().map(|partition| (partition.clone(), Assignment::default()));
                    self.assignments.extend(assigned);
                }
                Change::Revoke => {
                    for partition in &partitions {
                        self.assignments.entry(partition.clone()).or_default().revoked = true;
                    }
                }
                Change::Lose => {
                    self.drop_prefetched(&partitions);
                    self.released.clear();
                    self.unassign(&partitions)?;
                }
            }
            // A member without partitions also learns of an empty assignment.
            if !partitions.is_empty() || change == Change::Assign && self.assignments.is_empty() {
                return Ok(Some(match change {
                    Change::Assign => MemberEvent::Assigned(partitions),
                    Change::Revoke => MemberEvent::Revoked(partitions),
                    Change::Lose => MemberEvent::Lost(partitions),
                }));
            }
        }
        Ok(None)
    }

    /// Removes partitions and stops to fetch them. This answers the rebalance.
    fn unassign(&mut self, partitions: &[Partition]) -> Result<()> {
        let mut fetched = Vec::new();
        for partition in partitions {
            if self.assignments.remove(partition).is_some_and(|assignment| assignment.fetching) {
                fetched.push(partition);
            }
        }
        let list = partition_list(fetched.into_iter().map(|partition| (partition, Offset::Invalid)))?;
        self.consumer.incremental_unassign(&list).map_err(|error| self.explain("releasing partitions", &error))
    }

    fn drop_prefetched(&mut self, partitions: &[Partition]) {
        if self.prefetched.as_ref().is_some_and(|batch| partitions.contains(&batch.partition)) {
            self.prefetched = None;
        }
    }

    /// Handles an error event of the consumer, which recovers from most of them by itself.
    fn handle(&mut self, error: &KafkaError) -> Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.reset_positions(),
            // The topic existed when the member joined: somebody is deleting or recreating it.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(()),
            _ => {
                let operation = format!("group {}: reading", self.group);
                self.last_error().consumer_error(&operation, error).map_or(Ok(()), Err)
            }
        }
    }

    /// Moves partitions whose position retention has deleted to their oldest record.
    fn reset_positions(&mut self) -> Result<()> {
        let delivering = self.assignments.iter().filter(|(_, assignment)| assignment.delivering);
        let positions: Vec<(Partition, i64)> =
            delivering.map(|(partition, assignment)| (partition.clone(), assignment.next)).collect();
        for (partition, next) in positions {
            // The topic was recreated while we read it. A new membership detects and handles that.
            let oldest = self.metadata.clamp_offset(&partition, next).map_err(|error| match error {
                BrokerError::Rejected(text) => BrokerError::Retriable(text),
                other => other,
            })?;
            if oldest != next {
                tracing::warn!(
                    target: "kafka",
                    topic = %partition.topic,
                    partition = partition.number,
                    offset = next,
                    oldest,
                    "retention deleted unread records; continuing at the oldest record"
                );
                // The client has dropped the partition, so a seek would fail.
                let list = partition_list([(&partition, Offset::Offset(oldest))])?;
                let unassigned = self.consumer.incremental_unassign(&list);
                let assigned = unassigned.and_then(|()| self.consumer.incremental_assign(&list));
                assigned.map_err(|error| self.explain(&format!("moving {partition} to {oldest}"), &error))?;
                self.assignments.entry(partition).or_default().next = oldest;
            }
        }
        Ok(())
    }

    /// The event of a batch. It advances the position of its partition.
    fn deliver(&mut self, batch: Batch) -> MemberEvent {
        self.last_error().clear();
        if let (Some(next), Some(assignment)) = (batch.next_offset(), self.assignments.get_mut(&batch.partition)) {
            assignment.next = next;
        }
        MemberEvent::Records(batch)
    }

    /// Adds a message to `batch`. A message of another partition starts a new batch; the complete one is returned. A
    /// message of a partition that is not delivering is dropped.
    fn add(&self, batch: &mut Option<Batch>, message: &BorrowedMessage<'_>) -> Option<Batch> {
        let is_from = |partition: &Partition| partition.is(message.topic(), message.partition());
        if let Some(batch) = batch.as_mut().filter(|batch| is_from(&batch.partition)) {
            push(batch, message);
            return None;
        }
        let (partition, _) = self
            .assignments
            .iter()
            .find(|(partition, _)| is_from(partition))
            .filter(|(_, assignment)| assignment.delivering)?;
        let mut next = Batch::new(partition.clone());
        push(&mut next, message);
        batch.replace(next)
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>> {
        let deadline = Deadline::after(timeout);
        let mut batch = self.prefetched.take();
        loop {
            if batch.as_ref().is_some_and(|batch| batch.len() >= max_records.max(1) || batch.bytes() >= BATCH_BYTES) {
                return Ok(batch.map(|batch| self.deliver(batch)));
            }
            let wait = if batch.is_some() { Duration::ZERO } else { deadline.remaining() };
            let error = match self.consumer.poll(wait) {
                Some(Ok(message)) => match self.add(&mut batch, &message) {
                    Some(complete) => {
                        drop(message);
                        self.prefetched = batch;
                        return Ok(Some(self.deliver(complete)));
                    }
                    None => continue,
                },
                Some(Err(error)) => Some(error),
                None => None,
            };
            // An error or a rebalance comes before the batch.
            self.prefetched = batch.take();
            if let Some(error) = error {
                self.handle(&error)?;
            }
            if let Some(event) = self.next_rebalance()? {
                return Ok(Some(event));
            }
            if let Some(batch) = self.prefetched.take() {
                return Ok(Some(self.deliver(batch)));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    fn committed(&mut self, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let answer = offset_query::committed(&self.consumer, partitions, self.request_timeout).map_err(|error| {
            let last_error = self.last_error().suffix();
            self.explain(&format!("reading committed offsets{last_error}"), &error)
        })?;
        Ok(answer)
    }

    fn set_commit_metadata(&mut self, partition: &Partition, metadata: &str) {
        self.commit_metadata.insert(partition.clone(), metadata.to_owned());
    }

    fn start(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        let Some(mut assignment) = self.assignments.get(partition).copied() else {
            return Err(BrokerError::not_assigned(partition));
        };
        self.drop_prefetched(std::slice::from_ref(partition));
        let explain = |offset, error| self.explain(&format!("starting {partition} at {offset}"), &error);
        assignment.next = if assignment.fetching {
            let list = partition_list([(partition, Offset::Offset(offset))])?;
            let sought = self.consumer.seek_partitions(list, self.request_timeout);
            let sought = sought.and_then(|list| list.elements().iter().try_for_each(|element| element.error()));
            sought.map_err(|error| explain(offset, error))?;
            let list = partition_list([(partition, Offset::Invalid)])?;
            self.consumer.resume(&list).map_err(|error| explain(offset, error))?;
            offset
        } else {
            let offset = self.metadata.clamp_offset(partition, offset)?;
            let list = partition_list([(partition, Offset::Offset(offset))])?;
            self.consumer.incremental_assign(&list).map_err(|error| explain(offset, error))?;
            offset
        };
        (assignment.fetching, assignment.delivering) = (true, true);
        self.assignments.insert(partition.clone(), assignment);
        Ok(())
    }

    fn stop(&mut self, partition: &Partition) -> Result<()> {
        self.drop_prefetched(std::slice::from_ref(partition));
        if let Some(assignment) = self.assignments.get_mut(partition).filter(|assignment| assignment.delivering) {
            assignment.delivering = false;
            // An unassign could answer a rebalance that the member has not seen yet.
            let paused = self.consumer.pause(&partition_list([(partition, Offset::Invalid)])?);
            paused.map_err(|error| self.explain(&format!("stopping {partition}"), &error))?;
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<()> {
        for partition in partitions {
            match self.assignments.get_mut(partition) {
                Some(assignment) if assignment.revoked => {
                    assignment.delivering = false;
                    if !self.released.contains(partition) {
                        self.released.push(partition.clone());
                    }
                }
                Some(_) => return Err(BrokerError::not_revoked(partition)),
                // The member has already lost it.
                None => {}
            }
        }
        self.drop_prefetched(partitions);
        let revoked = self.assignments.values().filter(|assignment| assignment.revoked).count();
        if revoked > 0 && self.released.len() == revoked {
            let released = std::mem::take(&mut self.released);
            self.unassign(&released)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.producer.begin()
    }

    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        if self.written.last().is_none_or(|topic| topic != record.topic) {
            self.written.retain(|topic| topic != record.topic);
            self.written.push(record.topic.to_owned());
        }
        self.producer.send(record).map_err(|error| self.with_replica_problem(error))
    }

    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<()> {
        let metadata = |partition| self.commit_metadata.get(partition).map_or("", String::as_str);
        let offsets =
            offset_list(positions.iter().map(|(partition, offset)| (partition, *offset, metadata(partition))))?;
        let committed = self.producer.commit(offsets, self.generation.as_ref());
        committed.map_err(|error| self.with_replica_problem(error))
    }

    fn abort(&mut self) -> Result<()> {
        self.producer.abort()
    }

    fn delivery_positions(&mut self) -> Result<Vec<(Partition, i64)>> {
        let delivering = self.assignments.iter().filter(|(_, assignment)| assignment.delivering);
        let delivering: BTreeMap<&Partition, i64> =
            delivering.map(|(partition, assignment)| (partition, assignment.next)).collect();
        // librdkafka's position passes over markers once the application has polled what comes before them.
        let answer = self.consumer.position().map_err(|error| self.explain("asking for positions", &error))?;
        let position = |element: TopicPartitionListElem<'_>| {
            let Offset::Offset(offset) = element.offset() else { return None };
            let partition = Partition::new(element.topic(), element.partition());
            // Records that are fetched and not delivered yet are not passed.
            let prefetched = self.prefetched.as_ref().is_some_and(|batch| batch.partition == partition);
            let next = delivering.get(&partition).filter(|_| !prefetched)?;
            Some((partition, offset.max(*next)))
        };
        Ok(answer.elements().into_iter().filter_map(position).collect())
    }

    fn leave(&mut self) -> Result<()> {
        self.producer.abort()?;
        self.close();
        Ok(())
    }
}

impl KafkaMember {
    /// Adds to a timeout which topic accepts no records, if that is why.
    fn with_replica_problem(&self, error: BrokerError) -> BrokerError {
        match error {
            BrokerError::TimedOut(why) => {
                let problem = self.written.iter().find_map(|topic| self.metadata.replica_problem(topic));
                BrokerError::TimedOut(problem.map_or(why.clone(), |problem| format!("{why}; {problem}")))
            }
            other => other,
        }
    }

    /// Leaves the group and waits for the answer. Dropping a member does this too, but does not abort its transaction.
    fn close(&mut self) {
        if self.consumer.closed() {
            return;
        }
        self.consumer.context().close();
        self.prefetched = None;
        // This answers a pending rebalance; otherwise it only stops the fetching.
        let all: Vec<Partition> = self.assignments.keys().cloned().collect();
        let closed = self.unassign(&all).and_then(|()| {
            let closed = self.consumer.close_queue();
            closed.map_err(|error| self.explain("leaving", &error))
        });
        if let Err(error) = closed {
            tracing::debug!(target: "kafka", %error, "cannot close the consumer in good order");
        }
        let deadline = Deadline::after(self.request_timeout);
        while !self.consumer.closed() && !deadline.has_passed() {
            self.consumer.poll(Duration::from_millis(10));
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.close();
    }
}
