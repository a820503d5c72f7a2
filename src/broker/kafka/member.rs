//! A seat in a consumer group, with its transactional producer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    KafkaOptions, Probe,
    context::{Change, ConsumerNotes, Deadline, Rebalance},
    errors,
    producer::{Transactions, list},
};
use crate::broker::{Batch, BrokerError, Member, MemberEvent, Partition, ProducerRecord, Record};

/// A batch is full with so many bytes, however few records that are.
const BATCH_BYTES: usize = 1 << 20;

/// A partition that the group has given us.
#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    /// Whether the client fetches it. That begins with the first start, so that nothing arrives before it.
    fetched: bool,
    delivering: bool,
    /// The next offset to be delivered.
    next: i64,
    /// The group wants it back.
    leaving: bool,
}

pub(super) struct KafkaMember {
    consumer: BaseConsumer<ConsumerNotes>,
    transactions: Transactions,
    probe: Arc<Probe>,
    group: String,
    request_timeout: Duration,
    held: BTreeMap<Partition, Seat>,
    /// Given back, but the group is told only once everything that it asked for has been: one call answers it.
    released: Vec<Partition>,
    /// Records that were fetched while a batch of another partition was being filled, or before an event.
    ahead: Option<Batch>,
    /// The group's generation as of the last event that the caller has heard. Taking it anew at the commit would let a
    /// member that has slept through a rebalance commit under a generation of whose changes it has not heard yet.
    metadata: Option<Arc<ConsumerGroupMetadata>>,
}

impl KafkaMember {
    pub(super) fn join(
        options: &KafkaOptions,
        probe: Arc<Probe>,
        group: &str,
        transactional_id: &str,
        topics: &[String],
    ) -> Result<Self, BrokerError> {
        for topic in topics {
            if probe.partitions(topic)?.is_none() {
                return Err(BrokerError::Rejected(format!("topic {topic} does not exist; create it first")));
            }
        }
        // First the fence: whatever an earlier self left open is decided before anybody reads its offsets.
        let transactions = Transactions::start(options, transactional_id)?;
        let what = format!("joining group {group}");
        let created = options.member(group, transactional_id).create_with_context(ConsumerNotes::default());
        let consumer: BaseConsumer<ConsumerNotes> = created.map_err(|error| errors::map(&what, &error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| errors::map(&what, &error))?;
        Ok(Self {
            consumer,
            transactions,
            probe,
            group: group.to_owned(),
            request_timeout: options.request_timeout,
            held: BTreeMap::new(),
            released: Vec::new(),
            ahead: None,
            metadata: None,
        })
    }

    fn explain(&self, what: &str, error: &KafkaError) -> BrokerError {
        self.consumer.context().complaints.explain(&format!("group {}: {what}", self.group), error)
    }

    /// The next of the group's decisions, carried out as far as it is ours to.
    fn rebalanced(&mut self) -> Result<Option<MemberEvent>, BrokerError> {
        while let Some(Rebalance { partitions, change, metadata }) = self.consumer.context().next_rebalance() {
            self.metadata = metadata;
            match change {
                Change::Assigned => {
                    // Tells the group that we have heard; fetching begins partition by partition, at their start.
                    let heard = self.consumer.incremental_assign(&TopicPartitionList::new());
                    heard.map_err(|error| self.explain("taking partitions", &error))?;
                    self.held.extend(partitions.iter().map(|partition| (partition.clone(), Seat::default())));
                }
                Change::Revoked => {
                    for partition in &partitions {
                        self.held.entry(partition.clone()).or_default().leaving = true;
                    }
                }
                Change::Lost => {
                    self.drop_ahead(&partitions);
                    self.released.clear();
                    self.unassign(&partitions)?;
                }
            }
            // That there is nothing for it is news to a member that has nothing.
            if !partitions.is_empty() || change == Change::Assigned && self.held.is_empty() {
                return Ok(Some(match change {
                    Change::Assigned => MemberEvent::Assigned(partitions),
                    Change::Revoked => MemberEvent::Revoked(partitions),
                    Change::Lost => MemberEvent::Lost(partitions),
                }));
            }
        }
        Ok(None)
    }

    /// Forgets partitions, stops fetching them, and so answers the group's demand.
    fn unassign(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        let seats = partitions.iter().map(|partition| (partition, self.held.remove(partition).unwrap_or_default()));
        let fetched: Vec<&Partition> = seats.filter(|(_, seat)| seat.fetched).map(|(partition, _)| partition).collect();
        let list = list(fetched.into_iter().map(|partition| (partition, Offset::Invalid)))?;
        self.consumer.incremental_unassign(&list).map_err(|error| self.explain("giving partitions back", &error))
    }

    fn drop_ahead(&mut self, partitions: &[Partition]) {
        if self.ahead.as_ref().is_some_and(|batch| partitions.contains(&batch.partition)) {
            self.ahead = None;
        }
    }

    /// What a consumer's error asks for. The client goes on by itself after most of them.
    fn trouble(&mut self, error: &KafkaError) -> Result<(), BrokerError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.find_lost_positions(),
            // A topic that is being made anew or deleted; it existed when we joined.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(()),
            _ => {
                let what = format!("group {}: reading", self.group);
                self.consumer.context().complaints.trouble(&what, error).map_or(Ok(()), Err)
            }
        }
    }

    /// Sets partitions whose position has fallen out of the log to the oldest record kept.
    fn find_lost_positions(&mut self) -> Result<(), BrokerError> {
        let delivering = self.held.iter().filter(|(_, seat)| seat.delivering);
        let positions: Vec<(Partition, i64)> = delivering.map(|(found, seat)| (found.clone(), seat.next)).collect();
        for (partition, next) in positions {
            // A topic that was made anew under us: a new seat finds that out.
            let at = self.probe.inside(&partition, next).map_err(|error| match error {
                BrokerError::Rejected(text) => BrokerError::Retriable(text),
                other => other,
            })?;
            if at != next {
                tracing::warn!(target: "kafka", "{partition}: retention took the records from {next} to {at}");
                // The client has given the partition up, so that a seek has nothing to work on.
                let one = list([(&partition, Offset::Offset(at))])?;
                let anew =
                    self.consumer.incremental_unassign(&one).and_then(|()| self.consumer.incremental_assign(&one));
                anew.map_err(|error| self.explain(&format!("moving {partition} to {at}"), &error))?;
                self.held.entry(partition).or_default().next = at;
            }
        }
        Ok(())
    }

    /// Hands a batch on.
    fn delivered(&mut self, batch: Batch) -> MemberEvent {
        self.consumer.context().complaints.forget();
        if let (Some(next), Some(seat)) = (batch.next_offset(), self.held.get_mut(&batch.partition)) {
            seat.next = next;
        }
        MemberEvent::Records(batch)
    }
}

