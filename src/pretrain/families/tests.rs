//! Each family shows what it is named for.

use super::shape::moments;
use super::*;
use crate::series::detect_seasons;

const LENGTH: usize = 1024;

/// A frame of hours with a day as its only season.
fn hours() -> Frame {
    Frame { interval: 3_600_000, start: 0, length: LENGTH, seasons: vec![24.0] }
}

fn series(family: Family, index: u64) -> Vec<f64> {
    family.generate(&mut Random::new(21, index), &hours())
}

/// How many of a hundred series have a property.
fn count(family: Family, has: impl Fn(&[f64]) -> bool) -> usize {
    (0..100).filter(|index| has(&series(family, *index))).count()
}

/// The correlation of successive values at a lag.
fn correlation(values: &[f64], lag: usize) -> f64 {
    let (mean, deviation) = moments(values);
    let products = values.iter().zip(&values[lag..]).map(|(one, other)| (one - mean) * (other - mean));
    products.sum::<f64>() / (values.len() as f64 * deviation * deviation)
}

fn differences(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn has_a_day(values: &[f64]) -> bool {
    detect_seasons(values, 200).iter().any(|season| season % 24 == 0)
}

#[test]
fn all_families_are_finite_and_move() {
    for family in Family::ALL {
        for index in 0..60 {
            let values = series(family, index);
            assert_eq!(values.len(), LENGTH);
            assert!(values.iter().all(|value| value.is_finite()), "{family:?} {index}");
        }
        let moving = count(family, |values| values.iter().any(|value| *value != values[0]));
        assert!(moving >= 90, "{family:?}: {moving}");
    }
}

#[test]
fn shares_count_over_all_families() {
    let families: Vec<Family> = (0..26).map(Family::of_share).collect();
    assert_eq!(families[..13], families[13..]);
    for family in Family::ALL {
        assert_eq!(families[..13].iter().filter(|other| **other == family).count(), family.shares());
    }
}

#[test]
fn a_matern_process_has_its_variance_and_correlation() {
    let mut random = Random::new(3, 4);
    let rate = |smoothness: f64| (2.0 * smoothness).sqrt() / 8.0;
    let expected = [(1.0 + rate(1.5)) * (-rate(1.5)).exp(), {
        let rate = rate(2.5);
        (1.0 + rate + rate * rate / 3.0) * (-rate).exp()
    }];
    let processes =
        [smooth::matern_once_smooth(&mut random, 8.0, 60_000), smooth::matern_twice_smooth(&mut random, 8.0, 60_000)];
    for (values, expected) in processes.iter().zip(expected) {
        let (mean, deviation) = moments(values);
        assert!(mean.abs() < 0.1 && (deviation - 1.0).abs() < 0.1, "{mean} {deviation}");
        let found = correlation(values, 1);
        assert!((found - expected).abs() < 0.01, "{found} {expected}");
    }
}

#[test]
fn smooth_series_go_on_as_they_went() {
    assert!(count(Family::Smooth, |values| correlation(values, 1) > 0.5) > 85);
}

#[test]
fn harmonics_pulses_counts_and_trends_have_their_day() {
    let found =
        [Family::Harmonics, Family::Pulses, Family::Counts, Family::TrendSeason].map(|family| count(family, has_a_day));
    assert!(found[0] >= 60 && found[1] >= 60 && found[2] >= 30 && found[3] >= 40, "{found:?}");
    let without = [Family::Walk, Family::Smooth, Family::Steps].map(|family| count(family, has_a_day));
    assert!(without.iter().all(|count| *count <= 20), "{without:?}");
}

#[test]
fn trends_lead_somewhere() {
    let trending = |values: &[f64]| {
        let part = LENGTH / 4;
        let (early, late) = (moments(&values[..part]), moments(&values[LENGTH - part..]));
        (early.0 - late.0).abs() > early.1.min(late.1)
    };
    let (found, others) = (count(Family::TrendSeason, trending), count(Family::Harmonics, trending));
    assert!(found >= 50 && found > others + 25, "{found} {others}");
}

#[test]
fn regimes_return_to_their_mean_and_walks_do_not() {
    // The spread over the whole length against that over a tenth of it.
    let spread = |values: &[f64]| {
        let parts: f64 = values.chunks(LENGTH / 10).map(|part| moments(part).1).sum::<f64>() / 11.0;
        moments(values).1 / parts
    };
    let returning = count(Family::Regimes, |values| spread(values) < 2.0);
    let walking = count(Family::Walk, |values| spread(values) > 2.0);
    assert!(returning >= 60 && walking >= 80, "{returning} {walking}");
}

#[test]
fn the_volatility_of_regimes_changes() {
    let changes = |values: &[f64]| {
        let size: Vec<f64> = differences(values).into_iter().map(f64::abs).collect();
        let (mean, deviation) = moments(&size);
        // Of a normal difference 0.76.
        deviation / mean > 0.84
    };
    let (found, constant) = (count(Family::Regimes, changes), count(Family::Smooth, changes));
    assert!(found >= 50 && constant <= 20, "{found} {constant}");
}

#[test]
fn steps_hold_their_level_most_of_the_time() {
    let holds = |values: &[f64]| {
        let mut size: Vec<f64> = differences(values).into_iter().map(f64::abs).collect();
        size.sort_by(f64::total_cmp);
        size[LENGTH / 2] < 0.15 * size[LENGTH - 2].max(1e-12)
    };
    assert!(count(Family::Steps, holds) >= 60);
}

#[test]
fn counts_are_whole_and_not_negative() {
    for index in 0..50 {
        assert!(series(Family::Counts, index).iter().all(|value| value.fract() == 0.0 && *value >= 0.0));
    }
    assert!(count(Family::Counts, |values| values.contains(&0.0)) >= 20);
}

#[test]
fn telemetry_resets_saturates_and_holds_still() {
    let resets = |values: &[f64]| {
        let steps = differences(values);
        let falls = steps.iter().filter(|step| **step < 0.0).count();
        (1..LENGTH / 20).contains(&falls) && steps.iter().filter(|step| **step > 0.0).count() > LENGTH / 2
    };
    let saturates = |values: &[f64]| [0.0, 100.0].iter().any(|at| values.iter().filter(|v| *v == at).count() > 20);
    let repeats = |values: &[f64]| differences(values).iter().filter(|step| **step == 0.0).count() > LENGTH / 4;
    let heavy = |values: &[f64]| {
        let (mean, deviation) = moments(values);
        values.iter().any(|value| (value - mean).abs() > 6.0 * deviation)
    };
    let found = [
        count(Family::Telemetry, resets),
        count(Family::Telemetry, saturates),
        count(Family::Telemetry, repeats),
        count(Family::Telemetry, heavy),
    ];
    assert!(found.iter().all(|count| *count >= 5), "{found:?}");
}

#[test]
fn autoregressions_are_stationary() {
    for index in 0..200 {
        let coefficients = arima::autoregression(&mut Random::new(5, index), 3);
        let mut values = vec![1.0; 3];
        for at in 3..4000 {
            let next = coefficients.iter().zip(1..).map(|(by, lag)| by * values[at - lag]).sum::<f64>();
            values.push(next);
        }
        assert!(values[3999].abs() < 0.2, "{index} {coefficients:?}: {}", values[3999]);
    }
}
