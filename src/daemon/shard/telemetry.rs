//! What a shard reports of itself: where its tasks stand, and how its transactions end.

use std::sync::Arc;

use super::transaction_limit::TransactionLimit;
use crate::broker::Member;
use crate::daemon::restore::RestoreSchedule;
use crate::daemon::status::{Status, TaskStatus};
use crate::engine::{Engine, TaskHandle, Transaction};
use crate::telemetry::metrics;

/// Microseconds between two reports of the tasks' sizes. Adding up the memory of the states visits every series: 20 ms
/// for a million. Positions are reported with each commit.
const REPORT_EVERY: u64 = 5_000_000;
/// Microseconds between two reports of what the partitions have passed.
const PASSED_EVERY: u64 = 1_000_000;

/// Reports to the lag monitor, the dashboard and the metrics.
pub struct ShardTelemetry {
    pub status: Arc<Status>,
    /// When the tasks were last reported, in microseconds of the monotonic clock.
    reported_at: u64,
    /// Whether a commit has changed them since.
    dirty: bool,
    /// When it was last reported what the partitions have passed.
    passed_at: u64,
}

impl ShardTelemetry {
    pub fn new(status: Arc<Status>) -> Self {
        Self { status, reported_at: 0, dirty: false, passed_at: 0 }
    }

    /// Reports the limit of the next transaction. A log line says when timeouts begin to reduce it, and when it is as
    /// configured again.
    pub fn transaction_limit(&self, shard: &str, before: TransactionLimit, limit: TransactionLimit) {
        let bytes = limit.bytes();
        metrics::TRANSACTION_LIMIT_BYTES.gauge(&[("shard", shard)]).set(bytes as f64);
        match (before.is_reduced(), limit.is_reduced()) {
            (false, true) => tracing::warn!(
                shard,
                bytes,
                "the brokers do not take a transaction within kafka.transaction_timeout; transactions are smaller \
                 until they do. Check quotas, load and in-sync replicas of the brokers"
            ),
            (true, false) => tracing::info!(shard, bytes, "transactions are as large as configured again"),
            _ => {}
        }
    }

    pub fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.reported_at) >= REPORT_EVERY
    }

    /// Reports the tasks where they have changed and the last report is old.
    pub fn report_if_due(&mut self, restores: &RestoreSchedule, engine: &Engine, now: u64) {
        if self.dirty && self.is_due(now) {
            self.report(restores, engine, now);
        }
    }

    /// Reports, now and then, how far the served partitions have passed the records that were processed. Only while no
    /// record waits to be processed: delivery is then behind the newest one, and behind the markers that follow it. An
    /// error only costs the report.
    pub fn report_passed_if_due(
        &mut self,
        restores: &RestoreSchedule,
        engine: &Engine,
        member: &mut dyn Member,
        now: u64,
    ) {
        if now.saturating_sub(self.passed_at) < PASSED_EVERY {
            return;
        }
        self.passed_at = now;
        for (partition, passed) in member.delivery_positions().unwrap_or_default() {
            let Some(assigned) = restores.partitions.get(&partition).filter(|assigned| assigned.running()) else {
                continue;
            };
            for task in &assigned.tasks {
                self.status.passed(engine.id(task.handle), engine.position(task.handle), passed);
            }
        }
    }

    /// Reports state, position and size of every task.
    pub fn report(&mut self, restores: &RestoreSchedule, engine: &Engine, now: u64) {
        (self.reported_at, self.dirty) = (now, false);
        for assigned in restores.partitions.values() {
            for task in &assigned.tasks {
                let position = engine.position(task.handle);
                let status = TaskStatus {
                    state: assigned.state(),
                    position,
                    passed: position,
                    series: engine.series_count(task.handle) as u64,
                    state_bytes: engine.state_bytes(task.handle) as u64,
                    remaining: assigned.remaining(position).max(warm_up_records(engine, task.handle)),
                };
                self.status.set(engine.id(task.handle), status);
            }
        }
    }

    /// A transaction was committed: its tasks have new positions.
    pub fn committed(&mut self, output: &Transaction, engine: &Engine) {
        for advance in &output.tasks {
            let (id, emit_from) = (engine.id(advance.task), engine.emit_from(advance.task));
            self.status.advanced(id, advance.to);
            if advance.from < emit_from && advance.to >= emit_from {
                tracing::info!(
                    stream = %id.stream, topic = %id.topic, partition = id.partition, offset = emit_from,
                    series = engine.series_count(advance.task), "learnt from the older input; forecasts begin"
                );
            }
        }
        self.dirty = true;
    }
}

/// Records that a task reads before its forecasts begin.
fn warm_up_records(engine: &Engine, task: TaskHandle) -> u64 {
    u64::try_from(engine.emit_from(task) - engine.position(task)).unwrap_or(0)
}
