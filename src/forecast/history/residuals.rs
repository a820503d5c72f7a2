//! Values of a series without a baseline, and their running means.

use serde::{Deserialize, Serialize};

use super::exponential_averages::{self, Averages, EncodedAverages, MEMORIES, update_mean};
use super::seasonal_profile::Baseline;
use crate::forecast::numeric::all_finite;
use crate::series::clone_in_place;

/// Rings of the newest steps, relative to one [`Baseline`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub(super) struct Residuals {
    /// Running mean of the residuals over a long memory.
    pub level: f32,
    /// Each value minus its baseline, which learns from the value first; carried over empty steps.
    pub residuals: Vec<f32>,
    /// The baseline of each step before its value came; empty where the baseline is zero.
    pub baselines: Vec<f32>,
    /// Running means of the residuals.
    pub averages: Vec<Averages>,
}

clone_in_place!(Residuals { level, residuals, baselines, averages });

/// [`Residuals`] as a snapshot stores them.
#[derive(Serialize, Deserialize)]
struct Encoded {
    level: f32,
    residuals: Vec<f32>,
    baselines: Vec<f32>,
    averages: EncodedAverages,
}

impl From<Residuals> for Encoded {
    fn from(Residuals { level, residuals, baselines, averages }: Residuals) -> Self {
        let averages = exponential_averages::encode(&residuals, &averages);
        Self { level, residuals, baselines, averages }
    }
}

impl TryFrom<Encoded> for Residuals {
    type Error = &'static str;

    fn try_from(Encoded { level, residuals, baselines, averages }: Encoded) -> Result<Self, Self::Error> {
        let averages = exponential_averages::decode(&residuals, &averages).ok_or("averages that match no residuals")?;
        Ok(Self { level, residuals, baselines, averages })
    }
}

/// How a running mean takes a value.
#[derive(Clone, Copy)]
pub(super) struct MeanUpdate {
    /// Whether the value is the first, with which all means begin.
    pub is_first: bool,
    /// Deviations are clamped to this.
    pub bound: f32,
    /// Memory of the level, in steps.
    pub level_memory: f32,
}

impl Residuals {
    /// Rings of `length` steps.
    pub fn new(baseline: Baseline, length: usize) -> Self {
        Self {
            level: 0.0,
            residuals: vec![0.0; length],
            baselines: vec![0.0; Self::baselines_len(baseline, length)],
            averages: vec![Averages::default(); length],
        }
    }

    fn baselines_len(baseline: Baseline, length: usize) -> usize {
        if baseline == Baseline::Zero { 0 } else { length }
    }

    /// Sets the residual at `now` and updates the means.
    #[inline]
    pub fn put(&mut self, now: usize, residual: f32, update: MeanUpdate) {
        self.residuals[now] = residual;
        let next = |mean: f32, memory: f32| {
            if update.is_first { residual } else { update_mean(mean, residual, update.bound, memory) }
        };
        self.level = next(self.level, update.level_memory);
        let averages = self.averages[now];
        self.averages[now] = std::array::from_fn(|at| next(averages[at], MEMORIES[at]));
    }

    /// Adds `by` to the values that the residuals of this baseline stem from. A seasonal baseline moves with them.
    pub fn shift(&mut self, baseline: Baseline, by: f32) {
        self.baselines.iter_mut().for_each(|baseline| *baseline += by);
        if baseline == Baseline::Zero {
            self.level += by;
            self.residuals.iter_mut().for_each(|residual| *residual += by);
            self.averages.as_flattened_mut().iter_mut().for_each(|average| *average += by);
        }
    }

    /// Whether its rings have `length` steps and finite values; a snapshot comes from outside.
    pub fn is_sound(&self, baseline: Baseline, length: usize) -> bool {
        [self.residuals.len(), self.averages.len()] == [length; 2]
            && self.baselines.len() == Self::baselines_len(baseline, length)
            && self.level.is_finite()
            && all_finite(&self.residuals)
            && all_finite(&self.baselines)
            && all_finite(self.averages.as_flattened())
    }

    pub fn heap_bytes(&self) -> usize {
        (self.residuals.capacity() + self.baselines.capacity() + self.averages.capacity() * MEMORIES.len())
            * size_of::<f32>()
    }
}
