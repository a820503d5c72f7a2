//! Whether the daemon lives and whether it is ready, told part by part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::env::Clock;

/// How a part of the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum Condition {
    /// It does its work.
    Ready,
    /// It will; what it waits for.
    Waiting(String),
    /// It is beyond repair; why. Kubernetes should restart the process.
    Dead(String),
}

#[derive(Debug)]
struct Part {
    condition: Condition,
    within: Option<Duration>,
    beat: u64,
}

/// What `/livez` and `/readyz` answer from.
pub struct Health {
    clock: Arc<dyn Clock>,
    parts: Mutex<BTreeMap<String, Part>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("parts", &*self.lock()).finish_non_exhaustive()
    }
}

/// An answer: whether all is well, and how every part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether all is well.
    pub ok: bool,
    /// In one line, what is not; "ok" where all is.
    pub reason: String,
    /// Every part by its name.
    pub parts: BTreeMap<String, Condition>,
}

impl Health {
    /// Knows of no part yet, so it lives but is not ready.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, parts: Mutex::default() }
    }

    /// Sets how a part is. It counts as a beat.
    pub fn set(&self, part: &str, condition: Condition) {
        let now = self.clock.monotonic_micros();
        let mut parts = self.lock();
        match parts.get_mut(part) {
            Some(known) => (known.condition, known.beat) = (condition, now),
            None => {
                parts.insert(part.to_owned(), Part { condition, within: None, beat: now });
            }
        }
    }

    /// From now on the part must [`Self::beat`] at least this often, or it counts as dead.
    pub fn expect_beats(&self, part: &str, within: Duration) {
        let now = self.clock.monotonic_micros();
        let mut parts = self.lock();
        let known = parts.entry(part.to_owned()).or_insert_with(|| Part {
            condition: Condition::Waiting("it is starting".to_owned()),
            within: None,
            beat: now,
        });
        (known.within, known.beat) = (Some(within), now);
    }

    /// A sign of life of a part.
    pub fn beat(&self, part: &str) {
        let now = self.clock.monotonic_micros();
        if let Some(known) = self.lock().get_mut(part) {
            known.beat = now;
        }
    }

    /// Forgets a part that has ended in good order.
    pub fn forget(&self, part: &str) {
        self.lock().remove(part);
    }

    /// Whether the process should go on: no part is dead or silent for too long.
    pub fn live(&self) -> Verdict {
        self.judge("no part is dead", |condition| !matches!(condition, Condition::Dead(_)))
    }

    /// Whether it does its work: every part is ready, and there is one.
    pub fn ready(&self) -> Verdict {
        let mut verdict = self.judge("ready", |condition| *condition == Condition::Ready);
        if verdict.parts.is_empty() {
            verdict.ok = false;
            verdict.reason = "the daemon is starting".to_owned();
        }
        verdict
    }

    fn judge(&self, well: &str, fine: impl Fn(&Condition) -> bool) -> Verdict {
        let now = self.clock.monotonic_micros();
        let parts: BTreeMap<String, Condition> =
            self.lock().iter().map(|(name, part)| (name.clone(), part.judged(now))).collect();
        let reasons: Vec<String> = parts
            .iter()
            .filter(|(_, condition)| !fine(condition))
            .map(|(name, condition)| told(name, condition))
            .collect();
        let ok = reasons.is_empty();
        Verdict { ok, reason: if ok { well.to_owned() } else { reasons.join("; ") }, parts }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn judged(&self, now: u64) -> Condition {
        let silent = Duration::from_micros(now.saturating_sub(self.beat));
        match self.within {
            Some(within) if silent > within && !matches!(self.condition, Condition::Dead(_)) => {
                Condition::Dead(format!(
                    "no sign of life for {:.1} s; at most {:.1} s were expected",
                    silent.as_secs_f64(),
                    within.as_secs_f64()
                ))
            }
            _ => self.condition.clone(),
        }
    }
}

fn told(name: &str, condition: &Condition) -> String {
    match condition {
        Condition::Ready => format!("{name} is ready"),
        Condition::Waiting(reason) => format!("{name} waits: {reason}"),
        Condition::Dead(reason) => format!("{name} is dead: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::ManualClock;

    fn health() -> (Arc<ManualClock>, Health) {
        let clock = Arc::new(ManualClock::default());
        (clock.clone(), Health::new(clock))
    }

    #[test]
    fn nothing_known_is_alive_but_not_ready() {
        let (_, health) = health();
        assert!(health.live().ok);
        assert_eq!((health.ready().ok, health.ready().reason.as_str()), (false, "the daemon is starting"));
    }

    #[test]
    fn every_part_must_be_ready_and_the_reason_names_those_that_are_not() {
        let (_, health) = health();
        health.set("shard-0", Condition::Ready);
        health.set("shard-1", Condition::Waiting("restoring meters[3]: 12 records to go".into()));
        assert!(health.live().ok);
        let ready = health.ready();
        assert!(!ready.ok);
        assert_eq!(ready.reason, "shard-1 waits: restoring meters[3]: 12 records to go");
        health.set("shard-1", Condition::Ready);
        assert!(health.ready().ok);
        health.set("trainer", Condition::Dead("out of memory".into()));
        assert!(!health.live().ok && !health.ready().ok);
        health.forget("trainer");
        assert!(health.live().ok && health.ready().ok);
    }

    #[test]
    fn a_part_without_a_beat_in_time_is_dead_until_it_beats_again() {
        let (clock, health) = health();
        health.set("shard-0", Condition::Ready);
        health.expect_beats("shard-0", Duration::from_secs(10));
        clock.advance_millis(9_000);
        health.beat("shard-0");
        clock.advance_millis(10_000);
        assert!(health.live().ok);
        clock.advance_millis(1);
        let live = health.live();
        assert!(!live.ok && live.reason.contains("no sign of life for 10.0 s"), "{live:?}");
        health.beat("shard-0");
        assert!(health.live().ok && health.ready().ok);
    }
}
