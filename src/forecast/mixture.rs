//! The mixture: how much each expert weighs.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::expert::{EXPERTS, Expert, Weights};
use super::numeric::all_finite;
use super::spec::ForecastSpec;

/// Experts with free weights. The last value, relative to which all others are measured, has the remainder.
const FREE: usize = EXPERTS - 1;
/// Memory of the least squares in forecasts, by [`Objective`]; absolute errors show a change sooner.
const MEMORY: [f32; 2] = [1000.0, 500.0];
/// Number of forecasts that the initial weights count for.
const PRIOR_FORECASTS: f32 = 20.0;
/// The same where they are those of a pre-trained network ...
const PRETRAINED_PRIOR_FORECASTS: f32 = 60.0;
/// ... which then fade with the third power of the number of forecasts: experts are so alike that a small prior
/// outweighs what the data say of them.
const FADING_FORECASTS: f32 = 50.0;
/// Forecasts after which a series itself must show that the experts beat the naive forecasts. Before, a pre-trained
/// network is believed until the naive forecasts are clearly better.
const TRUSTED_FORECASTS: f32 = 50.0;
/// The largest weight of an expert.
const MAX_WEIGHT: f32 = 1.5;
/// Sweeps of coordinate descent per forecast.
const SWEEPS: usize = 3;
/// Errors are divided by at least this, in long-term units, so that a series at rest does not outweigh its other times.
const MIN_UNIT: f32 = 1.0;
/// A mean absolute error below this, in long-term units, does not limit a larger error: the series has been at rest.
const MIN_ERROR_LIMIT_UNIT: f32 = 0.01;
/// Standard deviations by which the gain over the naive forecasts must exceed 0, by [`Objective`]. One or two events
/// prove nothing, as when a series at rest moves once a year; a single event weighs less in absolute errors.
const MIN_GAIN_DEVIATIONS: [f32; 2] = [1.7, 0.7];
/// Memory of the mean absolute error, in forecasts.
const ERROR_MEMORY: u32 = 100;
/// An error counts for at most this many mean absolute errors in their mean, once a few are known.
const MAX_ERROR: f32 = 8.0;
/// Forecasts after which that limit applies.
const UNLIMITED_FORECASTS: u32 = 4;
/// The absolute error is replaced by a square below this many mean absolute errors (Huber's loss).
const SMOOTH_BELOW: f32 = 0.7;
/// Forecasts and targets beyond this many units are scaled down together (bounded influence). A job of one step a day
/// must outweigh a day of noise.
const MAX_LEVERAGE: f32 = 20.0;

/// The weights of the experts in each bucket, for the mean and for the median of the predictive distribution.
///
/// Errors are measured in the series' long-term unit, or in the mean absolute error of a time that is worse than that.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mixture {
    buckets: Vec<Bucket>,
}

clone_in_place!(Mixture { buckets });

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bucket {
    /// By [`Objective`].
    stacks: [StackingWeights; 2],
    /// Of the mixture, in long-term units.
    mean_absolute_error: f32,
    forecasts: u32,
}

/// The non-negative weights with the least discounted loss on past forecasts (stacked regression: Breiman, Machine
/// Learning 1996), by coordinate descent from the previous weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StackingWeights {
    weights: [f32; FREE],
    /// Discounted sums of products of the experts' deviations from the last value.
    #[serde(with = "symmetric")]
    products: [[f32; FREE]; FREE],
    /// Discounted sums of products of these with the target's deviation.
    target_products: [f32; FREE],
    /// Discounted losses of the last value, the seasonal naive forecast and the weighted experts.
    losses: [f32; 3],
    /// Discounted sum of squares of what the weighted experts gain, or lose, against the better naive forecast.
    squared_gains: f32,
}

/// Serialises a symmetric matrix as its lower triangle.
mod symmetric {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::FREE;

    type Triangle = [f32; FREE * (FREE + 1) / 2];

    fn pairs() -> impl Iterator<Item = (usize, usize)> {
        (0..FREE).flat_map(|row| (0..=row).map(move |column| (row, column)))
    }

