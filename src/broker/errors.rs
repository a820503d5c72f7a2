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
    /// Another producer uses our transactional id, or the group has assigned our partitions to another member. The
    /// caller closes its partitions without writing and rejoins.
    #[error("another instance has taken over: {0}")]
    Fenced(String),
    /// The cluster does not accept our certificate, password or security protocol, or we do not accept its certificate.
    /// An operator must correct that: the caller drops the client and tries again with a new one, with growing pauses.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// An access control list of the cluster denies the request. The caller reacts as to
    /// [`BrokerError::Authentication`].
    #[error("authorization failed: {0}")]
    Authorization(String),
    /// The request is invalid and will fail again, for example because of an unknown topic or a record that is too
    /// large.
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
