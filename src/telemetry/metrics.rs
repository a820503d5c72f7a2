//! Every metric that Foretide exposes: name, kind, unit, labels and help, in one table.
//!
//! Names follow Prometheus' conventions: base units (`_seconds`, `_bytes`), counters end in `_total`, one unit and one
//! meaning per name. The number of label values is bounded by the configuration and the topics' partitions, so a
//! series' key is never a label.
//!
//! ```
//! use foretide::telemetry::metrics;
//! metrics::RECORDS.counter(&[("stream", "load"), ("topic", "meters"), ("partition", "0")]).increment(3);
//! ```

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};

/// Kind of a metric in Prometheus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number that only grows; see [`Metric::counter`].
    Counter,
    /// A fractional number that only grows (seconds, sums of errors); see [`Metric::sum`].
    Sum,
    /// A number that goes up and down; see [`Metric::gauge`].
    Gauge,
    /// A distribution over buckets with these upper bounds; see [`Metric::histogram`].
    Histogram(&'static [f64]),
}

/// The unit of a metric, in Prometheus' base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share in `0..=1`.
    Ratio,
    /// A number without a unit: a loss, a norm, an error in units of a series' scale.
    None,
}

/// One metric. Creating a handle costs a look-up by name and labels; using it is cheap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Exposed name.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// Names of its labels, in the order of the handles' arguments.
    pub labels: &'static [&'static str],
    /// Help text of `/metrics`.
    pub help: &'static str,
}

