//! What a seed decides in advance: the topics' sizes, the stream, the limits.

use std::{collections::BTreeSet, sync::Arc};

use rand::{Rng, seq::IndexedRandom};
use rand_pcg::Pcg64Mcg;

use crate::memory::{Fault, MemoryCluster, Operation};
use foretide::{
    broker::{Broker, TopicSpec},
    daemon::plan::{FutureCovariatesPlan, Plan, RepartitionPlan, StreamPlan},
    engine::{FieldBounds, StreamSpec, WhenFull},
    forecast::{ForecastSpec, StreamPrior, ValueBounds},
    nn::{CellKind, NetworkSpec, Strategy},
    series::{
        Absence, Aggregation, Calendar, CloseBy, ExtraFeatures, FEATURES, FutureCovariateSpec, ScaleEstimate,
        SeriesSpec, Target,
    },
    settings::{ForecastStart, Late, Millis},
    time::{EventTime, Grid},
    wire::{DecodeSpec, Format, KeySource, TimeFormat, TimeSource},
};

pub const GROUP: &str = "app";
pub const STREAM: &str = "load";
/// What the engine reads: the input topic, or the repartition topic.
pub const INPUT: &str = "in";
/// The input topic of a stream that is repartitioned.
pub const SOURCE: &str = "source";
/// The future-covariate topic, partitioned as the input.
pub const COVARIATES: &str = "covariates";
pub const FORECASTS: &str = "out";
pub const FORECAST_PARTITIONS: i32 = 2;
pub const STATE: &str = "state";
pub const MODELS: &str = "models";
pub const DEAD: &str = "dead";
pub const MINUTE: i64 = 60_000;
/// The input does not grow beyond so many partitions.
pub const MOST_PARTITIONS: i32 = 5;

/// The faults that each call may meet. A crash after a call equals a crash before the next one, except where the call
/// changes what others see: there the answer is lost.
pub const FAULTS: &[(Operation, &[Fault])] = &[
    (Operation::Begin, &[Fault::Retry, Fault::Fenced, Fault::Crashed]),
    (Operation::Send, &[Fault::Retry, Fault::Aborted, Fault::TimedOut, Fault::Fenced, Fault::Crashed]),
    (Operation::Commit, &[Fault::Retry, Fault::Aborted, Fault::TimedOut, Fault::Fenced, Fault::Crashed]),
    (Operation::CommitAnswer, &[Fault::TimedOut, Fault::Crashed]),
    (Operation::Abort, &[Fault::Retry, Fault::TimedOut, Fault::Crashed]),
    (Operation::AbortAnswer, &[Fault::Retry, Fault::Crashed]),
    (Operation::Poll, &[Fault::Retry, Fault::Crashed]),
    (Operation::Committed, &[Fault::Retry, Fault::Crashed]),
    (Operation::Offsets, &[Fault::Retry, Fault::Crashed]),
    (Operation::Open, &[Fault::Retry, Fault::Crashed]),
    (Operation::Read, &[Fault::Retry, Fault::Crashed]),
];

/// The prior of a version, as it is read back from the models topic.
pub fn prior(forecast: &ForecastSpec, version: u64) -> Option<Arc<StreamPrior>> {
    let wide = version as f64;
    let size = ScaleEstimate { location: 1.0, scale: wide, difference: wide / 3.0 };
    let targets: Vec<f32> =
        (0..200 * forecast.outputs()).map(|step| ((step * 7919) % 101) as f32 / 101.0 - 0.3 * wide as f32).collect();
    let prior = {
        let rows = || targets.chunks(forecast.outputs());
        StreamPrior::pool(forecast, &[size], rows().len(), |visit| rows().for_each(visit)).unwrap()
    };
    serde_json::from_slice(&serde_json::to_vec(&prior).unwrap()).unwrap()
}

/// A cluster with its topics.
pub fn cluster(random: &mut Pcg64Mcg) -> MemoryCluster {
    let partitions = random.random_range(1..=3);
    let cluster = MemoryCluster::new();
    for (name, partitions, compacted) in [
        (INPUT, partitions, false),
        (COVARIATES, partitions, false),
        (FORECASTS, FORECAST_PARTITIONS, false),
        (STATE, random.random_range(1..=partitions), true),
        (MODELS, 1, true),
        (DEAD, 1, false),
    ] {
        let plan =
            TopicSpec { name: name.into(), partitions, compacted, log_append_time: false, max_record_bytes: 1 << 20 };
        cluster.create(&plan).unwrap();
    }
    cluster
}

