//! Counts under a rate with a season: Poisson, negative binomial, and Hawkes (Hawkes, Biometrika 58(1), 1971), in which
//! events cause further events.

use super::shape::{Noise, Shape, weekday_factors};
use crate::pretrain::{frame::Frame, random::Random};

/// No count has a larger mean than this.
const MOST: f64 = 1e6;

/// A series of counts.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let season = frame.season(random);
    let shape = Shape::draw(random, season);
    let factors = if random.chance(0.5) { weekday_factors(random) } else { [1.0; 7] };
    let (base, swing) = (random.log_uniform(0.03, 3000.0), random.uniform(0.0, 1.5));
    let (drift, memory) = (random.log_uniform(0.02, 0.6), 1.0 - random.log_uniform(0.005, 0.5));
    let mut slow = Noise::new(random, memory);
    let kind = random.integer(0, 2);
    let dispersion = random.log_uniform(0.5, 30.0);
    let (branching, fade) = (random.uniform(0.2, 0.9), random.uniform(0.1, 0.9));
    let mut excitement = 0.0;
    let value = |at: usize| {
        let log_rate = swing * shape.at(frame.phase(at, season)) + drift * slow.next(random);
        let rate = (base * log_rate.clamp(-8.0, 6.0).exp() * factors[frame.weekday(at)]).min(MOST);
        match kind {
            0 => random.poisson(rate),
            1 => random.negative_binomial(rate, dispersion),
            _ => {
                let count = random.poisson((rate * (1.0 - branching) + excitement).min(MOST));
                // Each event causes `branching` others on average, spread over the next steps.
                excitement = fade * excitement + (1.0 - fade) * branching * count;
                count
            }
        }
    };
    (0..frame.length).map(value).collect()
}
