//! Properties of forecasts on made-up series: no leak, finite and ordered quantiles, calibrated intervals.

use proptest::prelude::*;

use super::test_run::{LEVELS, Run};
use crate::forecast::{Expert, ForecastSpec, ForecastState, ValueBounds};
use crate::series::{ClosedSlot, Target};
use crate::snapshot::{Part, PartReader, PartShapes, PartWriter};

/// Noise of deviation 1, the same every time.
fn noise(step: u64) -> f64 {
    let mixed = |salt: u64| {
        let mut bits = (step * 12 + salt).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..12).map(mixed).sum::<f64>() - 6.0
}

#[test]
fn the_first_value_is_forecast_with_an_interval_around_it() {
    let mut run = Run::new(24, 24);
    assert_eq!(run.step(Some(100.0)), None);
    assert!(run.out.point.iter().all(|point| *point == 100.0));
    let width = |run: &Run, lead: usize| run.row(lead)[4] - run.row(lead)[0];
    assert!(width(&run, 1) > 1.0 && width(&run, 24) > width(&run, 1) && width(&run, 24) < 200.0, "{:?}", run.row(24));
    run.step(Some(102.0));
    assert!(run.row(1)[0] < 101.0 && run.row(1)[4] > 103.0 && width(&run, 24) < 50.0, "{:?}", run.row(24));
}

/// An aggregate of the next six steps against a threshold, of values with a daily rhythm and of values that wander.
#[test]
fn a_crossing_is_as_frequent_as_its_forecast_probability() {
    let day = |step: u64| 10.0 + 3.0 * (step as f64 / 24.0 * std::f64::consts::TAU).sin() + 0.4 * noise(step);
    let daily: Vec<f64> = (0..6000).map(day).collect();
    let wandering: Vec<f64> = (0..6000)
        .scan(0.0, |value, step| {
            *value = 0.98 * *value + noise(step);
            Some(*value)
        })
        .collect();
    for (values, season, target, threshold) in [
        (&daily, 24, Target::Maximum, 11.5),
        (&daily, 24, Target::Mean, 11.0),
        (&wandering, 0, Target::Maximum, 2.0),
        (&wandering, 0, Target::Minimum, -2.0),
        (&wandering, 0, Target::Last, 1.0),
    ] {
        let mut run = Run::of(ForecastSpec::aggregate(6, &LEVELS, season, target, Some(threshold)).unwrap());
        run.step(Some(values[0]));
        assert!((0.0..=1.0).contains(&run.out.crossing.unwrap()), "from the first value on");
        // Probabilities of 0 to 1/4, 1/4 to 3/4, 3/4 to 1: their count, their sum, and the crossings that followed.
        let mut bins = [(0.0, 0.0, 0.0); 3];
        for step in 1..values.len() - 6 {
            run.step(Some(values[step]));
            let probability = f64::from(run.out.crossing.unwrap());
            let aggregate = target.of(values[step + 1..step + 7].iter().copied()).unwrap();
            let crosses = if target == Target::Minimum { aggregate < threshold } else { aggregate > threshold };
            let (count, sum, crossed) = &mut bins[(2.0 * probability).round() as usize];
            if step >= 1000 {
                (*count, *sum, *crossed) = (*count + 1.0, *sum + probability, *crossed + f64::from(u8::from(crosses)));
            }
        }
        println!("{target} {threshold}: {bins:.1?}");
        for (count, sum, crossed) in bins {
            assert!(count > 200.0, "{target}: all probabilities occur");
            assert!((sum - crossed).abs() / count < 0.1, "{target}: {sum:.0} forecast, {crossed} observed, of {count}");
        }
    }
}

#[test]
fn a_season_is_learned_and_a_random_walk_is_forecast_by_its_last_value() {
    let mut season = Run::new(24, 24);
    (0..600).for_each(|step| {
        season.step(Some((step % 24) as f64 + 0.1 * noise(step)));
    });
    for lead in 1..=24 {
        let truth = ((599 + lead) % 24) as f64;
        assert!((season.out.point[lead - 1] - truth).abs() < 1.0, "{lead}: {} {truth}", season.out.point[lead - 1]);
    }
    let (mut walk, mut at) = (Run::new(24, 24), 0.0);
    for step in 0..2000 {
        at += noise(step);
        walk.step(Some(at));
    }
    assert!((walk.out.point[0] - at).abs() < 0.3, "{} {at}", walk.out.point[0]);
}

