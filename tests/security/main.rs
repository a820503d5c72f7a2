//! Security of the built binary: a real Apache Kafka with access control, and the HTTP listener of the daemon.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod access;
#[path = "../harness/mod.rs"]
mod harness;
mod listener;
mod permissions;
mod secrets;
mod support;