/// Copies a message in.
pub(super) fn push(batch: &mut Batch, message: &BorrowedMessage<'_>) {
    batch.push(Record {
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key(),
        payload: message.payload(),
    });
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>, BrokerError> {
        let deadline = Deadline::after(timeout);
        let mut batch = self.ahead.take();
        loop {
            if batch.as_ref().is_some_and(|batch| batch.len() >= max_records.max(1) || batch.bytes() >= BATCH_BYTES) {
                return Ok(batch.map(|batch| self.delivered(batch)));
            }
            let wait = if batch.is_some() { Duration::ZERO } else { deadline.left() };
            let error = match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let (topic, number) = (message.topic(), message.partition());
                    if let Some(batch) = &mut batch
                        && batch.partition.number == number
                        && *batch.partition.topic == *topic
                    {
                        push(batch, &message);
                        continue;
                    }
                    let same = |partition: &Partition| partition.number == number && *partition.topic == *topic;
                    let found = self.held.iter().find(|(partition, _)| same(partition));
                    let Some((partition, Seat { delivering: true, .. })) = found else { continue };
                    let mut fresh = Batch::new(partition.clone());
                    push(&mut fresh, &message);
                    match batch.replace(fresh) {
                        Some(full) => {
                            self.ahead = batch;
                            return Ok(Some(self.delivered(full)));
                        }
                        None => continue,
                    }
                }
                Some(Err(error)) => Some(error),
                None => None,
            };
            // Nothing more for now, or an event: that comes first.
            self.ahead = batch.take();
            if let Some(error) = error {
                self.trouble(&error)?;
            }
            if let Some(event) = self.rebalanced()? {
                return Ok(Some(event));
            }
            if let Some(batch) = self.ahead.take() {
                return Ok(Some(self.delivered(batch)));
            }
            if deadline.passed() {
                return Ok(None);
            }
        }
    }

    fn committed_offsets(&mut self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, BrokerError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked = list(partitions.iter().map(|partition| (partition, Offset::Invalid)))?;
        let answer = errors::insist(self.request_timeout, |left| {
            let answer = self.consumer.committed_offsets(asked.clone(), left)?;
            answer.elements().iter().try_for_each(|element| element.error())?;
            Ok(answer)
        });
        let answer = answer.map_err(|error| {
            let complaint = self.consumer.context().complaints.last();
            self.explain(&format!("reading committed offsets{complaint}"), &error)
        })?;
        let offset = |partition: &Partition| match answer
            .find_partition(&partition.topic, partition.number)
            .map(|element| element.offset())
        {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        Ok(partitions.iter().map(offset).collect())
    }

    fn start(&mut self, partition: &Partition, offset: i64) -> Result<(), BrokerError> {
        let Some(seat) = self.held.get(partition).copied() else {
            return Err(BrokerError::Rejected(format!("{partition} is not assigned to this member")));
        };
        self.drop_ahead(std::slice::from_ref(partition));
        let what = |offset| format!("starting {partition} at {offset}");
        let next = if seat.fetched {
            let one = list([(partition, Offset::Offset(offset))])?;
            let sought = self.consumer.seek_partitions(one, self.request_timeout);
            let sought = sought.and_then(|list| list.elements().iter().try_for_each(|element| element.error()));
            sought.map_err(|error| self.explain(&what(offset), &error))?;
            let one = list([(partition, Offset::Invalid)])?;
            self.consumer.resume(&one).map_err(|error| self.explain(&what(offset), &error))?;
            offset
        } else {
            let offset = self.probe.inside(partition, offset)?;
            let one = list([(partition, Offset::Offset(offset))])?;
            self.consumer.incremental_assign(&one).map_err(|error| self.explain(&what(offset), &error))?;
            offset
        };
        self.held.insert(partition.clone(), Seat { fetched: true, delivering: true, next, leaving: seat.leaving });
        Ok(())
    }

    fn stop(&mut self, partition: &Partition) -> Result<(), BrokerError> {
        self.drop_ahead(std::slice::from_ref(partition));
        if let Some(seat) = self.held.get_mut(partition).filter(|seat| seat.delivering) {
            seat.delivering = false;
            // Not an unassign: that could be taken as the answer to a demand of the group that we have not heard yet.
            let paused = self.consumer.pause(&list([(partition, Offset::Invalid)])?);
            paused.map_err(|error| self.explain(&format!("stopping {partition}"), &error))?;
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        for partition in partitions {
            match self.held.get_mut(partition) {
                Some(seat) if seat.leaving => {
                    seat.delivering = false;
                    if !self.released.contains(partition) {
                        self.released.push(partition.clone());
                    }
                }
                Some(_) => {
                    return Err(BrokerError::Rejected(format!(
                        "{partition} was released without having been asked for"
                    )));
                }
                // Lost: it is gone already.
                None => {}
            }
        }
        self.drop_ahead(partitions);
        let asked = self.held.values().filter(|seat| seat.leaving).count();
        if asked > 0 && self.released.len() == asked {
            let released = std::mem::take(&mut self.released);
            self.unassign(&released)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), BrokerError> {
        self.transactions.begin()
    }

    fn send(&mut self, record: ProducerRecord<'_>) -> Result<(), BrokerError> {
        self.transactions.send(record)
    }

    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), BrokerError> {
        self.transactions.commit(positions, self.metadata.as_ref())
    }

    fn abort(&mut self) -> Result<(), BrokerError> {
        self.transactions.abort()
    }

    fn leave(&mut self) -> Result<(), BrokerError> {
        self.transactions.abort()?;
        self.close();
        Ok(())
    }
}

impl KafkaMember {
    /// Leaves the group and waits until it knows. Also what dropping a member does, less the wait for the transaction.
    fn close(&mut self) {
        if self.consumer.closed() {
            return;
        }
        self.consumer.context().close();
        self.ahead = None;
        // Answers a demand of the group that is still open; without one it only stops the fetching.
        let all: Vec<Partition> = self.held.keys().cloned().collect();
        let left = self.unassign(&all).and_then(|()| {
            let closed = self.consumer.close_queue();
            closed.map_err(|error| self.explain("leaving", &error))
        });
        if let Err(error) = left {
            tracing::debug!(target: "kafka", "{error}");
        }
        let deadline = Deadline::after(self.request_timeout);
        while !self.consumer.closed() && !deadline.passed() {
            self.consumer.poll(Duration::from_millis(10));
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.close();
    }
}
