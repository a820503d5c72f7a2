//! The settings, turned into the specifications of engine, decoder, network and trainer.

mod kafka;

use std::{collections::BTreeSet, sync::Arc};

use jiff::tz::TimeZone;

use super::plan::{FutureCovariatesPlan, Plan, RepartitionPlan, StreamPlan, TrainingPlan};
use crate::engine::{FieldBounds, StreamSpec, WhenFull};
use crate::forecast::{AnomalyThresholds, ForecastSpec, ForecastSpecError, ValueBounds};
use crate::nn::{self, NetworkSpec};
use crate::series::{self, Absence, Calendar, CloseBy, ExtraFeatures, FEATURES, Holidays, SeriesSpec};
use crate::settings::{
    self, Aggregation, Auto, Device, ForecastStart, Format, Key, Late, Millis, Settings, Strategy, Stream, Time,
    TimeFormat, Training,
};
use crate::time::{Grid, Zone};
use crate::train::{DeviceChoice, TrainSpec};
use crate::wire::{self, DecodeSpec, DecodeSpecError, Decoder, KeySource, TimeSource};

pub use kafka::{kafka_options, shard_patience};

/// What is impossible in the settings, found only when the specifications are made.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// An unknown time zone.
    #[error("stream {stream:?}: the time zone {zone:?} is unknown ({source}); expected a name such as Europe/Vienna")]
    Zone {
        /// The stream.
        stream: String,
        /// Its name.
        zone: String,
        /// The time zone library's error.
        source: jiff::Error,
    },
    /// An impossible network or forecast.
    #[error("stream {stream:?}: {source}")]
    Stream {
        /// The stream.
        stream: String,
        /// What is wrong.
        source: StreamError,
    },
    /// Field names that contradict each other.
    #[error("stream {stream:?}: {source}")]
    Fields {
        /// The stream.
        stream: String,
        /// What is wrong.
        source: DecodeSpecError,
    },
}