#[test]
fn future_covariates_improve_the_forecast() {
    let covariate: Vec<f64> = (0..4100).map(|step| noise(step + 500_000)).collect();
    for (season, curved) in [(0, false), (24, false), (24, true)] {
        let daily = |step: u64| if season == 0 { 0.0 } else { (step as f64 / 24.0 * std::f64::consts::TAU).sin() };
        let moved =
            |step: u64| if curved { 2.0 * covariate[step as usize].powi(2) } else { 3.0 * covariate[step as usize] };
        let value = |step: u64| 4.0 * daily(step) + moved(step) + 0.2 * noise(step);
        let errors = |mut run: Run| {
            let mut errors = [0.0; 24];
            for step in 0..4000 {
                run.step(Some(value(step)));
                for (lead, error) in (1..).zip(&mut errors).filter(|_| step >= 2000) {
                    *error += (run.out.point[lead - 1] - value(step + lead as u64)).abs() / 2000.0;
                }
            }
            errors
        };
        let spec = || ForecastSpec::new(24, &LEVELS, season).unwrap();
        let (without, with) = (errors(Run::of(spec())), errors(Run::with_future(spec(), covariate.iter().copied())));
        println!("{season} {curved}: {without:.2?} {with:.2?}");
        for (without, with) in without.into_iter().zip(with) {
            assert!(with < 0.5 * without, "{season} {curved}: {without} {with}");
        }
    }
}

#[test]
fn intervals_and_scores_of_noise_are_those_of_noise() {
    let mut run = Run::new(6, 0);
    let mut scores = Vec::new();
    for step in 0..20_000 {
        scores.extend(run.step(Some(noise(step))));
    }
    for bucket in &run.sums.buckets {
        let share = |interval: usize| bucket.covered[interval] as f64 / bucket.intervals as f64;
        assert!((share(0) - 0.9).abs() < 0.01 && (share(1) - 0.8).abs() < 0.01, "{bucket:?}");
    }
    let above = |limit: f32| scores.iter().filter(|score| **score >= limit).count() as f64 / scores.len() as f64;
    for (limit, share, tolerance) in [(0.5, 0.45, 0.06), (0.9, 0.1, 0.01), (0.99, 0.01, 0.003), (0.999, 0.001, 0.001)] {
        assert!((above(limit) - share).abs() < tolerance, "{limit}: {}", above(limit));
    }
    assert_eq!(run.sums.scored, scores.len() as u64);
    assert!(run.step(Some(30.0)).unwrap() > 0.9999);
    assert!(run.step(Some(30.0)).is_some());
}

#[test]
fn intervals_follow_a_change_of_noise() {
    let mut run = Run::new(6, 0);
    for step in 0..6000 {
        run.step(Some(noise(step) * if step < 3000 { 1.0 } else { 20.0 }));
        if step == 3300 {
            run.sums.clear();
        }
    }
    let bucket = &run.sums.buckets[2];
    assert!((bucket.covered[1] as f64 / bucket.intervals as f64 - 0.8).abs() < 0.02, "{bucket:?}");
}

