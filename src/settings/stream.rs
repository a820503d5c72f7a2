//! `[[stream]]`: what is read, how it becomes series, and how they are forecast.

use std::path::PathBuf;

use super::declare::{table, words};
use super::grid::{Aggregation, Interval, Season, Weekday};
use super::record::{Format, Key, Time, ValueField};
use super::start::ForecastStart;
use super::values::{Auto, Date, Limit, Millis, Size};
use crate::time::{EventTime, Origin};

words! {
    /// Kind of the layers of the network.
    pub enum Cell {
        /// Simple recurrence with tanh (Elman 1990): one state per unit.
        Elman = "elman",
        /// Simple recurrence with ReLU: one state per unit.
        ElmanRelu = "elman_relu",
        /// Long short-term memory: two states per unit.
        Lstm = "lstm",
        /// Gated recurrent unit with the reset gate after the recurrent product, as in PyTorch: one state per unit.
        Gru = "gru",
        /// Gated recurrent unit with the reset gate before the recurrent product (Cho et al. 2014).
        GruResetBefore = "gru_reset_before",
        /// Minimal gated recurrent unit, whose gates depend on the inputs only (Feng et al. 2024).
        MinGru = "mingru",
        /// Minimal long short-term memory (Feng et al. 2024).
        MinLstm = "minlstm",
        /// Long short-term memory with exponential gates (Beck et al. 2024): four states per unit.
        Slstm = "slstm",
        /// Dense layers over a window of `context` steps.
        Feedforward = "feedforward",
        /// Causal dilated convolutions.
        Tcn = "tcn",
        /// Causal self-attention over `context` steps: two values per unit and step.
        Attention = "attention",
    }
}

words! {
    /// The weights that the network of a stream begins with.
    pub enum InitialWeights {
        /// Those that the binary brings.
        Builtin = "builtin",
        /// Random ones: the network says nothing before it is trained.
        None = "none",
    }
}

words! {
    /// Forecasting strategy: which steps the network reads, and which it forecasts.
    pub enum Strategy {
        /// All steps so far, to every step of the horizon at once.
        Direct = "direct",
        /// All steps so far, to the next step; later steps by feeding the network its own median.
        Recursive = "recursive",
        /// All steps so far, to one value of the horizon: the `target`.
        ManyToOne = "many_to_one",
        /// The newest step alone, to every step of the horizon through the segment decoder.
        OneToMany = "one_to_many",
        /// The newest step alone, to every step of the horizon at once.
        OneToOne = "one_to_one",
    }
}

words! {
    /// The value of the horizon that the strategy `many_to_one` forecasts.
    pub enum Target {
        /// Largest value.
        Maximum = "maximum",
        /// Smallest value.
        Minimum = "minimum",
        /// Mean of the values.
        Mean = "mean",
        /// Last value.
        Last = "last",
    }
}

words! {
    /// What happens where a series begins in a partition that has as many as it may.
    pub enum WhenFull {
        /// The series that has been silent longest ends.
        Evict = "evict",
        /// The observations of the new series become dead letters.
        Refuse = "refuse",
    }
}

words! {
    /// What becomes of readings that come too late.
    pub enum Late {
        /// Their records become dead letters.
        DeadLetter = "dead_letter",
        /// They are only counted.
        Drop = "drop",
        /// They correct their step, where that is among the newest ones. Earlier ones become dead letters.
        Correct = "correct",
    }
}

words! {
    /// Whose event time closes the steps of a series.
    pub enum CloseBy {
        /// That of the series.
        Series = "series",
        /// That of its partition, too.
        Partition = "partition",
    }
}

words! {
    /// What an empty step means.
    pub enum Absence {
        /// Its value is unknown.
        Gap = "gap",
        /// Its value is 0.
        Zero = "zero",
        /// Its value is unknown, and it has an anomaly score.
        Anomaly = "anomaly",
    }
}

