//! Every metric that Foretide exposes: name, kind, unit, labels and help, and nothing of it anywhere else.
//!
//! Names follow Prometheus' conventions: base units (`_seconds`, `_bytes`), counters end in `_total`, one unit and one
//! meaning per name. A series' key is never a label: labels are bounded by the configuration and the topics' partitions.
//!
//! ```
//! use foretide::telemetry::metrics;
//! metrics::RECORDS.counter(&[("stream", "load"), ("topic", "meters"), ("partition", "0")]).increment(3);
//! ```

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata};

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number that only grows; take it with [`Metric::counter`].
    Counter,
    /// A number with a fraction that only grows (seconds, sums of errors); take it with [`Metric::sum`].
    Sum,
    /// A number that goes up and down; take it with [`Metric::gauge`].
    Gauge,
    /// A distribution over buckets with these upper bounds; take it with [`Metric::histogram`].
    Histogram(&'static [f64]),
}

/// The unit of a metric, in Prometheus' base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things that are counted.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share between 0 and 1.
    Ratio,
    /// A number without a unit: a loss, a norm, an error in a series' own scale.
    None,
}

/// One metric. The handles are cheap to use and costly to take (a look-up by name and labels): take them once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The name as it is exposed.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Its labels, in the order in which the handles take them.
    pub labels: &'static [&'static str],
    /// What it means, for a reader who has only `/metrics` before them.
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

/// Bounds for what takes from a tenth of a millisecond to a minute.
const DURATIONS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Bounds for the age of a record at its commit: from a millisecond to an hour (a backlog being worked off).
const AGES: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];
/// Bounds for how many series a wave steps at once.
const WAVES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0];

