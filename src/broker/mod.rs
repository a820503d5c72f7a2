//! The interface to the Kafka cluster: what the daemon needs of it, and no more.
//!
//! [`Broker`], [`Member`], [`Reader`] and [`Publisher`] are traits. [`kafka`] implements them with librdkafka and is
//! the only module that uses rdkafka's consumers and producers. [`memory`] implements them in memory for the simulation
//! tests. [`embedded`] starts a broker inside the process for the demo.

mod client;
pub mod embedded;
mod errors;
pub mod kafka;
pub mod memory;
mod records;
mod transaction_state;

pub use client::{Broker, Member, MemberEvent, OffsetRange, Publisher, Reader, StartPosition, TopicSpec};
pub use errors::BrokerError;
pub use records::{Batch, Partition, ProducerRecord, Record};