words! {
    /// Where training runs.
    pub enum Device {
        /// On a GPU where there is one, else on the CPU.
        Auto = "auto",
        /// On the CPU.
        Cpu = "cpu",
        /// On an NVIDIA GPU; needs the cargo feature `cuda`.
        Cuda = "cuda",
    }
}

table! {
    /// One `[[stream]]`.
    pub struct Stream {
        /// Name: a part of topic names, and the label `stream` of metrics.
        pub name: String = String::new(),
        /// Input topics.
        pub topics: Vec<String> = Vec::new(),
        /// Whether the observations are first copied to a topic of their own, keyed by series: for producers that
        /// spread the records of a series over partitions, and topics that get more of them.
        pub repartition: bool = false,
        /// Where forecasts begin in a partition that the application has never read.
        pub start: ForecastStart = ForecastStart::Auto,
        /// Encoding of the value of a record.
        pub format: Format = Format::Json,
        /// CSV: names of the columns, in order.
        pub columns: Vec<String> = Vec::new(),
        /// CSV: character between columns, in ASCII.
        pub delimiter: char = ',',
        /// What identifies a series.
        pub key: Key = Key::Record,
        /// Source of the event time.
        pub time: Time = Time::Record,
        /// Fields that hold values: each is a series of its own.
        pub values: Vec<ValueField> = Vec::new(),
        /// Fields that arrive with the values and serve as inputs, but are not forecast.
        pub past_covariates: Vec<String> = Vec::new(),
        /// How event time is divided into steps.
        pub interval: Interval = Interval::Every(Millis::seconds(60)),
        /// How the readings within one slot become its value.
        pub aggregation: Aggregation = Aggregation::Mean,
        /// Readings after which a slot closes before the watermark passes it; absent: a slot waits for the watermark.
        pub readings_per_slot: Option<u32> = None,
        /// Whose event time closes a step.
        pub close_by: CloseBy = CloseBy::Series,
        /// What a step without readings means.
        pub absence: Absence = Absence::Gap,
        /// How far an observation may lie behind the newest one of its series.
        pub allowed_lateness: Millis = Millis::seconds(0),
        /// What becomes of observations that come too late.
        pub late: Late = Late::DeadLetter,
        /// `late = "correct"`: so many of the newest closed steps are corrected by late readings.
        pub correction: u32 = 8,
        /// How far a reading may be ahead of its record's timestamp and of its series; `auto`: see
        /// [`Stream::max_ahead_millis`].
        pub max_ahead: Limit<Millis> = Limit::Auto,
        /// Gap after which a series is reset; `auto`: see [`Stream::max_gap_millis`].
        pub max_gap: Auto<Millis> = Auto::Auto,
        /// Time without an observation after which a series ends; `auto`: see [`Stream::series_ttl_millis`].
        pub series_ttl: Limit<Millis> = Limit::Auto,
        /// Period after which the pattern repeats.
        pub season: Season = Season::Auto,
        /// Time zone (IANA name) of the clock and the calendar: of steps, seasons, holidays and calendar features.
        pub time_zone: String = "UTC".into(),
        /// Local time at which a step begins.
        pub origin: Origin = Origin::default(),
        /// Day with which weeks begin.
        pub week_starts: Weekday = Weekday::Monday,
        /// Whether the time of year is an input of the network.
        pub year_phase: bool = false,
        /// Days, in that time zone, that differ from their weekday.
        pub holidays: Vec<Date> = Vec::new(),
        /// File with further holidays: a date a line, or a calendar (.ics); loading adds them to `holidays`.
        pub holidays_file: Option<PathBuf> = None,
        /// Number of steps that are forecast.
        pub horizon: u32 = 24,
        /// Quantile levels: strictly increasing within (0, 1), with 0.5.
        pub quantiles: Vec<f64> = vec![0.05, 0.1, 0.5, 0.9, 0.95],
        /// Records with an earlier event time become dead letters.
        pub earliest: EventTime = EventTime(0),
        /// Records with a later event time become dead letters. 2100-01-01T00:00:00Z.
        pub latest: EventTime = EventTime(4_102_444_800_000),
        /// The network.
        pub model: Model = Model::default(),
        /// Training of the network.
        pub training: Training = Training::default(),
        /// Thresholds of anomalies.
        pub anomaly: Anomaly = Anomaly::default(),
        /// Covariates whose future values are known.
        pub future_covariates: FutureCovariates = FutureCovariates::default(),
        /// Destination of the forecasts.
        pub outputs: Outputs = Outputs::default(),
        /// Bounds of the input.
        pub limits: StreamLimits = StreamLimits::default(),
    }
    required {
        name: "\"meters\"",
        topics: "[\"meters\"]",
        values: "[\"load\"]",
        interval: "\"1m\"",
    }
}

