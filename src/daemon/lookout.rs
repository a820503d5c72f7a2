//! A slow look around beside the shards: consumer lag, where partitions are, the states' memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{partition::input, supervise::Shared};
use crate::dashboard::state::{PartitionState, PartitionStatus};
use crate::{broker::Partition, engine::TaskId, telemetry::metrics};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);

/// Looks around until the process stops.
///
/// # Errors
/// None: trouble with the broker shows in the shards, which must deal with it.
pub fn run(shared: &Shared) -> Result<(), String> {
    let mut lags = BTreeMap::new();
    while !shared.stop.asked() {
        look(shared, &mut lags);
        shared.stop.sleep(EVERY);
    }
    Ok(())
}

/// Looks once. While the brokers do not answer, the lags that were told last stay as they are.
fn look(shared: &Shared, lags: &mut BTreeMap<TaskId, u64>) {
    let partitions: BTreeSet<Partition> = shared.status.tasks().iter().map(|(task, _)| input(task)).collect();
    let mut ends = BTreeMap::new();
    for partition in partitions {
        if shared.stop.asked() {
            return;
        }
        // One question without an answer takes long enough.
        let Ok(offsets) = shared.broker.offsets(&partition) else { break };
        ends.insert(partition, offsets.end);
    }
    let before = std::mem::take(lags);
    let mut sums: BTreeMap<String, (u64, u64, BTreeMap<&str, u64>)> =
        shared.plan.streams.iter().map(|stream| (stream.engine.name.to_string(), Default::default())).collect();
    // Where the tasks stand is read last: what was served while the brokers answered is no lag.
    for (task, status) in shared.status.tasks() {
        let end = ends.get(&input(&task));
        let now = end.map(|end| u64::try_from(end - status.position).unwrap_or(0));
        let lag = now.or_else(|| before.get(&task).copied()).unwrap_or(0);
        lags.insert(task.clone(), lag);
        let number = task.partition.to_string();
        let labels = [("stream", &*task.stream), ("topic", &*task.topic), ("partition", &*number)];
        metrics::LAG.gauge(&labels).set(lag as f64);
        metrics::RESTORE_REMAINING.gauge(&labels).set(status.remaining as f64);
        shared.status.dashboard.set_partition(
            &task.stream,
            &task.topic,
            task.partition,
            Some(PartitionStatus {
                state: status.state,
                series: status.series,
                state_bytes: status.state_bytes,
                lag,
                remaining: status.remaining,
            }),
        );
        let (series, bytes, states) = sums.entry(task.stream.to_string()).or_default();
        *series += status.series;
        *bytes += status.state_bytes;
        *states.entry(word(status.state)).or_default() += 1;
    }
    for (stream, (series, bytes, states)) in sums {
        metrics::SERIES.gauge(&[("stream", &stream)]).set(series as f64);
        metrics::STATE_BYTES.gauge(&[("stream", &stream)]).set(bytes as f64);
        for state in [PartitionState::Restoring, PartitionState::Running, PartitionState::Suspended].map(word) {
            let count = states.get(state).copied().unwrap_or(0);
            metrics::PARTITIONS.gauge(&[("stream", &stream), ("state", state)]).set(count as f64);
        }
    }
}

fn word(state: PartitionState) -> &'static str {
    match state {
        PartitionState::Created | PartitionState::Restoring => "restoring",
        PartitionState::Running => "running",
        PartitionState::Suspended => "suspended",
    }
}
