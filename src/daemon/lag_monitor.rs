//! Measures consumer lag, and the number and size of the tasks, beside the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{context::Context, partition_task::input_partition};
use crate::broker::Partition;
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
    while !context.stopping() {
        measure(context, &mut lags);
        context.pause(INTERVAL);
    }
    Ok(())
}

/// Measures once. Lags of partitions whose broker does not answer stay as they are.
fn measure(context: &Context, lags: &mut BTreeMap<TaskId, u64>) {
    let partitions: BTreeSet<Partition> =
        context.status.tasks().iter().map(|(task, _)| input_partition(task)).collect();
    let mut ends = BTreeMap::new();
    for partition in partitions {
        if context.stopping() {
            return;
        }
        // A request without an answer takes its whole timeout: one is enough.
        let Ok(range) = context.broker.offsets(&partition) else { break };
        ends.insert(partition, range.end);
    }
    let previous = std::mem::take(lags);
    let streams = context.plan.streams.iter();
    let mut sums: BTreeMap<String, StreamSums> =
        streams.map(|stream| (stream.engine.name.to_string(), StreamSums::default())).collect();
    // Positions are read after the ends: what is served in between does not count as lag.
    for (task, status) in context.status.tasks() {
        let end = ends.get(&input_partition(&task));
        let measured = end.map(|end| u64::try_from(end - status.position).unwrap_or(0));
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

fn label(state: PartitionState) -> &'static str {
    match state {
        PartitionState::Created | PartitionState::Restoring => "restoring",
        PartitionState::Running => "running",
        PartitionState::Suspended => "suspended",
    }
}