/// Sets what closes slots, and what empty ones mean.
fn set_absence(random: &mut Pcg64Mcg, stream: &mut StreamSpec) {
    let (close_by, absence) = match random.random_range(0..6) {
        0 => (CloseBy::Series, Absence::Zero),
        1 => (CloseBy::Partition, Absence::Gap),
        2 => (CloseBy::Partition, Absence::Zero),
        3 => (CloseBy::Partition, Absence::Anomaly),
        _ => (CloseBy::Series, Absence::Gap),
    };
    (stream.series.close_by, stream.series.absence) = (close_by, absence);
    stream.forecast.scores_absence = absence == Absence::Anomaly;
}

/// The plan of every replica.
pub fn plan(random: &mut Pcg64Mcg, state_partitions: i32) -> Plan {
    let levels = [0.1, 0.5, 0.9];
    let (horizon, season) = (random.random_range(1..=4), *[0, 4].choose(random).unwrap());
    let irregular = random.random_bool(0.2);
    let strategy = *[Strategy::Direct, Strategy::Recursive, Strategy::ManyToOne].choose(random).unwrap();
    let target = *Target::ALL.choose(random).unwrap();
    let (steps, rhythm) = (horizon as usize, if irregular { 0 } else { season as usize });
    let forecast = match strategy {
        Strategy::ManyToOne => ForecastSpec::aggregate(steps, &levels, rhythm, target, Some(0.5)),
        _ => ForecastSpec::new(steps, &levels, rhythm),
    };
    let extra = ExtraFeatures { future_covariates: future_covariates(random, irregular), ..ExtraFeatures::default() };
    let (inputs, keyed) = (FEATURES + extra.features(), extra.future_covariates.keyed);
    let has_covariates = !extra.future_covariates.names.is_empty();
    let max_ahead = *[4 * MINUTE, 4 * MINUTE, 4 * MINUTE, i64::MAX].choose(random).unwrap();
    let bounds = ValueBounds::new(Some(-1.0), Some(1.5), false).unwrap();
    let engine = StreamSpec {
        name: STREAM.into(),
        series: SeriesSpec {
            grid: if irregular { Grid::Irregular } else { Grid::Regular { interval: MINUTE } },
            aggregation: Aggregation::Mean,
            readings_per_slot: (!irregular && random.random_bool(0.3)).then_some(2),
            close_by: CloseBy::Series,
            absence: Absence::Gap,
            correction: 0,
            allowed_lateness: *[0, MINUTE, 3 * MINUTE].choose(random).unwrap(),
            max_ahead,
            max_step: if max_ahead == i64::MAX { max_ahead } else { random.random_range(30..200) * MINUTE },
            max_outage: 200 * MINUTE,
            max_gap: 20,
            max_gap_millis: 20 * MINUTE,
            season: if irregular { 0 } else { season },
            horizon,
            burn_in: 5,
            queries: false,
            calendar: Calendar::utc(),
            extra: extra.clone(),
        },
        forecast: forecast.unwrap().with_extra(&extra),
        network: NetworkSpec {
            cell: *CellKind::ALL.choose(random).unwrap(),
            layers: random.random_range(1..=2),
            hidden: 8,
            context: 4,
            inputs,
            horizon: horizon as usize,
            levels: levels.len(),
            seed: 7,
            strategy,
            target,
            ..NetworkSpec::default()
        },
        // Keys of future covariates are limited by the same number, and are no series that end.
        max_series: if keyed { 1_000 } else { *[1_000, 1_000, 3, 1].choose(random).unwrap() },
        when_full: *[WhenFull::Evict, WhenFull::Evict, WhenFull::Refuse].choose(random).unwrap(),
        series_ttl: *[None, Some(3 * MINUTE), Some(30 * MINUTE), Some(100 * MINUTE)].choose(random).unwrap(),
        bounds: FieldBounds::of_all(if irregular { bounds } else { ValueBounds::default() }),
    };
    let decode = DecodeSpec {
        format: Format::Json,
        key: KeySource::Record,
        time: TimeSource::Field { name: "time".into(), format: TimeFormat::EpochMillis },
        values: vec!["value".into()],
        covariates: Vec::new(),
        max_record_bytes: 1_000,
        max_key_bytes: 100,
        earliest: EventTime(-1_000 * MINUTE),
        latest: EventTime::MAX,
    };
    let mut plan = Plan {
        app: GROUP.into(),
        streams: vec![StreamPlan {
            engine,
            future_covariates: has_covariates.then(|| future_covariates_plan(&decode, keyed)),
            decode,
            topics: vec![INPUT.into()],
            start: ForecastStart::Earliest,
            repartition: None,
            forecasts_topic: FORECASTS.into(),
            late: *[Late::DeadLetter, Late::DeadLetter, Late::Drop].choose(random).unwrap(),
            training: None,
        }],
        state_topic: STATE.into(),
        state_partitions,
        compacted_inputs: BTreeSet::new(),
        missing_inputs: BTreeSet::new(),
        models_topic: MODELS.into(),
        dead_letter_topic: DEAD.into(),
        commit_interval: 10_000,
        checkpoint_interval: *[0, 1_000_000, 20_000_000].choose(random).unwrap(),
        max_transaction_records: random.random_range(1..60),
        max_transaction_bytes: random.random_range(1_000..200_000),
        max_poll_records: random.random_range(1..20),
        standby_bytes: *[0, 2_000, 1 << 30].choose(random).unwrap(),
        checkpoint_records: *[0, 100, 1_000].choose(random).unwrap(),
        rebuild_first: 100_000,
    };
    plan.streams[0].start = start(random);
    if !irregular && random.random_bool(0.25) {
        plan.streams[0].late = Late::Correct;
        plan.streams[0].engine.series.correction = random.random_range(1..12);
    }
    if !irregular {
        set_absence(random, &mut plan.streams[0].engine);
    }
    plan
}

