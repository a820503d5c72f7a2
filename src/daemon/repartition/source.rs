//! One input partition of a stream that is repartitioned: where it stands, and its next record.

use std::time::Duration;

use super::backoff::Backoff;
use super::pending::{Copies, RefusedRecord};
use super::start::SourceStart;
use crate::broker::{Batch, Broker, BrokerError, Partition, Reader, StartPosition};
use crate::daemon::restore::copies_commit_metadata;
use crate::series::FutureCovariateSpec;
use crate::wire::{CopyOrigin, Decoded, Decoder};

/// The most records of one read. One batch of each partition is in memory.
const READ_RECORDS: usize = 2_000;
/// Pause, in microseconds, before a topic that ends too early is looked at again.
const RECHECK_MICROS: u64 = 5_000_000;
/// A partition that cannot be read holds the others back for so many microseconds.
const HOLD_BACK_MICROS: u64 = 30_000_000;

/// The decoder of a stream's input, and what finds the keys in the names of its series.
pub struct SourceDecoder {
    pub decoder: Decoder,
    pub keys: FutureCovariateSpec,
}

/// The next record of a partition, decoded.
pub struct NextRecord {
    /// Partitions are merged in the order of this time: the record's timestamp, or the event time where that is before.
    pub time: i64,
    pub copies: Copies,
    pub refused: Option<RefusedRecord>,
    /// Bytes of its key and value.
    pub bytes: usize,
    offset: i64,
}

/// An input partition.
pub struct Source {
    partition: Partition,
    reader: Option<Box<dyn Reader>>,
    /// Records that were read, and the index of the first one that was not decoded yet.
    batch: Option<(Batch, usize)>,
    next: Option<NextRecord>,
    /// The offset after the newest record that was read.
    read_to: i64,
    /// The offset after the newest record that the open transaction has taken.
    position: i64,
    /// The position of the last transaction.
    committed: i64,
    /// Whether the group knows where the partition begins.
    recorded: bool,
    /// The first offset that is forecast.
    emit_from: i64,
    /// Partitions of the topic when the group first read it.
    first_partitions: i32,
    /// The last stable offset when it was last asked for.
    end: i64,
    /// No record is between `read_to` and this offset.
    passed: i64,
    /// Whether it was read from since the others were last merged with it.
    was_read: bool,
    /// Since when it has not delivered what it is known to have, in microseconds of the monotonic clock.
    waiting_since: Option<u64>,
    /// Whether it was waited for for too long.
    given_up: bool,
    backoff: Backoff,
    /// When a topic that ends too early is looked at again.
    recheck_at: u64,
    /// Whether the topic was seen to end before what was read from it.
    seen_shorter: bool,
}

impl Source {
    /// A partition that was not read from yet.
    pub fn new(partition: Partition, start: SourceStart, first_partitions: i32) -> Self {
        let SourceStart { read_from, emit_from, recorded } = start;
        Self {
            partition,
            reader: None,
            batch: None,
            next: None,
            read_to: read_from,
            position: read_from,
            committed: read_from,
            recorded,
            emit_from,
            first_partitions,
            end: read_from,
            passed: read_from,
            was_read: false,
            waiting_since: None,
            given_up: false,
            backoff: Backoff::default(),
            recheck_at: 0,
            seen_shorter: false,
        }
    }

    /// The text that commits of the partition carry.
    pub fn commit_metadata(&self) -> String {
        copies_commit_metadata(self.first_partitions, self.emit_from)
    }

    /// The next offset to be copied.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether the group knows where the partition begins.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// No record that is not copied is below this offset.
    pub fn passed(&self) -> i64 {
        if self.position == self.read_to { self.position.max(self.passed) } else { self.position }
    }

