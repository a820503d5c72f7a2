//! Seasons with harmonics, one to three of them added or multiplied, under correlated noise whose size may follow the
//! season.

use super::shape::{Noise, Shape, weekday_factors};
use crate::pretrain::{frame::Frame, random::Random};

/// A seasonal series.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let first = frame.season(random);
    let mut values = Shape::draw(random, first).over(frame);
    for _ in 1..random.pick(&[1, 1, 1, 2, 2, 3]) {
        let (other, size) = (frame.season(random), random.log_uniform(0.1, 1.0));
        let shape = Shape::draw(random, other).over(frame);
        let multiplies = random.chance(0.3);
        for (value, other) in values.iter_mut().zip(shape) {
            *value = if multiplies { *value * (1.0 + size * other) } else { *value + size * other };
        }
    }
    if random.chance(0.35) {
        let factors = weekday_factors(random);
        let base = random.uniform(0.0, 3.0);
        values.iter_mut().enumerate().for_each(|(at, value)| *value = (*value + base) * factors[frame.weekday(at)]);
    }
    // The amplitude and the level drift slowly.
    let drift = if random.chance(0.5) { 0.0 } else { random.log_uniform(0.02, 0.6) };
    let mut amplitude = Noise::new(random, (-1.0 / (4.0 * first)).exp());
    let mut level = Noise::new(random, (-1.0 / (6.0 * first)).exp());
    let level_size = if random.chance(0.4) { 0.0 } else { random.log_uniform(0.05, 2.0) };
    let size = random.log_uniform(0.01, 1.5);
    let (mut noise, spread) = (Noise::draw(random), Shape::draw(random, first));
    let unequal = if random.chance(0.5) { random.uniform(0.3, 1.0) } else { 0.0 };
    for (at, value) in values.iter_mut().enumerate() {
        let quiet = (unequal * spread.at(frame.phase(at, first))).exp();
        let season = *value * (drift * amplitude.next(random)).exp();
        *value = season + level_size * level.next(random) + size * quiet * noise.next(random);
    }
    if random.chance(0.2) {
        // As a rate: positive, with peaks that stand out.
        let sharp = random.uniform(0.3, 0.9);
        values.iter_mut().for_each(|value| *value = (sharp * value.clamp(-8.0, 8.0)).exp());
    }
    values
}
