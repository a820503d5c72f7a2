//! What a committed transaction adds to the metrics and to the dashboard.

use std::collections::BTreeMap;

use super::ended_series;
use super::transaction::OpenTransaction;
use crate::broker::Partition;
use crate::daemon::forecasts::ForecastTimes;
use crate::daemon::initial_metrics::{METHODS, interval_label};
use crate::daemon::partition_task::{PartitionTask, input_partition};
use crate::daemon::plan::Plan;
use crate::daemon::refusals;
use crate::daemon::repartition::{ReadRecords, Repartitioners};
use crate::daemon::status::Status;
use crate::dashboard::state::{HorizonAccuracy, IntervalCoverage, SeriesUpdate, WorkCounts};
use crate::engine::{Engine, StreamSpec, Transaction};
use crate::forecast::{AccuracySums, Expert};
use crate::telemetry::metrics;
use crate::wire::Rejection;

/// Record ages measured per batch and transaction, evenly spread. More would cost time and not change the histogram.
const AGES_PER_BATCH: usize = 64;

/// When a transaction reached its stages, in microseconds of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct TransactionTimes {
    /// Its input was polled.
    pub started: u64,
    /// Its forecasts were computed.
    pub computed: u64,
    /// It was committed.
    pub committed: u64,
    /// The wall clock at the commit, in milliseconds since the Unix epoch.
    pub wall: i64,
}

/// Records of one stream in a transaction.
#[derive(Default)]
struct NewestRecords<'a> {
    /// All but those that neither count as readable nor as refused.
    records: u64,
    refused: u64,
    /// The newest refusal.
    last: Option<&'a Rejection>,
}

impl<'a> NewestRecords<'a> {
    fn reject(&mut self, rejection: &'a Rejection) {
        if rejection.reason.is_refusal() {
            (self.refused, self.last) = (self.refused + 1, Some(rejection));
        } else {
            self.records = self.records.saturating_sub(1);
        }
    }
}

/// A transaction that was committed.
pub struct CommittedTransaction<'a> {
    pub plan: &'a Plan,
    pub engine: &'a Engine,
    pub input: &'a OpenTransaction,
    pub repartitioners: &'a Repartitioners,
    pub output: &'a Transaction,
    pub times: TransactionTimes,
}

