//! How much each expert counts.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::{EXPERTS, Expert, all_finite};
use super::spec::ForecastSpec;

/// Experts whose weights are free; the last value, from which all is measured, has the rest.
pub(super) const FREE: usize = EXPERTS - 1;
/// Memory of what the weights are learnt from, in forecasts, by the aim: absolute errors tell sooner.
const MEMORY: [f32; 2] = [1000.0, 500.0];
/// How many forecasts the first weights count for.
const PRIOR: f32 = 20.0;
/// No expert counts for more.
const MOST: f32 = 1.5;
/// Sweeps over the weights for each forecast.
const SWEEPS: usize = 3;
/// An error is never measured in less, in long-term units: what a series does at rest would otherwise outweigh the rest.
const LEAST: f32 = 1.0;
/// A usual error below this, in the same units, does not hold back a larger one: the series has been at rest.
const REST: f32 = 0.01;
/// Deviations of what is won over a naive forecast that it must amount to: one or two events prove nothing, as when a series
/// at rest moves once a year. By the aim: a single event weighs less in absolute errors.
const SURE: [f32; 2] = [1.7, 0.7];
/// Memory of the usual error, in forecasts, and how many of them one error counts for at most.
const USUAL_MEMORY: u32 = 100;
const CLIP: f32 = 8.0;
/// The median's loss is the absolute error, but for errors below so many usual ones, where it is rounded off.
const NEAR: f32 = 0.7;
/// A forecast or a target beyond so many units teaches as if it were a smaller one.
const HEEDED: f32 = 6.0;

/// The weights of the experts in each bucket, twice: for the mean and for the median of what comes. Errors are measured in
/// the series' long-term unit, or in the usual error of a time that is worse than that.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mixture {
    buckets: Vec<Bucket>,
}

clone_in_place!(Mixture { buckets });

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bucket {
    /// By the [`Aim`].
    blends: [Blend; 2],
    /// Mean absolute error of the mixture.
    usual: f32,
    /// Forecasts that were learnt from.
    learnt: u32,
}

/// The weights that would have had the least loss on the matured forecasts, newer ones counting more, none of them negative
/// (stacked regression: Breiman, Machine Learning 1996), by coordinate descent from the weights before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Blend {
    weights: [f32; FREE],
    /// Mean products of the experts' distances from the last value, and of these with the target's.
    #[serde(with = "halved")]
    products: [[f32; FREE]; FREE],
    targets: [f32; FREE],
    /// Discounted sums of losses: of the last value, the seasonal naive forecast and the weighted experts.
    losses: [f32; 3],
    /// Discounted sum of squares of what the weighted experts won, or lost, against the better naive forecast.
    won: f32,
}

/// Products in a snapshot: each pair once, since they are the same both ways round.
pub(super) mod halved {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::FREE;

    type Pairs = [f32; FREE * (FREE + 1) / 2];

    fn pairs() -> impl Iterator<Item = (usize, usize)> {
        (0..FREE).flat_map(|one| (0..=one).map(move |other| (one, other)))
    }

    pub fn serialize<S: Serializer>(products: &[[f32; FREE]; FREE], serializer: S) -> Result<S::Ok, S::Error> {
        let mut halved = Pairs::default();
        halved.iter_mut().zip(pairs()).for_each(|(half, (one, other))| *half = products[one][other]);
        halved.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[[f32; FREE]; FREE], D::Error> {
        let mut products = [[0.0; FREE]; FREE];
        for (half, (one, other)) in Pairs::deserialize(deserializer)?.into_iter().zip(pairs()) {
            (products[one][other], products[other][one]) = (half, half);
        }
        Ok(products)
    }
}

/// What a blend aims at, by the loss that is least there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The squared error.
    Mean,
    /// The absolute error.
    Median,
}

impl Aim {
    pub const ALL: [Self; 2] = [Self::Mean, Self::Median];

    fn loss(self, error: f32) -> f32 {
        match self {
            Self::Mean => error * error,
            Self::Median => error.abs(),
        }
    }
}

impl Mixture {
    pub fn new(spec: &ForecastSpec) -> Self {
        let blend = Blend {
            weights: first_weights(spec),
            products: [[0.0; FREE]; FREE],
            targets: [0.0; FREE],
            losses: [0.0; 3],
            won: 0.0,
        };
        let bucket = Bucket { blends: [blend.clone(), blend], usual: 0.0, learnt: 0 };
        Self { buckets: vec![bucket; spec.buckets.len()] }
    }

    /// The weights in a bucket, in the order of [`Expert`]; they sum to 1. Where the weighted experts are not better
    /// than a naive forecast, or not by more than chance, the naive forecast has all.
    #[inline]
    pub fn weights(&self, bucket: usize, aim: Aim) -> [f32; EXPERTS] {
        let blend = &self.buckets[bucket].blends[aim as usize];
        let Blend { weights: free, losses: [last, seasonal, weighted], won, .. } = blend;
        if weighted + SURE[aim as usize] * won.sqrt() > last.min(*seasonal) {
            let naive = if last <= seasonal { Expert::LastValue } else { Expert::SeasonalNaive };
            return std::array::from_fn(|expert| f32::from(u8::from(expert == naive as usize)));
        }
        let mut weights = [1.0 - free.iter().sum::<f32>(); EXPERTS];
        weights[1..].copy_from_slice(free);
        weights
    }

