//! Measures consumer lag, and the number and size of the tasks, beside the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{context::Context, open_transactions::OpenTransactions, partition_task::input_partition};
use crate::broker::{Isolation, Partition};
use crate::dashboard::state::{PartitionState, PartitionStatus};
use crate::engine::TaskId;
use crate::telemetry::metrics;

/// Pause between two measurements.
const INTERVAL: Duration = Duration::from_secs(2);

/// Sums over the tasks of a stream.
#[derive(Default)]
struct StreamSums {
    series: u64,
    state_bytes: u64,
    /// Tasks by the name of their state.
    tasks: BTreeMap<&'static str, u64>,
}

/// Measures until the process stops.
pub fn run(context: &Context) -> Result<(), String> {
    let mut lags = BTreeMap::new();
    let mut open_transactions = OpenTransactions::default();
    while !context.stopping() {
        measure(context, &mut lags, &mut open_transactions);
        context.pause(INTERVAL);
    }
    Ok(())
}

/// Measures once. Lags stay as they are where no broker answers.
fn measure(context: &Context, lags: &mut BTreeMap<TaskId, u64>, open_transactions: &mut OpenTransactions) {
    let partitions: BTreeSet<Partition> =
        context.status.tasks().iter().map(|(task, _)| input_partition(task)).collect();
    let partitions: Vec<Partition> = partitions.into_iter().collect();
    open_transactions.check(context, &partitions);
    // A request without an answer takes its whole timeout. It asks for all partitions of a broker at once.
    let ends = context.broker.end_offsets(&partitions, Isolation::Committed).unwrap_or_default();
    let ends: BTreeMap<Partition, i64> = partitions.into_iter().zip(ends).collect();
    let previous = std::mem::take(lags);
    let streams = context.plan.streams.iter();
    let mut sums: BTreeMap<String, StreamSums> =
        streams.map(|stream| (stream.engine.name.to_string(), StreamSums::default())).collect();
    // Positions are read after the ends: what is served in between does not count as lag.
    for (task, status) in context.status.tasks() {
        let end = ends.get(&input_partition(&task));
        let measured = end.map(|end| lag(*end, status.position, status.passed));
        let lag = measured.or_else(|| previous.get(&task).copied()).unwrap_or(0);
        lags.insert(task.clone(), lag);
        let number = task.partition.to_string();
        let labels = [("stream", &*task.stream), ("topic", &*task.topic), ("partition", &*number)];
        metrics::LAG.gauge(&labels).set(lag as f64);
        metrics::RESTORE_REMAINING.gauge(&labels).set(status.remaining as f64);
        let partition_status = PartitionStatus {
            state: status.state,
            series: status.series,
            state_bytes: status.state_bytes,
            lag,
            remaining: status.remaining,
        };
        context.status.dashboard.set_partition(&task.stream, &task.topic, task.partition, Some(partition_status));
        let sum = sums.entry(task.stream.to_string()).or_default();
        sum.series += status.series;
        sum.state_bytes += status.state_bytes;
        *sum.tasks.entry(label(status.state)).or_default() += 1;
    }
    for (stream, sum) in sums {
        metrics::SERIES.gauge(&[("stream", &stream)]).set(sum.series as f64);
        metrics::STATE_BYTES.gauge(&[("stream", &stream)]).set(sum.state_bytes as f64);
        for state in [PartitionState::Restoring, PartitionState::Running, PartitionState::Suspended].map(label) {
            let count = sum.tasks.get(state).copied().unwrap_or(0);
            metrics::PARTITIONS.gauge(&[("stream", &stream), ("state", state)]).set(count as f64);
        }
    }
}

/// Records before `end` that are not processed, for a task at `position` that has passed everything below `passed`. The
/// offsets of markers count only where they are among unread records.
fn lag(end: i64, position: i64, passed: i64) -> u64 {
    u64::try_from(end - position.max(passed)).unwrap_or(0)
}

fn label(state: PartitionState) -> &'static str {
    match state {
        PartitionState::Created | PartitionState::Restoring => "restoring",
        PartitionState::Running => "running",
        PartitionState::Suspended => "suspended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_at_the_end_are_no_lag() {
        assert_eq!(lag(221, 210, 221), 0, "markers and aborted records are passed");
        assert_eq!(lag(221, 210, 210), 11, "nothing is known of what follows");
        assert_eq!(lag(230, 210, 221), 9, "new records follow the markers");
        assert_eq!(lag(200, 210, 221), 0, "the end was asked for before the position");
    }
}