#[test]
fn a_good_network_gets_the_weight_and_its_spread_shapes_the_intervals() {
    // The direction of the next value and its noise look like chance to all but the network.
    let mut run = Run::new(1, 0);
    let is_quiet = |step: u64| step % 40 < 20;
    let direction = |step: u64| if noise(step + 1_000_000) > 0.0 { 10.0 } else { -10.0 };
    let value = |step: u64| direction(step) + noise(step) * if is_quiet(step) { 0.5 } else { 3.0 };
    let mut covered = [0.0_f64; 2];
    for step in 0..8000 {
        let scale = run.series.scale(); // one step old, which is near enough
        let (next, spread) = (direction(step + 1), if is_quiet(step + 1) { 0.5 } else { 3.0 });
        for (at, normal) in [-1.64, -1.28, 0.0, 1.28, 1.64].into_iter().enumerate() {
            run.network[at] = ((next + normal * spread - value(step)) / scale) as f32;
        }
        run.step(Some(value(step)));
        let row = run.row(1);
        if step > 1000 && row[1] <= value(step + 1) && value(step + 1) <= row[3] {
            covered[usize::from(is_quiet(step + 1))] += 1.0 / 3499.5;
        }
    }
    assert!((run.out.point[0] - direction(8000)).abs() < 2.5, "{}", run.out.point[0]);
    assert!(run.sums.buckets[0].expert_weights[Expert::Network as usize] > 0.9 * 8000.0);
    assert!(covered.iter().all(|share| (share - 0.8).abs() < 0.05), "noisy, quiet: {covered:?}");
}

#[test]
fn after_an_empty_slot_or_a_reset_there_is_no_forecast_to_score() {
    let mut run = Run::new(3, 0);
    run.step(Some(1.0));
    assert_eq!(run.step(None), None);
    assert_eq!(run.step(Some(2.0)), None, "the step before made no forecast");
    assert_eq!(run.sums.buckets[0].points, 0);
    assert_eq!(run.sums.buckets[1].points, 1, "made two steps before");
    assert_eq!(run.take(ClosedSlot { slot: run.slot, value: Some(3.0), readings: 1, reset: true }), None);
    assert_eq!(run.sums.buckets[1].points, 1);
}

#[test]
fn the_state_is_small_and_is_read_back_from_its_parts() {
    let mut run = Run::new(24, 24);
    for step in 0..200 {
        run.step(Some(noise(step)));
    }
    let shapes = PartShapes::default();
    let mut parts = PartWriter::with_capacity(&shapes, 0);
    run.state.write_parts(&mut parts);
    let bytes = parts.finish();
    println!("forecast state: {} bytes in memory, {} in a snapshot", run.state.bytes(), bytes.len());
    assert!(run.state.bytes() < 15_400, "{}", run.state.bytes());
    let read = |spec: &ForecastSpec| {
        let mut parts = PartReader::new(&bytes, &shapes);
        let state = ForecastState::read_parts(spec, &mut parts);
        let discarded: Vec<&str> = parts.finish().iter().map(|discarded| discarded.part.name).collect();
        (state, discarded)
    };
    assert_eq!(read(&run.spec), (run.state, vec![]));
    let longer = read(&ForecastSpec::new(25, &LEVELS, 24).unwrap()).1;
    assert!(longer.contains(&"pending forecasts") && !longer.contains(&"output bounds"), "{longer:?}");
    let fewer_levels = read(&ForecastSpec::new(24, &LEVELS[..3], 24).unwrap()).1;
    assert!(fewer_levels.contains(&"calibration") && !fewer_levels.contains(&"mixture"), "{fewer_levels:?}");
}

/// A series with a season goes on being forecast well whichever part of its snapshot is lost.
#[test]
fn a_lost_part_starts_afresh_and_costs_that_part_alone() {
    for lost in [
        Part::OUTPUT_BOUNDS,
        Part::HISTORY,
        Part::LINEAR_EXPERTS,
        Part::MIXTURE,
        Part::CALIBRATION,
        Part::ANOMALY_DETECTOR,
        Part::PENDING_FORECASTS,
    ] {
        let mut run = Run::new(24, 24);
        let value = |step: u64| (step % 24) as f64 + 0.1 * noise(step);
        (0..600).for_each(|step| {
            run.step(Some(value(step)));
        });
        let mut shapes = PartShapes::default();
        let mut parts = PartWriter::with_capacity(&shapes, 0);
        run.state.write_parts(&mut parts);
        let bytes = parts.finish();
        shapes.set(lost, 1);
        let mut parts = PartReader::new(&bytes, &shapes);
        run.state = ForecastState::read_parts(&run.spec, &mut parts);
        assert_eq!(parts.finish().iter().map(|discarded| discarded.part).collect::<Vec<_>>(), [lost]);
        for step in 600..720 {
            run.step(Some(value(step)));
            let worst = (1..=24).map(|lead| (run.out.point[lead - 1] - ((step + lead as u64) % 24) as f64).abs());
            let worst = worst.fold(0.0, f64::max);
            assert!(step < 648 || worst < 1.5, "{}, {step}: {worst}", lost.name);
        }
    }
}