table! {
    /// `[stream.model]`: the network that all series of a stream share.
    pub struct Model {
        /// The weights that the stream begins with; `auto`: see [`Model::is_builtin`].
        pub weights: Auto<InitialWeights> = Auto::Auto,
        /// Kind of the layers.
        pub cell: Cell = Cell::Gru,
        /// Number of layers.
        pub layers: u32 = 1,
        /// Units per layer.
        pub hidden: u32 = 64,
        /// Seed of the initial weights and of training.
        pub seed: u64 = 1,
        /// Recent steps that each series replays through new weights.
        pub burn_in: u32 = 32,
        /// Forecasting strategy.
        pub strategy: Strategy = Strategy::Direct,
        /// `many_to_one`: the value of the horizon that is forecast.
        pub target: Target = Target::Maximum,
        /// `many_to_one`: forecasts give the probability that the value crosses this threshold; absent: no threshold.
        pub threshold: Option<f64> = None,
        /// Whether the outputs of a layer are added to its inputs.
        pub residual: bool = false,
        /// Whether the outputs of a layer are normalised over its units.
        pub layer_norm: bool = false,
        /// Dilation of each layer, in steps; empty: the default of the cell.
        pub dilations: Vec<u32> = Vec::new(),
        /// Steps that `feedforward` and `attention` read.
        pub context: u32 = 32,
        /// Newest steps that the first recurrent layer reads at once.
        pub window: u32 = 1,
        /// Steps per segment, for reading and decoding by segments; 0: no segments.
        pub segment: u32 = 0,
        /// Whether recurrent layers serve with weights and inputs in bfloat16.
        pub bf16: bool = false,
        /// Longest time scale, in steps, of the chrono initialisation (Tallec and Ollivier 2018); 0: forget bias of 1.
        pub chrono: u32 = 0,
        /// Linear experts per series, at most three; fewer save memory.
        pub linear_experts: u32 = 3,
    }
}

impl Model {
    /// Whether the stream begins with the weights that the binary brings: unless set otherwise, where no key asks for
    /// another architecture than theirs.
    pub fn is_builtin(&self) -> bool {
        match self.weights {
            Auto::Set(weights) => weights == InitialWeights::Builtin,
            Auto::Auto => self.other_architecture().is_none(),
        }
    }

    /// The first key that asks for another architecture than that of the builtin weights.
    pub fn other_architecture(&self) -> Option<&'static str> {
        let Self { cell, layers, hidden, strategy, residual, layer_norm, dilations, window, segment, .. } = self;
        let default = Self::default();
        let keys = [
            ("cell", *cell != default.cell),
            ("layers", *layers != default.layers),
            ("hidden", *hidden != default.hidden),
            ("strategy", *strategy != default.strategy),
            ("residual", *residual),
            ("layer_norm", *layer_norm),
            ("dilations", !dilations.is_empty()),
            ("window", *window != default.window),
            ("segment", *segment != default.segment),
        ];
        keys.into_iter().find_map(|(key, is_other)| is_other.then_some(key))
    }
}

