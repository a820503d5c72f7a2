//! `[[stream]]`: what is read, how it becomes series, and how they are forecast.

use serde::Serialize;

use super::declare::{table, words};
use super::values::{Auto, Date, Millis, Size};
use crate::time::EventTime;

words! {
    /// How a record's value is written.
    pub enum Format {
        /// One JSON object a record.
        Json = "json",
        /// One line of delimited values a record, its columns named by `columns`.
        Csv = "csv",
    }
}

words! {
    /// How the readings within one slot become its value.
    pub enum Aggregation {
        /// Their mean.
        Mean = "mean",
        /// Their sum.
        Sum = "sum",
        /// The least.
        Min = "min",
        /// The greatest.
        Max = "max",
        /// The earliest.
        First = "first",
        /// The latest.
        Last = "last",
        /// How many there are.
        Count = "count",
    }
}

words! {
    /// What the network's layers are made of.
    pub enum Cell {
        /// Simple recurrence squashed by tanh: one state a unit.
        Elman = "elman",
        /// The same cut at zero.
        ElmanRelu = "elman_relu",
        /// Long short-term memory: two states a unit.
        Lstm = "lstm",
        /// Gated recurrent unit: one state a unit.
        Gru = "gru",
        /// The same with the reset gate before the recurrent matrix, as first published.
        GruResetBefore = "gru_reset_before",
        /// Minimal gated recurrent unit: its gates look at the inputs only.
        MinGru = "mingru",
        /// Minimal long short-term memory.
        MinLstm = "minlstm",
        /// Long short-term memory with exponential gates: four states a unit.
        Slstm = "slstm",
        /// Dense layers over a window of `context` steps.
        Feedforward = "feedforward",
        /// Causal dilated convolutions.
        Tcn = "tcn",
        /// Causal self-attention over `context` steps: two numbers a unit and step.
        Attention = "attention",
    }
}

words! {
    /// What goes into a forecast and what comes out.
    pub enum Strategy {
        /// All steps so far, to every step of the horizon at once.
        Direct = "direct",
        /// All steps so far, to the next step; the steps after it by feeding the network its own median.
        Recursive = "recursive",
        /// All steps so far, to one number made of the horizon: its `target`.
        ManyToOne = "many_to_one",
        /// The newest step alone, to every step of the horizon by the segment decoder.
        OneToMany = "one_to_many",
        /// The newest step alone, to every step of the horizon at once.
        OneToOne = "one_to_one",
    }
}

words! {
    /// What the one number of `many_to_one` says of all steps of the horizon.
    pub enum Target {
        /// Their largest value.
        Maximum = "maximum",
        /// Their smallest value.
        Minimum = "minimum",
        /// Their mean.
        Mean = "mean",
        /// The last one.
        Last = "last",
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

/// What names a series within a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// The record's key.
    Record,
    /// The values of these fields, in this order.
    Fields(Vec<String>),
}

/// Where an observation's event time comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Time {
    /// The record's timestamp.
    Record,
    /// A field of the record.
    Field {
        /// The field's name.
        field: String,
        /// How it is written.
        format: TimeFormat,
        /// The time zone of stamps that name none; absent: the stream's `time_zone`.
        zone: Option<String>,
    },
}

/// How a time is written in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeFormat {
    /// RFC 3339, such as `2026-11-01T12:00:00Z`.
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z; fractions allowed.
    Seconds,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Milliseconds,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Microseconds,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    Nanoseconds,
    /// A pattern in the style of `strptime`, such as `%Y-%m-%d %H:%M:%S`.
    Pattern(String),
}

/// How event time is cut into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Every distinct event time is a step of its own.
    Irregular,
    /// Steps of this length; at least 1 ms.
    Every(Millis),
}

/// After how long a series' rhythm repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One day where the interval divides it into 4 to 1440 steps, one week where the interval is a day, else none.
    Auto,
    /// It does not.
    None,
    /// After this long.
    Every(Millis),
}

