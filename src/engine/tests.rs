use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::forecast::{ForecastSpec, ValueBounds};
use crate::nn::{CellKind, Network, NetworkSpec, Strategy, Weights};
use crate::series::{
    Absence, CloseBy, ExtraFeatures, FEATURES, FutureCovariateSpec, FutureValues, Holidays, SeriesSpec, Target,
};
use crate::snapshot::{TaskProgress, WeightsActivation};
use crate::time::{EventTime, Grid, GridSpec, Length, Zone};

pub(super) const MINUTE: i64 = 60_000;

pub(super) fn spec(grid: Grid) -> StreamSpec {
    let forecast = ForecastSpec::new(5, &[0.1, 0.5, 0.9], 6).unwrap();
    StreamSpec {
        name: "stream".into(),
        series: SeriesSpec {
            allowed_lateness: MINUTE,
            max_gap: 30,
            max_gap_millis: 30 * MINUTE,
            season: 6,
            horizon: 5,
            burn_in: 8,
            ..SeriesSpec::new(grid)
        },
        network: NetworkSpec {
            cell: CellKind::Gru,
            layers: 2,
            hidden: 6,
            inputs: FEATURES,
            horizon: 5,
            levels: 3,
            seed: 3,
            ..NetworkSpec::default()
        },
        forecast,
        max_series: 100,
        when_full: WhenFull::Refuse,
        series_ttl: None,
        bounds: FieldBounds::default(),
    }
}

/// Weights under which every forecast depends on the hidden state.
pub(super) fn loud(spec: &StreamSpec, seed: u64) -> Arc<Network> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut tensors = Weights::initial(&spec.network).tensors().clone();
    for tensor in tensors.values_mut() {
        tensor.values.iter_mut().for_each(|value| *value += random.random_range(-0.4..0.4));
    }
    Arc::new(Network::new(&spec.network, &Weights::from_tensors(tensors)).unwrap())
}

/// The same stream, whose series end after twenty minutes of silence, and where a fifth one begins.
pub(super) fn with_ends(spec: StreamSpec) -> StreamSpec {
    StreamSpec { series_ttl: Some(20 * MINUTE), max_series: 4, when_full: WhenFull::Evict, ..spec }
}

fn engine() -> (Engine, TaskHandle) {
    engine_of(spec(Grid::Regular { interval: MINUTE }))
}

/// One stream for each forecasting strategy; some have covariates, absences, corrections or bounds, one answers
/// queries.
pub(super) fn streams() -> [StreamSpec; 10] {
    let recursive = |grid| {
        let spec = spec(grid);
        let network = NetworkSpec { strategy: Strategy::Recursive, ..spec.network.clone() };
        StreamSpec { network, ..spec }
    };
    let regular = || Grid::Regular { interval: MINUTE };
    [
        spec(regular()),
        with_bounds(recursive(regular()), true),
        recursive(Grid::Irregular),
        many_to_one(Target::Minimum),
        with_covariates(spec(regular())),
        with_covariates(recursive(regular())),
        with_absences(spec(regular())),
        with_corrections(with_absences(recursive(regular()))),
        with_bounds(spec(regular()).with_decoder(8), false),
        with_corrections(with_absences(spec(of_the_calendar()))),
    ]
}

/// Minutes of a calendar, from the half minute on.
pub(super) fn of_the_calendar() -> Grid {
    let origin = "00:00:30".parse().unwrap();
    GridSpec { origin, ..GridSpec::new(Length::Clock(MINUTE)) }.grid(&Zone::utc())
}

/// The same stream, whose slots close by the time of the partition, with anomaly scores of absent values.
fn with_absences(spec: StreamSpec) -> StreamSpec {
    let mut forecast = spec.forecast;
    forecast.scores_absence = true;
    let series = SeriesSpec { close_by: CloseBy::Partition, absence: Absence::Anomaly, ..spec.series };
    StreamSpec { series, forecast, ..spec }
}

/// The same stream, whose values are declared to lie between -30 and 40.
fn with_bounds(spec: StreamSpec, integer: bool) -> StreamSpec {
    let bounds = ValueBounds::new(Some(-30.0), Some(40.0), integer).unwrap();
    StreamSpec { bounds: FieldBounds::of_all(bounds), ..spec }
}

/// The same stream, where late readings correct the newest slots.
fn with_corrections(spec: StreamSpec) -> StreamSpec {
    StreamSpec { series: SeriesSpec { correction: 10, ..spec.series }, ..spec }
}

