//! Measures consumer lag, and the number and size of the tasks, beside the shards. Reports whether the cluster answers,
//! and which streams are degraded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    context::Context, open_transactions::OpenTransactions, partition_task::input_partition, reachability::Reachability,
    status::SourceStatus,
};
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
    let mut cluster = Reachability::new(context.clock.monotonic_micros());
    let mut open_transactions = OpenTransactions::default();
    while !context.stopping() {
        let answers = cluster.ask(context);
        measure(context, answers, &mut open_transactions);
        let tasks = context.status.tasks();
        let serves = |stream: &str| tasks.iter().any(|(task, _)| *task.stream == *stream);
        context.status.refusals.report(&context.health, serves);
        context.pause(INTERVAL);
    }
    Ok(())
}

/// Where the partitions end, as far as their brokers answer.
fn ends(context: &Context, open_transactions: &mut OpenTransactions) -> BTreeMap<Partition, i64> {
    let (tasks, sources) = (context.status.tasks(), context.status.sources());
    let ids = tasks.iter().map(|(task, _)| task).chain(sources.iter().map(|(source, _)| source));
    let partitions: BTreeSet<Partition> = ids.map(input_partition).collect();
    let partitions: Vec<Partition> = partitions.into_iter().collect();
    open_transactions.check(context, &partitions);
    // A request without an answer takes its whole timeout. It asks for all partitions of a broker at once.
    let ends = context.broker.end_offsets(&partitions, Isolation::Committed).unwrap_or_default();
    partitions.into_iter().zip(ends).collect()
}

/// Measures once. The lag of a partition whose broker does not answer is unknown: neither 0 nor what it once was.
fn measure(context: &Context, answers: bool, open_transactions: &mut OpenTransactions) {
    let ends = if answers { ends(context, open_transactions) } else { BTreeMap::new() };
    let streams = context.plan.streams.iter();
    let mut sums: BTreeMap<String, StreamSums> =
        streams.map(|stream| (stream.engine.name.to_string(), StreamSums::default())).collect();
    // Positions are read after the ends: what is served in between does not count as lag.
    for (task, status) in context.status.tasks() {
        let end = ends.get(&input_partition(&task));
        let partition_status = PartitionStatus {
            state: status.state,
            series: status.series,
            state_bytes: status.state_bytes,
            lag: end.map(|end| lag(*end, status.position, status.passed)),
            remaining: status.remaining,
        };
        show(context, &task, partition_status);
        let sum = sums.entry(task.stream.to_string()).or_default();
        sum.series += status.series;
        sum.state_bytes += status.state_bytes;
        *sum.tasks.entry(label(status.state)).or_default() += 1;
    }
    for (source, SourceStatus { position, passed, remaining }) in context.status.sources() {
        let lag = ends.get(&input_partition(&source)).map(|end| lag(*end, position, passed));
        let (state, series, state_bytes) = (PartitionState::Running, 0, 0);
        show(context, &source, PartitionStatus { state, series, state_bytes, lag, remaining });
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

/// Shows where a partition of a stream's input stands, in metrics and on the page.
fn show(context: &Context, id: &TaskId, status: PartitionStatus) {
    let number = id.partition.to_string();
    let labels = [("stream", &*id.stream), ("topic", &*id.topic), ("partition", &*number)];
    // What is no number is not exposed.
    metrics::LAG.gauge(&labels).set(status.lag.map_or(f64::NAN, |lag| lag as f64));
    metrics::RESTORE_REMAINING.gauge(&labels).set(status.remaining as f64);
    context.status.dashboard.set_partition(&id.stream, &id.topic, id.partition, Some(status));
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