    /// Learns from how far one target, the mixture and the experts lay from the last value, in the series' long-term unit ([`super::linear`]). What is
    /// far out is held to what [`super::experts::error`] holds errors to, by the caller.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, target: f32, mixed: f32, experts: [f32; EXPERTS]) {
        let first = first_weights(spec);
        let bucket = &mut self.buckets[bucket];
        bucket.learnt = bucket.learnt.saturating_add(1);
        let limit = if bucket.learnt > 4 { CLIP * bucket.usual.max(REST) } else { f32::INFINITY };
        bucket.usual += ((target - mixed).abs().min(limit) - bucket.usual) / bucket.learnt.min(USUAL_MEMORY) as f32;
        let unit = bucket.usual.max(LEAST);
        let farthest = experts.iter().fold(target.abs(), |farthest, expert| farthest.max(expert.abs())) / unit;
        let unit = unit * (farthest / HEEDED).max(1.0);
        let [_, distances @ ..] = experts.map(|expert| expert / unit);
        let target = target / unit;
        let prior = PRIOR / bucket.learnt as f32;
        let near = NEAR * bucket.usual / unit;
        for (blend, aim) in bucket.blends.iter_mut().zip(Aim::ALL) {
            blend.learn(aim, target, distances, near, prior, first);
        }
    }

    /// Forgets what an expert has done, since from now on it does something else.
    pub fn forget(&mut self, spec: &ForecastSpec, expert: Expert) {
        let Some(free) = (expert as usize).checked_sub(1) else { return };
        let first = first_weights(spec);
        for blend in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.blends) {
            blend.products[free] = [0.0; FREE];
            blend.products.iter_mut().for_each(|row| row[free] = 0.0);
            (blend.targets[free], blend.weights[free]) = (0.0, first[free]);
        }
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.buckets.len() == spec.buckets.len()
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        let blend = |blend: &Blend| {
            all_finite(&blend.weights)
                && all_finite(blend.products.as_flattened())
                && all_finite(&blend.targets)
                && all_finite(&blend.losses)
                && blend.won.is_finite()
        };
        self.buckets.iter().all(|bucket| bucket.usual.is_finite() && bucket.blends.iter().all(blend))
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

impl Blend {
    /// Learns from a target and the experts' forecasts of it. Where the loss is not the squared error, what the weights miss
    /// by far counts for less in the least squares (iteratively reweighted: Holland and Welsch, Communications in Statistics
    /// 1977).
    fn learn(&mut self, aim: Aim, target: f32, distances: [f32; FREE], near: f32, prior: f32, first: [f32; FREE]) {
        let keep = 1.0 - 1.0 / MEMORY[aim as usize];
        let weighted = distances.iter().zip(&self.weights).map(|(distance, weight)| distance * weight).sum::<f32>();
        let missed = (target - weighted).abs();
        let heed = if aim == Aim::Median && missed > near { near / missed } else { 1.0 };
        for (sum, forecast) in self.losses.iter_mut().zip([0.0, distances[0], weighted]) {
            *sum = keep * *sum + aim.loss(target - forecast);
        }
        let naive = if self.losses[0] <= self.losses[1] { 0.0 } else { distances[0] };
        let won = aim.loss(target - naive) - aim.loss(target - weighted);
        self.won = keep * self.won + won * won;
        for (row, one) in self.products.iter_mut().zip(distances) {
            for (product, other) in row.iter_mut().zip(distances) {
                *product = keep * *product + heed * (one * other); // the same both ways round
            }
        }
        for (sum, distance) in self.targets.iter_mut().zip(distances) {
            *sum = keep * *sum + heed * distance * target;
        }
        for expert in (0..SWEEPS).flat_map(|_| 0..FREE) {
            let row = &self.products[expert];
            let prior = prior * row[expert];
            let others: f32 = row.iter().zip(&self.weights).map(|(product, weight)| product * weight).sum();
            let rest = self.targets[expert] + prior * first[expert] - (others - row[expert] * self.weights[expert]);
            if row[expert] > f32::MIN_POSITIVE {
                self.weights[expert] = (rest / (row[expert] + prior)).clamp(0.0, MOST);
            }
        }
    }
}

/// Where the free weights begin: the naive forecasts are known to be sensible, the network is not yet.
fn first_weights(spec: &ForecastSpec) -> [f32; FREE] {
    if spec.season >= 2 { [0.4, 0.0, 0.2, 0.0, 0.1] } else { [0.0, 0.2, 0.0, 0.0, 0.2] }
}