/// The same stream with holidays, the time of year, past covariates and future covariates.
pub(super) fn with_covariates(spec: StreamSpec) -> StreamSpec {
    let dates = ["1970-01-01".parse().unwrap()];
    let holidays = Some(Holidays::new(&spec.series.calendar, &spec.series.grid, &dates));
    let past_covariates = ["warm", "wind", "sun"].map(String::from).to_vec().into();
    let future_covariates = FutureCovariateSpec {
        names: ["price".into(), "feast".into()].into(),
        max_slots: 2_000,
        ..FutureCovariateSpec::default()
    };
    let extra = ExtraFeatures { year_phase: true, holidays, past_covariates, future_covariates };
    let network = NetworkSpec { inputs: FEATURES + extra.features(), ..spec.network };
    let forecast = spec.forecast.with_extra(&extra);
    StreamSpec { series: SeriesSpec { extra, ..spec.series }, network, forecast, ..spec }
}

/// Past covariates that change with time and value; now and then one is missing.
fn past_covariates(spec: &StreamSpec, time: i64, value: f64) -> Vec<f64> {
    let covariate = |place: i64| match (time / 1000 + place) % 4 {
        0 => f64::NAN,
        _ => (value * (1.3 + place as f64)).sin() * 20.0 + value,
    };
    (0..spec.series.extra.past_covariates.len() as i64).map(covariate).collect()
}

/// One forecast for the whole horizon, with a threshold.
fn many_to_one(target: Target) -> StreamSpec {
    let spec = spec(Grid::Regular { interval: MINUTE });
    let network = NetworkSpec { strategy: Strategy::ManyToOne, target, ..spec.network.clone() };
    let forecast = ForecastSpec::aggregate(5, &spec.forecast.levels, 6, target, Some(-10.0)).unwrap();
    StreamSpec { network, forecast, ..spec }
}

pub(super) fn engine_of(spec: StreamSpec) -> (Engine, TaskHandle) {
    let network = loud(&spec, 1);
    let mut engine = Engine::new(vec![spec]).unwrap();
    engine.install("stream", 1, ServedWeights { network, prior: None });
    let id = TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 };
    let task = engine.open(id, 0).unwrap();
    // All future covariates are visible from the start on.
    for slot in 0..1_500 {
        let values = [(slot as f64 * 0.7).sin() * 9.0, if slot % 5 == 0 { f64::NAN } else { 1.0 }].into();
        engine.insert_future_values(task, "", FutureValues { slot, offset: slot, values });
    }
    (engine, task)
}

pub(super) type Input = Vec<(u8, i64, f64)>;
/// The bits of every forecast of every series, in order.
pub(super) type Bits = BTreeMap<String, Vec<Vec<u64>>>;

pub(super) fn input(seed: u64, records: usize) -> Input {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut now = 0;
    (0..records)
        .map(|_| {
            now += if random.random_bool(0.02) { 45 * MINUTE } else { random.random_range(0..30_000) };
            (random.random_range(0..6), now - random.random_range(0..2 * MINUTE), random.random_range(-50.0..50.0))
        })
        .collect()
}

pub(super) fn accept_all(engine: &mut Engine, task: TaskHandle, from: usize, input: &[(u8, i64, f64)]) {
    for (place, &(series, time, value)) in input.iter().enumerate() {
        let offset = (from + place) as i64;
        let covariates = &past_covariates(engine.stream(task), time, value);
        let (series, time) = (&format!("s{series}"), EventTime(time));
        engine.accept(task, &Observation { covariates, ..Observation::new(offset, series, time, value) });
        engine.advance(task, offset + 1);
    }
}

fn sorted_keys(engine: &Engine, task: TaskHandle) -> Vec<String> {
    let mut keys: Vec<String> = engine.keys(task).map(str::to_owned).collect();
    keys.sort();
    keys
}

pub(super) fn collect(engine: &Engine, transaction: &Transaction, bits: &mut Bits) {
    for row in &transaction.forecasts {
        let spec = engine.stream(row.task);
        let (outputs, levels) = (spec.forecast.outputs(), spec.forecast.levels.len());
        let mut all = vec![row.slot as u64, row.offset as u64, row.weights_version, row.value.to_bits()];
        let score = row.anomaly.map(|anomaly| anomaly.score);
        all.extend([score, row.crossing].map(|share| share.map_or(u64::MAX, |share| u64::from(share.to_bits()))));
        all.extend(transaction.points[row.point..][..outputs].iter().map(|value| value.to_bits()));
        all.extend(transaction.quantiles[row.quantile..][..outputs * levels].iter().map(|value| value.to_bits()));
        bits.entry(engine.key(row.task, row.series).to_owned()).or_default().push(all);
    }
}