    pub fn serialize<S: Serializer>(products: &[[f32; FREE]; FREE], serializer: S) -> Result<S::Ok, S::Error> {
        let mut triangle = Triangle::default();
        triangle.iter_mut().zip(pairs()).for_each(|(entry, (row, column))| *entry = products[row][column]);
        triangle.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[[f32; FREE]; FREE], D::Error> {
        let mut products = [[0.0; FREE]; FREE];
        for (entry, (row, column)) in Triangle::deserialize(deserializer)?.into_iter().zip(pairs()) {
            (products[row][column], products[column][row]) = (entry, entry);
        }
        Ok(products)
    }
}

/// Which statistic of the predictive distribution the weights are for, and with it the loss that they minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objective {
    /// Minimises the squared error.
    Mean,
    /// Minimises the absolute error.
    Median,
}

impl Objective {
    pub const ALL: [Self; 2] = [Self::Mean, Self::Median];

    fn loss(self, error: f32) -> f32 {
        match self {
            Self::Mean => error * error,
            Self::Median => error.abs(),
        }
    }
}

/// A target and the forecasts for it, as deviations from the last value in the series' long-term unit, clamped to
/// [`MAX_ERROR`](super::numeric::MAX_ERROR).
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoredForecast {
    pub target: f32,
    /// Mean of the mixture.
    pub mixture: f32,
    /// In the order of [`Expert`].
    pub experts: [f32; EXPERTS],
}

impl Mixture {
    pub fn new(spec: &ForecastSpec) -> Self {
        let stack = StackingWeights {
            weights: initial_weights(spec),
            products: [[0.0; FREE]; FREE],
            target_products: [0.0; FREE],
            losses: [0.0; 3],
            squared_gains: 0.0,
        };
        let bucket = Bucket { stacks: [stack.clone(), stack], mean_absolute_error: 0.0, forecasts: 0 };
        Self { buckets: vec![bucket; spec.buckets.len()] }
    }

    /// The weights in a bucket, in the order of [`Expert`]; they sum to 1. The better naive forecast has all weight
    /// unless the weighted experts beat both by more than chance.
    #[inline]
    pub fn weights(&self, spec: &ForecastSpec, bucket: usize, objective: Objective) -> Weights {
        let Bucket { stacks, forecasts, .. } = &self.buckets[bucket];
        let StackingWeights { weights: free, losses: [last, seasonal, weighted], squared_gains, .. } =
            &stacks[objective as usize];
        let trusted = if spec.pretrained { TRUSTED_FORECASTS } else { 0.0 };
        // From -1, where the naive forecasts must be clearly better, to 1, where the experts must.
        let doubt = (*forecasts as f32 - trusted) / (*forecasts as f32 + trusted).max(1.0);
        if weighted + doubt * MIN_GAIN_DEVIATIONS[objective as usize] * squared_gains.sqrt() >= last.min(*seasonal)
            && *forecasts > 0
        {
            let naive = if last <= seasonal { Expert::LastValue } else { Expert::SeasonalNaive };
            return std::array::from_fn(|expert| f32::from(u8::from(expert == naive as usize)));
        }
        let mut weights = [1.0 - free.iter().sum::<f32>(); EXPERTS];
        weights[1..].copy_from_slice(free);
        weights
    }