table! {
    /// `[stream.training]`: truncated backpropagation through time, in the background.
    pub struct Training {
        /// Whether this process trains the network of the stream.
        pub enabled: bool = true,
        /// How far back training reads the input topics; `auto`: see [`Stream::history_millis`].
        pub history: Auto<Millis> = Auto::Auto,
        /// Pause between the end of a training round and the start of the next.
        pub every: Millis = Millis::hours(1),
        /// Pause between refreshes, short rounds on recent steps; zero: no refreshes.
        pub refresh: Millis = Millis::seconds(600),
        /// Weight updates of a refresh.
        pub refresh_updates: u32 = 32,
        /// Share of the time of a round that computes; the round sleeps in between.
        pub cpu_share: f64 = 1.0,
        /// Steps between weight updates.
        pub k1: u32 = 64,
        /// Steps that gradients flow back; at least `k1`.
        pub k2: u32 = 64,
        /// Peak of the learning rate; the rate warms up to it and decays during a round.
        pub learning_rate: f64 = 0.003,
        /// Largest global norm of a gradient; larger gradients are scaled down to it.
        pub clip: f64 = 1.0,
        /// Width of the quadratic part of the loss, in the scale of a series; 0: pinball loss.
        pub huber: f64 = 0.0,
        /// First steps of each training sequence without a loss; at most `k2`.
        pub burn_in: u32 = 0,
        /// Training sequences per batch.
        pub batch_size: u32 = 64,
        /// Passes over the history.
        pub epochs: u32 = 20,
        /// Most weight updates of a round.
        pub max_updates: u32 = 1_000,
        /// Share of the newest steps of each series that validates the weights and is not trained on.
        pub validation_share: f64 = 0.2,
        /// Least relative improvement of the loss that promotes a challenger.
        pub margin: f64 = 0.005,
        /// Where training runs.
        pub device: Device = Device::Auto,
        /// Least steps of history of a series that takes part.
        pub min_steps: u32 = 256,
        /// Most series of a round: a fair sample of all partitions.
        pub max_series: u32 = 1_000,
        /// Most steps of one series, the newest ones.
        pub max_steps_per_series: u32 = 20_000,
        /// Most memory of the history that is kept for training; series beyond it are left out.
        pub memory: Size = Size::mebibytes(512),
    }
}

table! {
    /// `[stream.anomaly]`: when a series is anomalous.
    pub struct Anomaly {
        /// Score at which an anomaly starts.
        pub start: f64 = 0.999,
        /// Score below which values count towards the end of the anomaly.
        pub end: f64 = 0.99,
        /// Consecutive values below `end` that end the anomaly.
        pub clear_after: u32 = 3,
    }
}

table! {
    /// `[stream.future_covariates]`: covariates whose future values are known, such as weather forecasts. A second
    /// topic has them.
    pub struct FutureCovariates {
        /// The topic; absent: no future covariates.
        pub topic: Option<String> = None,
        /// Encoding of the value of a record.
        pub format: Format = Format::Json,
        /// CSV: names of the columns, in order.
        pub columns: Vec<String> = Vec::new(),
        /// CSV: character between columns, in ASCII.
        pub delimiter: char = ',',
        /// What identifies the series that a record is for; absent: it is for all series.
        pub key: Option<Key> = None,
        /// Field with the event time that a record is for.
        pub time: Option<Time> = None,
        /// Fields that hold covariates.
        pub values: Vec<String> = Vec::new(),
        /// Most slots that are kept for one key; `auto`: see [`Stream::future_covariate_slots`].
        pub slots: Auto<u32> = Auto::Auto,
    }
}

table! {
    /// `[stream.outputs]`: destination of the forecasts of a stream.
    pub struct Outputs {
        /// Topic of the forecasts; absent: the one that `topics.forecasts` gives.
        pub topic: Option<String> = None,
    }
}

table! {
    /// `[stream.limits]`: bounds of the input of a stream. Records beyond them become dead letters.
    pub struct StreamLimits {
        /// Most series of the stream in one partition.
        pub series: u64 = 1_000_000,
        /// What happens where another series begins in such a partition.
        pub when_full: WhenFull = WhenFull::Evict,
        /// Largest value of a record.
        pub record_bytes: Size = Size::mebibytes(1),
        /// Longest series key.
        pub key_bytes: Size = Size::bytes(1_024),
    }
}