/// The forecasts of all input, in transactions of the given sizes (repeated). Weights 1 serve from record `promoted`
/// on.
fn run_of(spec: &StreamSpec, input: &Input, sizes: &[usize], promoted: usize) -> Bits {
    let (mut engine, task) = engine_of(spec.clone());
    let mut bits = Bits::new();
    let mut at = 0;
    for &size in sizes.iter().cycle() {
        if at == input.len() {
            break;
        }
        let until = if at < promoted { promoted } else { input.len() };
        let to = (at + size.max(1)).min(until);
        engine.begin(true);
        if at == promoted {
            assert!(engine.activate(task, 1));
        }
        accept_all(&mut engine, task, at, &input[at..to]);
        let transaction = engine.finish(0.3);
        collect(&engine, &transaction, &mut bits);
        engine.commit(&transaction);
        at = to;
    }
    bits
}

#[test]
fn a_series_is_forecast_from_its_first_closed_slot_on() {
    let (mut engine, task) = engine();
    engine.begin(true);
    accept_all(&mut engine, task, 0, &[(0, 0, 4.0), (0, 2 * MINUTE, 5.0)]);
    let transaction = engine.finish(0.0);
    assert_eq!(transaction.forecasts.len(), 1);
    let row = &transaction.forecasts[0];
    assert_eq!((row.slot, row.origin, row.value, row.offset), (0, EventTime(0), 4.0, 1));
    assert!(transaction.points.iter().chain(&transaction.quantiles).all(|value| value.is_finite()));
    assert_eq!(transaction.tasks[0].to, 2);
}

