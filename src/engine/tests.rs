use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::{
    forecast::ForecastSpec,
    nn::{CellKind, Network, NetworkSpec, Strategy, Weights},
    series::{
        Aggregation, Calendar, ExtraFeatures, FEATURES, FutureCovariateSpec, FutureValues, Holidays, SeriesSpec, Target,
    },
    snapshot::{Part, TaskProgress, WeightsActivation},
    time::{EventTime, Grid},
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

/// One stream for each forecasting strategy; some have covariates.
fn streams() -> [StreamSpec; 6] {
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
        many_to_one(Target::Minimum),
        with_covariates(spec(regular)),
        with_covariates(recursive(regular)),
    ]
}

/// The same stream with holidays, the time of year, past covariates and future covariates.
pub(super) fn with_covariates(spec: StreamSpec) -> StreamSpec {
    let dates = ["1970-01-01".parse().unwrap()];
    let holidays = Some(Holidays::new(&spec.series.calendar, spec.series.grid, &dates));
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

fn engine_of(spec: StreamSpec) -> (Engine, TaskHandle) {
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
        engine.accept(task, &Observation { offset, series, time, value, covariates });
        engine.advance(task, offset + 1);
    }
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

/// The forecasts of all input, in transactions of the given sizes (repeated). Weights 1 serve from record `promoted` on.
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
    let mut accept = |series: &str, time| {
        engine.accept(task, &Observation { offset: 0, series, time: EventTime(time), value: 1.0, covariates: &[] })
    };
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

#[test]
fn a_snapshot_with_a_wrong_byte_is_refused_or_gives_usable_forecasts() {
    for mut spec in streams() {
        spec.network.cell = if spec.series.grid == Grid::Irregular { CellKind::Attention } else { spec.network.cell };
        spec.network.hidden = 8;
        let (mut engine, task) = engine_of(spec.clone());
        engine.begin(true);
        accept_all(&mut engine, task, 0, &(0..70).map(|at| (0, at * MINUTE, (at % 7) as f64)).collect::<Vec<_>>());
        let Snapshot { body, series, .. } = engine.finish(1.0).snapshots.remove(0);
        let (mut other, mut refused) = (Engine::new(vec![spec.clone()]).unwrap(), 0);
        for (at, wrong) in (0..body.len()).zip([0, 0x7f, 0xff].into_iter().cycle()) {
            let mut body = body.clone();
            body[at] = wrong;
            let restored = other.open(engine.id(task).clone(), 0).unwrap();
            let snapshot = EncodedSnapshot { series: series.as_ref().into(), position: 0, body: &body };
            if other.restore(restored, &[snapshot])[0].is_err() {
                refused += 1;
                other.close(restored);
                continue;
            }
            other.begin(true);
            accept_all(&mut other, restored, 0, &[70, 71, 72, 900, 901].map(|at| (0, at * MINUTE, 3.0)));
            let transaction = other.finish(0.0);
            let values = transaction.points.iter().chain(&transaction.quantiles);
            assert!(values.into_iter().all(|value| value.is_finite()), "byte {at} is {wrong}");
            let levels = transaction.quantiles.chunks(spec.forecast.levels.len());
            assert!(levels.into_iter().all(|levels| levels.is_sorted()), "byte {at} is {wrong}");
            other.commit(&transaction);
            other.close(restored);
        }
        assert!(refused > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Neither the other series of a batch, nor the length of a transaction, nor the number of micro-batches changes a bit.
    #[test]
    fn forecasts_do_not_depend_on_the_transactions(seed in 0..1000_u64, sizes in prop::collection::vec(1..200_usize, 1..6)) {
        let input = input(seed, 500);
        for spec in streams() {
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
            // A forecast made by record `at` or a later one may differ.
            bits.into_iter().map(|(key, all)| (key, all.into_iter().filter(|bits| bits[1] < at as u64).collect())).collect()
        };
        for spec in streams() {
            let (one, other) = (run_of(&spec, &input, &[7], 100), run_of(&spec, &changed, &[7], 100));
            prop_assert_eq!(upto(one), upto(other));
        }
    }

    /// A transaction that is rolled back and repeated gives the forecasts that it would have given at once.
    #[test]
    fn a_rollback_leaves_no_trace(seed in 0..1000_u64, first in 1..300_usize, second in 1..200_usize) {
        let (input, spec) = (input(seed, 500), with_covariates(spec(Grid::Regular { interval: MINUTE })));
        let (mut engine, task) = engine_of(spec.clone());
        let mut bits = Bits::new();
        let (first, second) = (first, first + second);
        for (from, to, undo) in [(0, first, false), (first, 500, true), (first, second, true), (first, second, false), (second, 500, false)] {
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
    fn snapshots_and_a_replay_restore_the_state_to_the_last_bit(seed in 0..1000_u64, cut in 250..450_usize, share in 0.0..1.0_f64, plain in any::<bool>()) {
        let (input, spec) = (input(seed, 500), spec(Grid::Regular { interval: MINUTE }));
        let spec = if plain { spec } else { with_covariates(spec) };
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
            for snapshot in &transaction.snapshots {
                newest.insert(snapshot.series.clone(), snapshot.clone());
            }
            progress = transaction.tasks[0].progress.clone();
            engine.commit(&transaction);
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
            accept_all(&mut other, restored, from, &input[from..to]);
            prop_assert!(other.finish(0.0).forecasts.is_empty(), "replay writes nothing");
            let version = other.recorded_version(restored, to as i64);
            other.activate(restored, version);
            from = to;
        }
        let mut bits = [Bits::new(), Bits::new()];
        for ((engine, task), bits) in [(&mut engine, task), (&mut other, restored)].into_iter().zip(&mut bits) {
            engine.begin(true);
            accept_all(engine, task, cut, &input[cut..]);
            let transaction = engine.finish(1.0);
            collect(engine, &transaction, bits);
        }
        let [uninterrupted, restored] = bits;
        prop_assert!(!uninterrupted.is_empty());
        prop_assert_eq!(uninterrupted, restored);
    }
}

#[test]
fn a_task_whose_recorded_weights_are_gone_goes_on_with_the_next_older_ones() {
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
    accept_all(&mut engine, task, 0, &[(0, 0, 4.0), (0, 2 * MINUTE, 5.0), (0, 4 * MINUTE, 6.0)]);
    assert!(!engine.finish(0.0).forecasts.is_empty());
}

/// The snapshot of a series of each kind of stream after some hundred steps, and that stream.
fn long_snapshots() -> Vec<(StreamSpec, Vec<u8>)> {
    let snapshot_of = |spec: StreamSpec| {
        let (mut engine, task) = engine_of(spec.clone());
        engine.begin(true);
        let input: Vec<_> = (0..400).map(|at| (0, at * MINUTE, ((at * 7) % 11) as f64 + (at as f64).sin())).collect();
        accept_all(&mut engine, task, 0, &input);
        (spec, engine.finish(1.0).snapshots.remove(0).body)
    };
    streams().into_iter().map(snapshot_of).collect()
}

/// The parts of a snapshot, header and value of each, by id.
fn split_parts(body: &[u8]) -> BTreeMap<u8, &[u8]> {
    let (mut parts, mut rest) = (BTreeMap::new(), body);
    while !rest.is_empty() {
        let ((id, ..), after) = postcard::take_from_bytes::<(u8, u8, [u8; 4], &[u8])>(rest).unwrap();
        parts.insert(id, &rest[..rest.len() - after.len()]);
        rest = after;
    }
    parts
}

/// Decodes a snapshot: the names of the discarded parts, and the snapshot of what is left, or an error.
fn restored(spec: &StreamSpec, body: &[u8]) -> Result<(Vec<&'static str>, Vec<u8>), SnapshotError> {
    let shapes = fingerprint::part_shapes(spec);
    let snapshot = EncodedSnapshot { series: "s0".into(), position: 0, body };
    let (series, discarded) = snapshot::decode(spec, &shapes, &snapshot)?;
    Ok((discarded.iter().map(|discarded| discarded.part.name).collect(), snapshot::encode(&shapes, &series)))
}

#[test]
fn a_part_that_cannot_be_used_costs_that_part_alone_and_leaves_the_others_to_the_last_bit() {
    for (spec, body) in long_snapshots() {
        assert_eq!(restored(&spec, &body).unwrap(), (vec![], body.clone()));
        let unknown = [&[200, 1, 0, 0, 0, 0, 3, 1, 2, 3][..], &body].concat();
        assert_eq!(restored(&spec, &unknown).unwrap(), (vec![], body.clone()), "an unknown part is skipped");
        let parts = split_parts(&body);
        for (&damaged, bytes) in &parts {
            // Another version, another shape, a value that does not decode, and no such part.
            let with = |at: usize, xor: u8| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= xor;
                bytes
            };
            let cut = [&bytes[..6], &[0]].concat();
            for wrong in [with(1, 0x40), with(2, 1), cut, Vec::new()] {
                let rest = parts.iter().filter(|(id, _)| **id != damaged).map(|(_, bytes)| *bytes);
                let body: Vec<u8> = rest.chain([&wrong[..]]).flatten().copied().collect();
                if damaged <= Part::VALUES.id {
                    restored(&spec, &body).unwrap_err();
                    continue;
                }
                let (discarded, again) = restored(&spec, &body).unwrap();
                assert!(discarded.len() <= 1, "{discarded:?}");
                for (id, bytes) in split_parts(&again) {
                    assert!(id == damaged || parts[&id] == bytes, "part {id} after {damaged} was lost");
                }
            }
        }
    }
}

#[test]
fn a_part_of_another_configuration_costs_that_part_alone() {
    let (spec, body) = long_snapshots().swap_remove(0);
    let discarded = |spec: &StreamSpec| restored(spec, &body).map(|(discarded, _)| discarded);
    let levels = StreamSpec { forecast: ForecastSpec::new(5, &[0.2, 0.5, 0.8], 6).unwrap(), ..spec.clone() };
    assert_eq!(discarded(&levels).unwrap(), ["calibration", "anomaly detector", "pending forecasts"]);
    let network = NetworkSpec { hidden: 7, ..spec.network.clone() };
    assert_eq!(
        discarded(&StreamSpec { network, ..spec.clone() }).unwrap(),
        [""; 0],
        "another network costs no warning"
    );
    let series = SeriesSpec { aggregation: Aggregation::Sum, ..spec.series.clone() };
    let error = discarded(&StreamSpec { series, ..spec }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot of series \"s0\" cannot be used: slots: written under another configuration of the stream"
    );
}

/// The names of the parts take at most 3 % of a snapshot.
#[test]
fn parts_make_a_snapshot_hardly_larger_than_its_values() {
    for (spec, body) in long_snapshots() {
        let values: usize = split_parts(&body)
            .values()
            .map(|part| postcard::from_bytes::<(u8, u8, [u8; 4], &[u8])>(part).unwrap().3.len())
            .sum();
        println!("{:?}: {} bytes of values, {} in the snapshot", spec.network.strategy, values, body.len());
        assert!(body.len() * 100 <= values * 103, "{values} {}", body.len());
    }
}
