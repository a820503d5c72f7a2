//! Brokers that are slow or refuse records: the daemon goes on with what they take, waits with the rest, and says why.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

#[path = "../harness/mod.rs"]
mod harness;
mod instances;
mod sizes;
mod slow;
mod support;
