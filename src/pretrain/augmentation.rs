//! Changes of a series that make another plausible one: amplitude modulation, censoring, flips, another unit.

use super::families::{moments, standardised};
use super::random::Random;

/// Changes a series at random.
pub(super) fn augment(random: &mut Random, values: &mut [f64]) {
    if random.chance(0.12) {
        modulate(random, values);
    }
    if random.chance(0.08) {
        censor(random, values);
    }
    if random.chance(0.15) {
        values.iter_mut().for_each(|value| *value = -*value);
    }
}

/// Lets the deviations from the mean grow and shrink slowly.
fn modulate(random: &mut Random, values: &mut [f64]) {
    let (mean, _) = moments(values);
    let length = values.len() as f64;
    let knots: Vec<f64> = (0..6).map(|_| random.uniform(-1.2, 1.2)).collect();
    for (at, value) in values.iter_mut().enumerate() {
        let place = at as f64 / length * (knots.len() - 1) as f64;
        let (before, share) = (place as usize, place.fract());
        let log = knots[before] * (1.0 - share) + knots[(before + 1).min(knots.len() - 1)] * share;
        *value = mean + (*value - mean) * log.exp();
    }
}

/// Clips the values at one of their quantiles, from below or from above.
fn censor(random: &mut Random, values: &mut [f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[random.integer(0, sorted.len() - 1)];
    let from_below = random.chance(0.6);
    values.iter_mut().for_each(|value| *value = if from_below { value.max(limit) } else { value.min(limit) });
}

/// Another unit and zero point. Counts stay counts where the unit is left as it is.
pub(super) fn rescale(random: &mut Random, values: &mut [f64]) {
    let (mean, deviation) = moments(values);
    let (unit, offset) = (random.log_uniform(1e-3, 1e6), random.normal() * random.log_uniform(0.1, 300.0));
    values.iter_mut().for_each(|value| *value = unit * ((*value - mean) / deviation + offset));
}

/// A weighted sum of two series in units of their standard deviations.
pub(super) fn mix(random: &mut Random, one: &[f64], other: &[f64]) -> Vec<f64> {
    let share = random.uniform(0.1, 0.9);
    standardised(one).iter().zip(standardised(other)).map(|(one, other)| share * one + (1.0 - share) * other).collect()
}

/// Every `factor`-th value, or the mean of as many.
pub(super) fn subsample(random: &mut Random, values: &[f64], factor: usize) -> Vec<f64> {
    let means = random.chance(0.5);
    let one = |chunk: &[f64]| if means { chunk.iter().sum::<f64>() / chunk.len() as f64 } else { chunk[0] };
    values.chunks(factor).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<f64> {
        (0..300).map(|at| f64::from(at % 30)).collect()
    }

    #[test]
    fn censored_values_lie_beyond_no_limit_and_stay_otherwise() {
        for index in 0..20 {
            let mut censored = values();
            censor(&mut Random::new(1, index), &mut censored);
            let changed: Vec<f64> =
                censored.iter().zip(values()).filter(|(one, other)| **one != *other).map(|(one, _)| *one).collect();
            assert!(changed.windows(2).all(|pair| pair[0] == pair[1]), "all of them have the limit");
        }
    }

    #[test]
    fn subsamples_and_mixtures_have_the_right_length_and_another_unit_keeps_the_shape() {
        let mut random = Random::new(2, 3);
        assert_eq!(subsample(&mut random, &values(), 5).len(), 60);
        let mixed = mix(&mut random, &values(), &values());
        assert!(mixed.iter().zip(standardised(&values())).all(|(one, other)| (one - other).abs() < 1e-9));
        let mut scaled = values();
        rescale(&mut random, &mut scaled);
        let pairs = standardised(&scaled).into_iter().zip(standardised(&values()));
        assert!(pairs.into_iter().all(|(one, other)| (one - other).abs() < 1e-6));
    }
}
