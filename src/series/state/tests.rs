use proptest::prelude::*;

use super::*;
use crate::series::{Aggregation, ExtraFeatures, FEATURE_NAMES, FEATURES, Holidays};
use crate::snapshot::PartShapes;
use crate::time::EventTime;

const HOUR: i64 = 3_600_000;

fn spec(grid: Grid) -> SeriesSpec {
    SeriesSpec { season: 24, horizon: 24, burn_in: 32, ..SeriesSpec::new(grid) }
}

fn hourly() -> SeriesSpec {
    spec(Grid::Regular { interval: HOUR })
}

fn full(slot: i64, value: f64) -> ClosedSlot {
    ClosedSlot { slot, value: Some(value), readings: 1, reset: false }
}

fn empty(slot: i64) -> ClosedSlot {
    ClosedSlot { slot, value: None, readings: 0, reset: false }
}

fn daily(slot: i64) -> f64 {
    10.0 + (slot % 24) as f64
}

fn feature(features: &[f32; FEATURES], name: &str) -> f32 {
    features[FEATURE_NAMES.iter().position(|known| *known == name).unwrap()]
}

#[test]
fn features_describe_the_newest_step() {
    let (spec, mut state) = (hourly(), SeriesState::new());
    assert_eq!((state.newest_slot(), state.value_back(0)), (None, None));
    (0..100).for_each(|slot| state.update(&spec, &full(slot, daily(slot))));
    state.update(&spec, &empty(100));
    state.update(&spec, &full(101, 42.0));
    assert_eq!((state.last_value(), state.steps(), state.newest_slot()), (42.0, 102, Some(101)));
    assert_eq!([0, 1, 2, 25].map(|back| state.value_back(back)), [Some(42.0), None, Some(13.0), Some(14.0)]);
    let mut features = [0.0; FEATURES];
    state.features(&spec, &mut features);
    let scale = state.scale();
    let expected = |change: f64| (change / scale) as f32;
    assert_eq!(feature(&features, "present"), 1.0);
    assert_eq!(feature(&features, "seasonal_change"), expected(42.0 - daily(101 - 24)));
    assert_eq!(feature(&features, "seasonal_ahead_1"), expected(daily(101 - 24 + 1) - 42.0));
    assert_eq!(feature(&features, "seasonal_ahead_4"), expected(daily(101 - 24 + 11) - 42.0));
    assert!((feature(&features, "gap") - 2.0_f32.ln()).abs() < 1e-5, "two steps since the last value");
    assert!((feature(&features, "day_sine") - (5.0 / 24.0 * std::f32::consts::TAU).sin()).abs() < 1e-5);
    state.update(&spec, &empty(102));
    state.features(&spec, &mut features);
    assert_eq!((feature(&features, "present"), feature(&features, "difference")), (0.0, 0.0));
    assert_eq!(state.last_value(), 42.0);
}

#[test]
fn a_reset_clears_the_values_and_keeps_the_scale() {
    let (spec, mut state) = (hourly(), SeriesState::new());
    (0..100).for_each(|slot| state.update(&spec, &full(slot, daily(slot))));
    let scale = state.scale();
    state.update(&spec, &ClosedSlot { reset: true, ..full(500, 12.0) });
    assert_eq!((state.steps(), state.value_back(0), state.value_back(1)), (1, Some(12.0), None));
    assert!((state.scale() / scale - 1.0).abs() < 0.1);
}

#[test]
fn recent_features_are_those_of_each_step_in_todays_scale() {
    let (spec, mut state) = (hourly(), SeriesState::new());
    let mut seen = 0;
    state.recent_features(&spec, |_| seen += 1);
    assert_eq!(seen, 0);
    (0..9).for_each(|slot| state.update(&spec, &full(slot, daily(slot))));
    state.recent_features(&spec, |_| seen += 1);
    assert_eq!(seen, 9);
    // A steady wave: the scale hardly moves, so that past features are nearly what they were at their own step.
    let mut then = Vec::new();
    for slot in 9..5000 {
        state.update(&spec, &if slot % 17 == 3 { empty(slot) } else { full(slot, daily(slot)) });
        let mut features = [0.0; FEATURES];
        state.features(&spec, &mut features);
        then.push(features);
    }
    let mut now = Vec::new();
    state.recent_features(&spec, |features| now.push(features.to_vec()));
    assert_eq!(now.len(), 32);
    assert_eq!(now[31], then[then.len() - 1]);
    for (now, then) in now.iter().zip(&then[then.len() - 32..]) {
        for (feature, (now, then)) in now.iter().zip(then).enumerate() {
            assert!((now - then).abs() < 0.15, "{} {now} {then}", FEATURE_NAMES[feature]);
        }
    }
}

