//! Topics whose records the brokers refuse: the partitions that write to them wait, and the others go on.

use std::collections::{BTreeMap, BTreeSet};

use super::transaction::OpenTransaction;
use crate::broker::Partition;
use crate::daemon::plan::Plan;
use crate::daemon::restore::AssignedPartition;

/// Pause after the first refusal of a topic, in microseconds. Each further one doubles it.
const MIN_DELAY: u64 = 1_000_000;
/// The longest pause, in microseconds.
const MAX_DELAY: u64 = 30_000_000;
/// Without a refusal for this long after the last pause, a topic counts as accepting again, in microseconds.
const FORGET_AFTER: u64 = 60_000_000;

struct Refusal {
    why: String,
    count: u32,
    /// When its partitions are tried again, in microseconds of the monotonic clock.
    until: u64,
}

/// The topics that refuse records.
#[derive(Default)]
pub struct Refusals {
    topics: BTreeMap<String, Refusal>,
}

impl Refusals {
    /// Notes a refusal. Returns the time of the next attempt, in microseconds of the monotonic clock.
    pub fn refuse(&mut self, topic: &str, why: &str, now: u64) -> u64 {
        let refusal = self.topics.entry(topic.to_owned()).or_insert(Refusal { why: String::new(), count: 0, until: 0 });
        let delay = (MIN_DELAY << refusal.count.min(10)).min(MAX_DELAY);
        (refusal.count, refusal.until) = (refusal.count + 1, now + delay);
        refusal.why = why.to_owned();
        refusal.until
    }

    /// Why partitions wait; `None` where no topic has refused a record lately.
    pub fn reason(&mut self, now: u64) -> Option<String> {
        self.topics.retain(|_, refusal| now < refusal.until + FORGET_AFTER);
        self.topics.values().find(|refusal| now < refusal.until).map(|refusal| refusal.why.clone())
    }

    /// A transaction was committed after the pauses were over: every topic that it wrote to accepts records.
    pub fn committed(&mut self, now: u64) {
        self.topics.retain(|_, refusal| now < refusal.until);
    }
}

/// The partitions that cannot go on while `topic` refuses records: those whose streams write forecasts there, those
/// with dead letters in the transaction, and for the state topic all. `copied` says whether repartitioned input was
/// written to it, which then may be all that is affected.
pub fn affected_partitions(
    plan: &Plan,
    partitions: &BTreeMap<Partition, AssignedPartition>,
    transaction: &OpenTransaction,
    (topic, copied): (&str, bool),
) -> BTreeSet<Partition> {
    let running = || partitions.iter().filter(|(_, assigned)| assigned.running());
    let mut affected: BTreeSet<Partition> = BTreeSet::new();
    if topic == plan.dead_letter_topic {
        let rejected = transaction.rejected.records.iter().filter_map(|rejected| transaction.inbox.get(rejected.batch));
        affected.extend(rejected.map(|batch| batch.partition.clone()));
        let covariates = running().filter(|(_, assigned)| {
            assigned.tasks.iter().filter_map(|task| task.feed.as_ref()).any(|feed| !feed.dead_letters.is_empty())
        });
        affected.extend(covariates.map(|(partition, _)| partition.clone()));
    } else {
        let writes = |stream: usize| plan.streams[stream].forecasts_topic == topic;
        let writers = running().filter(|(_, assigned)| assigned.tasks.iter().any(|task| writes(task.stream)));
        affected.extend(writers.map(|(partition, _)| partition.clone()));
    }
    if affected.is_empty() && !copied {
        affected.extend(running().map(|(partition, _)| partition.clone()));
    }
    affected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_commit() {
        let mut refusals = Refusals::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let until = refusals.refuse("out", "too large", now);
            pauses.push((until - now) / 1_000_000);
            assert_eq!(refusals.reason(until - 1).as_deref(), Some("too large"));
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        refusals.committed(now - 1);
        assert_eq!(refusals.refuse("out", "again", now), now + MAX_DELAY, "other partitions' commits do not count");
        refusals.committed(now + MAX_DELAY);
        assert_eq!(refusals.reason(now + MAX_DELAY), None);
        assert_eq!(refusals.refuse("out", "again", now), now + MIN_DELAY);
    }
}
