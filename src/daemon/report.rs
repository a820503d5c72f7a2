//! What a committed epoch adds to the metrics and to the page.

use std::collections::BTreeMap;

use super::{commit::Refused, forecasts::ForecastTimes, plan::Plan, snapshots::RestoreFacts, status::Status};
use crate::{
    broker::Batch,
    dashboard::state::{HorizonAccuracy, IntervalCoverage, SeriesUpdate, WorkCounts},
    engine::{Engine, StreamSpec, Transaction},
    forecast::{AccuracySums, Expert},
    telemetry::metrics,
    wire::{Rejection, RejectionReason},
};

/// Ages of records measured per epoch and batch, evenly spread: a histogram needs no more, and every one costs time.
const AGES_PER_BATCH: usize = 64;

/// When an epoch reached its stations.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Gathered, in microseconds of the monotonic clock.
    pub started: u64,
    /// Stepped through the network.
    pub stepped: u64,
    /// Committed.
    pub committed: u64,
    /// The wall clock at its commit, in milliseconds since the Unix epoch.
    pub wall: i64,
}

/// An epoch is in Kafka.
pub fn committed(
    plan: &Plan,
    engine: &Engine,
    epoch: &Transaction,
    inbox: &[Batch],
    refused: &[Refused],
    times: Times,
    status: &Status,
) {
    metrics::TRANSACTION_COMPUTE_SECONDS.histogram(&[]).record(seconds(times.started, times.stepped));
    metrics::COMMIT_SECONDS.histogram(&[]).record(seconds(times.stepped, times.committed));
    metrics::TRANSACTIONS.counter(&[("outcome", "committed")]).increment(1);
    let mut works: Vec<WorkCounts> = vec![WorkCounts::default(); plan.streams.len()];
    count_input(plan, inbox, times.wall, &mut works);
    count_refused(plan, refused, &mut works);
    for (index, (stream, work)) in plan.streams.iter().zip(&mut works).enumerate() {
        let name: &str = &stream.engine.name;
        let label = [("stream", name)];
        work.observations = epoch.observations[index];
        work.forecasts = epoch.forecast_counts[index];
        metrics::OBSERVATIONS.counter(&label).increment(work.observations);
        metrics::FORECASTS.counter(&label).increment(work.forecasts);
        metrics::STEPS.counter(&label).increment(epoch.steps[index]);
        metrics::BURN_INS.counter(&label).increment(epoch.burn_ins[index]);
        let rows = metrics::MICRO_BATCH_ROWS.histogram(&label);
        let batches = epoch.batches.iter().filter(|batch| batch.stream == index);
        batches.for_each(|batch| rows.record(batch.series as f64));
        count_accuracy(&stream.engine, &epoch.accuracy[index], status);
        status.dashboard.record_work(name, *work);
    }
    let mut written: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for snapshot in &epoch.snapshots {
        let sums = written.entry(&engine.id(snapshot.task).stream).or_default();
        *sums = (sums.0 + 1, sums.1 + snapshot.body.len() as u64);
    }
    for (stream, (count, bytes)) in written {
        metrics::SNAPSHOTS.counter(&[("stream", stream)]).increment(count);
        metrics::SNAPSHOT_BYTES.counter(&[("stream", stream)]).increment(bytes);
    }
}

/// So many bytes of forecasts were committed, by the stream's index.
pub fn written(plan: &Plan, bytes: &[u64]) {
    for (stream, bytes) in plan.streams.iter().zip(bytes) {
        metrics::FORECAST_BYTES.counter(&[("stream", &stream.engine.name)]).increment(*bytes);
    }
}

/// So many records wait to be taken through the engine.
pub fn gathered(records: usize) {
    metrics::QUEUE_RECORDS.gauge(&[("queue", "transaction")]).set(records as f64);
}

/// The group has given or taken partitions.
pub fn rebalanced() {
    metrics::REBALANCES.counter(&[]).increment(1);
}

/// An epoch was rolled back.
pub fn aborted() {
    metrics::TRANSACTIONS.counter(&[("outcome", "aborted")]).increment(1);
}

/// Another instance took over.
pub fn fenced() {
    metrics::TRANSACTIONS.counter(&[("outcome", "fenced")]).increment(1);
}

/// So many bytes of others' states are kept for a takeover by one shard.
pub fn copied(shard: &str, bytes: usize) {
    metrics::STANDBY_BYTES.gauge(&[("shard", shard)]).set(bytes as f64);
}

/// A partition's restore is done, so many microseconds after it was assigned.
pub fn restored(stream: &str, facts: RestoreFacts, took: u64) {
    metrics::RESTORE_SNAPSHOTS.counter(&[("stream", stream)]).increment(facts.snapshots as u64);
    metrics::RESTORE_RECORDS.counter(&[("stream", stream)]).increment(facts.replayed as u64);
    metrics::RESTORE_LOST.counter(&[("stream", stream)]).increment(facts.lost);
    metrics::RESTORE_SECONDS.histogram(&[("stream", stream)]).record(took as f64 / 1e6);
}

