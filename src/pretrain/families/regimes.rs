//! Ornstein-Uhlenbeck processes that switch between two regimes, with stochastic volatility.

use super::shape::{Noise, Shape};
use crate::pretrain::{frame::Frame, random::Random};

/// One regime: where the process returns to, how fast, and how much it is shaken.
struct Regime {
    mean: f64,
    /// Share of the deviation that is lost in a step.
    pull: f64,
    volatility: f64,
    /// Probability of leaving it in a step.
    leave: f64,
}

impl Regime {
    fn draw(random: &mut Random, length: usize) -> Self {
        let pull = random.log_uniform(0.003, 0.9);
        // The spread around the mean is near one, whatever the pull.
        let volatility = random.log_uniform(0.3, 3.0) * (2.0 * pull - pull * pull).sqrt();
        let leave = random.log_uniform(1.0, 40.0) / length as f64;
        Self { mean: 3.0 * random.normal(), pull, volatility, leave }
    }
}

/// A series that returns to a mean, in two regimes.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let mut regimes = [Regime::draw(random, frame.length), Regime::draw(random, frame.length)];
    let common = random.unit();
    if common < 0.3 {
        regimes[1].mean = regimes[0].mean; // only the volatility changes
    } else if common < 0.6 {
        regimes[0].leave = 0.0; // one regime
    }
    let log_volatility = if random.chance(0.4) { 0.0 } else { random.uniform(0.2, 1.0) };
    let memory = 1.0 - random.log_uniform(0.005, 0.5);
    let mut volatility = Noise::new(random, memory);
    let season = frame.season(random);
    let (seasonal, shape) = (random.chance(0.4), Shape::draw(random, season));
    let (by_mean, by_volatility) = (random.uniform(0.2, 2.0), random.uniform(0.0, 0.8));
    let (mut now, mut value) = (0, regimes[0].mean);
    let step = |at: usize| {
        if random.chance(regimes[now].leave) {
            now = 1 - now;
        }
        let regime = &regimes[now];
        let cycle = if seasonal { shape.at(frame.phase(at, season)) } else { 0.0 };
        let size = (log_volatility * volatility.next(random) + by_volatility * cycle).clamp(-5.0, 5.0).exp();
        value += regime.pull * (regime.mean - value) + regime.volatility * size * random.normal();
        value + by_mean * cycle
    };
    (0..frame.length).map(step).collect()
}