table! {
    /// One `[[stream]]`.
    pub struct Stream {
        /// Its name: part of topic names, and the label `stream` of its metrics.
        pub name: String = String::new(),
        /// Input topics.
        pub topics: Vec<String> = Vec::new(),
        /// How a record's value is written.
        pub format: Format = Format::Json,
        /// CSV: the columns' names, in order.
        pub columns: Vec<String> = Vec::new(),
        /// CSV: what stands between columns; one ASCII character.
        pub delimiter: char = ',',
        /// What names a series.
        pub key: Key = Key::Record,
        /// Where the event time comes from.
        pub time: Time = Time::Record,
        /// The fields that hold values: each is a series of its own.
        pub values: Vec<String> = Vec::new(),
        /// Fields beside the values that are looked at and not forecast.
        pub past_covariates: Vec<String> = Vec::new(),
        /// How event time is cut into steps.
        pub interval: Interval = Interval::Every(Millis::seconds(60)),
        /// How readings within one slot become its value.
        pub aggregation: Aggregation = Aggregation::Mean,
        /// With so many readings a slot closes at once, before the watermark passes it; absent: never.
        pub readings_per_slot: Option<u32> = None,
        /// How long after the newest observation of its series an older one is still taken.
        pub allowed_lateness: Millis = Millis::seconds(0),
        /// After a longer gap a series starts afresh; auto: see [`Stream::max_gap_millis`].
        pub max_gap: Auto<Millis> = Auto::Auto,
        /// After how long the rhythm repeats.
        pub season: Season = Season::Auto,
        /// Time zone (IANA name) of the calendar features.
        pub time_zone: String = "UTC".into(),
        /// Whether the network is told the time of year.
        pub year_phase: bool = false,
        /// Days, in that time zone, that are not taken for their weekday.
        pub holidays: Vec<Date> = Vec::new(),
        /// Steps ahead that are forecast.
        pub horizon: u32 = 24,
        /// Quantile levels: strictly increasing within (0, 1), 0.5 among them.
        pub quantiles: Vec<f64> = vec![0.05, 0.1, 0.5, 0.9, 0.95],
        /// Earlier event times are dead letters.
        pub earliest: EventTime = EventTime(0),
        /// Later event times are dead letters. 2100-01-01T00:00:00Z.
        pub latest: EventTime = EventTime(4_102_444_800_000),
        /// The network.
        pub model: Model = Model::default(),
        /// How it learns.
        pub training: Training = Training::default(),
        /// When a series is called anomalous.
        pub anomaly: Anomaly = Anomaly::default(),
        /// Numbers that are known in advance.
        pub future_covariates: Known = Known::default(),
        /// Where forecasts go.
        pub outputs: Outputs = Outputs::default(),
        /// Bounds of what it takes in.
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
    /// `[stream.model]`: the network that serves all series of a stream.
    pub struct Model {
        /// What the layers are made of.
        pub cell: Cell = Cell::Gru,
        /// Layers, one upon the other.
        pub layers: u32 = 1,
        /// Units of each layer.
        pub hidden: u32 = 64,
        /// Seed of the initial weights and of training.
        pub seed: u64 = 1,
        /// Steps of recent context that are re-run through new weights.
        pub burn_in: u32 = 32,
        /// What goes into a forecast and what comes out.
        pub strategy: Strategy = Strategy::Direct,
        /// `many_to_one`: what the one number is made of.
        pub target: Target = Target::Maximum,
        /// `many_to_one`: the number whose crossing is told as a probability; absent: none.
        pub threshold: Option<f64> = None,
        /// Whether a layer's outputs are added to those of the layer below it.
        pub residual: bool = false,
        /// Whether a layer's outputs are normalised over its units.
        pub layer_norm: bool = false,
        /// Steps between a layer's output and the one that it remembers, one for each layer; empty: the cell's own.
        pub dilations: Vec<u32> = Vec::new(),
        /// Steps that `feedforward` and `attention` look at.
        pub context: u32 = 32,
        /// Newest steps that the lowest layer of a recurrent cell reads side by side.
        pub window: u32 = 1,
        /// Steps that are read, remembered and decoded as one; 0: none.
        pub segment: u32 = 0,
        /// Whether recurrent layers serve with weights and inputs rounded to bfloat16.
        pub bf16: bool = false,
        /// The longest memory, in steps, that the gates' first biases spread over; 0: a forget bias of one.
        pub chrono: u32 = 0,
        /// Linear experts that stand beside the network for each series, at most three; fewer save memory.
        pub linear_experts: u32 = 3,
    }
}

table! {
    /// `[stream.training]`: truncated backpropagation through time, in the background.
    pub struct Training {
        /// Whether the stream's network learns at all.
        pub enabled: bool = true,
        /// How far back the input topics are read; auto: see [`Stream::history_millis`].
        pub history: Auto<Millis> = Auto::Auto,
        /// Pause from the end of one training to the start of the next.
        pub every: Millis = Millis::hours(1),
        /// Pause between small trainings that keep up with what is new; 0s: there are none.
        pub refresh: Millis = Millis::seconds(600),
        /// Moves of the weights in one of them.
        pub refresh_updates: u32 = 32,
        /// Share of the time in which a training computes; it rests in between.
        pub cpu_share: f64 = 1.0,
        /// Steps after which gradients are computed and weights move.
        pub k1: u32 = 64,
        /// Steps through which gradients flow back; at least `k1`.
        pub k2: u32 = 64,
        /// The largest learning rate; it climbs to it and falls again in the course of a training.
        pub learning_rate: f64 = 0.003,
        /// Largest global norm of a gradient; larger ones are scaled down to it.
        pub clip: f64 = 1.0,
        /// Below this error, in a series' own scale, the loss is a parabola instead of a kink; 0: nowhere.
        pub huber: f64 = 0.0,
        /// First steps of each stretch of history that give no loss; at most `k2`.
        pub burn_in: u32 = 0,
        /// Series that are trained on side by side.
        pub batch_size: u32 = 64,
        /// Passes over the history.
        pub epochs: u32 = 20,
        /// Most moves of the weights in one training.
        pub max_updates: u32 = 1_000,
        /// Share of each series' newest steps that training never sees and the verdict rests on.
        pub validation_share: f64 = 0.2,
        /// A challenger must lose this share less than the champion to be promoted.
        pub margin: f64 = 0.005,
        /// Where training runs.
        pub device: Device = Device::Auto,
        /// A series takes part in training once its history has so many steps.
        pub min_steps: u32 = 256,
        /// Most series whose history one training reads.
        pub max_series: u32 = 1_000,
        /// Most steps of one series' history, the newest ones, that are kept in memory.
        pub max_steps_per_series: u32 = 20_000,
    }
}

table! {
    /// `[stream.anomaly]`: when a series is called anomalous.
    pub struct Anomaly {
        /// From this anomaly score on ...
        pub start: f64 = 0.999,
        /// ... until it has been below this one ...
        pub end: f64 = 0.99,
        /// ... for so many values in a row.
        pub clear_after: u32 = 3,
    }
}

table! {
    /// `[stream.known]`: numbers that are known in advance, such as a weather forecast, told by the records of a second topic.
    pub struct Known {
        /// The topic; absent: nothing is known in advance.
        pub topic: Option<String> = None,
        /// How a record's value is written.
        pub format: Format = Format::Json,
        /// CSV: the columns' names, in order.
        pub columns: Vec<String> = Vec::new(),
        /// CSV: what stands between columns; one ASCII character.
        pub delimiter: char = ',',
        /// What names the series that a record tells of; absent: all series.
        pub key: Option<Key> = None,
        /// Where the event time comes from of which it tells.
        pub time: Option<Time> = None,
        /// The fields that hold the numbers.
        pub values: Vec<String> = Vec::new(),
        /// Most slots of one key of which numbers are held; auto: see [`Stream::future_covariate_slots`].
        pub slots: Auto<u32> = Auto::Auto,
    }
}

table! {
    /// `[stream.outputs]`: where a stream's forecasts go.
    pub struct Outputs {
        /// Topic of the forecasts; absent: as `topics.forecasts` says.
        pub topic: Option<String> = None,
    }
}

table! {
    /// `[stream.limits]`: bounds of what a stream takes in; what exceeds them becomes a dead letter.
    pub struct StreamLimits {
        /// Most series of the stream in one partition.
        pub series: u64 = 1_000_000,
        /// Largest value of a record.
        pub record_bytes: Size = Size::mebibytes(1),
        /// Longest series key.
        pub key_bytes: Size = Size::bytes(1_024),
    }
}

impl Stream {
    /// Steps of one season; 0 where there is none. `Season::Auto` is one day where the interval divides it into 4 to
    /// 1440 steps (from a minute to six hours), one week where the interval is a day, and none otherwise: shorter intervals would
    /// need a long memory for each series, longer ones show neither.
    pub fn season_steps(&self) -> u32 {
        let Interval::Every(interval) = self.interval else { return 0 };
        let day = Millis::days(1).0;
        let season = match self.season {
            Season::None => 0,
            Season::Every(season) => season.0,
            Season::Auto if day % interval.0.max(1) == 0 && (4..=1440).contains(&(day / interval.0.max(1))) => day,
            Season::Auto if interval.0 == day => 7 * day,
            Season::Auto => 0,
        };
        u32::try_from(season / interval.0.max(1)).unwrap_or(u32::MAX)
    }

    /// The longest gap, in milliseconds, that does not start a series afresh. `auto` is two seasons, at least 64
    /// steps; on an irregular grid one day.
    pub fn max_gap_millis(&self) -> i64 {
        match (self.max_gap, self.interval) {
            (Auto::Set(gap), _) => gap.0,
            (Auto::Auto, Interval::Irregular) => Millis::days(1).0,
            (Auto::Auto, Interval::Every(interval)) => {
                interval.0.saturating_mul(i64::from(self.season_steps().saturating_mul(2).max(64)))
            }
        }
    }

    /// How far back, in milliseconds, training reads. `auto` is `max_steps_per_series` intervals; on an irregular grid
    /// 30 days. The topics' retention bounds it as well.
    pub fn history_millis(&self) -> i64 {
        match (self.training.history, self.interval) {
            (Auto::Set(history), _) => history.0,
            (Auto::Auto, Interval::Irregular) => Millis::days(30).0,
            (Auto::Auto, Interval::Every(interval)) => {
                interval.0.saturating_mul(i64::from(self.training.max_steps_per_series))
            }
        }
    }

    /// The most slots of one key of which numbers known in advance are held. `auto` is 65,536 where they are told of all series,
    /// and four horizons, at least 256, where each key has its own.
    pub fn future_covariate_slots(&self) -> u32 {
        match (self.future_covariates.slots, &self.future_covariates.key) {
            (Auto::Set(slots), _) => slots,
            (Auto::Auto, None) => 65_536,
            (Auto::Auto, Some(_)) => self.horizon.saturating_mul(4).max(256),
        }
    }

    /// The time zone of stamps that name none.
    pub fn timestamp_zone(&self) -> &str {
        self.zone_of(&self.time)
    }

    /// The same of stamps in such a field.
    pub fn zone_of<'a>(&'a self, time: &'a Time) -> &'a str {
        match time {
            Time::Field { zone: Some(zone), .. } => zone,
            Time::Field { zone: None, .. } | Time::Record => &self.time_zone,
        }
    }
}
