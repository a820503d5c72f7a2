//! Input topics that cannot be read yet. The others are served; a new membership takes one up when it appears.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::Broker;
use crate::daemon::{plan::Plan, topics};
use crate::telemetry::{LeftOut, LogLimit};

/// Pause between two looks, in microseconds.
const LOOK_EVERY: u64 = 5_000_000;

/// Lines by topic: every shard says the same, again and again.
static LIMIT: LogLimit = LogLimit::growing();

/// The missing topics of a shard.
#[derive(Debug, Default)]
pub struct MissingInputs {
    /// Why each cannot be read.
    pub reasons: BTreeMap<String, String>,
    /// When they were last looked for, in microseconds of the monotonic clock.
    looked_at: u64,
}

impl MissingInputs {
    /// Topics that were missing at `now`.
    pub fn new(reasons: BTreeMap<String, String>, now: u64) -> Self {
        Self { reasons, looked_at: now }
    }

    /// Looks for them now and then. Returns whether one of them can be read now.
    pub fn appeared(&mut self, broker: &dyn Broker, plan: &Plan, now: u64) -> bool {
        if self.reasons.is_empty() || now.saturating_sub(self.looked_at) < LOOK_EVERY {
            return false;
        }
        self.looked_at = now;
        self.report(now);
        let all = Plan { missing_inputs: BTreeSet::new(), ..plan.clone() };
        // An error only delays the next look.
        topics::create_repartition_topics(broker, &all)
            .and_then(|()| topics::inputs(broker, &all))
            .is_ok_and(|inputs| inputs.readable.keys().any(|topic| self.reasons.contains_key(topic)))
    }

    /// Logs which topics are missing, and why.
    pub fn report(&self, now: u64) {
        for (topic, reason) in &self.reasons {
            if let Some(LeftOut(left_out)) = LIMIT.admit(topic, now) {
                tracing::warn!(topic, %reason, left_out, "an input topic cannot be read; the others are served");
            }
        }
    }
}