#[test]
fn steps_of_an_irregular_grid_keep_their_own_times() {
    let (spec, mut state) = (spec(Grid::Irregular), SeriesState::new());
    let mut closed = Vec::new();
    for (time, value) in [(0, 1.0), (1_000, 2.0), (61_000, 5.0)] {
        state.observe(&spec, &Reading::new(EventTime(time), value), &mut closed);
    }
    closed.iter().for_each(|slot| state.update(&spec, slot));
    let mut features = [0.0; FEATURES];
    state.features(&spec, &mut features);
    assert!((feature(&features, "gap") - 61.0_f32.ln() / 4.0).abs() < 1e-5);
}

#[test]
fn the_state_is_small_and_is_read_back_from_its_parts() {
    let (spec, mut state, mut closed) = (hourly(), SeriesState::new(), Vec::new());
    for slot in 0..200 {
        state.observe(&spec, &Reading::new(EventTime(slot * HOUR), daily(slot)), &mut closed);
        closed.drain(..).for_each(|slot| state.update(&spec, &slot));
    }
    let shapes = PartShapes::default();
    let mut parts = PartWriter::with_capacity(&shapes, 0);
    state.write_parts(&mut parts);
    let bytes = parts.finish();
    println!("series state: {} bytes in memory, {} in a snapshot", state.bytes(), bytes.len());
    assert_eq!(SeriesState::read_parts(&spec, &mut PartReader::new(&bytes, &shapes)), Some(state.clone()));
    assert!(state.bytes() < 900, "{}", state.bytes());
}

fn extreme_values() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e3..1e3,
        prop::num::f64::NORMAL,
        prop::num::f64::SUBNORMAL,
        Just(0.0),
        Just(-0.0),
        Just(1e300),
        Just(-1e300),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(f64::MIN_POSITIVE),
    ]
}

proptest! {
    /// For any finite values at any times, all results are finite and bounded.
    #[test]
    fn features_are_finite_and_bounded_for_any_values(
        readings in prop::collection::vec((extreme_values(), 0_i64..20 * HOUR), 1..120),
        irregular in any::<bool>(),
        sum in any::<bool>(),
    ) {
        let grid = if irregular { Grid::Irregular } else { Grid::Regular { interval: HOUR } };
        let aggregation = if sum { Aggregation::Sum } else { Aggregation::Mean };
        let spec = SeriesSpec { aggregation, ..spec(grid) };
        let (mut state, mut closed, mut time) = (SeriesState::new(), Vec::new(), EventTime::MIN.0);
        let mut features = [0.0; FEATURES];
        for (value, step) in readings {
            time += step;
            state.observe(&spec, &Reading::new(EventTime(time), value), &mut closed);
            for slot in closed.drain(..) {
                state.update(&spec, &slot);
                prop_assert!(state.scale().is_finite() && state.scale() > 0.0);
                let difference = state.mean_absolute_difference();
                prop_assert!(difference > 0.0 && difference <= state.scale());
                prop_assert!(state.last_value().abs() <= crate::series::VALUE_LIMIT);
                state.features(&spec, &mut features);
                prop_assert!(features.iter().all(|feature| feature.abs() <= 8.0), "{features:?}");
            }
            state.recent_features(&spec, |features| assert!(features.iter().all(|feature| feature.abs() <= 8.0)));
        }
    }
}

#[test]
fn features_describe_the_time_of_year_and_holidays() {
    let hourly = hourly();
    let dates = ["1970-01-03".parse().unwrap()];
    let holidays = Some(Holidays::new(&hourly.calendar, &hourly.grid, &dates));
    let spec = SeriesSpec {
        horizon: 36,
        extra: ExtraFeatures { year_phase: true, holidays, ..ExtraFeatures::default() },
        ..hourly
    };
    let mut state = SeriesState::new();
    let mut features = vec![0.0; spec.features()];
    assert_eq!(features.len(), FEATURES + 6);
    for (slot, expected) in [
        (0, [0.0, 0.0, 0.0, 0.0]),
        (12, [0.0, 0.0, 0.0, 1.0]),
        (24, [0.0, 0.0, 1.0, 1.0]),
        (36, [0.0, 0.0, 1.0, 0.0]),
        (48, [1.0, 0.0, 0.0, 0.0]),
        (71, [1.0, 0.0, 0.0, 0.0]),
        (72, [0.0, 1.0, 0.0, 0.0]),
        (96, [0.0, 0.0, 0.0, 0.0]),
    ] {
        state.update(&spec, &full(slot, 1.0));
        state.features(&spec, &mut features);
        assert_eq!(features[FEATURES + 2..], expected, "slot {slot}");
        assert!(features[FEATURES] >= 0.0 && features[FEATURES + 1] > 0.99, "January: {features:?}");
    }
}