impl CommittedTransaction<'_> {
    /// Records everything. `forecast_bytes` are the bytes of forecasts, by the stream's index in the plan.
    pub fn record(&self, status: &Status, forecast_bytes: &[u64]) {
        let times = self.times;
        metrics::TRANSACTION_COMPUTE_SECONDS.histogram(&[]).record(seconds(times.started, times.computed));
        metrics::COMMIT_SECONDS.histogram(&[]).record(seconds(times.computed, times.committed));
        metrics::TRANSACTIONS.counter(&[("outcome", "committed")]).increment(1);
        for (stream, bytes) in self.plan.streams.iter().zip(forecast_bytes) {
            metrics::FORECAST_BYTES.counter(&[("stream", &stream.engine.name)]).increment(*bytes);
        }
        self.record_streams(status);
        self.record_snapshots();
        ended_series::report(self.engine, &self.output.ended, times.committed);
        self.record_new_series(status);
        self.record_forecasts(status);
    }

    fn record_streams(&self, status: &Status) {
        let mut works: Vec<WorkCounts> = vec![WorkCounts::default(); self.plan.streams.len()];
        self.record_input(&mut works);
        self.record_copied(&mut works);
        self.record_rejections(&mut works, status);
        self.record_late(&mut works);
        let output = self.output;
        for (index, (stream, work)) in self.plan.streams.iter().zip(&mut works).enumerate() {
            let name: &str = &stream.engine.name;
            let label = [("stream", name)];
            let sums = &output.streams[index];
            (work.observations, work.forecasts) = (sums.observations, sums.forecasts);
            metrics::OBSERVATIONS.counter(&label).increment(work.observations);
            metrics::FORECASTS.counter(&label).increment(work.forecasts);
            metrics::BEYOND_BOUNDS.counter(&label).increment(sums.beyond_bounds);
            for (gauge, count) in
                [(metrics::LAST_OBSERVATION, work.observations), (metrics::LAST_FORECAST, work.forecasts)]
            {
                if count > 0 {
                    gauge.gauge(&label).set(self.times.wall as f64 / 1000.0);
                }
            }
            metrics::STEPS.counter(&label).increment(sums.steps);
            metrics::BURN_INS.counter(&label).increment(sums.burn_ins);
            let rows = metrics::MICRO_BATCH_ROWS.histogram(&label);
            sums.batches.iter().for_each(|&series| rows.record(series as f64));
            record_accuracy(&stream.engine, &sums.accuracy, status);
            status.dashboard.record_work(name, *work);
        }
    }

    fn record_input(&self, works: &mut [WorkCounts]) {
        for batch in &self.input.inbox {
            for (index, name) in self.plan.streams_of(&batch.partition.topic) {
                // Copies were counted when they were made.
                if self.plan.streams[index].repartition.is_none() {
                    let (records, bytes) = (batch.len() as u64, batch.bytes() as u64);
                    count_records(&name, &batch.partition, ReadRecords { records, bytes });
                    works[index].records += records;
                }
                let ages = metrics::RECORD_AGE_SECONDS.histogram(&[("stream", &*name)]);
                let stride = batch.len().div_ceil(AGES_PER_BATCH).max(1);
                let timestamps = batch.iter().step_by(stride).filter_map(|record| record.timestamp);
                timestamps.for_each(|timestamp| ages.record((self.times.wall - timestamp).max(0) as f64 / 1000.0));
            }
        }
    }

    /// Counts the records that were copied to repartition topics.
    fn record_copied(&self, works: &mut [WorkCounts]) {
        for (stream, partition, copied) in self.repartitioners.records() {
            count_records(&self.plan.streams[stream].engine.name, partition, copied);
            works[stream].records += copied.records;
        }
    }

    fn record_rejections(&self, works: &mut [WorkCounts], status: &Status) {
        let mut newest: Vec<_> =
            works.iter().map(|work| NewestRecords { records: work.records, ..NewestRecords::default() }).collect();
        let name = |stream: usize| &*self.plan.streams[stream].engine.name;
        for rejected in &self.input.rejected.records {
            let batch = &self.input.inbox[rejected.batch];
            if let Some(record) = batch.get(rejected.record) {
                let (name, rejection) = (name(rejected.stream), &rejected.rejection);
                refusals::warn(name, rejection, &batch.partition, record, self.times.committed);
            }
            // The copies of a stream can always be read: what was copied counts.
            if self.plan.streams[rejected.stream].repartition.is_none() {
                newest[rejected.stream].reject(&rejected.rejection);
            }
            if !rejected.warm_up {
                count_dead_letter(name(rejected.stream), &rejected.rejection);
                works[rejected.stream].dead_letters += 1;
            }
        }
        for (stream, refused) in self.repartitioners.refused() {
            let (name, rejection) = (name(stream), &refused.rejection);
            refusals::warn(name, rejection, &refused.partition, refused.record(), self.times.committed);
            newest[stream].reject(rejection);
            if !refused.warm_up {
                count_dead_letter(name, rejection);
                works[stream].dead_letters += 1;
            }
        }
        for (stream, NewestRecords { records, refused, last }) in newest.into_iter().enumerate() {
            status.refusals.record(name(stream), records, refused, last);
        }
    }

    /// Notes where the series that have begun are read.
    fn record_new_series(&self, status: &Status) {
        for begun in self.output.begun.chunk_by(|(one, _), (other, _)| one == other) {
            let id = self.engine.id(begun[0].0);
            if let Some(stream) = self.plan.streams.iter().find(|stream| stream.engine.name == id.stream) {
                let series = begun.iter().map(|(_, key)| &**key);
                status.split_series.observe(stream, &input_partition(id), series, self.times.committed);
            }
        }
    }

    fn record_late(&self, works: &mut [WorkCounts]) {
        for (index, late) in self.input.rejected.late.iter().enumerate() {
            let stream = [("stream", &*self.plan.streams[index].engine.name)];
            works[index].late += late.by.len() as u64;
            metrics::LATE.counter(&stream).increment(late.by.len() as u64);
            metrics::DUPLICATES.counter(&stream).increment(late.duplicates);
            if !late.by.is_empty() {
                let lateness = metrics::LATENESS_SECONDS.histogram(&stream);
                late.by.iter().for_each(|&by| lateness.record(by as f64 / 1_000.0));
            }
        }
    }

    fn record_snapshots(&self) {
        let mut written: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for snapshot in &self.output.snapshots {
            let (count, bytes) = written.entry(&self.engine.id(snapshot.task).stream).or_default();
            *count += 1;
            *bytes += snapshot.body.len() as u64;
        }
        for (stream, (count, bytes)) in written {
            metrics::SNAPSHOTS.counter(&[("stream", stream)]).increment(count);
            metrics::SNAPSHOT_BYTES.counter(&[("stream", stream)]).increment(bytes);
        }
    }

    /// Shows the newest forecast of each series on the dashboard.
    fn record_forecasts(&self, status: &Status) {
        let mut times = ForecastTimes::default();
        let (engine, output) = (self.engine, self.output);
        for row in &output.forecasts {
            let id = engine.id(row.task);
            let spec = engine.stream(row.task);
            let (outputs, levels) = (spec.forecast.outputs(), &spec.forecast.levels);
            status.dashboard.record_forecast(&SeriesUpdate {
                stream: &id.stream,
                series: engine.key(row.task, row.series),
                origin: row.origin.0,
                value: row.value,
                times: times.of(engine, row),
                point: &output.points[row.point..row.point + outputs],
                levels,
                quantiles: &output.quantiles[row.quantile..row.quantile + outputs * levels.len()],
                anomaly: row.anomaly.map(|anomaly| anomaly.score),
                anomalous: row.anomaly.is_some_and(|anomaly| anomaly.anomalous),
            });
        }
    }
}

