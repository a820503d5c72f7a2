//! Liveness and readiness of the daemon, part by part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::env::Clock;

/// Condition of a part of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Ready,
    /// It works, but not as it should, for this reason. It counts as ready: a restart or another instance would not
    /// help.
    Degraded(String),
    /// It cannot work yet, for this reason.
    Waiting(String),
    /// It will not work again, for this reason. Kubernetes should restart the process.
    Dead(String),
}

#[derive(Debug)]
struct Part {
    condition: Condition,
    /// Longest time between two heartbeats.
    deadline: Option<Duration>,
    /// Latest heartbeat, in microseconds of the monotonic clock.
    heartbeat: u64,
}

/// The conditions of all parts: the answers of `/livez` and `/readyz`.
pub struct Health {
    clock: Arc<dyn Clock>,
    parts: Mutex<BTreeMap<String, Part>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("parts", &*self.lock()).finish_non_exhaustive()
    }
}

/// Whether all parts are well, and the condition of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether all parts are well.
    pub ok: bool,
    /// In one line, which parts are not well and why.
    pub reason: String,
    /// Parts that work, but not as they should, each with its reason. Only readiness names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Condition of each part, by its name.
    pub parts: BTreeMap<String, Condition>,
}

impl Health {
    /// No parts yet: the daemon is live but not ready.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, parts: Mutex::default() }
    }

    /// Sets the condition of a part. It counts as a heartbeat.
    pub fn set(&self, part: &str, condition: Condition) {
        let now = self.clock.monotonic_micros();
        let mut parts = self.lock();
        match parts.get_mut(part) {
            Some(known) => (known.condition, known.heartbeat) = (condition, now),
            None => {
                parts.insert(part.to_owned(), Part { condition, deadline: None, heartbeat: now });
            }
        }
    }

    /// From now on the part must call [`Self::beat`] at least this often, or it counts as dead.
    pub fn expect_beats(&self, part: &str, deadline: Duration) {
        let now = self.clock.monotonic_micros();
        let mut parts = self.lock();
        let known = parts.entry(part.to_owned()).or_insert_with(|| Part {
            condition: Condition::Waiting("it is starting".to_owned()),
            deadline: None,
            heartbeat: now,
        });
        (known.deadline, known.heartbeat) = (Some(deadline), now);
    }

    /// A heartbeat of a part.
    pub fn beat(&self, part: &str) {
        let now = self.clock.monotonic_micros();
        if let Some(known) = self.lock().get_mut(part) {
            known.heartbeat = now;
        }
    }

    /// Removes a part that has ended in good order.
    pub fn forget(&self, part: &str) {
        self.lock().remove(part);
    }

    /// Liveness: no part is dead or overdue with its heartbeat.
    pub fn live(&self) -> HealthReport {
        self.report("no part is dead", |condition| !matches!(condition, Condition::Dead(_)))
    }

    /// Readiness: there is at least one part, and every part is ready. The reason names degraded parts too.
    pub fn ready(&self) -> HealthReport {
        let is_ready = |condition: &Condition| matches!(condition, Condition::Ready | Condition::Degraded(_));
        let mut report = self.report("ready", is_ready);
        if report.parts.is_empty() {
            report.ok = false;
            report.reason = "the daemon is starting".to_owned();
        }
        let degraded = report.parts.iter().filter(|(_, condition)| matches!(condition, Condition::Degraded(_)));
        report.degraded = degraded.map(|(name, condition)| describe(name, condition)).collect();
        if report.ok && !report.degraded.is_empty() {
            report.reason = format!("ready; {}", report.degraded.join("; "));
        }
        report
    }

    fn report(&self, ok_reason: &str, is_well: impl Fn(&Condition) -> bool) -> HealthReport {
        let now = self.clock.monotonic_micros();
        let parts: BTreeMap<String, Condition> =
            self.lock().iter().map(|(name, part)| (name.clone(), part.condition_at(now))).collect();
        let reasons: Vec<String> = parts
            .iter()
            .filter(|(_, condition)| !is_well(condition))
            .map(|(name, condition)| describe(name, condition))
            .collect();
        let ok = reasons.is_empty();
        let reason = if ok { ok_reason.to_owned() } else { reasons.join("; ") };
        HealthReport { ok, reason, degraded: Vec::new(), parts }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn condition_at(&self, now: u64) -> Condition {
        let silent = Duration::from_micros(now.saturating_sub(self.heartbeat));
        match self.deadline {
            Some(deadline) if silent > deadline && !matches!(self.condition, Condition::Dead(_)) => {
                Condition::Dead(format!(
                    "no heartbeat for {:.1} s; expected one every {:.1} s",
                    silent.as_secs_f64(),
                    deadline.as_secs_f64()
                ))
            }
            _ => self.condition.clone(),
        }
    }
}

fn describe(name: &str, condition: &Condition) -> String {
    match condition {
        Condition::Ready => format!("{name} is ready"),
        Condition::Degraded(reason) => format!("{name} is degraded: {reason}"),
        Condition::Waiting(reason) => format!("{name} is waiting: {reason}"),
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
    fn a_daemon_without_parts_is_live_but_not_ready() {
        let (_, health) = health();
        assert!(health.live().ok);
        assert_eq!((health.ready().ok, health.ready().reason.as_str()), (false, "the daemon is starting"));
    }

    #[test]
    fn readiness_needs_every_part_and_its_reason_names_those_that_are_not_ready() {
        let (_, health) = health();
        health.set("shard-0", Condition::Ready);
        health.set("shard-1", Condition::Waiting("restoring meters[3]: 12 records to go".into()));
        assert!(health.live().ok);
        let ready = health.ready();
        assert!(!ready.ok);
        assert_eq!(ready.reason, "shard-1 is waiting: restoring meters[3]: 12 records to go");
        health.set("shard-1", Condition::Ready);
        assert!(health.ready().ok);
        health.set("trainer", Condition::Dead("out of memory".into()));
        assert!(!health.live().ok && !health.ready().ok);
        health.forget("trainer");
        assert!(health.live().ok && health.ready().ok);
    }

    #[test]
    fn a_degraded_part_is_ready_and_the_reason_names_it() {
        let (_, health) = health();
        health.set("shard-0", Condition::Ready);
        health.set("stream meters", Condition::Degraded("99 of its newest 100 records were refused".into()));
        let ready = health.ready();
        assert!(ready.ok && health.live().ok);
        assert_eq!(ready.reason, "ready; stream meters is degraded: 99 of its newest 100 records were refused");
        health.set("shard-0", Condition::Waiting("restoring".into()));
        let ready = health.ready();
        assert_eq!((ready.ok, ready.reason.as_str()), (false, "shard-0 is waiting: restoring"));
        assert_eq!(ready.degraded.len(), 1);
    }

    #[test]
    fn a_part_with_an_overdue_heartbeat_is_dead_until_the_next_one() {
        let (clock, health) = health();
        health.set("shard-0", Condition::Ready);
        health.expect_beats("shard-0", Duration::from_secs(10));
        clock.advance_millis(9_000);
        health.beat("shard-0");
        clock.advance_millis(10_000);
        assert!(health.live().ok);
        clock.advance_millis(1);
        let live = health.live();
        assert!(!live.ok && live.reason.contains("no heartbeat for 10.0 s"), "{live:?}");
        health.beat("shard-0");
        assert!(health.live().ok && health.ready().ok);
    }
}
