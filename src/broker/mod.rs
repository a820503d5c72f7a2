//! The seam to the broker: what the daemon needs of Kafka, and no more.
//!
//! [`kafka`] is the only file that names rdkafka's consumer and producer; [`memory`] is a transactional broker in
//! memory for simulation; [`embedded`] starts a throw-away broker for the demo.

pub mod embedded;
pub mod kafka;
pub mod memory;

use std::{sync::Arc, time::Duration};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub number: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.number)
    }
}

/// One record of a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: i64,
    /// The record's timestamp in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// The key's bytes; `None` where the record has no key.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Records of one partition in offset order, copied into one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the records come from.
    pub partition: Partition,
    buffer: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    offset: i64,
    timestamp: Option<i64>,
    start: usize,
    key: Option<usize>,
    payload: Option<usize>,
}

impl Batch {
    /// An empty batch of `partition`.
    pub fn new(partition: Partition) -> Self {
        Self { partition, buffer: Vec::new(), entries: Vec::new() }
    }

    /// Copies a record in at the end.
    pub fn push(&mut self, record: Record<'_>) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(record.key.unwrap_or_default());
        self.buffer.extend_from_slice(record.payload.unwrap_or_default());
        self.entries.push(Entry {
            offset: record.offset,
            timestamp: record.timestamp,
            start,
            key: record.key.map(<[u8]>::len),
            payload: record.payload.map(<[u8]>::len),
        });
    }

    /// Keeps the first `count` records only.
    pub fn truncate(&mut self, count: usize) {
        self.entries.truncate(count);
    }

    /// The records, in offset order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// The record at a place in the batch.
    pub fn get(&self, place: usize) -> Option<Record<'_>> {
        self.entries.get(place).map(|entry| self.view(entry))
    }

    fn view(&self, entry: &Entry) -> Record<'_> {
        let middle = entry.start + entry.key.unwrap_or(0);
        Record {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.map(|_| &self.buffer[entry.start..middle]),
            payload: entry.payload.map(|length| &self.buffer[middle..middle + length]),
        }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The offset after the last record, if there is one.
    pub fn next_offset(&self) -> Option<i64> {
        self.entries.last().map(|entry| entry.offset + 1)
    }
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct ProducerRecord<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The partition; `None` lets the client choose it by the key (murmur2, as Kafka's own client does).
    pub partition: Option<i32>,
    /// The key; `None` for a record without one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// What a member of a consumer group is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// The group has given this member partitions, or has none for it as things stand; they deliver nothing until
    /// [`Member::start`].
    Assigned(Vec<Partition>),
    /// The group asks for partitions back; the member keeps them until [`Member::release`].
    Revoked(Vec<Partition>),
    /// Partitions are already somebody else's (session expired): nothing of them may be committed any more.
    Lost(Vec<Partition>),
    /// Records of a started partition.
    Records(Batch),
}

/// What went wrong at the broker, named by what the caller must do about it.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Passing trouble: try again later. A transaction that met it must be rolled back with [`Member::abort`] first.
    #[error("the broker did not take it this time ({0}); it will be tried again")]
    Retriable(String),
    /// The open transaction is void: abort it, roll the state back to before it and read its input again.
    #[error("the transaction was aborted ({0}); its input will be read again")]
    Aborted(String),
    /// Another instance writes under our transactional id, or the group has given our partitions to another:
    /// close the partitions without writing and join anew.
    #[error("another instance has taken over ({0})")]
    Fenced(String),
    /// The cluster does not let us in: a certificate, a password or the protocol is wrong. Somebody has to mend that,
    /// there or here: drop the client and try again with a new one, less and less often.
    #[error("the cluster does not let us in ({0})")]
    Authentication(String),
    /// The cluster lets us in, and does not permit what was asked. To be dealt with as [`BrokerError::Denied`].
    #[error("the cluster does not permit it ({0})")]
    Authorization(String),
    /// What was asked can never work as it stands (unknown topic, record too large).
    #[error("{0}")]
    Rejected(String),
    /// The client is beyond repair: drop it, and join anew with another.
    #[error("the Kafka client failed for good: {0}")]
    Fatal(String),
}

