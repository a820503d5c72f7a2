//! The recent values of one covariate and their scale.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::context::Context;
use super::feature_layout::FEATURE_CLIP;
use super::recent_values::RecentValues;
use super::robust_scale::RobustScale;
use super::value_limit::is_within_limit;
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct CovariateHistory {
    pub scale: RobustScale,
    pub last_value: Option<f64>,
    context: Context,
}

clone_in_place!(CovariateHistory { scale, last_value, context });

impl CovariateHistory {
    /// Appends the newest step, whose value may be missing. The context holds `length` steps; `window` is the time
    /// constant of the scale, in steps.
    pub fn update(&mut self, value: Option<f64>, length: usize, window: u32) {
        if let Some(value) = value {
            self.scale.update(value, self.last_value, window);
            self.last_value = Some(value);
        }
        self.context.push(length, value, None);
    }

    /// Forgets the values when the series resets; the scale stays.
    pub fn reset(&mut self) {
        self.context.clear();
        self.last_value = None;
    }

    /// The value `back` steps before the newest step, or the last one before it, in units of today's scale.
    pub fn scaled(&self, back: usize) -> Option<f32> {
        let mut values = (back..self.context.len()).map(|back| self.context.back(back));
        values.find(|value| !value.is_nan()).map(|value| self.in_scale(value))
    }
    pub fn is_present(&self, back: usize) -> bool {
        !self.context.back(back).is_nan()
    }
    pub fn in_scale(&self, value: f64) -> f32 {
        ((value - self.scale.location()) / self.scale.scale()).clamp(-FEATURE_CLIP, FEATURE_CLIP) as f32
    }

    /// Whether a decoded history is one that [`Self::update`] can produce.
    pub fn is_sound(&self) -> bool {
        self.scale.is_sound() && self.last_value.is_none_or(is_within_limit) && self.context.is_sound()
    }
    pub fn heap_bytes(&self) -> usize {
        self.context.heap_bytes()
    }
}
