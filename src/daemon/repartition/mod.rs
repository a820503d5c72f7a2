//! Repartitioning: brings the observations of a series together that producers, or a topic that has grown, spread over
//! partitions. As in Kafka Streams, they are copied to an internal topic that is keyed by series, and forecast from
//! there.
//!
//! Whoever is assigned partition 0 of a repartition topic copies, for the whole stream. It reads the input topics
//! without the group, from the group's positions. Copies, dead letters and these positions are in the transactions of
//! its shard, whose producer the group's generation fences: nothing is copied twice or left out.
//!
//! - [`source`] reads one input partition and decodes its next record.
//! - [`start`] decides where reading begins.
//! - [`pending`] is what the open transaction copies.
//! - [`repartitioner`] merges the partitions of one stream by time.
//! - [`repartitioners`] are those of a shard.

mod backoff;
mod pending;
mod repartitioner;
mod repartitioners;
mod source;
mod start;

pub use pending::ReadRecords;
pub use repartitioner::RepartitionInputs;
pub use repartitioners::Repartitioners;
