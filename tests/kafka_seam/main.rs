//! Promises of the broker seam, tested against a real Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

#[path = "../harness/mod.rs"]
mod harness;
mod membership;
mod readers;
mod support;
mod topics;
mod transactions;
