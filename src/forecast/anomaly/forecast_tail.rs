//! Tail probabilities under the distribution that was forecast.

use serde::{Deserialize, Serialize};

use crate::forecast::spec::ForecastSpec;
use crate::series::{exponential, logarithm};

/// Memory of the excesses, in values beyond the outermost quantiles.
const MEMORY: u32 = 64;
/// Number of excesses that the initial estimate counts for.
const PRIOR_EXCESSES: u32 = 8;
/// Initial mean excess, in mean absolute residuals: that of a normal distribution beyond its 95 % quantile.
const PRIOR_MEAN_EXCESS: f32 = 0.52;
/// The heaviest tail, as a shape of the generalised Pareto distribution. Beyond 0.5 the second moment is infinite.
const MAX_SHAPE: f32 = 0.4;
/// An excess counts for at most this many mean absolute residuals when the tail is estimated.
const MAX_EXCESS: f32 = 50.0;
/// An excess is at most this many mean absolute residuals.
const LARGEST_EXCESS: f32 = 1e6;

/// The tail beyond the outermost quantiles of a forecast: a generalised Pareto distribution of excesses in mean
/// absolute residuals, fitted by the method of moments (Hosking and Wallis, Technometrics 1987; Siffer and others, KDD
/// 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ForecastTail {
    mean: f32,
    mean_square: f32,
    count: u32,
}

/// A value and the quantiles that were forecast for it.
pub(crate) struct TailQuery<F> {
    /// Deviation of the value from the median.
    pub residual: f32,
    /// Mean absolute residual of earlier forecasts, in the same unit.
    pub mean_absolute_residual: f32,
    /// Deviation of the quantile of a level, by index, from the median.
    pub quantile: F,
}

/// Where a residual lies among the quantiles on its side of the median.
enum Position {
    /// Within them: its tail probability.
    Within(f32),
    /// Beyond the outermost quantile, which has this tail probability, by an excess in mean absolute residuals.
    Beyond { outermost: f32, excess: f32 },
}

impl ForecastTail {
    pub fn new() -> Self {
        Self {
            mean: PRIOR_MEAN_EXCESS,
            mean_square: 2.0 * PRIOR_MEAN_EXCESS * PRIOR_MEAN_EXCESS,
            count: PRIOR_EXCESSES,
        }
    }

    /// 1 minus the two-sided tail probability of a value: 0 at the median; 0.99 where one value in a hundred is as far
    /// out on either side. Linear between quantiles. Learns from an excess.
    pub fn score(&mut self, spec: &ForecastSpec, query: &TailQuery<impl Fn(usize) -> f32>) -> f32 {
        if query.residual == 0.0 {
            return 0.0; // The forecast is exact; its interval may have no width.
        }
        match query.position(spec) {
            Position::Within(probability) => 1.0 - 2.0 * probability,
            Position::Beyond { outermost, excess } => {
                let score = 1.0 - 2.0 * outermost * self.survival(excess);
                self.learn(excess.min(MAX_EXCESS));
                score.clamp(0.0, 1.0)
            }
        }
    }

    /// The probability of a value beyond the residual, on its side of the median: 0.5 at the median, less farther out.
    pub fn probability(&self, spec: &ForecastSpec, query: &TailQuery<impl Fn(usize) -> f32>) -> f32 {
        match query.position(spec) {
            Position::Within(probability) => probability,
            Position::Beyond { outermost, excess } => outermost * self.survival(excess),
        }
    }

    /// Whether its values are valid; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.mean_square.is_finite() && self.count <= MEMORY
    }

    fn learn(&mut self, excess: f32) {
        self.count = (self.count + 1).min(MEMORY);
        let weight = 1.0 / self.count as f32;
        self.mean += weight * (excess - self.mean);
        self.mean_square += weight * (excess * excess - self.mean_square);
    }

    /// The probability of an excess beyond `excess`, given that there is one.
    fn survival(&self, excess: f32) -> f32 {
        let mean = self.mean.max(1e-6);
        let variance = (self.mean_square - mean * mean).max(1e-12);
        let shape = (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, MAX_SHAPE);
        if shape < 0.01 {
            return exponential(-excess / mean);
        }
        exponential(-logarithm(1.0 + shape * excess / (mean * (1.0 - shape))) / shape)
    }
}

impl<F: Fn(usize) -> f32> TailQuery<F> {
    fn position(&self, spec: &ForecastSpec) -> Position {
        let (median, above) = (spec.median(), self.residual >= 0.0);
        let outward = if above { spec.levels.len() - 1 - median } else { median };
        let magnitude = self.residual.abs();
        let (mut inner, mut probability) = (0.0, 0.5); // deviation and tail probability of the next quantile inward
        for step in 1..=outward {
            let level = if above { median + step } else { median - step };
            let outer = (self.quantile)(level).abs();
            let tail = if above { 1.0 - spec.levels[level] } else { spec.levels[level] };
            if magnitude < outer {
                let share = (magnitude - inner) / (outer - inner);
                return Position::Within(probability + share * (tail - probability));
            }
            (inner, probability) = (outer, tail);
        }
        let unit = self.mean_absolute_residual;
        let excess = if unit > 0.0 { ((magnitude - inner) / unit).min(LARGEST_EXCESS) } else { LARGEST_EXCESS };
        Position::Beyond { outermost: probability, excess }
    }
}
