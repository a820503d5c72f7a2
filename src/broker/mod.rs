//! The interface to the Kafka cluster: what the daemon needs of it, and no more.
//!
//! [`Broker`], [`Member`], [`Reader`] and [`Publisher`] are traits. [`kafka`] implements them with librdkafka and is
//! the only module that uses rdkafka's consumers and producers. [`embedded`] starts a broker inside the process for the
//! demo. `tests/simulation/memory/` implements them in memory.

mod client;
pub mod embedded;
mod errors;
pub mod kafka;
mod records;
mod transaction_state;

pub use client::{
    Broker, CommittedOffset, Isolation, Member, MemberEvent, OffsetRange, Publisher, Reader, StartPosition,
    TopicSettings, TopicSpec, stable_end,
};
pub use errors::{BrokerError, Result};
pub use records::{Batch, Partition, ProducerRecord, Record};
pub use transaction_state::TransactionState;