/// What is impossible in a stream's forecast.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// An impossible network.
    #[error(transparent)]
    Network(#[from] nn::SpecError),
    /// An impossible horizon, quantile or threshold.
    #[error(transparent)]
    Forecast(#[from] ForecastSpecError),
}

/// See [`Plan::rebuild_first`]: a replay takes half a second for them.
const REBUILD_FIRST: i64 = 100_000;

/// The plan of the whole process. What it says of topics in the cluster is filled in by the supervisor.
///
/// # Errors
/// What is impossible in the settings.
pub fn plan(settings: &Settings) -> Result<Plan, SpecError> {
    let micros = |millis: Millis| u64::try_from(millis.0).unwrap_or(0) * 1000;
    Ok(Plan {
        app: settings.app.clone(),
        streams: settings.stream.iter().map(|stream| stream_plan(settings, stream)).collect::<Result<_, _>>()?,
        state_topic: settings.state_topic(),
        state_partitions: 1,
        compacted_inputs: BTreeSet::new(),
        missing_inputs: BTreeSet::new(),
        models_topic: settings.models_topic(),
        dead_letter_topic: settings.dead_letters_topic(),
        commit_interval: micros(settings.commit_interval),
        checkpoint_interval: micros(settings.checkpoint_interval),
        checkpoint_records: settings.checkpoint_records,
        rebuild_first: REBUILD_FIRST,
        max_transaction_records: settings.limits.transaction_records as usize,
        max_transaction_bytes: bytes(settings.limits.transaction_bytes.0),
        max_poll_records: settings.limits.poll_records as usize,
        standby_bytes: bytes(settings.limits.standby_bytes.0),
    })
}

fn stream_plan(settings: &Settings, stream: &Stream) -> Result<StreamPlan, SpecError> {
    let zone = |name: &str| {
        TimeZone::get(name).map_err(|source| SpecError::Zone {
            stream: stream.name.clone(),
            zone: name.to_owned(),
            source,
        })
    };
    let local = Zone::new(zone(&stream.time_zone)?);
    let grid = stream.grid_spec().map_or(Grid::Irregular, |spec| spec.grid(&local));
    let engine = engine_spec(stream, local.into(), grid);
    let decode = decode_spec(stream, zone(stream.timestamp_zone())?);
    let known = match (&stream.future_covariates.topic, &stream.future_covariates.time) {
        (Some(topic), Some(time)) => Some(future_covariates_plan(stream, topic, time, zone(stream.zone_of(time))?)),
        _ => None,
    };
    for spec in [&decode].into_iter().chain(known.as_ref().map(|known| &known.decode)) {
        Decoder::new(spec.clone()).map_err(|source| SpecError::Fields { stream: stream.name.clone(), source })?;
    }
    let repartition = stream.repartition.then(|| RepartitionPlan {
        topic: settings.repartition_topic(stream),
        sources: stream.topics.clone(),
        decode: decode.clone(),
        start: stream.start,
        create: settings.kafka.create_topics,
    });
    // Everything in the repartition topic was written for this stream.
    let (topics, start, decode) = match &repartition {
        Some(repartition) => {
            let decode = DecodeSpec { format: wire::Format::Copy, max_record_bytes: usize::MAX, ..decode };
            (vec![repartition.topic.clone()], ForecastStart::Earliest, decode)
        }
        None => (stream.topics.clone(), stream.start, decode),
    };
    let engine = engine.map_err(|source| SpecError::Stream { stream: stream.name.clone(), source })?;
    let training = stream.training.enabled.then(|| training_plan(stream, engine.network_levels().to_vec()));
    Ok(StreamPlan {
        engine,
        decode,
        future_covariates: known,
        topics,
        start,
        repartition,
        forecasts_topic: settings.forecasts_topic(stream),
        late: stream.late,
        training,
    })
}

/// What the engine computes for a stream on `grid`, which has the interval of the stream.
///
/// # Errors
/// What is impossible in its forecast.
pub fn engine_spec(stream: &Stream, calendar: Calendar, grid: Grid) -> Result<StreamSpec, StreamError> {
    let season = stream.season_steps();
    let max_gap_millis = stream.max_gap_millis();
    let max_gap = grid.nominal_interval().map_or(0, |interval| max_gap_millis / interval.max(1));
    let extra = extra(stream, &calendar, &grid);
    let forecast = forecast_spec(stream)?.with_extra(&extra).with_local_time(&calendar, &grid);
    let network = network_spec(stream, &forecast, FEATURES + extra.features())?;
    let spec = StreamSpec {
        name: Arc::from(stream.name.as_str()),
        series: SeriesSpec {
            grid,
            aggregation: match stream.aggregation {
                Aggregation::Mean => series::Aggregation::Mean,
                Aggregation::Sum => series::Aggregation::Sum,
                Aggregation::Min => series::Aggregation::Min,
                Aggregation::Max => series::Aggregation::Max,
                Aggregation::First => series::Aggregation::First,
                Aggregation::Last => series::Aggregation::Last,
                Aggregation::Count => series::Aggregation::Count,
            },
            readings_per_slot: stream.readings_per_slot,
            close_by: match stream.close_by {
                settings::CloseBy::Series => CloseBy::Series,
                settings::CloseBy::Partition => CloseBy::Partition,
            },
            absence: match stream.absence {
                settings::Absence::Gap => Absence::Gap,
                settings::Absence::Zero => Absence::Zero,
                settings::Absence::Anomaly => Absence::Anomaly,
            },
            correction: if stream.late == Late::Correct { stream.correction } else { 0 },
            allowed_lateness: stream.allowed_lateness.0,
            max_ahead: stream.max_ahead_millis().unwrap_or(i64::MAX),
            max_step: stream.max_step_millis().unwrap_or(i64::MAX),
            max_outage: Millis::days(30).0,
            max_gap: u32::try_from(max_gap).unwrap_or(u32::MAX),
            max_gap_millis,
            season,
            horizon: stream.horizon,
            burn_in: stream.model.burn_in,
            calendar,
            queries: false,
            extra,
        },
        network,
        forecast,
        bounds: field_bounds(stream),
        when_full: match stream.limits.when_full {
            settings::WhenFull::Evict => WhenFull::Evict,
            settings::WhenFull::Refuse => WhenFull::Refuse,
        },
        series_ttl: stream.series_ttl_millis(),
        max_series: usize::try_from(stream.limits.series).unwrap_or(usize::MAX).min(u32::MAX as usize),
    };
    Ok(if stream.model.is_builtin() { spec.with_builtin_weights() } else { spec })
}

/// What the values of each field can be. The checks of the settings refuse bounds that exclude every value.
fn field_bounds(stream: &Stream) -> FieldBounds {
    let has_key = stream.key != Key::Fields(Vec::new());
    FieldBounds::new(stream.values.iter().map(|value| {
        let suffix = match stream.values.len() {
            1 => String::new(),
            _ if has_key => format!(":{}", value.field),
            _ => value.field.clone(),
        };
        (suffix, ValueBounds::new(value.minimum, value.maximum, value.integer).unwrap_or_default())
    }))
}

fn extra(stream: &Stream, calendar: &Calendar, grid: &Grid) -> ExtraFeatures {
    let dates: Vec<_> = stream.holidays.iter().map(|date| date.0).collect();
    ExtraFeatures {
        year_phase: stream.year_phase,
        past_covariates: stream.past_covariates.clone().into(),
        future_covariates: known(stream),
        holidays: (!dates.is_empty()).then(|| Holidays::new(calendar, grid, &dates)),
    }
}

fn known(stream: &Stream) -> series::FutureCovariateSpec {
    let several = stream.values.iter().filter(|_| stream.values.len() > 1);
    series::FutureCovariateSpec {
        names: stream.future_covariates.values.clone().into(),
        keyed: stream.future_covariates.key.is_some(),
        suffixes: several.map(|value| format!(":{}", value.field)).collect(),
        max_slots: stream.future_covariate_slots() as usize,
    }
}

/// What is forecast of a stream: each step of the horizon, or one aggregate over it.
///
/// # Errors
/// An impossible horizon, quantile or threshold.
pub fn forecast_spec(stream: &Stream) -> Result<ForecastSpec, ForecastSpecError> {
    let (horizon, season) = (stream.horizon as usize, stream.season_steps() as usize);
    let (levels, model) = (levels(stream), &stream.model);
    let mut spec = match model.strategy {
        Strategy::ManyToOne => {
            ForecastSpec::aggregate(horizon, &levels, season, target(model.target), model.threshold)?
        }
        _ => ForecastSpec::new(horizon, &levels, season)?,
    };
    let settings::Anomaly { start, end, clear_after } = stream.anomaly;
    spec.linear_experts = model.linear_experts as usize;
    spec.scores_absence = stream.absence == settings::Absence::Anomaly;
    spec.anomaly = AnomalyThresholds { start: start as f32, end: end as f32, clear_after };
    Ok(spec)
}

fn levels(stream: &Stream) -> Vec<f32> {
    stream.quantiles.iter().map(|&level| level as f32).collect()
}

fn target(target: settings::Target) -> series::Target {
    match target {
        settings::Target::Maximum => series::Target::Maximum,
        settings::Target::Minimum => series::Target::Minimum,
        settings::Target::Mean => series::Target::Mean,
        settings::Target::Last => series::Target::Last,
    }
}

fn decode_spec(stream: &Stream, zone: TimeZone) -> DecodeSpec {
    DecodeSpec {
        format: format(stream.format, &stream.columns, stream.delimiter),
        key: key_source(&stream.key),
        time: time_source(&stream.time, zone),
        values: stream.fields(),
        covariates: stream.past_covariates.clone(),
        max_record_bytes: bytes(stream.limits.record_bytes.0),
        max_key_bytes: bytes(stream.limits.key_bytes.0),
        earliest: stream.earliest,
        latest: stream.latest,
    }
}

fn future_covariates_plan(stream: &Stream, topic: &str, time: &Time, zone: TimeZone) -> FutureCovariatesPlan {
    let known = &stream.future_covariates;
    let decode = DecodeSpec {
        format: format(known.format, &known.columns, known.delimiter),
        key: known.key.as_ref().map_or(KeySource::Fields(Vec::new()), key_source),
        time: time_source(time, zone.clone()),
        values: known.values.clone(),
        covariates: known.values.clone(),
        ..decode_spec(stream, zone)
    };
    FutureCovariatesPlan { topic: topic.to_owned(), decode, keyed: known.key.is_some() }
}

fn format(format: Format, columns: &[String], delimiter: char) -> wire::Format {
    match format {
        Format::Json => wire::Format::Json,
        Format::Csv => {
            wire::Format::Csv { columns: columns.to_vec(), delimiter: u8::try_from(delimiter).unwrap_or(b',') }
        }
    }
}

fn key_source(key: &Key) -> KeySource {
    match key {
        Key::Record => KeySource::Record,
        Key::Fields(fields) => KeySource::Fields(fields.clone()),
    }
}

fn time_source(time: &Time, zone: TimeZone) -> TimeSource {
    match time {
        Time::Record => TimeSource::Record,
        Time::Field { field, format, .. } => TimeSource::Field {
            name: field.clone(),
            format: match format {
                TimeFormat::Rfc3339 => wire::TimeFormat::Rfc3339,
                TimeFormat::Seconds => wire::TimeFormat::EpochSeconds,
                TimeFormat::Milliseconds => wire::TimeFormat::EpochMillis,
                TimeFormat::Microseconds => wire::TimeFormat::EpochMicros,
                TimeFormat::Nanoseconds => wire::TimeFormat::EpochNanos,
                TimeFormat::Pattern(pattern) => wire::TimeFormat::Strftime { pattern: pattern.clone(), zone },
            },
        },
    }
}

/// The network for such forecasts, with `inputs` features per step.
///
/// # Errors
/// What is impossible in it.
pub fn network_spec(stream: &Stream, forecast: &ForecastSpec, inputs: usize) -> Result<NetworkSpec, nn::SpecError> {
    let model = &stream.model;
    let network = NetworkSpec {
        cell: model.cell.word().parse()?,
        layers: model.layers as usize,
        hidden: model.hidden as usize,
        inputs,
        horizon: forecast.horizon,
        levels: forecast.levels.len(),
        seed: model.seed,
        strategy: model.strategy.word().parse()?,
        target: target(model.target),
        residual: model.residual,
        layer_norm: model.layer_norm,
        dilations: model.dilations.iter().map(|dilation| *dilation as usize).collect(),
        context: model.context as usize,
        window: model.window as usize,
        segment: model.segment as usize,
        decoder: 0,
        builtin: false,
        bf16: model.bf16,
        chrono: model.chrono as usize,
    };
    network.check()?;
    Ok(network)
}

/// How to train a network with quantiles at these levels.
fn training_plan(stream: &Stream, levels: Vec<f32>) -> TrainingPlan {
    let training = &stream.training;
    TrainingPlan {
        history: stream.history_millis(),
        every: training.every.duration(),
        refresh: training.refresh.duration(),
        refresh_updates: training.refresh_updates as usize,
        cpu_share: training.cpu_share,
        min_steps: training.min_steps as usize,
        max_series: training.max_series as usize,
        max_steps_per_series: training.max_steps_per_series as usize,
        memory: bytes(training.memory.0),
        spec: train_spec(training, stream.model.seed, levels),
    }
}

/// How to train, by the settings; what they do not name keeps the default of [`TrainSpec`].
pub fn train_spec(training: &Training, seed: u64, levels: Vec<f32>) -> TrainSpec {
    TrainSpec {
        k1: training.k1 as usize,
        k2: training.k2 as usize,
        learning_rate: training.learning_rate,
        clip: training.clip,
        huber: training.huber,
        burn_in: training.burn_in as usize,
        batch_size: training.batch_size as usize,
        max_updates: training.max_updates as usize,
        epochs: training.epochs as usize,
        validation_share: training.validation_share,
        seed,
        device: match training.device {
            Device::Auto => DeviceChoice::Auto,
            Device::Cpu => DeviceChoice::Cpu,
            Device::Cuda => DeviceChoice::Cuda,
        },
        levels,
        margin: training.margin,
        ..TrainSpec::default()
    }
}

/// The number of shards: as configured, or one less than the machine's cores.
pub fn shards(settings: &Settings, cores: usize) -> usize {
    match settings.shards {
        Auto::Set(shards) => shards as usize,
        Auto::Auto => cores.saturating_sub(1).max(1),
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `foretide check` and the start report what the decoder rejects, before a shard meets it.
    #[test]
    fn contradicting_field_names_are_rejected_before_anything_starts() {
        let rejection = |values: &str, covariates: &str| {
            let text = format!(
                "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\ninterval = \"1m\"\nvalues = [{values}]\n\
                 [stream.future_covariates]\ntopic = \"w\"\ntime = {{ field = \"at\" }}\nvalues = [{covariates}]\n"
            );
            let settings = settings::parse("f.toml", &text, []).unwrap();
            plan(&settings).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(rejection("\"a.b\"", "\"c\""), Ok(()));
        for (values, covariates) in [("\"a.\"", "\"c\""), ("\"a\", \"a.b\"", "\"c\""), ("\"a\"", "\"c..d\"")] {
            let error = rejection(values, covariates).unwrap_err();
            assert!(error.starts_with("stream \"s\": the field "), "{error}");
        }
    }
}