macro_rules! metrics {
    ($($id:ident = $name:literal, $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric =
                Metric { name: $name, kind: $kind, unit: Unit::$unit, labels: &[$($label),*], help: $help };
        )*
        /// All of them, in the order of this file.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

use Kind::{Counter as C, Gauge as G, Histogram as H, Sum as S};

metrics! {
    // What comes in.
    RECORDS = "foretide_records_total", C, Count, ["stream", "topic", "partition"],
        "Records read from the input topics.";
    RECORD_BYTES = "foretide_record_bytes_total", C, Bytes, ["stream", "topic", "partition"],
        "Bytes of keys and values read from the input topics.";
    OBSERVATIONS = "foretide_observations_total", C, Count, ["stream"],
        "Values taken in: one record may carry several.";
    LATE = "foretide_late_observations_total", C, Count, ["stream"],
        "Values that came after their slot had closed and were set aside.";
    DUPLICATES = "foretide_duplicate_observations_total", C, Count, ["stream"],
        "Values whose slot had already been filled and closed at that very time.";
    DEAD_LETTERS = "foretide_dead_letters_total", C, Count, ["stream", "reason"],
        "Records sent to the dead-letter topic, by the reason.";
    LAG = "foretide_consumer_lag_records", G, Count, ["stream", "topic", "partition"],
        "Records between the committed position and the end of the partition.";

    // What is held.
    SERIES = "foretide_series", G, Count, ["stream"],
        "Series held in memory.";
    STATE_BYTES = "foretide_state_bytes", G, Bytes, ["stream"],
        "Memory of the series' states, hidden states included.";
    PARTITIONS = "foretide_partitions", G, Count, ["stream", "state"],
        "Partitions of this instance by where they are in their life: restoring, running, suspended.";
    RESTORE_RECORDS = "foretide_restore_records_total", C, Count, ["stream"],
        "Input records replayed to bring restored states up to the committed position.";
    RESTORE_SNAPSHOTS = "foretide_restore_snapshots_total", C, Count, ["stream"],
        "Snapshots of series loaded from the state topic.";
    RESTORE_REMAINING = "foretide_restore_remaining_records", G, Count, ["stream", "topic", "partition"],
        "Records that a restoring partition still has to read: of the state topic, then of the input that is replayed; 0 once it runs.";
    RESTORE_LOST = "foretide_restore_lost_records_total", C, Count, ["stream"],
        "Input records that a restore wanted to read, again or for the first time, and that retention had taken.";
    RESTORE_SECONDS = "foretide_restore_seconds", H(DURATIONS), Seconds, ["stream"],
        "Time from a partition's assignment until it was served.";
    STANDBY_BYTES = "foretide_standby_bytes", G, Bytes, ["shard"],
        "Memory of the copies of other instances' states that a shard keeps for a takeover.";
    SNAPSHOTS = "foretide_snapshots_total", C, Count, ["stream"],
        "Snapshots of series written to the state topic.";
    SNAPSHOT_BYTES = "foretide_snapshot_bytes_total", C, Bytes, ["stream"],
        "Bytes of snapshots written to the state topic.";

    // The work.
    MICRO_BATCH_ROWS = "foretide_wave_rows", H(WAVES), Count, ["stream"],
        "Series stepped together in one pass through the network.";
    STEPS = "foretide_steps_total", C, Count, ["stream"],
        "Steps of the network: closed slots of all series, those of burn-in not counted.";
    BURN_INS = "foretide_burn_ins_total", C, Count, ["stream"],
        "Series whose recent context was run again through new weights.";
    TRANSACTION_COMPUTE_SECONDS = "foretide_epoch_seconds", H(DURATIONS), Seconds, [],
        "Time to turn the records of one epoch into forecasts, without the commit.";
    COMMIT_SECONDS = "foretide_commit_seconds", H(DURATIONS), Seconds, [],
        "Time to commit an epoch's transaction.";
    RECORD_AGE_SECONDS = "foretide_record_to_commit_seconds", H(AGES), Seconds, ["stream"],
        "Time from a record's timestamp to the commit of what was made from it.";
    TRANSACTIONS = "foretide_transactions_total", C, Count, ["outcome"],
        "Transactions by how they ended: committed, aborted or fenced.";
    REBALANCES = "foretide_rebalances_total", C, Count, [],
        "Times the consumer group has given or taken partitions.";
    FORECASTS = "foretide_forecasts_total", C, Count, ["stream"],
        "Forecasts written and committed.";
    FORECAST_BYTES = "foretide_forecast_bytes_total", C, Bytes, ["stream"],
        "Bytes of forecast records written and committed.";

    // How good it is. Errors are in each series' own scale, so that series of different sizes may be added up.
    MATURED = "foretide_forecasts_matured_total", C, Count, ["stream", "horizon"],
        "Forecast values whose target has come, by the last lead of the horizon bucket in steps.";
    ABSOLUTE_ERROR = "foretide_forecast_absolute_error_total", S, None, ["stream", "horizon", "method"],
        "Sum of absolute errors of matured forecasts in the series' own scale, by method: foretide, last_value, seasonal_naive. Divided by another method's: skill.";
    PINBALL = "foretide_forecast_pinball_loss_total", S, None, ["stream", "horizon"],
        "Sum over matured forecasts of the mean quantile loss in the series' own scale.";
    EXPERT_WEIGHT = "foretide_forecast_expert_weight_total", S, None, ["stream", "horizon", "expert"],
        "Sum over matured forecasts of the weight that an expert had in them; divided by foretide_forecasts_matured_total its mean weight.";
    INTERVAL_TARGETS = "foretide_interval_targets_total", C, Count, ["stream", "interval"],
        "Matured forecast values that had a central interval, by its nominal share (0.80 for the 80 % interval).";
    INTERVAL_COVERED = "foretide_interval_covered_total", C, Count, ["stream", "interval"],
        "Matured forecast values that lay in their central interval, by its nominal share.";
    DRIFTS = "foretide_drifts_total", C, Count, ["stream"],
        "Times that the matured forecasts had become lastingly worse, upon which training begins early.";
    ANOMALIES = "foretide_anomalies_total", C, Count, ["stream"],
        "Values as unusual as one in a hundred or more: their anomaly score was 0.99 or above.";

    // Learning.
    TRAINING_ROUNDS = "foretide_training_rounds_total", C, Count, ["stream", "outcome"],
        "Rounds of training by how they ended: promoted, refused, failed or skipped.";
    TRAINING_LEFT_OUT = "foretide_training_left_out_observations_total", C, Count, ["stream"],
        "Observations of history that rounds of training left out: those of more series than stream.training.max_series.";
    TRAINING_SECONDS = "foretide_training_seconds_total", S, Seconds, ["stream"],
        "Time spent in training.";
    TRAINING_STEPS = "foretide_training_steps_total", C, Count, ["stream"],
        "Steps of the optimiser.";
    TRAINING_CLIPPED = "foretide_training_clipped_steps_total", C, Count, ["stream"],
        "Steps of the optimiser whose gradient was clipped.";
    TRAINING_SKIPPED = "foretide_training_skipped_steps_total", C, Count, ["stream"],
        "Steps of the optimiser skipped because the loss or a gradient was not finite.";
    TRAINING_LOSS = "foretide_training_loss", G, None, ["stream"],
        "Mean quantile loss of the latest training step, in the series' own scale.";
    GRADIENT_NORM = "foretide_training_gradient_norm", G, None, ["stream"],
        "Global norm of the latest gradient before clipping.";
    CLIPPED_GRADIENT_NORM = "foretide_training_clipped_gradient_norm", G, None, ["stream"],
        "Global norm of the latest gradient after clipping: what the optimiser was given.";
    HELD_OUT_LOSS = "foretide_training_held_out_loss", G, None, ["stream", "weights"],
        "Loss on the newest slots that training has not seen, for the champion and the challenger of the latest round.";
    FIT_LOSS = "foretide_training_fit_loss", G, None, ["stream", "weights"],
        "Loss on a sample of what training has learnt from, for the champion, the challenger and the newest weights of the latest round: far below the held-out loss means overfitting.";
    PROMOTIONS = "foretide_promotions_total", C, Count, ["stream"],
        "Challengers that became the serving weights.";
    REFUSALS = "foretide_refusals_total", C, Count, ["stream", "reason"],
        "Challengers that did not win clearly enough, by the reason: too_few, not_finite, no_clear_win, overfitting or underfitting.";
    ROLLBACKS = "foretide_rollbacks_total", C, Count, ["stream"],
        "Promotions taken back because the live loss worsened.";
    WEIGHTS_VERSION = "foretide_weights_version", G, Count, ["stream"],
        "Version of the serving weights; 0 for the initial ones.";
    WEIGHTS_TIMESTAMP = "foretide_weights_timestamp_seconds", G, Seconds, ["stream"],
        "When the serving weights were published, in seconds since the Unix epoch: time() minus this is their age.";

    // The process.
    BUILD_INFO = "foretide_build_info", G, None, ["version"],
        "Always 1; the labels say what runs.";
    QUEUE_RECORDS = "foretide_queue_records", G, Count, ["queue"],
        "Entries waiting in the daemon's bounded queues.";
    HTTP_REFUSED = "foretide_http_refused_total", C, Count, ["reason"],
        "Connections and requests refused because they exceed a bound, by the reason: connections, query or body.";
    RESIDENT_BYTES = "process_resident_memory_bytes", G, Bytes, [],
        "Resident memory of the process.";
    VIRTUAL_BYTES = "process_virtual_memory_bytes", G, Bytes, [],
        "Virtual memory of the process.";
    CPU_SECONDS = "process_cpu_seconds_total", S, Seconds, [],
        "User and system time of the process.";
    OPEN_FDS = "process_open_fds", G, Count, [],
        "Open file descriptors of the process.";
    THREADS = "process_threads", G, Count, [],
        "Threads of the process.";
    START_TIME = "process_start_time_seconds", G, Seconds, [],
        "When the process started, in seconds since the Unix epoch.";
}
