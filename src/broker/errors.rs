//! Errors of the broker, one variant for each way in which the caller must react.

use super::records::Partition;

/// The result of a call to the broker.
pub type Result<T, E = BrokerError> = std::result::Result<T, E>;

/// An error of a call to the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A temporary failure: the caller tries again later. If a transaction is open, it calls `Member::abort` first.
    #[error("temporary Kafka failure: {0}")]
    Retriable(String),
    /// The open transaction cannot be committed. The caller aborts it, restores the state from before the transaction
    /// and reads its input again.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// The open transaction was not committed in time: the brokers take less than it holds within the transaction
    /// timeout. The caller reacts as to [`BrokerError::Aborted`], and makes smaller transactions.
    #[error("transaction timed out: {0}")]
    TimedOut(String),
    /// No answer came in time, so nobody knows whether the transaction was committed. The caller drops the client,
    /// joins again, goes on from the committed offsets, and makes smaller transactions.
    #[error("the outcome of a transaction is unknown: {0}")]
    OutcomeUnknown(String),
    /// The broker refuses a record: it is too large for its topic, its timestamp is out of bounds, or a policy forbids
    /// it. The same record would be refused again until an operator changes something. The caller aborts the
    /// transaction and tries again later, with growing pauses; what does not write to this topic can go on.
    #[error("a record is refused: {why}")]
    Refused {
        /// The topic of the record.
        topic: String,
        /// Whether it is too large. The limits of the topics may then have changed: the caller asks for them again.
        too_large: bool,
        /// What was refused, and which settings to check.
        why: String,
    },
    /// Another producer uses our transactional id. The caller closes its partitions without writing and rejoins; where
    /// that happens again and again, another process has the same instance name.
    #[error("another instance has taken over: {0}")]
    Fenced(String),
    /// The group has removed this member, for example after a pause of the process, and assigned its partitions to
    /// others. The caller closes its partitions without writing and rejoins.
    #[error("the consumer group has removed this member: {0}")]
    MembershipLost(String),
    /// The cluster does not accept our certificate, password or security protocol, or we do not accept its certificate.
    /// An operator must correct that: the caller drops the client and tries again with a new one, with growing pauses.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// An access control list of the cluster denies the request. The caller reacts as to
    /// [`BrokerError::Authentication`].
    #[error("authorization failed: {0}")]
    Authorization(String),
    /// The request is invalid and will fail again, for example because of an unknown topic.
    #[error("{0}")]
    Rejected(String),
    /// The client is unusable: the caller drops it and joins again with a new one.
    #[error("the Kafka client failed: {0}")]
    Fatal(String),
}

impl BrokerError {
    /// The error of reading at `offset` of a partition that ends at `end`, before it.
    pub fn position_after_end(partition: &Partition, offset: i64, end: i64) -> Self {
        Self::Rejected(format!(
            "{partition} ends at offset {end}, before the position {offset}: its records were lost or the topic was \
             recreated; reset the group's offsets to continue"
        ))
    }

    /// The error of a topic that the cluster does not know.
    pub fn unknown_topic(topic: &str) -> Self {
        Self::Rejected(format!("topic {topic} does not exist; create it first"))
    }

    /// The error of using a partition that is not assigned.
    pub fn not_assigned(partition: &Partition) -> Self {
        Self::Rejected(format!("{partition} is not assigned to this member"))
    }

    /// The error of releasing a partition that the group has not revoked.
    pub fn not_revoked(partition: &Partition) -> Self {
        Self::Rejected(format!("cannot release {partition}: the group has not revoked it"))
    }

    /// The error of using a partition number that the topic does not have.
    pub fn unknown_partition(topic: &str, number: i32, partitions: i32) -> Self {
        Self::Rejected(format!("{topic}[{number}] does not exist; the topic has {partitions} partitions"))
    }
}