fn wild() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        4 => (-1e3..1e3).prop_map(Some),
        1 => Just(None),
        1 => Just(Some(0.0)),
        1 => prop_oneof![Just(1e150), Just(-1e150), Just(f64::MIN_POSITIVE), Just(1e-200)].prop_map(Some),
    ]
}

proptest! {
    /// No leak: a forecast and all earlier ones are the same to the last bit whatever values follow.
    #[test]
    fn later_values_change_no_earlier_forecast(
        before in prop::collection::vec(wild(), 1..80),
        one in prop::collection::vec(wild(), 1..60),
        other in prop::collection::vec(wild(), 1..60),
        amplitude in prop_oneof![Just(0.0_f32), Just(1.0)],
        target in prop::option::of(prop::sample::select(&Target::ALL[..])),
        covariate in prop::option::of(prop::collection::vec(-9.0..9.0_f64, 100)),
    ) {
        let run = |after: &[Option<f64>]| {
            let spec = match target {
                Some(target) => ForecastSpec::aggregate(12, &LEVELS, 7, target, Some(0.5)).unwrap(),
                None => ForecastSpec::new(12, &LEVELS, 7).unwrap(),
            };
            // Covariates beyond the horizon of the last forecast differ too.
            let beyond = before.len() - 1 + 12;
            let value = |(slot, value): (usize, &f64)| if slot > beyond { value * after.len() as f64 } else { *value };
            let mut run = match &covariate {
                Some(covariate) => Run::with_future(spec, covariate.iter().enumerate().map(value)),
                None => Run::of(spec),
            };
            run.amplitude = amplitude;
            let mut forecasts = Vec::new();
            for value in before.iter().chain(after) {
                let score = run.step(*value);
                forecasts.push((score, run.out.clone()));
            }
            forecasts.truncate(before.len());
            forecasts
        };
        prop_assert_eq!(run(&one), run(&other));
    }

    /// Any values and any network: everything is finite and no quantiles cross.
    #[test]
    fn everything_is_finite_and_in_order(
        values in prop::collection::vec(wild(), 1..150),
        amplitude in prop_oneof![Just(0.0_f32), Just(1.0), Just(-3.0), Just(1e30), Just(f32::NAN), Just(f32::INFINITY)],
        season in 0_usize..9,
    ) {
        let mut run = Run::new(13, season);
        run.amplitude = amplitude;
        for value in values {
            if let Some(score) = run.step(value) {
                prop_assert!((0.0..=1.0).contains(&score));
            }
            prop_assert!(run.out.point.iter().chain(&run.out.quantiles).all(|value| value.is_finite()));
            for lead in 1..=13 {
                prop_assert!(run.row(lead).windows(2).all(|pair| pair[0] <= pair[1]));
            }
            for bucket in &run.sums.buckets {
                let sums = [bucket.absolute_error, bucket.squared_error, bucket.pinball];
                prop_assert!(sums.into_iter().all(f64::is_finite));
            }
        }
    }
}

