//! Creates the counters whose labels the configuration knows, so that they are there before anything happens: a rate
//! over a counter that appears with its first event misses that event.

use super::plan::{Plan, StreamPlan};
use crate::engine::EndReason;
use crate::forecast::Expert;
use crate::telemetry::metrics::{self, Metric};
use crate::train::RejectionReason as Refusal;
use crate::wire::RejectionReason;

/// Methods whose errors are compared.
pub const METHODS: [&str; 3] = ["foretide", "last_value", "seasonal_naive"];

/// Counters of a stream.
const COUNTERS: [Metric; 15] = [
    metrics::OBSERVATIONS,
    metrics::LATE,
    metrics::DUPLICATES,
    metrics::RESTORE_RECORDS,
    metrics::RESTORE_SNAPSHOTS,
    metrics::RESTORE_LOST,
    metrics::SNAPSHOTS,
    metrics::SNAPSHOT_BYTES,
    metrics::BEYOND_BOUNDS,
    metrics::STEPS,
    metrics::BURN_INS,
    metrics::FORECASTS,
    metrics::FORECAST_BYTES,
    metrics::DRIFTS,
    metrics::ANOMALIES,
];

/// Creates them at 0. `started` is when the process started, in milliseconds since the Unix epoch.
pub fn create(plan: &Plan, started: i64) {
    for outcome in ["committed", "aborted", "fenced"] {
        metrics::TRANSACTIONS.counter(&[("outcome", outcome)]).increment(0);
    }
    for reason in ["connections", "query", "body"] {
        metrics::HTTP_REFUSED.counter(&[("reason", reason)]).increment(0);
    }
    metrics::REBALANCES.counter(&[]).increment(0);
    for topic in plan.topics() {
        for direction in ["back", "forward"] {
            metrics::POSITION_JUMPS.counter(&[("topic", &topic), ("direction", direction)]).increment(0);
        }
    }
    plan.streams.iter().for_each(|stream| create_stream(stream, started));
}

fn create_stream(plan: &StreamPlan, started: i64) {
    let stream = ("stream", &*plan.engine.name);
    for topic in &plan.topics {
        metrics::SPLIT_SERIES.counter(&[stream, ("topic", topic)]).increment(0);
    }
    let series = &plan.engine.series;
    let interval = series.grid.nominal_interval().unwrap_or(0);
    for (gauge, millis) in [
        (metrics::STREAM_INTERVAL, interval),
        (metrics::STREAM_LATENESS, series.allowed_lateness),
        (metrics::LAST_OBSERVATION, started),
        (metrics::LAST_FORECAST, started),
    ] {
        gauge.gauge(&[stream]).set(millis as f64 / 1000.0);
    }
    COUNTERS.iter().for_each(|counter| counter.counter(&[stream]).increment(0));
    metrics::DEGRADED.gauge(&[stream]).set(0.0);
    for (_, reason) in RejectionReason::ALL {
        metrics::DEAD_LETTERS.counter(&[stream, ("reason", reason)]).increment(0);
    }
    for reason in EndReason::ALL {
        metrics::SERIES_ENDED.counter(&[stream, ("reason", reason.label())]).increment(0);
    }
    let spec = &plan.engine.forecast;
    for last_lead in &spec.buckets {
        let lead = last_lead.to_string();
        let horizon = ("horizon", &*lead);
        metrics::MATURED.counter(&[stream, horizon]).increment(0);
        metrics::PINBALL.sum(&[stream, horizon]).increment(0.0);
        for method in METHODS {
            metrics::ABSOLUTE_ERROR.sum(&[stream, horizon, ("method", method)]).increment(0.0);
        }
        for expert in Expert::NAMES {
            metrics::EXPERT_WEIGHT.sum(&[stream, horizon, ("expert", expert)]).increment(0.0);
        }
    }
    for (low, high) in spec.intervals() {
        let interval = interval_label(spec.levels[high] - spec.levels[low]);
        for counter in [metrics::INTERVAL_TARGETS, metrics::INTERVAL_COVERED] {
            counter.counter(&[stream, ("interval", &*interval)]).increment(0);
        }
    }
    if plan.training.is_some() {
        create_training(plan);
    }
}

fn create_training(plan: &StreamPlan) {
    let stream = ("stream", &*plan.engine.name);
    for outcome in ["promoted", "refused", "rolled_back", "failed", "skipped", "abandoned"] {
        metrics::TRAINING_ROUNDS.counter(&[stream, ("outcome", outcome)]).increment(0);
    }
    for reason in Refusal::NAMES {
        metrics::REFUSALS.counter(&[stream, ("reason", reason)]).increment(0);
    }
    for counter in [
        metrics::TRAINING_LEFT_OUT,
        metrics::TRAINING_STEPS,
        metrics::TRAINING_CLIPPED,
        metrics::TRAINING_SKIPPED,
        metrics::PROMOTIONS,
        metrics::ROLLBACKS,
    ] {
        counter.counter(&[stream]).increment(0);
    }
    metrics::TRAINING_SECONDS.sum(&[stream]).increment(0.0);
}

/// The label of a central interval: its nominal share.
pub fn interval_label(share: f32) -> String {
    format!("{share:.2}")
}