/// Makes [`INPUT`] the repartition topic of the stream, and [`SOURCE`] its input.
pub fn repartition(plan: &mut Plan, cluster: &MemoryCluster, partitions: i32) {
    let (name, compacted, log_append_time) = (SOURCE.to_owned(), false, false);
    cluster.create(&TopicSpec { name, partitions, compacted, log_append_time, max_record_bytes: 1 << 20 }).unwrap();
    let stream = &mut plan.streams[0];
    let (decode, start) = (stream.decode.clone(), stream.start);
    let (topic, sources, create) = (INPUT.to_owned(), vec![SOURCE.to_owned()], true);
    stream.repartition = Some(RepartitionPlan { topic, sources, decode, start, create });
    (stream.decode.format, stream.decode.max_record_bytes) = (Format::Copy, usize::MAX);
    stream.start = ForecastStart::Earliest;
}

/// Half of the runs forecast all input. The others begin in its middle, and learn from what is older.
fn start(random: &mut Pcg64Mcg) -> ForecastStart {
    match random.random_range(0..8) {
        0..4 => ForecastStart::Earliest,
        4 | 5 => ForecastStart::Latest,
        6 => ForecastStart::At(EventTime(random.random_range(0..60) * MINUTE)),
        _ => ForecastStart::Back(Millis(random.random_range(0..5) * MINUTE)),
    }
}

/// Half of the streams on a regular grid have future covariates.
fn future_covariates(random: &mut Pcg64Mcg, irregular: bool) -> FutureCovariateSpec {
    if irregular || random.random_bool(0.5) {
        return FutureCovariateSpec::default();
    }
    let names = ["warm".into(), "price".into()].into();
    FutureCovariateSpec {
        names,
        keyed: random.random_bool(0.5),
        suffixes: [].into(),
        max_slots: random.random_range(6..40),
    }
}

fn future_covariates_plan(decode: &DecodeSpec, keyed: bool) -> FutureCovariatesPlan {
    let names = || vec!["warm".to_owned(), "price".to_owned()];
    let key = if keyed { KeySource::Record } else { KeySource::Fields(Vec::new()) };
    let decode = DecodeSpec { key, values: names(), covariates: names(), ..decode.clone() };
    FutureCovariatesPlan { topic: COVARIATES.into(), decode, keyed }
}