    /// Offsets before those that are forecast.
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.emit_from - self.position).unwrap_or(0)
    }

    /// Whether the others go on without it: it was waited for for too long.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// The next record, if it is there.
    pub fn next(&self) -> Option<&NextRecord> {
        self.next.as_ref()
    }

    /// Takes the next record into the open transaction.
    pub fn take(&mut self) -> Option<NextRecord> {
        let taken = self.next.take()?;
        self.position = taken.offset + 1;
        Some(taken)
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        (self.committed, self.recorded) = (self.position, true);
    }

    /// The transaction has failed: what it has taken is read again.
    pub fn roll_back(&mut self) {
        if self.position != self.committed {
            self.seek(self.committed);
        }
    }

    fn seek(&mut self, offset: i64) {
        (self.reader, self.batch, self.next) = (None, None, None);
        (self.position, self.read_to, self.passed) = (offset, offset, offset);
    }

    /// Sets the last stable offset.
    pub fn set_end(&mut self, end: i64) {
        self.end = end;
        if end < self.read_to {
            // The topic was recreated, or a broker lags: opening it shows which.
            self.reader = None;
        }
    }

    /// Allows another read.
    pub fn begin_merge(&mut self) {
        self.was_read = false;
    }

    /// Reads and decodes the next record, if it is not there yet. An empty partition is asked once in a merge.
    ///
    /// # Errors
    /// The broker's; the caller calls [`Self::fail`] where it tries again.
    pub fn fill(&mut self, broker: &dyn Broker, decoder: &mut SourceDecoder, now: u64) -> Result<(), BrokerError> {
        if self.next.is_some() || self.decode_next(decoder) || self.was_read {
            return Ok(());
        }
        if !self.backoff.is_over(now) || now < self.recheck_at {
            return Ok(());
        }
        self.was_read = true;
        if self.reader.is_none() {
            self.open(broker, now)?;
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        match reader.read(Duration::ZERO, READ_RECORDS)? {
            Some(batch) => {
                self.read_to = batch.next_offset().unwrap_or(self.read_to);
                self.batch = Some((batch, 0));
                (self.waiting_since, self.was_read) = (None, false);
                self.backoff.succeed();
                self.decode_next(decoder);
            }
            None if reader.has_reached(self.end)? => {
                (self.passed, self.waiting_since) = (self.passed.max(self.end), None);
                self.backoff.succeed();
            }
            None => {}
        }
        Ok(())
    }

    /// Closes the reader after an error. It is opened again after a pause.
    pub fn fail(&mut self, now: u64) {
        self.reader = None;
        self.backoff.fail(now);
    }

    /// Whether others wait for its next record: it is known to be there, and was not waited for for too long.
    pub fn holds_back(&mut self, now: u64) -> bool {
        if self.next.is_some() || self.read_to.max(self.passed) >= self.end {
            (self.waiting_since, self.given_up) = (None, false);
            return false;
        }
        let waited = now.saturating_sub(*self.waiting_since.get_or_insert(now));
        if waited >= HOLD_BACK_MICROS && !self.given_up {
            tracing::warn!(
                topic = %self.partition.topic, partition = self.partition.number, offset = self.read_to,
                end = self.end,
                "the partition has not delivered the records that it has for 30 s; the others are copied without them, \
                 and its readings may come late"
            );
            self.given_up = true;
        }
        waited < HOLD_BACK_MICROS
    }

    /// Opens a reader at where the last one ended.
    fn open(&mut self, broker: &dyn Broker, now: u64) -> Result<(), BrokerError> {
        let (topic, number) = (&*self.partition.topic, self.partition.number);
        let range = broker.offsets(&self.partition)?;
        if self.read_to > range.end && !self.seen_shorter {
            tracing::warn!(
                topic,
                partition = number,
                offset = self.read_to,
                end = range.end,
                "the topic ends before an offset that was read already; checking again whether it was recreated"
            );
            (self.seen_shorter, self.recheck_at) = (true, now + RECHECK_MICROS);
            return Ok(());
        }
        if self.read_to > range.end {
            tracing::warn!(
                topic,
                partition = number,
                offset = self.read_to,
                end = range.end,
                oldest = range.start,
                "the topic was deleted and recreated; it is copied from its oldest record"
            );
            self.seek(range.start);
            (self.emit_from, self.recorded, self.end) = (range.start, false, range.end);
        } else if self.read_to < range.start {
            tracing::warn!(
                topic,
                partition = number,
                offset = self.read_to,
                oldest = range.start,
                unread = range.start - self.read_to,
                "retention deleted unread records; continuing at the oldest record"
            );
            self.read_to = range.start;
        }
        self.seen_shorter = false;
        self.reader = Some(broker.reader(&self.partition, StartPosition::Offset(self.read_to))?);
        Ok(())
    }

    /// Decodes the next record of the batch. Returns whether there is one.
    fn decode_next(&mut self, source: &mut SourceDecoder) -> bool {
        let Some((batch, index)) = &mut self.batch else { return false };
        let Some(record) = batch.get(*index) else {
            self.batch = None;
            return false;
        };
        *index += 1;
        let SourceDecoder { decoder, keys } = source;
        let before_start = record.offset < self.emit_from;
        let origin =
            CopyOrigin { topic: &self.partition.topic, partition: self.partition.number, offset: record.offset };
        let (mut copies, mut time) = (Copies::default(), record.timestamp);
        let mut copy = |mut decoded: Decoded<'_>| {
            let series = match &mut decoded {
                Decoded::Observation { series, time: at, warm_up, .. } => {
                    *warm_up = before_start;
                    time = Some(time.map_or(at.0, |time| time.min(at.0)));
                    *series
                }
                Decoded::Deleted { series, warm_up } => {
                    *warm_up = before_start;
                    *series
                }
            };
            copies.push(keys.record_key(series), &decoded, &origin);
        };
        let decoded = decoder.decode_record(record.key, record.timestamp, record.payload, &mut copy);
        let refused =
            decoded.err().map(|rejection| RefusedRecord::new(&self.partition, record, rejection, before_start));
        let time = time.unwrap_or(i64::MIN);
        let bytes = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
        self.next = Some(NextRecord { time, copies, refused, bytes, offset: record.offset });
        true
    }
}