proptest! {
    /// Any declared bounds, any values and any network: nothing lies beyond the bounds, and no quantiles cross.
    #[test]
    fn no_forecast_lies_beyond_declared_bounds(
        values in prop::collection::vec(wild(), 1..100),
        amplitude in prop_oneof![Just(0.0_f32), Just(1.0), Just(-3.0), Just(1e20)],
        (minimum, width) in (prop::option::of(-1e3..1e3_f64), prop::option::of(1.0..1e3_f64)),
        (integer, network_alone) in (any::<bool>(), any::<bool>()),
        (counts, season) in (any::<bool>(), 0_usize..9),
        target in prop::option::of(prop::sample::select(&Target::ALL[..])),
    ) {
        let maximum = width.map(|width| minimum.unwrap_or(-500.0) + width);
        let mut spec = match target {
            Some(target) => ForecastSpec::aggregate(13, &LEVELS, season, target, Some(0.5)).unwrap(),
            None => ForecastSpec::new(13, &LEVELS, season).unwrap(),
        };
        spec.network_alone = network_alone;
        let mut run = Run::of(spec);
        run.bounds = ValueBounds::new(minimum, maximum, integer).unwrap();
        run.amplitude = amplitude;
        let is_whole = integer && target != Some(Target::Mean);
        let mut begun = false;
        for value in values {
            begun |= value.is_some();
            run.step(value.map(|value| if counts { value.abs().round() } else { value }));
            if !begun {
                continue;
            }
            let low = minimum.unwrap_or(f64::NEG_INFINITY);
            let high = maximum.unwrap_or(f64::INFINITY);
            for number in run.out.point.iter().chain(&run.out.quantiles) {
                prop_assert!(low <= *number && *number <= high, "{} of {:?}", number, run.bounds);
            }
            for quantiles in run.out.quantiles.chunks(LEVELS.len()) {
                prop_assert!(quantiles.is_sorted(), "{:?}", quantiles);
                prop_assert!(!is_whole || quantiles.iter().all(|quantile| quantile.fract() == 0.0), "{:?}", quantiles);
            }
        }
    }
}

/// Bounds change what is forecast, and not what is learnt from other values: without them, a falling stock is forecast
/// below 0.
#[test]
fn a_falling_stock_is_not_forecast_below_its_minimum() {
    let lowest = |bounds: Option<ValueBounds>| {
        let mut run = Run::new(24, 0);
        run.bounds = bounds.unwrap_or_default();
        (0..100_u32)
            .map(|step| {
                run.step(Some(200.5 - 2.0 * f64::from(step)));
                run.out.point.iter().chain(&run.out.quantiles).copied().fold(f64::INFINITY, f64::min)
            })
            .fold(f64::INFINITY, f64::min)
    };
    assert!(lowest(None) < -20.0, "{}", lowest(None));
    assert_eq!(lowest(ValueBounds::new(Some(0.0), None, false)), 0.0);
    assert_eq!(lowest(ValueBounds::new(Some(-3.5), None, true)), -3.0);
}

/// One absurd value in a series with a daily rhythm and noise, and the forecasts after it.
#[test]
fn a_spike_neither_corrupts_the_state_nor_changes_the_weights() {
    let value = |step: u64| 10.0 + 3.0 * (step as f64 / 24.0 * std::f64::consts::TAU).sin() + 0.3 * noise(step);
    let errors = |spike: Option<f64>| {
        let mut run = Run::new(24, 24);
        (0..1000).for_each(|step| {
            run.step(Some(value(step)));
        });
        if let Some(spike) = spike {
            assert!(run.step(Some(spike)).unwrap() > 0.9999, "{spike} is an anomaly");
        } else {
            run.step(Some(value(1000)));
        }
        run.step(Some(value(1001)));
        let after: f64 =
            (1..=24).map(|lead| (run.out.point[lead - 1] - value(1001 + lead as u64)).abs()).sum::<f64>() / 24.0;
        let mut later = 0.0;
        for step in 1002..1200 {
            later += (run.out.point[0] - value(step)).abs() / 198.0;
            run.step(Some(value(step)));
        }
        let width = run.row(1)[4] - run.row(1)[0];
        (after, later, width)
    };
    let (after, later, width) = errors(None);
    for spike in [40.0, -1e3, 1e9] {
        let (spiked_after, spiked_later, spiked_width) = errors(Some(spike));
        println!("{spike}: {after:.3} {spiked_after:.3}, {later:.3} {spiked_later:.3}, {width:.3} {spiked_width:.3}");
        assert!(spiked_after < 2.5 * after, "{spike}: {after} {spiked_after}");
        assert!(spiked_later < 1.25 * later, "{spike}: {later} {spiked_later}");
        assert!(spiked_width < 1.5 * width, "{spike}: {width} {spiked_width}");
    }
}
