//! The client interface: traits for a cluster, a consumer group member, a reader and a publisher.

use std::{collections::BTreeMap, time::Duration};

use super::errors::{BrokerError, Result};
use super::records::{Batch, Partition, ProducerRecord};

/// An event of a consumer group member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// The group assigns these partitions. None of them delivers records before [`Member::start`]. An empty list means
    /// that the group currently has no partition for this member.
    Assigned(Vec<Partition>),
    /// The group revokes these partitions. The member owns them until it calls [`Member::release`].
    Revoked(Vec<Partition>),
    /// The session has expired and the member no longer owns these partitions. It must not commit their offsets.
    Lost(Vec<Partition>),
    /// Records of a started partition.
    Records(Batch),
}

/// A position that a group has committed in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The text that was committed with it. Tools that set offsets leave it empty.
    pub metadata: String,
}

/// A member of a consumer group with its own transactional producer. Each shard has one and uses it from one thread.
///
/// After an error of [`Member::send`] or [`Member::commit`], both return `BrokerError::Aborted` until
/// [`Member::abort`]. A commit also returns `BrokerError::Aborted` if the group has rebalanced and [`Member::poll`]
/// has not yet reported it; the next events say what changed. After `BrokerError::Fenced`,
/// `BrokerError::OutcomeUnknown` or `BrokerError::Fatal` the caller must drop the member.
pub trait Member: Send {
    /// Waits up to `timeout` for the next event; `None` if none came. A batch has at most `max_records` records of one
    /// partition.
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>>;
    /// The committed position of each partition; `None` if the group has not committed any. Waits until no open
    /// transaction can still change them.
    fn committed(&mut self, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// The offsets of [`Member::committed`].
    fn committed_offsets(&mut self, partitions: &[Partition]) -> Result<Vec<Option<i64>>> {
        let committed = self.committed(partitions)?;
        Ok(committed.into_iter().map(|committed| committed.map(|committed| committed.offset)).collect())
    }
    /// Sets the text that each commit of a partition carries from now on.
    fn set_commit_metadata(&mut self, partition: &Partition, metadata: &str);
    /// Starts delivery of an assigned partition at `offset`; also rewinds it after a rollback. If retention has deleted
    /// `offset`, delivery starts at the oldest record.
    ///
    /// # Errors
    /// `BrokerError::Rejected`, here or from the next [`Member::poll`], if the partition ends before `offset`: the
    /// topic was recreated, or the cluster lost records.
    fn start(&mut self, partition: &Partition, offset: i64) -> Result<()>;
    /// Pauses delivery of a partition without releasing it.
    fn stop(&mut self, partition: &Partition) -> Result<()>;
    /// Releases partitions after [`MemberEvent::Revoked`] or [`MemberEvent::Lost`]. The rebalance waits for this call,
    /// and the member receives nothing else until then.
    fn release(&mut self, partitions: &[Partition]) -> Result<()>;
    /// Begins a transaction.
    fn begin(&mut self) -> Result<()>;
    /// Adds a record to the open transaction. Blocks for up to the transaction timeout while the producer's queue is
    /// full.
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()>;
    /// Commits the open transaction together with the input position (the next offset to read) of each partition. After
    /// `BrokerError::OutcomeUnknown` or `BrokerError::Fatal` the outcome is unknown until the caller reads the
    /// committed offsets again.
    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<()>;
    /// Aborts the open transaction; does nothing if none is open.
    fn abort(&mut self) -> Result<()>;
    /// The next offset of each partition that delivers, behind the transaction markers and aborted records that follow
    /// the newest delivered record. Partitions of which it is not known are left out. It asks no broker.
    fn delivery_positions(&mut self) -> Result<Vec<(Partition, i64)>>;
    /// Leaves the group and closes the member.
    fn leave(&mut self) -> Result<()>;
}

/// Reads committed records of one partition without a consumer group.
pub trait Reader: Send {
    /// Waits up to `timeout` for records; `None` if none came.
    fn read(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>>;
    /// Whether the reader has passed every record below `end`. It also passes transaction markers, aborted records and
    /// records deleted by compaction or retention, but no record of an open transaction.
    fn has_reached(&mut self, end: i64) -> Result<bool>;
}

/// Writes records in transactions of its own, independent of a [`Member`]: the trainer publishes weights with it.
pub trait Publisher: Send {
    /// Writes all records in one transaction. `BrokerError::Fenced` if a newer publisher has the same transactional
    /// id.
    fn publish(&mut self, records: &[ProducerRecord<'_>]) -> Result<()> {
        self.publish_with_offsets(records, "", &[])
    }
    /// Writes all records in one transaction that also sets positions of a group, which must have no members.
    fn publish_with_offsets(
        &mut self,
        records: &[ProducerRecord<'_>],
        group: &str,
        positions: &[(Partition, CommittedOffset)],
    ) -> Result<()>;
}

/// The position at which a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// The oldest record.
    Earliest,
    /// This offset, or the oldest record after it.
    Offset(i64),
    /// The first record with this timestamp or a later one, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// The offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// Offset of the oldest record.
    pub start: i64,
    /// Offset after the newest record, records of open transactions included.
    pub end: i64,
}

/// Which records count for the end of a partition, as in Kafka's `isolation.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those that a reader of committed records can reach. The end is the last stable offset.
    Committed,
    /// All, those of open transactions included. The end is the high watermark.
    Uncommitted,
}

/// The settings of a topic in the cluster, defaults included, by name (`cleanup.policy`).
pub type TopicSettings = BTreeMap<String, String>;

/// The last stable offset of a partition: the end of what its readers can reach now. A record behind it waits for a
/// transaction that somebody else has open, for as long as `transaction.timeout.ms` of that producer.
pub fn stable_end(broker: &dyn Broker, partition: &Partition) -> Result<i64> {
    let ends = broker.end_offsets(std::slice::from_ref(partition), Isolation::Committed)?;
    ends.first().copied().ok_or_else(|| BrokerError::Retriable(format!("{partition}: the end is not known")))
}

/// A topic that must exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Topic name.
    pub name: String,
    /// Minimum number of partitions.
    pub partitions: i32,
    /// Whether the topic is compacted; otherwise the cluster's retention applies.
    pub compacted: bool,
    /// Whether a record has the time at which it is written, not the one that its producer gives it.
    pub log_append_time: bool,
    /// Size of the largest record that the topic must accept, in bytes.
    pub max_record_bytes: usize,
}

/// A Kafka cluster.
pub trait Broker: Send + Sync {
    /// Joins `group` as a consumer of `topics`, which must exist. Fences any earlier member with the same
    /// `transactional_id` and aborts its open transaction.
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>>;
    /// Opens a reader of one partition.
    fn reader(&self, partition: &Partition, from: StartPosition) -> Result<Box<dyn Reader>>;
    /// Opens a publisher. Fences any earlier one with the same `transactional_id`.
    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>>;
    /// The first and the end offset of a partition. A reader need not reach that end: see [`stable_end`].
    fn offsets(&self, partition: &Partition) -> Result<OffsetRange>;
    /// The end of each partition, in order. It takes one request per broker, however many partitions there are.
    fn end_offsets(&self, partitions: &[Partition], isolation: Isolation) -> Result<Vec<i64>>;
    /// The offset of the first committed record with timestamp `millis` (since the Unix epoch) or later; the last
    /// stable offset if there is none.
    fn offset_at(&self, partition: &Partition, millis: i64) -> Result<i64>;
    /// The committed position of a group in each partition, in order, for those who are no member of it. Transactions
    /// that are open may still change them.
    fn group_offsets(&self, group: &str, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>>;
    /// How many live members a group has.
    fn group_members(&self, group: &str) -> Result<usize>;
    /// The settings of each topic, in order; `None` where the topic does not exist or the cluster does not let us see
    /// its settings.
    fn topic_settings(&self, topics: &[String]) -> Result<Vec<Option<TopicSettings>>>;
    /// The number of partitions of a topic; `None` if it does not exist.
    fn partitions(&self, topic: &str) -> Result<Option<i32>>;
    /// Asks for `topic`, which any broker of the cluster can answer, and waits for at most `timeout`.
    ///
    /// # Errors
    /// Why nobody has answered.
    fn ping(&self, topic: &str, _timeout: Duration) -> Result<()> {
        self.partitions(topic).map(drop)
    }
    /// Creates a topic. Does nothing if a topic of this name exists.
    fn create(&self, spec: &TopicSpec) -> Result<()>;
    /// The largest record batch that each topic accepts, in bytes (`max.message.bytes`). Topics of which the cluster
    /// does not say it are absent, for example because describing their configuration is not permitted.
    fn max_batch_bytes(&self, topics: &[&str]) -> Result<BTreeMap<String, usize>>;
    /// Keeps batches of several records at most this large, in bytes, in the producers that are opened from now on.
    fn limit_batches(&self, bytes: usize);
}
