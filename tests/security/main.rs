//! The built binary before a real Apache Kafka that asks who is calling, and its own door.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too

mod access;
mod door;
#[path = "../harness/mod.rs"]
mod harness;
mod permissions;
mod secrets;
mod support;
