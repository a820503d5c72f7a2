//! A reader of one partition without a consumer group.

use std::{sync::Arc, time::Duration};

use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;

use super::contexts::ConsumerCallbacks;
use super::convert::{partition_list, push};
use super::deadline::Deadline;
use super::error_recovery;
use super::last_error::LastClientError;
use super::metadata::MetadataClient;
use super::offset_query;
use super::options::KafkaOptions;
use super::reader_pool::{ReaderClient, ReaderPool};
use crate::broker::client::{OffsetRange, Reader, StartPosition};
use crate::broker::errors::{BrokerError, Result};
use crate::broker::records::{Batch, Partition};

/// A batch is complete at this size of keys and values in bytes, even with few records.
const BATCH_BYTES: usize = 8 << 20;

/// Detects the end of the partition by librdkafka's end-of-partition event. The event comes when a fetch reaches the
/// last stable offset, whatever markers, aborted records or gaps precede it, but it does not name that offset. The
/// reader therefore asks for the last stable offset *before* it begins to fetch: the first event proves that it has
/// passed everything below.
pub(super) struct KafkaReader {
    consumer: Arc<ReaderClient>,
    pool: Arc<ReaderPool>,
    metadata: Arc<MetadataClient>,
    partition: Partition,
    request_timeout: Duration,
    /// The next offset to deliver.
    next: i64,
    /// The reader has passed everything below this offset.
    passed: i64,
    /// The last stable offset when the current fetch began.
    stable: i64,
    /// Whether the end-of-partition event of the current fetch has come.
    ended: bool,
    /// Whether a call failed, so that no other reader should get the client.
    failed: bool,
}

impl KafkaReader {
    pub(super) fn open(
        options: &KafkaOptions,
        metadata: Arc<MetadataClient>,
        pool: Arc<ReaderPool>,
        partition: &Partition,
        from: StartPosition,
    ) -> Result<Self> {
        let OffsetRange { start: oldest, .. } = metadata.offsets(partition)?;
        let create = || options.reader().create_with_context(ConsumerCallbacks::default()).map(Arc::new);
        let consumer = pool
            .take()
            .map_or_else(create, Ok)
            .map_err(|error| error_recovery::broker_error(&format!("reading {partition}"), &error))?;
        let mut reader = Self {
            consumer,
            pool,
            metadata,
            partition: partition.clone(),
            request_timeout: options.request_timeout,
            next: 0,
            passed: 0,
            stable: 0,
            ended: false,
            failed: true,
        };
        let start = match from {
            StartPosition::Earliest => oldest,
            StartPosition::Offset(offset) => reader.metadata.clamp_offset(partition, offset)?,
            StartPosition::Timestamp(millis) => reader.offset_at(millis)?,
        };
        reader.fetch_from(start)?;
        reader.failed = false;
        Ok(reader)
    }

    fn last_error(&self) -> &LastClientError {
        &self.consumer.context().last_error
    }

    fn explain(&self, error: &KafkaError) -> BrokerError {
        self.last_error().explain_timeout(&format!("reading {}", self.partition), error)
    }

    /// The offset of the first record with timestamp `millis` or later; the last stable offset if there is none.
    fn offset_at(&self, millis: i64) -> Result<i64> {
        let partitions = std::slice::from_ref(&self.partition);
        let answer = error_recovery::retry(self.request_timeout, |left| {
            offset_query::offsets_at(&self.consumer, partitions, Offset::Offset(millis), left)
        });
        match answer.map_err(|error| self.explain(&error))?.first() {
            Some(Some(offset)) => Ok(*offset),
            _ => self.last_stable(),
        }
    }

    /// The last stable offset: the broker reports it as the end to a consumer of committed records.
    fn last_stable(&self) -> Result<i64> {
        let partitions = std::slice::from_ref(&self.partition);
        let answer =
            error_recovery::retry(self.request_timeout, |left| offset_query::ends(&self.consumer, partitions, left));
        answer.map(|ends| ends.first().copied().unwrap_or(0)).map_err(|error| self.explain(&error))
    }

    /// Begins to fetch at `offset`. A new end-of-partition event follows.
    fn fetch_from(&mut self, offset: i64) -> Result<()> {
        self.stable = self.last_stable()?;
        self.ended = false;
        self.next = offset;
        self.passed = self.passed.max(offset);
        let list = partition_list([(&self.partition, Offset::Offset(offset))])?;
        self.consumer.assign(&list).map_err(|error| self.explain(&error))
    }

    fn fill(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>> {
        let deadline = Deadline::after(timeout);
        let mut batch: Option<Batch> = None;
        let has_room = |batch: &Batch| batch.len() < max_records.max(1) && batch.bytes() < BATCH_BYTES;
        while batch.as_ref().is_none_or(has_room) {
            let wait = if batch.is_some() { Duration::ZERO } else { deadline.remaining() };
            match self.consumer.poll(wait) {
                // A leftover of the client's previous reader.
                Some(Ok(message)) if !self.is_ours(&message) => {}
                Some(Ok(message)) => {
                    push(batch.get_or_insert_with(|| Batch::new(self.partition.clone())), &message);
                }
                Some(Err(KafkaError::PartitionEOF(number))) if number != self.partition.number => {}
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.passed = self.passed.max(self.stable);
                    self.ended = true;
                    break;
                }
                Some(Err(error)) => self.handle(&error)?,
                None if batch.is_some() || deadline.has_passed() => break,
                None => {}
            }
        }
        if let Some(next) = batch.as_ref().and_then(Batch::next_offset) {
            self.last_error().clear();
            self.next = next;
            self.passed = self.passed.max(next);
        }
        Ok(batch)
    }

    fn handle(&mut self, error: &KafkaError) -> Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let at = self.metadata.clamp_offset(&self.partition, self.next)?;
                self.fetch_from(at)
            }
            // The reader never uses its group, so it needs no permission for it.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(()),
            _ => {
                let operation = format!("reading {}", self.partition);
                self.last_error().consumer_error(&operation, error).map_or(Ok(()), Err)
            }
        }
    }

    fn is_ours(&self, message: &BorrowedMessage<'_>) -> bool {
        self.partition.is(message.topic(), message.partition())
    }

    fn check_reached(&mut self, end: i64) -> Result<bool> {
        if self.passed >= end {
            return Ok(true);
        }
        if self.ended && self.last_stable()? >= end {
            // An open transaction held the end back and has ended since. A new fetch shows whether it wrote records.
            self.fetch_from(self.next)?;
        }
        Ok(false)
    }
}

impl Reader for KafkaReader {
    fn read(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>> {
        self.fill(timeout, max_records).inspect_err(|_| self.failed = true)
    }

    fn has_reached(&mut self, end: i64) -> Result<bool> {
        self.check_reached(end).inspect_err(|_| self.failed = true)
    }
}

impl Drop for KafkaReader {
    /// Returns the client to the pool, with its queue emptied.
    fn drop(&mut self) {
        if self.failed {
            self.pool.clear();
        } else if self.consumer.unassign().is_ok() {
            while self.consumer.poll(Duration::ZERO).is_some() {}
            self.pool.put(Arc::clone(&self.consumer));
        }
    }
}
