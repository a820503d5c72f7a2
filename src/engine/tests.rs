use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::{
    nn::{CellKind, Strategy},
    series::{Aggregation, Calendar, ExtraFeatures, FEATURES, FutureCovariateSpec, Holidays, Target},
    time::Grid,
};

pub(super) const MINUTE: i64 = 60_000;

pub(super) fn spec(grid: Grid) -> StreamSpec {
    let forecast = ForecastSpec::new(5, &[0.1, 0.5, 0.9], 6).unwrap();
    StreamSpec {
        name: "stream".into(),
        series: SeriesSpec {
            grid,
            aggregation: Aggregation::Mean,
            readings_per_slot: None,
            allowed_lateness: MINUTE,
            max_gap: 30,
            max_gap_millis: 30 * MINUTE,
            season: 6,
            horizon: 5,
            burn_in: 8,
            calendar: Calendar::utc(),
            extra: ExtraFeatures::default(),
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

fn engine() -> (Engine, TaskHandle) {
    engine_of(spec(Grid::Regular { interval: MINUTE }))
}

/// Networks that tell all steps ahead at once, that are fed their own median, and that tell one number; some beside
/// covariates.
fn arrangements() -> [StreamSpec; 6] {
    let recursive = |grid| {
        let spec = spec(grid);
        let network = NetworkSpec { strategy: Strategy::Recursive, ..spec.network.clone() };
        StreamSpec { network, ..spec }
    };
    let regular = Grid::Regular { interval: MINUTE };
    [
        spec(regular),
        recursive(regular),
        recursive(Grid::Irregular),
        one_number(Target::Minimum),
        described(spec(regular)),
        described(recursive(regular)),
    ]
}

/// The same beside holidays, the time of year, covariates and numbers known in advance.
pub(super) fn described(spec: StreamSpec) -> StreamSpec {
    let dates = ["1970-01-01".parse().unwrap()];
    let holidays = Some(Holidays::new(&spec.series.calendar, spec.series.grid, &dates));
    let covariates = ["warm", "wind", "sun"].map(String::from).to_vec().into();
    let known = FutureCovariateSpec {
        names: ["price".into(), "feast".into()].into(),
        max_slots: 2_000,
        ..FutureCovariateSpec::default()
    };
    let extra = ExtraFeatures { year_phase: true, holidays, past_covariates: covariates, future_covariates: known };
    let network = NetworkSpec { inputs: FEATURES + extra.features(), ..spec.network };
    let forecast = spec.forecast.with_extra(&extra);
    StreamSpec { series: SeriesSpec { extra, ..spec.series }, network, forecast, ..spec }
}

/// Covariates that change with everything else; now and then one is missing.
fn beside(spec: &StreamSpec, time: i64, value: f64) -> Vec<f64> {
    let covariate = |place: i64| match (time / 1000 + place) % 4 {
        0 => f64::NAN,
        _ => (value * (1.3 + place as f64)).sin() * 20.0 + value,
    };
    (0..spec.series.extra.past_covariates.len() as i64).map(covariate).collect()
}

/// Forecasts of one number, with a threshold.
fn one_number(target: Target) -> StreamSpec {
    let spec = spec(Grid::Regular { interval: MINUTE });
    let network = NetworkSpec { strategy: Strategy::ManyToOne, target, ..spec.network.clone() };
    let forecast = ForecastSpec::aggregate(5, &spec.forecast.levels, 6, target, Some(-10.0)).unwrap();
    StreamSpec { network, forecast, ..spec }
}

fn engine_of(spec: StreamSpec) -> (Engine, TaskHandle) {
    let network = loud(&spec, 1);
    let mut engine = Engine::new(vec![spec]).unwrap();
    engine.install("stream", 1, Version { network, prior: None });
    let id = TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 };
    let task = engine.open(id, 0).unwrap();
    // All that is known in advance is known from the start on here.
    for slot in 0..1_500 {
        let numbers = [(slot as f64 * 0.7).sin() * 9.0, if slot % 5 == 0 { f64::NAN } else { 1.0 }];
        engine.update_future_covariates(task, slot, "", EventTime(slot * MINUTE), &numbers);
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

pub(super) fn take(engine: &mut Engine, task: TaskHandle, from: usize, input: &[(u8, i64, f64)]) {
    for (place, &(series, time, value)) in input.iter().enumerate() {
        let offset = (from + place) as i64;
        let beside = beside(engine.stream(task), time, value);
        engine.accept(task, offset, &format!("s{series}"), EventTime(time), value, &beside);
        engine.advance(task, offset + 1);
    }
}

pub(super) fn collect(engine: &Engine, epoch: &Transaction, bits: &mut Bits) {
    for row in &epoch.forecasts {
        let spec = engine.stream(row.task);
        let (outputs, levels) = (spec.forecast.outputs(), spec.forecast.levels.len());
        let mut all = vec![row.slot as u64, row.offset as u64, row.weights_version, row.value.to_bits()];
        let score = row.anomaly.map(|anomaly| anomaly.score);
        all.extend([score, row.crossing].map(|share| share.map_or(u64::MAX, |share| u64::from(share.to_bits()))));
        all.extend(epoch.points[row.point..][..outputs].iter().map(|value| value.to_bits()));
        all.extend(epoch.quantiles[row.quantile..][..outputs * levels].iter().map(|value| value.to_bits()));
        bits.entry(engine.key(row.task, row.series).to_owned()).or_default().push(all);
    }
}

/// Everything in epochs of the given sizes (repeated), with weights 1 taken up at record `promoted`.
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
        take(&mut engine, task, at, &input[at..to]);
        let epoch = engine.finish(0.3);
        collect(&engine, &epoch, &mut bits);
        engine.commit(&epoch);
        at = to;
    }
    bits
}

#[test]
fn there_is_a_forecast_from_the_first_closed_slot_on() {
    let (mut engine, task) = engine();
    engine.begin(true);
    take(&mut engine, task, 0, &[(0, 0, 4.0), (0, 2 * MINUTE, 5.0)]);
    let epoch = engine.finish(0.0);
    assert_eq!(epoch.forecasts.len(), 1);
    let row = &epoch.forecasts[0];
    assert_eq!((row.slot, row.origin, row.value, row.offset), (0, EventTime(0), 4.0, 1));
    assert!(epoch.points.iter().chain(&epoch.quantiles).all(|value| value.is_finite()));
    assert_eq!(epoch.tasks[0].to, 2);
}

/// A forecast from before a gap that is not bridged says nothing of what comes after it.
#[test]
fn what_was_pending_before_a_long_gap_is_scored_by_nothing() {
    for spec in [spec(Grid::Regular { interval: MINUTE }), one_number(Target::Maximum)] {
        let (mut engine, task) = engine_of(spec);
        engine.begin(true);
        let minutes: Vec<i64> = (0..20).chain(60..80).collect();
        take(&mut engine, task, 0, &minutes.iter().map(|at| (0, at * MINUTE, *at as f64)).collect::<Vec<_>>());
        let epoch = engine.finish(0.0);
        let unscored = |row: &&ForecastRow| row.anomaly.is_none();
        let first = engine.stream(task).forecast.buckets[0] as i64; // the first lead that is scored
        let expected: Vec<i64> = (0..first).chain(60..60 + first).collect();
        let found: Vec<i64> = epoch.forecasts.iter().filter(unscored).map(|row| row.slot).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_series_over_the_limit_is_refused_and_the_others_go_on() {
    let mut spec = spec(Grid::Regular { interval: MINUTE });
    spec.max_series = 2;
    let mut engine = Engine::new(vec![spec]).unwrap();
    let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
    engine.begin(true);
    let mut accept = |series: &str, time| engine.accept(task, 0, series, EventTime(time), 1.0, &[]);
    assert_eq!(accept("a", 0), Acceptance::Accepted);
    assert_eq!(accept("b", 0), Acceptance::Accepted);
    assert_eq!(accept("c", 0), Acceptance::SeriesLimit);
    assert_eq!(accept("a", 2 * MINUTE), Acceptance::Accepted);
    assert_eq!(engine.finish(0.0).forecasts.len(), 1);
}

#[test]
fn state_bytes_are_those_of_every_series() {
    let (mut engine, task) = engine();
    engine.begin(true);
    take(&mut engine, task, 0, &input(1, 400));
    let epoch = engine.finish(0.0);
    engine.commit(&epoch);
    assert_eq!(engine.series_count(task), 6);
    let each = engine.state_bytes(task) / 6;
    assert!((500..16_384).contains(&each), "{each} bytes a series");
}

/// Whatever byte of a snapshot is wrong, it is refused, or its series goes on with forecasts that can be used.
#[test]
fn a_snapshot_with_a_wrong_byte_is_refused_or_goes_on() {
    for mut spec in arrangements() {
        spec.network.cell = if spec.series.grid == Grid::Irregular { CellKind::Attention } else { spec.network.cell };
        spec.network.hidden = 8;
        let (mut engine, task) = engine_of(spec.clone());
        engine.begin(true);
        take(&mut engine, task, 0, &(0..70).map(|at| (0, at * MINUTE, (at % 7) as f64)).collect::<Vec<_>>());
        let Snapshot { body, series, .. } = engine.finish(1.0).snapshots.remove(0);
        let (mut other, mut refused) = (Engine::new(vec![spec.clone()]).unwrap(), 0);
        for (at, wrong) in (0..body.len()).zip([0, 0x7f, 0xff].into_iter().cycle()) {
            let mut body = body.clone();
            body[at] = wrong;
            let restored = other.open(engine.id(task).clone(), 0).unwrap();
            let frozen = EncodedSnapshot { series: series.as_ref().into(), position: 0, body: &body };
            if other.restore(restored, &[frozen])[0].is_err() {
                refused += 1;
                other.close(restored);
                continue;
            }
            other.begin(true);
            take(&mut other, restored, 0, &[70, 71, 72, 900, 901].map(|at| (0, at * MINUTE, 3.0)));
            let epoch = other.finish(0.0);
            let numbers = epoch.points.iter().chain(&epoch.quantiles);
            assert!(numbers.into_iter().all(|number| number.is_finite()), "byte {at} is {wrong}");
            let levels = epoch.quantiles.chunks(spec.forecast.levels.len());
            assert!(levels.into_iter().all(|levels| levels.is_sorted()), "byte {at} is {wrong}");
            other.commit(&epoch);
            other.close(restored);
        }
        assert!(refused > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What else is in the batch, how long an epoch is, how many waves it takes: none of it changes a bit.
    #[test]
    fn forecasts_do_not_depend_on_the_epochs(seed in 0..1000_u64, sizes in prop::collection::vec(1..200_usize, 1..6)) {
        let input = input(seed, 500);
        for spec in arrangements() {
            prop_assert_eq!(run_of(&spec, &input, &sizes, 170), run_of(&spec, &input, &[1], 170));
        }
    }

    /// Changing everything after a record leaves every forecast up to it as it was.
    #[test]
    fn nothing_is_known_of_the_future(seed in 0..1000_u64, at in 1..499_usize) {
        let input = input(seed, 500);
        let mut changed = input.clone();
        for (_, _, value) in &mut changed[at..] {
            *value = *value * -3.0 + 1000.0;
        }
        let upto = |bits: Bits| -> Bits {
            // A forecast made by record `at` or a later one may differ.
            bits.into_iter().map(|(key, all)| (key, all.into_iter().filter(|bits| bits[1] < at as u64).collect())).collect()
        };
        for spec in arrangements() {
            let (one, other) = (run_of(&spec, &input, &[7], 100), run_of(&spec, &changed, &[7], 100));
            prop_assert_eq!(upto(one), upto(other));
        }
    }

    /// An epoch that is rolled back and taken again gives what it would have given at once.
    #[test]
    fn a_rollback_leaves_no_trace(seed in 0..1000_u64, first in 1..300_usize, second in 1..200_usize) {
        let (input, spec) = (input(seed, 500), described(spec(Grid::Regular { interval: MINUTE })));
        let (mut engine, task) = engine_of(spec.clone());
        let mut bits = Bits::new();
        let (first, second) = (first, first + second);
        for (from, to, undo) in [(0, first, false), (first, 500, true), (first, second, true), (first, second, false), (second, 500, false)] {
            engine.begin(true);
            if from == first {
                engine.activate(task, 1);
            }
            take(&mut engine, task, from, &input[from..to]);
            let epoch = engine.finish(0.5);
            if undo {
                engine.roll_back();
                prop_assert_eq!(engine.position(task), from as i64);
                prop_assert_eq!(engine.version(task), 0);
            } else {
                collect(&engine, &epoch, &mut bits);
                engine.commit(&epoch);
            }
        }
        prop_assert_eq!(bits, run_of(&spec, &input, &[500], first));
    }

    /// Snapshots, however old each is, and the input since then make the state that was.
    #[test]
    fn snapshots_and_replay_make_the_state_that_was(seed in 0..1000_u64, cut in 250..450_usize, share in 0.0..1.0_f64, plain in any::<bool>()) {
        let (input, spec) = (input(seed, 500), spec(Grid::Regular { interval: MINUTE }));
        let spec = if plain { spec } else { described(spec) };
        let (mut engine, task) = engine_of(spec.clone());
        let mut newest = BTreeMap::new();
        let mut progress = engine.progress(task);
        for from in (0..cut).step_by(10) {
            engine.begin(true);
            if from == 120 {
                engine.activate(task, 1);
            }
            take(&mut engine, task, from, &input[from..(from + 10).min(cut)]);
            let epoch = engine.finish(share);
            for snapshot in &epoch.snapshots {
                newest.insert(snapshot.series.clone(), snapshot.clone());
            }
            progress = epoch.tasks[0].progress.clone();
            engine.commit(&epoch);
        }
        let (mut other, restored) = engine_of(spec);
        for snapshot in newest.values() {
            let (series, body) = (snapshot.series.as_ref().into(), snapshot.body.as_slice());
            let put = other.restore(restored, &[EncodedSnapshot { series, position: snapshot.position, body }]);
            prop_assert!(put.iter().all(|put| put.as_ref().is_ok_and(Vec::is_empty)), "{:?}", put);
        }
        other.resume(restored, &progress);
        other.begin(false);
        let mut from = progress.replay_from as usize;
        while from < cut {
            let to = other.next_activation(restored, from as i64).map_or(cut, |at| at as usize).min(cut);
            take(&mut other, restored, from, &input[from..to]);
            prop_assert!(other.finish(0.0).forecasts.is_empty(), "replay writes nothing");
            let version = other.recorded_version(restored, to as i64);
            other.activate(restored, version);
            from = to;
        }
        let mut bits = [Bits::new(), Bits::new()];
        for ((engine, task), bits) in [(&mut engine, task), (&mut other, restored)].into_iter().zip(&mut bits) {
            engine.begin(true);
            take(engine, task, cut, &input[cut..]);
            let epoch = engine.finish(1.0);
            collect(engine, &epoch, bits);
        }
        let [lived, restored] = bits;
        prop_assert!(!lived.is_empty());
        prop_assert_eq!(lived, restored);
    }
}

/// Weights that are gone must not stop a series: the next older ones step it.
#[test]
fn a_task_whose_recorded_weights_are_gone_goes_on_with_older_ones() {
    let (mut engine, task) = engine();
    engine.resume(
        task,
        &TaskProgress {
            replay_from: 0,
            activations: vec![WeightsActivation { position: 0, version: 7 }],
            watermarks: Vec::new(),
        },
    );
    assert_eq!((engine.recorded_version(task, 0), engine.version(task)), (7, 1));
    engine.begin(true);
    take(&mut engine, task, 0, &[(0, 0, 4.0), (0, 2 * MINUTE, 5.0), (0, 4 * MINUTE, 6.0)]);
    assert!(!engine.finish(0.0).forecasts.is_empty());
}
