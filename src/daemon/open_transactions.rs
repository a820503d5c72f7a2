//! Finds input that waits for an open transaction of its producer. Such a transaction holds back all later records of the
//! partition, those of other producers too, until it ends or the cluster aborts it.

use std::collections::BTreeMap;

use super::context::Context;
use crate::broker::{Isolation, Partition};
use crate::telemetry::metrics;

/// Microseconds between two looks.
const LOOK_EVERY: u64 = 10_000_000;

/// What the last looks found.
#[derive(Default)]
pub struct OpenTransactions {
    /// When it was last looked, in microseconds of the monotonic clock.
    looked_at: Option<u64>,
    /// Partitions that were held back at the last look: their last stable offset, and whether that was logged.
    held_back: BTreeMap<Partition, HeldBack>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldBack {
    stable: i64,
    logged: bool,
}

impl OpenTransactions {
    /// Looks at `partitions`, if it is time to. Logs a partition whose last stable offset stands still behind an open
    /// transaction from one look to the next, once, and when that ends. A look without an answer changes nothing.
    pub fn look(&mut self, context: &Context, partitions: &[Partition]) {
        let now = context.clock.monotonic_micros();
        if self.looked_at.is_some_and(|looked_at| now.saturating_sub(looked_at) < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(now);
        // In this order, records that arrive in between do not count.
        let Ok(ends) = context.broker.end_offsets(partitions, Isolation::Uncommitted) else { return };
        let Ok(stable) = context.broker.end_offsets(partitions, Isolation::Committed) else { return };
        let mut previous = std::mem::take(&mut self.held_back);
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
            let mut now = HeldBack { stable, logged: before.is_some_and(|before| before.logged) };
            if before.is_some_and(|before| before.stable == stable && !before.logged) {
                tracing::warn!(
                    topic,
                    partition = number,
                    offset = stable,
                    waiting,
                    "input waits for an open transaction of its producer, which holds back all records from this offset \
                     on; it ends by itself after that producer's transaction.timeout.ms, or with kafka-transactions.sh \
                     abort"
                );
                now.logged = true;
            }
            self.held_back.insert(partition.clone(), now);
        }
    }
}
