//! Apache Kafka 3.0 or newer through librdkafka.

mod access_errors;
mod broker;
mod contexts;
mod convert;
mod deadline;
mod error_recovery;
mod last_error;
mod member;
mod metadata;
mod offset_query;
mod options;
mod producer;
mod reader;
mod reader_pool;

pub use broker::KafkaBroker;
pub use options::{KafkaOptions, PropertySource};
