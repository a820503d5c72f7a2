//! Whether any broker of the cluster answers. Without one there is nothing to serve, whatever the group last assigned.

use std::time::Duration;

use super::context::Context;
use crate::broker::BrokerError;
use crate::dashboard::http::Condition;

/// The part of [`Health`](crate::dashboard::http::Health) that says so.
const PART: &str = "cluster";
/// How long one question waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A cluster that has been silent for this long counts as away, in microseconds.
const AWAY_AFTER: u64 = 10_000_000;
/// Pause, in microseconds, after a broker has denied the client access: each question is another attempt to log in.
const DENIED_PAUSE: u64 = 10_000_000;

/// What is known of the cluster.
pub struct Reachability {
    /// When a broker last answered, in microseconds of the monotonic clock.
    answered_at: u64,
    away: bool,
    /// When it may be asked again.
    ask_at: u64,
}

impl Reachability {
    /// A cluster that has just answered.
    pub fn new(now: u64) -> Self {
        Self { answered_at: now, away: false, ask_at: now }
    }

    /// Asks the cluster, and reports a change to the log and to `/readyz`. Returns whether a broker has answered.
    pub fn ask(&mut self, context: &Context) -> bool {
        let topics = context.plan.topics();
        let Some(topic) = topics.first() else { return true };
        if context.clock.monotonic_micros() < self.ask_at {
            return false;
        }
        let answer = context.broker.ping(topic, PATIENCE);
        let now = context.clock.monotonic_micros();
        let silent_seconds = now.saturating_sub(self.answered_at) / 1_000_000;
        match answer {
            Err(error @ (BrokerError::Retriable(_) | BrokerError::Fatal(_) | BrokerError::Authentication(_))) => {
                if matches!(error, BrokerError::Authentication(_)) {
                    self.ask_at = now + DENIED_PAUSE;
                }
                if now.saturating_sub(self.answered_at) >= AWAY_AFTER {
                    if !self.away {
                        tracing::warn!(silent_seconds, %error, "no broker answers; not ready until one does");
                    }
                    self.away = true;
                    let reason = format!("no broker has answered for {silent_seconds} s: {error}");
                    context.health.set(PART, Condition::Waiting(reason));
                }
                false
            }
            // A refused question is an answer too.
            Ok(()) | Err(_) => {
                if self.away {
                    tracing::info!(silent_seconds, "a broker answers again");
                    context.health.forget(PART);
                }
                (self.answered_at, self.away) = (now, false);
                true
            }
        }
    }
}
