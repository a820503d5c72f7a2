//! The partitions of a shard, and what is due when: restores that begin, go on or are retried, and standby copies.

use std::collections::BTreeMap;

use super::background_rebuild::BackgroundRebuild;
use super::group_position::GroupPosition;
use super::inputs::RestoreInputs;
use super::partition::{AssignedPartition, SLICE_WAIT, SliceOutcome};
use super::standby::Standby;
use super::stats::RestoreStats;
use crate::broker::{Broker, BrokerError, Member, Partition};
use crate::daemon::plan::Plan;
use crate::dashboard::state::PartitionState;
use crate::engine::Engine;
use crate::telemetry::metrics;

/// The most restores at the same time, or begun in one poll iteration. Each has a Kafka client that fetches ahead.
const MAX_CONCURRENT_RESTORES: usize = 8;

/// The outcome of advancing all restores.
#[derive(Debug, Clone, Default)]
pub struct RestoreProgress {
    /// Whether any restore advanced.
    pub advanced: bool,
    /// The partitions that became ready to be served.
    pub ready: Vec<Partition>,
    /// The partition whose rebuilt tasks have taken over, and that is not served until it is ready.
    pub taken_over: Option<Partition>,
}

/// The assigned partitions, and the standby copies of the others.
pub struct RestoreSchedule {
    /// The partitions that the group has assigned.
    pub partitions: BTreeMap<Partition, AssignedPartition>,
    rebuild: BackgroundRebuild,
    /// Copies of other shards' snapshots.
    pub standby: Standby,
    /// Whether the last poll of the standby copies found new records.
    standby_lagging: bool,
}

impl RestoreSchedule {
    /// A schedule without partitions. Standby copies wait as after a rebalance.
    pub fn new(now: u64) -> Self {
        let mut standby = Standby::default();
        standby.rebalanced(now);
        Self { partitions: BTreeMap::new(), rebuild: BackgroundRebuild::default(), standby, standby_lagging: false }
    }

    /// Adds partitions that the group has just assigned, with its position in each.
    pub fn assign(
        &mut self,
        plan: &Plan,
        engine: &mut Engine,
        partitions: &[Partition],
        positions: &[GroupPosition],
        now: u64,
    ) {
        let state = |partition: &Partition| partition.number % plan.state_partitions;
        let copies = self.standby.take(partitions.iter().map(state));
        for (partition, &position) in partitions.iter().zip(positions) {
            let copy = copies.get(&state(partition)).cloned();
            tracing::info!(
                topic = %partition.topic, partition = partition.number, offset = position.committed,
                standby_copy = copy.is_some(),
                "partition assigned; restoring"
            );
            let assigned = AssignedPartition::open(plan, engine, partition, position, copy, now);
            self.partitions.insert(partition.clone(), assigned);
        }
        self.standby.rebalanced(now);
    }

    /// Removes partitions that the group has revoked, and returns those that were there. One that is being rebuilt is
    /// there twice.
    pub fn revoke(&mut self, partitions: &[Partition], now: u64) -> Vec<AssignedPartition> {
        self.standby.rebalanced(now);
        let mut revoked = Vec::from_iter(self.rebuild.revoke(partitions));
        for partition in partitions {
            if let Some(assigned) = self.partitions.remove(partition) {
                tracing::info!(topic = &*partition.topic, partition = partition.number, "partition revoked");
                revoked.push(assigned);
            }
        }
        revoked
    }

