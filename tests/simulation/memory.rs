//! A transactional broker in memory for simulation tests: no clock, no threads, no randomness.
//!
//! It keeps the promises of Kafka that the daemon depends on. Readers see neither records of open transactions nor
//! anything behind them (the *last stable offset*), and never aborted records. The end of a transaction writes a
//! marker, which takes an offset, to every partition that it touched. A second client with the same transactional id
//! fences the first. A member with an old group generation cannot commit. Partitions move between members by
//! cooperative rebalancing.
//!
//! A [`MemoryCluster`] is the handle of one process. [`MemoryCluster::process`] returns the handle of another process
//! on the same data. The [`Faults`] of a handle affect only clients opened through it; after [`Fault::Crashed`] all of
//! them fail. An open transaction and a group membership of a crashed process remain until the same transactional id
//! joins again or [`MemoryCluster::expire`] plays the broker's timeouts.

mod broker;
mod cluster;
mod faults;
mod group;
mod log;
mod member;
mod partitioner;
mod publisher;
mod reader;
mod state;
#[cfg(test)]
mod tests;

pub use cluster::MemoryCluster;
pub use faults::{Delivery, Fault, Operation, Pause};
pub use log::StoredRecord;
pub use partitioner::partition_of;