#[test]
fn forecasts_from_before_a_long_gap_score_no_value_after_it() {
    for spec in [spec(Grid::Regular { interval: MINUTE }), many_to_one(Target::Maximum)] {
        let (mut engine, task) = engine_of(spec);
        engine.begin(true);
        let minutes: Vec<i64> = (0..20).chain(60..80).collect();
        accept_all(&mut engine, task, 0, &minutes.iter().map(|at| (0, at * MINUTE, *at as f64)).collect::<Vec<_>>());
        let transaction = engine.finish(0.0);
        let unscored = |row: &&ForecastRow| row.anomaly.is_none();
        let first = engine.stream(task).forecast.buckets[0] as i64; // the first lead that is scored
        let expected: Vec<i64> = (0..first).chain(60..60 + first).collect();
        let found: Vec<i64> = transaction.forecasts.iter().filter(unscored).map(|row| row.slot).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_series_over_the_limit_is_rejected_and_the_others_go_on() {
    let mut spec = spec(Grid::Regular { interval: MINUTE });
    spec.max_series = 2;
    let mut engine = Engine::new(vec![spec]).unwrap();
    let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
    engine.begin(true);
    let mut accept = |series: &str, time| engine.accept(task, &Observation::new(0, series, EventTime(time), 1.0));
    assert_eq!(accept("a", 0), Acceptance::Accepted);
    assert_eq!(accept("b", 0), Acceptance::Accepted);
    assert_eq!(accept("c", 0), Acceptance::SeriesLimit);
    assert_eq!(accept("a", 2 * MINUTE), Acceptance::Accepted);
    assert_eq!(engine.finish(0.0).forecasts.len(), 1);
}

#[test]
fn state_bytes_cover_every_series() {
    let (mut engine, task) = engine();
    engine.begin(true);
    accept_all(&mut engine, task, 0, &input(1, 400));
    let transaction = engine.finish(0.0);
    engine.commit(&transaction);
    assert_eq!(engine.series_count(task), 6);
    let each = engine.state_bytes(task) / 6;
    assert!((500..16_384).contains(&each), "{each} bytes a series");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Neither the other series of a batch, nor the length of a transaction, nor the number of micro-batches changes a
    /// bit.
    #[test]
    fn forecasts_do_not_depend_on_the_transactions(
        seed in 0..1000_u64, sizes in prop::collection::vec(1..200_usize, 1..6),
    ) {
        let input = input(seed, 500);
        for spec in streams().into_iter().chain(streams().map(with_ends)) {
            prop_assert_eq!(run_of(&spec, &input, &sizes, 170), run_of(&spec, &input, &[1], 170));
        }
    }

    /// Changing everything after a record leaves every forecast up to it as it was.
    #[test]
    fn forecasts_do_not_depend_on_later_records(seed in 0..1000_u64, at in 1..499_usize) {
        let input = input(seed, 500);
        let mut changed = input.clone();
        for (_, _, value) in &mut changed[at..] {
            *value = *value * -3.0 + 1000.0;
        }
        let upto = |bits: Bits| -> Bits {
            // Forecasts that record `at` or a later one makes may differ.
            let before = |all: Vec<Vec<u64>>| all.into_iter().filter(|bits| bits[1] < at as u64).collect();
            bits.into_iter().map(|(key, all)| (key, before(all))).collect()
        };
        for spec in streams() {
            let (one, other) = (run_of(&spec, &input, &[7], 100), run_of(&spec, &changed, &[7], 100));
            prop_assert_eq!(upto(one), upto(other));
        }
    }

    /// A transaction that is rolled back and repeated gives the forecasts that it would have given at once.
    #[test]
    fn a_rollback_leaves_no_trace(
        seed in 0..1000_u64, first in 1..300_usize, second in 1..200_usize, ends in any::<bool>(),
    ) {
        let (input, spec) = (input(seed, 500), with_covariates(spec(Grid::Regular { interval: MINUTE })));
        let spec = if ends { with_ends(spec) } else { spec };
        let (mut engine, task) = engine_of(spec.clone());
        let mut bits = Bits::new();
        let (first, second) = (first, first + second);
        let attempts = [
            (0, first, false),
            (first, 500, true),
            (first, second, true),
            (first, second, false),
            (second, 500, false),
        ];
        for (from, to, undo) in attempts {
            engine.begin(true);
            if from == first {
                engine.activate(task, 1);
            }
            accept_all(&mut engine, task, from, &input[from..to]);
            let transaction = engine.finish(0.5);
            if undo {
                engine.roll_back();
                prop_assert_eq!(engine.position(task), from as i64);
                prop_assert_eq!(engine.version(task), 0);
            } else {
                collect(&engine, &transaction, &mut bits);
                engine.commit(&transaction);
            }
        }
        prop_assert_eq!(bits, run_of(&spec, &input, &[500], first));
    }

    #[test]
    fn snapshots_and_a_replay_restore_the_state_to_the_last_bit(
        seed in 0..1000_u64, cut in 250..450_usize, share in 0.0..1.0_f64,
        plain in any::<bool>(), ends in any::<bool>(),
    ) {
        let (input, spec) = (input(seed, 500), spec(Grid::Regular { interval: MINUTE }));
        let spec = if plain { spec } else { with_covariates(spec) };
        let spec = if ends { with_ends(spec) } else { spec };
        let (mut engine, task) = engine_of(spec.clone());
        let mut newest = BTreeMap::new();
        let mut progress = engine.progress(task);
        for from in (0..cut).step_by(10) {
            engine.begin(true);
            if from == 120 {
                engine.activate(task, 1);
            }
            accept_all(&mut engine, task, from, &input[from..(from + 10).min(cut)]);
            let transaction = engine.finish(share);
            transaction.ended.iter().for_each(|ended| drop(newest.remove(&ended.series)));
            for snapshot in &transaction.snapshots {
                newest.insert(snapshot.series.clone(), snapshot.clone());
            }
            progress = transaction.tasks[0].progress.clone();
            engine.commit(&transaction);
        }
        let (mut other, restored) = engine_of(spec);
        for snapshot in newest.values() {
            let (series, body) = (snapshot.series.as_ref().into(), snapshot.body.as_slice());
            let snapshot = EncodedSnapshot { series, position: snapshot.position, body: Some(body) };
            let put = other.restore(restored, &[snapshot]);
            prop_assert!(put.iter().all(|put| put.as_ref().is_ok_and(Vec::is_empty)), "{:?}", put);
        }
        other.resume(restored, &progress);
        other.begin(false);
        let mut from = progress.replay_from as usize;
        while from < cut {
            let to = other.next_activation(restored, from as i64).map_or(cut, |at| at as usize).min(cut);
            accept_all(&mut other, restored, from, &input[from..to]);
            prop_assert!(other.finish(0.0).forecasts.is_empty(), "replay writes nothing");
            let version = other.recorded_version(restored, to as i64);
            other.activate(restored, version);
            from = to;
        }
        prop_assert_eq!(sorted_keys(&engine, task), sorted_keys(&other, restored));
        let mut bits = [Bits::new(), Bits::new()];
        for ((engine, task), bits) in [(&mut engine, task), (&mut other, restored)].into_iter().zip(&mut bits) {
            engine.begin(true);
            accept_all(engine, task, cut, &input[cut..]);
            let transaction = engine.finish(1.0);
            collect(engine, &transaction, bits);
            let ended = transaction.ended.iter().map(|ended| ended.series.to_string()).collect::<Vec<_>>().join(" ");
            bits.insert(format!("ended: {ended}"), Vec::new());
        }
        let [uninterrupted, restored] = bits;
        prop_assert!(!uninterrupted.is_empty());
        prop_assert_eq!(uninterrupted, restored);
    }
}

#[test]
fn a_task_whose_recorded_weights_are_gone_goes_on_with_the_nearest_ones() {
    let (mut engine, task) = engine();
    engine.resume(
        task,
        &TaskProgress { activations: vec![WeightsActivation { position: 0, version: 7 }], ..TaskProgress::default() },
    );
    assert_eq!((engine.recorded_version(task, 0), engine.version(task)), (7, 1));
    engine.begin(true);
    accept_all(&mut engine, task, 0, &[(0, 0, 4.0), (0, 2 * MINUTE, 5.0), (0, 4 * MINUTE, 6.0)]);
    assert!(!engine.finish(0.0).forecasts.is_empty());
}