    /// Suspends a partition that was served: it is restored at `until` (microseconds of the monotonic clock), and goes
    /// on from the position of its tasks, which is committed.
    pub fn suspend(&mut self, engine: &mut Engine, partition: &Partition, until: u64) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.suspend_serving(engine, until);
        }
    }

    pub fn all_running(&self) -> bool {
        self.partitions.values().all(AssignedPartition::running)
    }

    /// Whether a commit is due for any partition, even without input.
    pub fn awaits_commit(&self) -> bool {
        self.partitions.values().any(AssignedPartition::awaits_commit)
    }

    /// Whether there is work that must not wait for input: a restore, or standby copies that lag.
    pub fn busy(&self) -> bool {
        self.standby_lagging || self.rebuild.is_active() || !self.all_running()
    }

    /// Polls the standby copies of partitions that this shard does not own. Returns whether there was anything to do.
    pub fn poll_standby(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        shard: &str,
        now: u64,
    ) -> Result<bool, BrokerError> {
        let Self { partitions, standby, .. } = self;
        let owned =
            |topic: &String, number| partitions.contains_key(&Partition { topic: topic.as_str().into(), number });
        let wanted = |number: i32| !plan.topics().iter().all(|topic| owned(topic, number));
        let lagging = standby.poll(plan, broker, now, wanted)?;
        if lagging != self.standby_lagging {
            metrics::STANDBY_BYTES.gauge(&[("shard", shard)]).set(standby.bytes() as f64);
            self.standby_lagging = lagging;
        }
        Ok(lagging)
    }

    /// Advances every restore by a slice, and starts the delivery of partitions that become ready.
    ///
    /// # Errors
    /// The broker's, where the group membership cannot go on. A postponed restore is none.
    pub fn advance(
        &mut self,
        inputs: &mut RestoreInputs<'_>,
        member: &mut dyn Member,
    ) -> Result<RestoreProgress, BrokerError> {
        let mut progress = RestoreProgress::default();
        let mut restoring = self.partitions.values().filter(|assigned| assigned.restoring()).count();
        let wait = SLICE_WAIT / u32::try_from(restoring.max(1)).unwrap_or(1);
        for (partition, assigned) in &mut self.partitions {
            let (topic, number) = (&*partition.topic, partition.number);
            let before = assigned.state();
            let slice = assigned.advance(inputs, restoring < MAX_CONCURRENT_RESTORES, wait);
            // A restore that began and ended in one slice has taken its share of the iteration as well.
            restoring += usize::from(before != PartitionState::Restoring && before != assigned.state());
            match slice {
                Ok(SliceOutcome::Idle) => continue,
                Ok(SliceOutcome::More) => {}
                Ok(SliceOutcome::Ready(offset)) => {
                    let stats = assigned.stats;
                    let RestoreStats { snapshots, from_standby, rejected, replayed, lost, .. } = stats;
                    tracing::info!(
                        %topic, partition = number, offset, snapshots, from_standby, rejected, replayed, lost,
                        "partition restored; serving"
                    );
                    if let Some(task) = assigned.tasks.first() {
                        let micros = inputs.now.saturating_sub(assigned.assigned_at);
                        stats.record(&inputs.plan.streams[task.stream].engine.name, micros);
                    }
                    member.start(partition, offset)?;
                    progress.ready.push(partition.clone());
                }
                // A rejected request may be for a topic that is just being recreated.
                Err(BrokerError::Retriable(error) | BrokerError::Rejected(error)) => {
                    assigned.postpone(inputs, &error);
                }
                Err(error) => return Err(error),
            }
            progress.advanced = true;
        }
        if restoring == 0 {
            progress.taken_over = self.rebuild.advance(inputs, &mut self.partitions)?;
            progress.advanced |= self.rebuild.is_active();
            if let Some(partition) = &progress.taken_over {
                member.stop(partition)?;
            }
        }
        Ok(progress)
    }

    /// Logs how far every restore is.
    pub fn log_progress(&self, engine: &Engine, now: u64) {
        let restoring = self.partitions.iter().filter(|(_, assigned)| assigned.restoring());
        for (partition, assigned) in restoring.chain(self.rebuild.current()) {
            let position = assigned.position(engine);
            let RestoreStats { snapshots, replayed, .. } = assigned.stats;
            tracing::info!(
                topic = %partition.topic, partition = partition.number, snapshots, replayed,
                remaining = assigned.remaining(position), seconds_left = assigned.seconds_left(position, now),
                "restore in progress"
            );
        }
    }
}