/// A seat in the input topics' consumer group, with a transactional producer of its own. One per shard; used from one
/// thread.
///
/// Any error of [`Member::send`] or [`Member::commit`] leaves the transaction void: until [`Member::abort`] both answer
/// [`BrokerError::Aborted`]. A commit made after the group has moved on, of which [`Member::poll`] has not told yet, is
/// refused as [`BrokerError::Aborted`]; the events that follow say what has changed. After [`BrokerError::Fenced`] and
/// [`BrokerError::Fatal`] the member is good for nothing but being dropped.
pub trait Member: Send {
    /// Waits at most `timeout` for the next event. `None` when nothing came in time. A batch holds at most
    /// `max_records` records of one partition.
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>, BrokerError>;
    /// The group's committed offsets (the next to be read), read so that no open transaction can still move them.
    fn committed_offsets(&mut self, partitions: &[Partition]) -> Result<Vec<Option<i64>>, BrokerError>;
    /// Lets an assigned partition deliver from `offset` on; also used to go back after a rollback. Where retention has
    /// taken `offset`, delivery begins at the oldest record kept. [`BrokerError::Refused`], here or at the next
    /// [`Member::poll`], where the partition ends before `offset`: it was made anew, or its cluster lost records.
    fn start(&mut self, partition: &Partition, offset: i64) -> Result<(), BrokerError>;
    /// Stops delivery of a partition without giving it back.
    fn stop(&mut self, partition: &Partition) -> Result<(), BrokerError>;
    /// Hands partitions back after [`MemberEvent::Revoked`] or [`MemberEvent::Lost`]. Soon: the group waits for it, and
    /// nothing else is delivered meanwhile.
    fn release(&mut self, partitions: &[Partition]) -> Result<(), BrokerError>;
    /// Opens a transaction.
    fn begin(&mut self) -> Result<(), BrokerError>;
    /// Adds a record to the open transaction. Blocks (bounded) while the client's queue is full.
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<(), BrokerError>;
    /// Commits the open transaction together with the input positions (next offset to be read of each partition). After
    /// [`BrokerError::Fatal`] it may or may not have been committed: only the committed offsets, read anew, tell.
    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), BrokerError>;
    /// Throws the open transaction away; does nothing where none is open.
    fn abort(&mut self) -> Result<(), BrokerError>;
    /// Leaves the group in good order.
    fn leave(&mut self) -> Result<(), BrokerError>;
}

/// Reads a partition outside of any group, committed records only.
pub trait Reader: Send {
    /// Waits at most `timeout` for more records. `None` when nothing came in time.
    fn read(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>, BrokerError>;
    /// Whether every record below `end` has been passed (offsets of markers, of aborted records and of what compaction
    /// or retention removed count as passed; those of a transaction that is still open do not).
    fn has_reached(&mut self, end: i64) -> Result<bool, BrokerError>;
}

/// Writes outside of the serving transaction, itself in transactions: weights to the models topic.
pub trait Publisher: Send {
    /// Writes all records in one transaction, or none. Fenced when another publisher has started under the same id.
    fn publish(&mut self, records: &[ProducerRecord<'_>]) -> Result<(), BrokerError>;
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the oldest record kept.
    Beginning,
    /// At an offset; where it is gone, at the oldest record kept after it.
    Offset(i64),
    /// At the first record whose timestamp (milliseconds) is this or later.
    Time(i64),
}

/// A topic that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it must have (at least).
    pub partitions: i32,
    /// Whether it is compacted; otherwise the cluster's retention applies.
    pub compacted: bool,
    /// The largest record that it must take, in bytes.
    pub max_record_bytes: usize,
}

/// A cluster.
pub trait Broker: Send + Sync {
    /// Takes a seat in `group` over `topics`, which must exist, writing under `transactional_id`; fences any earlier
    /// member of the same id and aborts what it left open.
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>, BrokerError>;
    /// Opens a reader on one partition.
    fn reader(&self, partition: &Partition, from: From) -> Result<Box<dyn Reader>, BrokerError>;
    /// Opens a publisher; fences any earlier one of the same id.
    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>, BrokerError>;
    /// `(oldest offset kept, offset after the newest record)`, the latter including records of transactions that are still open.
    fn offsets(&self, partition: &Partition) -> Result<(i64, i64), BrokerError>;
    /// The number of partitions of a topic; `None` where it does not exist.
    fn partitions(&self, topic: &str) -> Result<Option<i32>, BrokerError>;
    /// Creates a topic; one that exists already is left as it is, which is not an error.
    fn create(&self, plan: &TopicSpec) -> Result<(), BrokerError>;
}
