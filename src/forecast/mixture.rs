//! How much each expert counts.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::EXPERTS;
use super::spec::ForecastSpec;

/// How fast weights follow losses. Losses are in units of the usual error.
const LEARNING_RATE: f32 = 0.05;
/// Share of the weights that goes back to where they began with a loss that tells the experts apart, so that an expert can
/// return. While all do equally well (a series at rest), nothing moves.
const SHARE: f32 = 0.002;
/// No single loss counts for more usual errors than this.
const CLIP: f32 = 4.0;
/// A usual error below this, in scales, does not hold back a larger one: the series has been at rest.
const LEAST: f32 = 0.01;
/// Memory of the usual error, in forecasts.
const MEMORY: u32 = 100;

/// The weights of the experts in each bucket: exponential weights with a fixed share (Herbster and Warmuth, Machine Learning 1998), learnt from the
/// losses of matured forecasts.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mixture {
    buckets: Vec<Bucket>,
}

clone_in_place!(Mixture { buckets });

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bucket {
    weights: [f32; EXPERTS],
    /// Mean absolute error of the mixture.
    usual: f32,
    count: u32,
}

impl Mixture {
    pub fn new(spec: &ForecastSpec) -> Self {
        let bucket = Bucket { weights: first_weights(spec), usual: 0.0, count: 0 };
        Self { buckets: vec![bucket; spec.buckets.len()] }
    }

    /// The weights in a bucket, in the order of [`Expert`](super::Expert); they sum to 1.
    #[inline]
    pub fn weights(&self, bucket: usize) -> [f32; EXPERTS] {
        self.buckets[bucket].weights
    }

    /// Learns from the errors that the mixture and the experts made for one target, in
    /// the series' scale.
    pub fn learn(&mut self, spec: &ForecastSpec, bucket: usize, mixed: f32, errors: [f32; EXPERTS]) {
        let first = first_weights(spec);
        let bucket = &mut self.buckets[bucket];
        bucket.count = (bucket.count + 1).min(MEMORY);
        let limit = if bucket.count > 4 { 2.0 * CLIP * bucket.usual.max(LEAST) } else { f32::INFINITY };
        bucket.usual += (mixed.abs().min(limit) - bucket.usual) / bucket.count as f32;
        let unit = bucket.usual.max(LEAST * LEAST);
        let losses = errors.map(|error| (error.abs() / unit).clamp(0.0, CLIP));
        let (mut least, mut most) = (CLIP, 0.0);
        for loss in losses {
            least = if loss < least { loss } else { least };
            most = if loss > most { loss } else { most };
        }
        let mut sum = 0.0;
        for (weight, loss) in bucket.weights.iter_mut().zip(losses) {
            *weight *= shrink(LEARNING_RATE * (least - loss));
            sum += *weight;
        }
        let share = SHARE * (most - least).min(1.0);
        let keep = (1.0 - share) / sum;
        for (weight, first) in bucket.weights.iter_mut().zip(first) {
            *weight = *weight * keep + share * first;
        }
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.buckets.len() == spec.buckets.len()
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}

/// `e^x` for `x` in `-0.2..=0` (losses are clipped), by its series: relative error below 4e-6.
#[inline]
fn shrink(x: f32) -> f32 {
    1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0)))
}

/// Where weights begin: the naive forecasts are known to be sensible, the network is not yet.
fn first_weights(spec: &ForecastSpec) -> [f32; EXPERTS] {
    if spec.season >= 2 { [0.4, 0.4, 0.2] } else { [0.7, 0.0, 0.3] }
}
