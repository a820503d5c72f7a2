//! Finds input that waits for an open transaction of its producer. Such a transaction holds back all later records of
//! the partition, those of other producers too, until it ends or the cluster aborts it.

use std::collections::BTreeMap;

use super::context::Context;
use crate::broker::{Isolation, Partition};
use crate::dashboard::http::Condition;
use crate::telemetry::metrics;

/// The part of [`Health`](crate::dashboard::http::Health) that says so.
const PART: &str = "input";
/// Microseconds between two checks.
const CHECK_EVERY: u64 = 10_000_000;

/// What the last checks found.
#[derive(Default)]
pub struct OpenTransactions {
    /// When it was last checked, in microseconds of the monotonic clock.
    checked_at: Option<u64>,
    /// Partitions that were held back at the last check: their last stable offset, and whether that was logged.
    waiting_input: BTreeMap<Partition, WaitingInput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WaitingInput {
    stable: i64,
    logged: bool,
}

impl OpenTransactions {
    /// Checks `partitions`, if it is time to. Logs a partition whose last stable offset stands still behind an open
    /// transaction from one check to the next, once, and when that ends; `/readyz` names it meanwhile. A check without
    /// an answer changes nothing.
    pub fn check(&mut self, context: &Context, partitions: &[Partition]) {
        let now = context.clock.monotonic_micros();
        if self.checked_at.is_some_and(|checked_at| now.saturating_sub(checked_at) < CHECK_EVERY) {
            return;
        }
        self.checked_at = Some(now);
        // In this order, records that arrive in between do not count.
        let Ok(ends) = context.broker.end_offsets(partitions, Isolation::Uncommitted) else { return };
        let Ok(stable) = context.broker.end_offsets(partitions, Isolation::Committed) else { return };
        let mut previous = std::mem::take(&mut self.waiting_input);
        let mut reported = Vec::new();
        for (partition, (stable, end)) in partitions.iter().zip(stable.into_iter().zip(ends)) {
            let (topic, number) = (&*partition.topic, partition.number);
            let waiting = u64::try_from(end - stable).unwrap_or(0);
            let text = number.to_string();
            metrics::UNCOMMITTED.gauge(&[("topic", topic), ("partition", &text)]).set(waiting as f64);
            let before = previous.remove(partition);
            if waiting == 0 {
                if before.is_some_and(|before| before.logged) {
                    tracing::info!(topic, partition = number, offset = stable, "the open transaction has ended");
                }
                continue;
            }
            let before = before.filter(|before| before.stable == stable);
            if before.is_some_and(|before| !before.logged) {
                tracing::warn!(
                    topic,
                    partition = number,
                    offset = stable,
                    waiting,
                    "input waits for an open transaction of its producer, which holds back all records from this \
                     offset on; it ends by itself after that producer's transaction.timeout.ms, or with \
                     kafka-transactions.sh abort"
                );
            }
            if before.is_some() {
                reported.push(format!("{partition} from offset {stable} on ({waiting} records)"));
            }
            self.waiting_input.insert(partition.clone(), WaitingInput { stable, logged: before.is_some() });
        }
        if reported.is_empty() {
            context.health.forget(PART);
        } else {
            let reason = format!("an open transaction of its producer holds back {}", reported.join(", "));
            context.health.set(PART, Condition::Degraded(reason));
        }
        // Another instance reads these now.
        for Partition { topic, number } in previous.into_keys() {
            metrics::UNCOMMITTED.gauge(&[("topic", &*topic), ("partition", &number.to_string())]).set(0.0);
        }
    }
}