/// Shows the newest forecast of each series on the page.
pub fn show(status: &Status, engine: &Engine, epoch: &Transaction) {
    let mut times = ForecastTimes::default();
    for row in &epoch.forecasts {
        let id = engine.id(row.task);
        let spec = engine.stream(row.task);
        let (outputs, levels) = (spec.forecast.outputs(), &spec.forecast.levels);
        status.dashboard.record_forecast(&SeriesUpdate {
            stream: &id.stream,
            series: engine.key(row.task, row.series),
            origin: row.origin.0,
            value: row.value,
            times: times.of(engine, row),
            point: &epoch.points[row.point..row.point + outputs],
            levels,
            quantiles: &epoch.quantiles[row.quantile..row.quantile + outputs * levels.len()],
            anomaly: row.anomaly.map(|anomaly| anomaly.score),
            anomalous: row.anomaly.is_some_and(|anomaly| anomaly.anomalous),
        });
    }
}

fn count_input(plan: &Plan, inbox: &[Batch], wall: i64, works: &mut [WorkCounts]) {
    for batch in inbox {
        let partition = batch.partition.number.to_string();
        for (index, name) in plan.streams_of(&batch.partition.topic) {
            let labels = [("stream", &*name), ("topic", &*batch.partition.topic), ("partition", &*partition)];
            metrics::RECORDS.counter(&labels).increment(batch.len() as u64);
            metrics::RECORD_BYTES.counter(&labels).increment(batch.bytes() as u64);
            works[index].records += batch.len() as u64;
            let ages = metrics::RECORD_AGE_SECONDS.histogram(&[("stream", &*name)]);
            let stride = batch.len().div_ceil(AGES_PER_BATCH).max(1);
            for age in batch.iter().step_by(stride).filter_map(|record| Some(wall - record.timestamp?)) {
                ages.record(age.max(0) as f64 / 1000.0);
            }
        }
    }
}

/// A record of a second topic has gone to the dead letters.
pub fn letter(stream: &str, refusal: &Rejection) {
    metrics::DEAD_LETTERS.counter(&[("stream", stream), ("reason", refusal.reason.label())]).increment(1);
}

fn count_refused(plan: &Plan, refused: &[Refused], works: &mut [WorkCounts]) {
    for refused in refused {
        let name: &str = &plan.streams[refused.stream].engine.name;
        let reason = refused.refusal.reason;
        metrics::DEAD_LETTERS.counter(&[("stream", name), ("reason", reason.label())]).increment(1);
        works[refused.stream].dead_letters += 1;
        match reason {
            RejectionReason::Late => {
                metrics::LATE.counter(&[("stream", name)]).increment(1);
                works[refused.stream].late += 1;
            }
            RejectionReason::Duplicate => metrics::DUPLICATES.counter(&[("stream", name)]).increment(1),
            _ => {}
        }
    }
}

fn count_accuracy(spec: &StreamSpec, facts: &AccuracySums, status: &Status) {
    let name: &str = &spec.name;
    let stream = ("stream", name);
    metrics::ANOMALIES.counter(&[stream]).increment(facts.anomalous);
    status.matured(name, facts);
    let levels = &spec.forecast.levels;
    for (bucket, &last_lead) in facts.buckets.iter().zip(&spec.forecast.buckets) {
        let horizon = last_lead.to_string();
        let labels = [stream, ("horizon", &*horizon)];
        metrics::MATURED.counter(&labels).increment(bucket.points);
        metrics::PINBALL.sum(&labels).increment(bucket.pinball);
        let last = bucket.expert_errors[Expert::LastValue as usize];
        let seasonal = bucket.expert_errors[Expert::SeasonalNaive as usize];
        for (method, sum) in [("foretide", bucket.absolute_error), ("last_value", last), ("seasonal_naive", seasonal)] {
            metrics::ABSOLUTE_ERROR.sum(&[stream, ("horizon", &*horizon), ("method", method)]).increment(sum);
        }
        for (expert, weight) in Expert::NAMES.into_iter().zip(bucket.expert_weights) {
            metrics::EXPERT_WEIGHT.sum(&[stream, ("horizon", &*horizon), ("expert", expert)]).increment(weight);
        }
        let mut intervals = Vec::new();
        for ((low, high), &covered) in spec.forecast.intervals().zip(&bucket.covered) {
            let share = levels[high] - levels[low];
            let interval = format!("{share:.2}");
            let labels = [stream, ("interval", &*interval)];
            metrics::INTERVAL_TARGETS.counter(&labels).increment(bucket.intervals);
            metrics::INTERVAL_COVERED.counter(&labels).increment(covered);
            intervals.push(IntervalCoverage { share, targets: bucket.intervals, covered });
        }
        if bucket.points > 0 {
            let accuracy = HorizonAccuracy {
                count: bucket.points,
                foretide: bucket.absolute_error,
                last_value: last,
                seasonal_naive: seasonal,
                intervals,
                weights: bucket.expert_weights,
            };
            status.dashboard.record_accuracy(name, u32::try_from(last_lead).unwrap_or(u32::MAX), &accuracy);
        }
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}