    /// Learns from a target and the forecasts for it.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, scored: &ScoredForecast) {
        let ScoredForecast { target, mixture, experts } = *scored;
        let initial = initial_weights(spec);
        let bucket = &mut self.buckets[bucket];
        bucket.forecasts = bucket.forecasts.saturating_add(1);
        let limit = if bucket.forecasts > UNLIMITED_FORECASTS {
            MAX_ERROR * bucket.mean_absolute_error.max(MIN_ERROR_LIMIT_UNIT)
        } else {
            f32::INFINITY
        };
        bucket.mean_absolute_error += ((target - mixture).abs().min(limit) - bucket.mean_absolute_error)
            / bucket.forecasts.min(ERROR_MEMORY) as f32;
        let unit = bucket.mean_absolute_error.max(MIN_UNIT);
        let forecasts = bucket.forecasts as f32;
        let prior = if spec.pretrained {
            PRETRAINED_PRIOR_FORECASTS / forecasts / (1.0 + (forecasts / FADING_FORECASTS).powi(2))
        } else {
            PRIOR_FORECASTS / forecasts
        };
        let largest = experts.iter().fold(target.abs(), |largest, expert| largest.max(expert.abs())) / unit;
        let unit = unit * (largest / MAX_LEVERAGE).max(1.0);
        let [_, experts @ ..] = experts.map(|expert| expert / unit);
        let update = StackingUpdate {
            target: target / unit,
            experts,
            smooth_below: SMOOTH_BELOW * bucket.mean_absolute_error / unit,
            prior,
            initial,
        };
        for (stack, objective) in bucket.stacks.iter_mut().zip(Objective::ALL) {
            stack.learn(objective, &update);
        }
    }

    /// Discards what is known of an expert, because its forecasts change from now on.
    pub fn reset_expert(&mut self, spec: &ForecastSpec, expert: Expert) {
        let Some(free) = (expert as usize).checked_sub(1) else { return };
        let initial = initial_weights(spec);
        for stack in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.stacks) {
            stack.products[free] = [0.0; FREE];
            stack.products.iter_mut().for_each(|row| row[free] = 0.0);
            (stack.target_products[free], stack.weights[free]) = (0.0, initial[free]);
        }
    }

    /// Whether it has the shape that `spec` needs, and valid values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let stack = |stack: &StackingWeights| {
            all_finite(&stack.weights)
                && all_finite(stack.products.as_flattened())
                && all_finite(&stack.target_products)
                && all_finite(&stack.losses)
                && stack.squared_gains.is_finite()
        };
        let bucket = |bucket: &Bucket| bucket.mean_absolute_error.is_finite() && bucket.stacks.iter().all(stack);
        self.buckets.len() == spec.buckets.len() && self.buckets.iter().all(bucket)
    }

    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

/// A target from which both stacks of a bucket learn.
struct StackingUpdate {
    target: f32,
    experts: [f32; FREE],
    /// Absolute errors below this are smoothed.
    smooth_below: f32,
    /// Weight of the initial weights relative to the data.
    prior: f32,
    initial: [f32; FREE],
}

impl StackingWeights {
    /// Where the loss is the absolute error, large errors count for less in the least squares (iteratively reweighted:
    /// Holland and Welsch, Communications in Statistics 1977).
    fn learn(&mut self, objective: Objective, update: &StackingUpdate) {
        let StackingUpdate { target, experts, smooth_below, prior, initial } = *update;
        let keep = 1.0 - 1.0 / MEMORY[objective as usize];
        let weighted = experts.iter().zip(&self.weights).map(|(expert, weight)| expert * weight).sum::<f32>();
        let error = (target - weighted).abs();
        let leverage = if objective == Objective::Median && error > smooth_below { smooth_below / error } else { 1.0 };
        for (loss, forecast) in self.losses.iter_mut().zip([0.0, experts[0], weighted]) {
            *loss = keep * *loss + objective.loss(target - forecast);
        }
        let naive = if self.losses[0] <= self.losses[1] { 0.0 } else { experts[0] };
        let gain = objective.loss(target - naive) - objective.loss(target - weighted);
        self.squared_gains = keep * self.squared_gains + gain * gain;
        for (row, one) in self.products.iter_mut().zip(experts) {
            for (product, other) in row.iter_mut().zip(experts) {
                *product = keep * *product + leverage * (one * other); // symmetric to the last bit
            }
        }
        for (product, expert) in self.target_products.iter_mut().zip(experts) {
            *product = keep * *product + leverage * expert * target;
        }
        for expert in (0..SWEEPS).flat_map(|_| 0..FREE) {
            let row = &self.products[expert];
            let prior = prior * row[expert];
            let fitted: f32 = row.iter().zip(&self.weights).map(|(product, weight)| product * weight).sum();
            let others = fitted - row[expert] * self.weights[expert];
            let numerator = self.target_products[expert] + prior * initial[expert] - others;
            if row[expert] > f32::MIN_POSITIVE {
                self.weights[expert] = (numerator / (row[expert] + prior)).clamp(0.0, MAX_WEIGHT);
            }
        }
    }
}

/// Initial free weights: the naive forecasts are known to be sensible, and of networks the pre-trained one.
fn initial_weights(spec: &ForecastSpec) -> [f32; FREE] {
    if spec.pretrained {
        return [0.0, 0.0, 0.0, 0.0, 1.0];
    }
    if spec.season >= 2 { [0.4, 0.0, 0.2, 0.0, 0.1] } else { [0.0, 0.2, 0.0, 0.0, 0.2] }
}