/// Counts the dead letters of future covariates that the transaction has written, and removes them from their feeds.
/// `now` is in microseconds of the monotonic clock.
pub fn clear_covariate_dead_letters(plan: &Plan, tasks: &mut [PartitionTask], output: &Transaction, now: u64) {
    for task in tasks {
        let stream: &str = &plan.streams[task.stream].engine.name;
        if let Some(feed) = task.feed.as_mut().filter(|_| output.moved(task.handle)) {
            for rejected in feed.dead_letters.drain(..) {
                refusals::warn(stream, &rejected.rejection, &feed.partition, rejected.record(), now);
                count_dead_letter(stream, &rejected.rejection);
            }
        }
    }
}

/// Counts records of one input partition of a stream.
fn count_records(stream: &str, partition: &Partition, ReadRecords { records, bytes }: ReadRecords) {
    let number = partition.number.to_string();
    let labels = [("stream", stream), ("topic", &*partition.topic), ("partition", &*number)];
    metrics::RECORDS.counter(&labels).increment(records);
    metrics::RECORD_BYTES.counter(&labels).increment(bytes);
}

fn count_dead_letter(stream: &str, rejection: &Rejection) {
    metrics::DEAD_LETTERS.counter(&[("stream", stream), ("reason", rejection.reason.label())]).increment(1);
}

fn record_accuracy(spec: &StreamSpec, sums: &AccuracySums, status: &Status) {
    let name: &str = &spec.name;
    let stream = ("stream", name);
    metrics::ANOMALIES.counter(&[stream]).increment(sums.anomalous);
    status.check_drift(name, sums);
    let levels = &spec.forecast.levels;
    for (bucket, &last_lead) in sums.buckets.iter().zip(&spec.forecast.buckets) {
        let horizon = last_lead.to_string();
        let labels = [stream, ("horizon", &*horizon)];
        metrics::MATURED.counter(&labels).increment(bucket.points);
        metrics::PINBALL.sum(&labels).increment(bucket.pinball);
        let last = bucket.expert_errors[Expert::LastValue as usize];
        let seasonal = bucket.expert_errors[Expert::SeasonalNaive as usize];
        for (method, sum) in METHODS.into_iter().zip([bucket.absolute_error, last, seasonal]) {
            metrics::ABSOLUTE_ERROR.sum(&[stream, ("horizon", &*horizon), ("method", method)]).increment(sum);
        }
        for (expert, weight) in Expert::NAMES.into_iter().zip(bucket.expert_weights) {
            metrics::EXPERT_WEIGHT.sum(&[stream, ("horizon", &*horizon), ("expert", expert)]).increment(weight);
        }
        let mut intervals = Vec::new();
        for ((low, high), &covered) in spec.forecast.intervals().zip(&bucket.covered) {
            let share = levels[high] - levels[low];
            let interval = interval_label(share);
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
