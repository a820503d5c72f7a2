//! Partitions, consumed records and records to produce.

use std::sync::Arc;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number, from 0.
    pub number: i32,
}

impl Partition {
    /// The partition `number` of `topic`.
    pub fn new(topic: &str, number: i32) -> Self {
        Self { topic: Arc::from(topic), number }
    }

    /// Whether this is partition `number` of `topic`.
    pub(super) fn is(&self, topic: &str, number: i32) -> bool {
        self.number == number && *self.topic == *topic
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// A consumed record, borrowed from a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset in the partition.
    pub offset: i64,
    /// Timestamp in milliseconds since the Unix epoch; `None` for a record without one.
    pub timestamp: Option<i64>,
    /// Key; `None` for a record without one.
    pub key: Option<&'a [u8]>,
    /// Value; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Records of one partition in offset order. Keys and values share one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The partition of the records.
    pub partition: Partition,
    buffer: Vec<u8>,
    entries: Vec<Entry>,
}

/// A record in the buffer: the key begins at `start`, the payload follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    offset: i64,
    timestamp: Option<i64>,
    start: usize,
    key_bytes: Option<usize>,
    payload_bytes: Option<usize>,
}

impl Batch {
    /// An empty batch.
    pub fn new(partition: Partition) -> Self {
        Self { partition, buffer: Vec::new(), entries: Vec::new() }
    }

    /// Appends a copy of `record`.
    pub fn push(&mut self, record: Record<'_>) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(record.key.unwrap_or_default());
        self.buffer.extend_from_slice(record.payload.unwrap_or_default());
        self.entries.push(Entry {
            offset: record.offset,
            timestamp: record.timestamp,
            start,
            key_bytes: record.key.map(<[u8]>::len),
            payload_bytes: record.payload.map(<[u8]>::len),
        });
    }

    /// Drops all records after the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.entries.truncate(count);
    }

    /// The records in offset order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.record(entry))
    }

    /// The record at `index`, from 0.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.entries.get(index).map(|entry| self.record(entry))
    }

    /// The record at `offset`.
    pub fn at_offset(&self, offset: i64) -> Option<Record<'_>> {
        let found = self.entries.binary_search_by_key(&offset, |entry| entry.offset);
        found.ok().map(|index| self.record(&self.entries[index]))
    }

    fn record(&self, entry: &Entry) -> Record<'_> {
        let middle = entry.start + entry.key_bytes.unwrap_or(0);
        Record {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key_bytes.map(|_| &self.buffer[entry.start..middle]),
            payload: entry.payload_bytes.map(|length| &self.buffer[middle..middle + length]),
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the batch has no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Total size of keys and values in bytes.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The offset after the last record; `None` for an empty batch.
    pub fn next_offset(&self) -> Option<i64> {
        self.entries.last().map(|entry| entry.offset + 1)
    }
}

/// A record to produce.
#[derive(Debug, Clone, Copy)]
pub struct ProducerRecord<'a> {
    /// Topic to write to.
    pub topic: &'a str,
    /// Partition; `None` chooses it by the murmur2 hash of the key, as Kafka's Java client does.
    pub partition: Option<i32>,
    /// Key; `None` for a record without one.
    pub key: Option<&'a [u8]>,
    /// Value; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Upper bound of the bytes of a batch with one record without headers, beyond its key and value.
const BATCH_FRAME: usize = 100;
/// Upper bound of the bytes of a header beyond its name and value.
const HEADER_FRAME: usize = 10;

impl ProducerRecord<'_> {
    /// Upper bound of its size as a batch of its own, before compression, in bytes.
    pub fn batch_bytes(&self) -> usize {
        let header = |(name, value): &(&str, &[u8])| HEADER_FRAME + name.len() + value.len();
        BATCH_FRAME + self.bytes() + self.headers.iter().map(header).sum::<usize>()
    }

    /// Size of key and value in bytes.
    pub fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.payload.map_or(0, <[u8]>::len)
    }
}
