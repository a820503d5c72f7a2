//! How probable it is to be as far out, under the forecast that was issued.

use serde::{Deserialize, Serialize};

use super::spec::ForecastSpec;
use crate::series::{exponential, logarithm};

/// Memory of the excesses, in values beyond the outermost quantiles.
const MEMORY: u32 = 64;
/// The usual excess before any was seen, in usual residuals: that of a normal distribution beyond its 95 % quantile.
const FIRST_EXCESS: f32 = 0.52;
/// The heaviest tail that is assumed: beyond it the second moment means nothing.
const HEAVIEST: f32 = 0.4;
/// An excess counts for at most this many usual residuals when the tail is learnt.
const CLIP: f32 = 50.0;

/// What lies beyond the outermost quantiles: a generalised Pareto distribution by the method of moments (Hosking and Wallis, Technometrics 1987; used on
/// streams by Siffer and others, KDD 2017), of excesses in usual residuals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    mean: f32,
    square: f32,
    count: u32,
}

/// Where a residual lies among the quantiles on its side.
enum Placement {
    /// Between two of them: its tail probability.
    Within(f32),
    /// Beyond the outermost, whose tail probability this is, by so many usual residuals.
    Beyond { outermost: f32, excess: f32 },
}

impl Tail {
    pub fn new() -> Self {
        Self { mean: FIRST_EXCESS, square: 2.0 * FIRST_EXCESS * FIRST_EXCESS, count: 8 }
    }

    /// The score of a value: 1 minus the two-sided tail probability of its `residual` from the point forecast under the quantiles `distance(level)`
    /// that were issued. 0 is the median; 0.99 says that one value in a hundred is as far out, on either side. Between quantiles it is linear. `usual` is the usual residual.
    pub fn score(&mut self, spec: &ForecastSpec, residual: f32, usual: f32, distance: impl Fn(usize) -> f32) -> f32 {
        if residual == 0.0 {
            return 0.0; // exactly as forecast, also with intervals of no width
        }
        match self.place(spec, residual, usual, distance) {
            Placement::Within(probability) => 1.0 - 2.0 * probability,
            Placement::Beyond { outermost, excess } => {
                let score = 1.0 - 2.0 * outermost * self.survival(excess);
                self.learn(excess.min(CLIP));
                score.clamp(0.0, 1.0)
            }
        }
    }

    /// The tail probability beyond `residual`, on its side of the point forecast: 0.5 there, less farther out.
    pub fn probability(&self, spec: &ForecastSpec, residual: f32, usual: f32, distance: impl Fn(usize) -> f32) -> f32 {
        match self.place(spec, residual, usual, distance) {
            Placement::Within(probability) => probability,
            Placement::Beyond { outermost, excess } => outermost * self.survival(excess),
        }
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.square.is_finite() && self.count <= MEMORY
    }

    fn place(&self, spec: &ForecastSpec, residual: f32, usual: f32, distance: impl Fn(usize) -> f32) -> Placement {
        let above = residual >= 0.0;
        let outward = if above { spec.levels.len() - 1 - spec.median } else { spec.median };
        let size = residual.abs();
        let (mut inner, mut probability) = (0.0, 0.5); // distance and tail probability of the quantile further in
        for step in 1..=outward {
            let level = if above { spec.median + step } else { spec.median - step };
            let outer = distance(level).abs();
            let tail = if above { 1.0 - spec.levels[level] } else { spec.levels[level] };
            if size < outer {
                let share = (size - inner) / (outer - inner);
                return Placement::Within(probability + share * (tail - probability));
            }
            (inner, probability) = (outer, tail);
        }
        let excess = if usual > 0.0 { ((size - inner) / usual).min(1e6) } else { 1e6 };
        Placement::Beyond { outermost: probability, excess }
    }

    fn learn(&mut self, excess: f32) {
        self.count = (self.count + 1).min(MEMORY);
        let weight = 1.0 / self.count as f32;
        self.mean += weight * (excess - self.mean);
        self.square += weight * (excess * excess - self.square);
    }

    /// Probability of an excess beyond `excess`, given one.
    fn survival(&self, excess: f32) -> f32 {
        let mean = self.mean.max(1e-6);
        let variance = (self.square - mean * mean).max(1e-12);
        let shape = (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, HEAVIEST);
        if shape < 0.01 {
            return exponential(-excess / mean);
        }
        exponential(-logarithm(1.0 + shape * excess / (mean * (1.0 - shape))) / shape)
    }
}