impl Metric {
    /// The counter with these labels. Only for [`Kind::Counter`].
    pub fn counter(&self, labels: &[(&'static str, &str)]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_counter(&self.key(labels), &METADATA))
    }

    /// The growing sum with these labels: `increment` it, never set it. Only for [`Kind::Sum`].
    pub fn sum(&self, labels: &[(&'static str, &str)]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Sum, "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_gauge(&self.key(labels), &METADATA))
    }

    /// The gauge with these labels. Only for [`Kind::Gauge`].
    pub fn gauge(&self, labels: &[(&'static str, &str)]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_gauge(&self.key(labels), &METADATA))
    }

    /// The histogram with these labels. Only for [`Kind::Histogram`].
    pub fn histogram(&self, labels: &[(&'static str, &str)]) -> Histogram {
        debug_assert!(matches!(self.kind, Kind::Histogram(_)), "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_histogram(&self.key(labels), &METADATA))
    }

    fn key(&self, labels: &[(&'static str, &str)]) -> Key {
        debug_assert!(
            labels.iter().map(|(name, _)| *name).eq(self.labels.iter().copied()),
            "{} takes the labels {:?}, not {labels:?}",
            self.name,
            self.labels
        );
        let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
        Key::from_parts(self.name, labels)
    }
}

static METADATA: Metadata<'static> = Metadata::new("foretide", Level::INFO, None);

/// Bucket bounds for durations from a tenth of a millisecond to a minute, in seconds.
const DURATIONS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Bucket bounds for the age of a record at its commit, in seconds: from a millisecond to an hour (after an outage).
const AGES: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];
/// Bucket bounds for how late readings are, in seconds: from a tenth of a second to a week.
const LATENESSES: &[f64] = &[0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0];
/// Bucket bounds for the number of series in a micro-batch.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0];

macro_rules! metrics {
    ($($id:ident = $name:literal, $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric =
                Metric { name: $name, kind: $kind, unit: Unit::$unit, labels: &[$($label),*], help: $help };
        )*
        /// All metrics, in the order of this file.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

use Kind::{Counter as C, Gauge as G, Histogram as H, Sum as S};

metrics! {
    // Input.
    RECORDS = "foretide_records_total", C, Count, ["stream", "topic", "partition"],
        "Records read from the input topics.";
    RECORD_BYTES = "foretide_record_bytes_total", C, Bytes, ["stream", "topic", "partition"],
        "Bytes of keys and values read from the input topics.";
    OBSERVATIONS = "foretide_observations_total", C, Count, ["stream"],
        "Values accepted from records. One record may have several.";
    LAST_OBSERVATION = "foretide_last_observation_timestamp_seconds", G, Seconds, ["stream"],
        "When observations were last committed, since the Unix epoch; at first, when the process started.";
    LATE = "foretide_late_observations_total", C, Count, ["stream"],
        "Values refused because their slot was already closed, dead letters or not (stream.late).";
    LATENESS_SECONDS = "foretide_lateness_seconds", H(LATENESSES), Seconds, ["stream"],
        "How far behind the watermark of their series late values were, in event time.";
    DUPLICATES = "foretide_duplicate_observations_total", C, Count, ["stream"],
        "Values refused because their series has them already. One in an hour of a series becomes a dead letter.";
    DEAD_LETTERS = "foretide_dead_letters_total", C, Count, ["stream", "reason"],
        "Records sent to the dead-letter topic, by reason.";
    DEGRADED = "foretide_stream_degraded", G, Count, ["stream"],
        "1 while a stream refuses at least half of its newest records (100 or more, at least 20 of them read), else 0.";
    SERIES_ENDED = "foretide_series_ended_total", C, Count, ["stream", "reason"],
        "Series that ended, by reason: silent (for series_ttl), evicted (the partition held limits.series), deleted \
         (by a record without a value).";
    LAG = "foretide_consumer_lag_records", G, Count, ["stream", "topic", "partition"],
        "Records between the committed position and the last stable offset of the partition. Transaction markers count \
         only among unread records, and records of open transactions do not count. Absent while no broker answers.";
    UNCOMMITTED = "foretide_uncommitted_records", G, Count, ["topic", "partition"],
        "Offsets of an input partition behind its last stable offset: they wait for \
         an open transaction of their producer.";

    // State.
    SERIES = "foretide_series", G, Count, ["stream"],
        "Series with a state in memory.";
    STATE_BYTES = "foretide_state_bytes", G, Bytes, ["stream"],
        "Memory of the series' states, including the network's hidden states.";
    PARTITIONS = "foretide_partitions", G, Count, ["stream", "state"],
        "Partitions of this instance by state: restoring, running or suspended.";
    RESTORE_RECORDS = "foretide_restore_records_total", C, Count, ["stream"],
        "Input records replayed to bring restored states up to the committed position.";
    RESTORE_SNAPSHOTS = "foretide_restore_snapshots_total", C, Count, ["stream"],
        "Snapshots of series loaded from the state topic.";
    RESTORE_REMAINING = "foretide_restore_remaining_records", G, Count, ["stream", "topic", "partition"],
        "Records that a restoring partition still has to read: first of the state topic, then of the input. Once it \
         runs: records before the first one to be forecast, where it learns from older input; else 0.";
    SPLIT_SERIES = "foretide_split_series_total", C, Count, ["stream", "topic"],
        "Series that were found in more than one partition of a topic, so that each partition forecasts a part of the \
         readings. At most 4,096 series of a stream and topic are watched.";
    POSITION_JUMPS = "foretide_position_jumps_total", C, Count, ["topic", "direction"],
        "Partitions whose position somebody else than Foretide has set, by direction: back or forward.";
    RESTORE_LOST = "foretide_restore_lost_records_total", C, Count, ["stream"],
        "Input records that a restore needed and that retention or compaction had deleted; of a compacted topic at \
         most so many.";
    RESTORE_REBUILT = "foretide_restore_rebuilt_total", C, Count, ["stream"],
        "Restores of partitions whose state was missing in the state topic and was rebuilt from the input.";
    RESTORE_LOST_SERIES = "foretide_restore_lost_series_total", C, Count, ["stream"],
        "Series whose state was neither in the state topic nor could be rebuilt from the input.";
    RESTORE_SECONDS = "foretide_restore_seconds", H(DURATIONS), Seconds, ["stream"],
        "Time from the assignment of a partition until it was served.";
    STANDBY_BYTES = "foretide_standby_bytes", G, Bytes, ["shard"],
        "Memory of the standby copies that a shard keeps of other instances' states.";
    SNAPSHOTS = "foretide_snapshots_total", C, Count, ["stream"],
        "Snapshots of series written to the state topic.";
    SNAPSHOT_BYTES = "foretide_snapshot_bytes_total", C, Bytes, ["stream"],
        "Bytes of snapshots written to the state topic.";

    // Processing.
    MICRO_BATCH_ROWS = "foretide_micro_batch_rows", H(BATCH_SIZES), Count, ["stream"],
        "Series per micro-batch, which is one pass through the network.";
    BEYOND_BOUNDS = "foretide_values_beyond_bounds_total", C, Count, ["stream"],
        "Forecast steps whose value is beyond the minimum or maximum that the settings declare for its field.";
    STEPS = "foretide_steps_total", C, Count, ["stream"],
        "Steps of the network: closed slots of all series, without burn-in.";
    BURN_INS = "foretide_burn_ins_total", C, Count, ["stream"],
        "Series whose recent history was run through new weights.";
    TRANSACTION_COMPUTE_SECONDS = "foretide_transaction_compute_seconds", H(DURATIONS), Seconds, [],
        "Time to turn the records of one transaction into forecasts, without the commit.";
    COMMIT_SECONDS = "foretide_commit_seconds", H(DURATIONS), Seconds, [],
        "Time to commit a transaction.";
    RECORD_AGE_SECONDS = "foretide_record_to_commit_seconds", H(AGES), Seconds, ["stream"],
        "Time from a record's timestamp to the commit of the forecasts that follow from it.";
    TRANSACTIONS = "foretide_transactions_total", C, Count, ["outcome"],
        "Transactions by outcome: committed, aborted or fenced.";
    TRANSACTION_LIMIT_BYTES = "foretide_transaction_limit_bytes", G, Bytes, ["shard"],
        "The most bytes of a shard's next transaction: limits.transaction_bytes, or less after transactions that the \
         brokers did not take within kafka.transaction_timeout.";
    OVERSIZED = "foretide_oversized_records_total", C, Count, ["stream", "topic"],
        "Records left out of a committed transaction because they are larger than max.message.bytes of their topic: \
         forecasts, snapshots (their series begin anew after a restart), or dead letters whose headers do not fit.";
    REBALANCES = "foretide_rebalances_total", C, Count, [],
        "Rebalances of the consumer group that assigned or revoked partitions of this instance.";
    FORECASTS = "foretide_forecasts_total", C, Count, ["stream"],
        "Forecasts written and committed.";
    LAST_FORECAST = "foretide_last_forecast_timestamp_seconds", G, Seconds, ["stream"],
        "When forecasts were last committed, since the Unix epoch; at first, when the process started.";
    STREAM_INTERVAL = "foretide_stream_interval_seconds", G, Seconds, ["stream"],
        "The configured interval of the stream; 0 on an irregular grid. Alert rules derive their patience from it.";
    STREAM_LATENESS = "foretide_stream_allowed_lateness_seconds", G, Seconds, ["stream"],
        "The configured allowed lateness of the stream.";
    FORECAST_BYTES = "foretide_forecast_bytes_total", C, Bytes, ["stream"],
        "Bytes of forecast records written and committed.";

    // Accuracy. Errors are in units of each series' scale, so that series of different sizes add up.
    MATURED = "foretide_forecasts_matured_total", C, Count, ["stream", "horizon"],
        "Forecast values whose target has arrived, by the last lead of the horizon bucket in steps.";
    ABSOLUTE_ERROR = "foretide_forecast_absolute_error_total", S, None, ["stream", "horizon", "method"],
        "Sum of absolute errors of matured forecasts in units of the series' scale, by method: foretide, last_value or \
         seasonal_naive. Skill is one minus the ratio of two methods.";
    PINBALL = "foretide_forecast_pinball_loss_total", S, None, ["stream", "horizon"],
        "Sum over matured forecasts of the mean quantile loss in units of the series' scale.";
    EXPERT_WEIGHT = "foretide_forecast_expert_weight_total", S, None, ["stream", "horizon", "expert"],
        "Sum over matured forecasts of an expert's weight; divide by foretide_forecasts_matured_total for its mean.";
    INTERVAL_TARGETS = "foretide_interval_targets_total", C, Count, ["stream", "interval"],
        "Matured forecast values with a central interval, by its nominal share (0.80 for the 80 % interval).";
    INTERVAL_COVERED = "foretide_interval_covered_total", C, Count, ["stream", "interval"],
        "Matured forecast values inside their central interval, by its nominal share.";
    DRIFTS = "foretide_drifts_total", C, Count, ["stream"],
        "Detected lasting losses of forecast accuracy. Each one starts a training round early.";
    ANOMALIES = "foretide_anomalies_total", C, Count, ["stream"],
        "Anomalous values by the rule of stream.anomaly, as in the field anomalous of the forecast records.";

    // Training.
    TRAINING_ROUNDS = "foretide_training_rounds_total", C, Count, ["stream", "outcome"],
        "Training rounds by outcome: promoted, refused, rolled_back, failed, skipped or abandoned (leadership lost).";
    TRAINING_LEFT_OUT = "foretide_training_left_out_observations_total", C, Count, ["stream"],
        "Observations of series that training leaves out: those beyond stream.training.max_series or memory.";
    TRAINING_HISTORY_BYTES = "foretide_training_history_bytes", G, Bytes, ["stream"],
        "Memory of the history that training keeps between its rounds.";
    TRAINING_SECONDS = "foretide_training_seconds_total", S, Seconds, ["stream"],
        "Time spent in training.";
    TRAINING_STEPS = "foretide_training_steps_total", C, Count, ["stream"],
        "Steps of the optimiser.";
    TRAINING_CLIPPED = "foretide_training_clipped_steps_total", C, Count, ["stream"],
        "Steps of the optimiser whose gradient was clipped.";
    TRAINING_SKIPPED = "foretide_training_skipped_steps_total", C, Count, ["stream"],
        "Steps of the optimiser skipped because the loss or a gradient was not finite.";
    TRAINING_LOSS = "foretide_training_loss", G, None, ["stream"],
        "Mean quantile loss of the latest training step, in units of the series' scale.";
    GRADIENT_NORM = "foretide_training_gradient_norm", G, None, ["stream"],
        "Global norm of the latest gradient before clipping.";
    CLIPPED_GRADIENT_NORM = "foretide_training_clipped_gradient_norm", G, None, ["stream"],
        "Global norm of the latest gradient after clipping.";
    VALIDATION_LOSS = "foretide_training_validation_loss", G, None, ["stream", "weights"],
        "Loss of the latest round's champion and challenger on the newest slots, which training does not read.";
    FIT_LOSS = "foretide_training_fit_loss", G, None, ["stream", "weights"],
        "Loss of the latest round's champion, challenger and newest weights on a sample of the training data. Far \
         below the validation loss it indicates overfitting.";
    PROMOTIONS = "foretide_promotions_total", C, Count, ["stream"],
        "Challengers that became the serving weights.";
    REFUSALS = "foretide_refusals_total", C, Count, ["stream", "reason"],
        "Challengers that were not promoted, by reason: too_few, not_finite, no_clear_win, overfitting, underfitting.";
    ROLLBACKS = "foretide_rollbacks_total", C, Count, ["stream"],
        "Promotions reverted because the loss on live data became worse.";
    WEIGHTS_VERSION = "foretide_weights_version", G, Count, ["stream"],
        "Version of the serving weights; 0 for the initial ones.";
    WEIGHTS_TIMESTAMP = "foretide_weights_timestamp_seconds", G, Seconds, ["stream"],
        "When the serving weights were published, in seconds since the Unix epoch. Their age is time() minus this.";

    // The process.
    BUILD_INFO = "foretide_build_info", G, None, ["version"],
        "Always 1; the label has the version.";
    QUEUE_RECORDS = "foretide_queue_records", G, Count, ["queue"],
        "Records in a bounded queue: transaction, the input records that were last polled for a transaction.";
    HTTP_REFUSED = "foretide_http_refused_total", C, Count, ["reason"],
        "Connections and requests refused because they exceed a limit, by reason: connections, query or body.";
    RESIDENT_BYTES = "process_resident_memory_bytes", G, Bytes, [],
        "Resident memory of the process.";
    VIRTUAL_BYTES = "process_virtual_memory_bytes", G, Bytes, [],
        "Virtual memory of the process.";
    VIRTUAL_MAX_BYTES = "process_virtual_memory_max_bytes", G, Bytes, [],
        "Limit of the virtual memory; 0 for none.";
    CPU_SECONDS = "process_cpu_seconds_total", S, Seconds, [],
        "User and system CPU time of the process.";
    OPEN_FDS = "process_open_fds", G, Count, [],
        "Open file descriptors of the process.";
    MAX_FDS = "process_max_fds", G, Count, [],
        "Limit of the open file descriptors; 0 for none.";
    THREADS = "process_threads", G, Count, [],
        "Threads of the process.";
    START_TIME = "process_start_time_seconds", G, Seconds, [],
        "When the process started, in seconds since the Unix epoch.";
}
