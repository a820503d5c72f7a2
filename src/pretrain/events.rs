//! What happens to series of every family: heavy tails, level shifts, incidents, spikes, and missing stretches.

use super::families::moments;
use super::random::Random;

/// Lets events happen to the values of a series, in units of their standard deviation.
pub(super) fn happen(random: &mut Random, values: &mut [f64]) {
    let (length, (_, deviation)) = (values.len(), moments(values));
    if random.chance(0.15) {
        let (size, degrees) = (deviation * random.log_uniform(0.01, 0.3), random.uniform(1.8, 5.0));
        values.iter_mut().for_each(|value| *value += size * random.student(degrees).clamp(-50.0, 50.0));
    }
    if random.chance(0.15) {
        for _ in 0..random.integer(1, 3) {
            let (from, shift) = (random.integer(0, length - 1), deviation * 2.0 * random.normal());
            values[from..].iter_mut().for_each(|value| *value += shift);
        }
    }
    if random.chance(0.15) {
        for _ in 0..random.integer(1, 4) {
            incident(random, values, deviation);
        }
    }
    if random.chance(0.15) {
        let (often, size) = (random.log_uniform(0.001, 0.02), deviation * random.log_uniform(2.0, 20.0));
        let one_sided = random.chance(0.5);
        for value in values.iter_mut() {
            if random.chance(often) {
                let spike = size * random.exponential();
                *value += if one_sided || random.chance(0.5) { spike } else { -spike };
            }
        }
    }
}

/// A stretch of other values that fades, grows, or ends at once.
fn incident(random: &mut Random, values: &mut [f64], deviation: f64) {
    let from = random.integer(0, values.len() - 1);
    let steps = random.log_uniform(1.0, values.len() as f64 / 8.0).ceil() as usize;
    let size = deviation * random.log_uniform(1.0, 15.0) * if random.chance(0.3) { -1.0 } else { 1.0 };
    let kind = random.integer(0, 2);
    for (at, value) in values[from..].iter_mut().take(steps).enumerate() {
        let place = at as f64 / steps as f64;
        let share = match kind {
            0 => (-4.0 * place).exp(),
            1 => place,
            _ => 1.0,
        };
        *value += size * share;
    }
}

/// Makes values missing (NaN): single ones, stretches, or a part of each season. The first value stays.
pub(super) fn lose(random: &mut Random, values: &mut [f64], season: f64) {
    let length = values.len();
    let lost = &mut values[1..];
    if random.chance(0.12) {
        let share = random.log_uniform(0.002, 0.3);
        lost.iter_mut().filter(|_| random.chance(share)).for_each(|value| *value = f64::NAN);
    }
    if random.chance(0.15) {
        for _ in 0..random.integer(1, 3) {
            let from = random.integer(0, length - 2);
            let steps = random.log_uniform(2.0, length as f64 / 10.0) as usize;
            lost[from..].iter_mut().take(steps).for_each(|value| *value = f64::NAN);
        }
    }
    if random.chance(0.04) {
        // As of shops at night.
        let (begin, share) = (random.unit(), random.uniform(0.1, 0.5));
        for (at, value) in lost.iter_mut().enumerate() {
            if (at as f64 / season + begin).rem_euclid(1.0) < share {
                *value = f64::NAN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_change_some_series_and_leave_most_steps() {
        let (mut changed, mut lost, mut steps) = (0, 0, 0);
        for index in 0..200 {
            let mut random = Random::new(7, index);
            let plain: Vec<f64> = (0..400).map(|at| f64::from(at % 20)).collect();
            let mut values = plain.clone();
            happen(&mut random, &mut values);
            changed += usize::from(values != plain);
            assert!(values.iter().all(|value| value.is_finite()));
            lose(&mut random, &mut values, 20.0);
            assert!(values[0].is_finite());
            lost += values.iter().filter(|value| value.is_nan()).count();
            steps += values.len();
        }
        assert!((60..140).contains(&changed), "{changed}");
        assert!(lost > steps / 200 && lost < steps / 10, "{lost} of {steps}");
    }
}
