//! Running location and scale of a series, robust against outliers.

use serde::{Deserialize, Serialize};

use super::scale_prior::{ScaleEstimate, ScalePrior};
use super::value_limit::is_within_limit;

/// A deviation counts for at most this many mean absolute deviations (clipping: Huber, Annals of Mathematical
/// Statistics 35(1), 1964).
const CLIP: f64 = 4.0;
/// Deviations are not clipped until this many values are known.
const CLIP_AFTER: u32 = 4;
/// The scale is at least this share of the location ...
const FLOOR: f64 = 1e-9;
/// ... and, after n values, at least this share of it divided by n³: a single value says little about its spread.
const EARLY_FLOOR: f64 = 0.1;
/// The prior of the stream counts for this many values of a new series.
const PRIOR_WEIGHT: u32 = 4;
/// The least scale of all, for a series that is constantly zero.
const MIN_SCALE: f64 = 1e-120;

/// An exponentially weighted mean of absolute values that clips outliers.
///
/// The limit doubles with every clipped value in a row: one spike moves the mean little, while a level shift or a
/// series that starts to move is learned within a few steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct ClippedMean {
    mean: f64,
    /// Values clipped in a row.
    clipped: u8,
}

impl ClippedMean {
    /// Updates the mean with a clipped `value` of weight `weight`; returns the clipped value. There is no clipping
    /// unless `clips`, nor while the mean is not above `floor`: a series that has never moved has no outliers.
    fn update(&mut self, value: f64, weight: f64, floor: f64, clips: bool) -> f64 {
        let limit = if clips && self.mean > floor {
            CLIP * self.mean * (1_u64 << self.clipped.min(63)) as f64
        } else {
            f64::INFINITY
        };
        self.clipped = if value > limit { self.clipped.saturating_add(1) } else { 0 };
        let value = value.min(limit);
        self.mean += weight * (value - self.mean);
        value
    }
}

/// Running location of the values, mean absolute deviation from it, and mean absolute one-step difference. The weights
/// are 1/n until the window is full, then exponential.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct RobustScale {
    count: u32,
    location: f64,
    deviation: ClippedMean,
    difference: ClippedMean,
    /// The number of values that the prior counts for; 0 without a prior.
    prior_weight: u32,
}

impl RobustScale {
    /// The scale of a new series whose first value is `value`, in a stream with this prior.
    pub fn with_prior(prior: &ScalePrior, value: f64) -> Self {
        let (scale, difference) = prior.at(value);
        let mean = |mean| ClippedMean { mean, clipped: 0 };
        Self { deviation: mean(scale), difference: mean(difference), prior_weight: PRIOR_WEIGHT, ..Self::default() }
    }

    /// Updates with a value and the previous value, where there is one. `window` is the time constant in steps.
    pub fn update(&mut self, value: f64, previous: Option<f64>, window: u32) {
        self.count = self.count.saturating_add(1);
        let weight = 1.0 / f64::from(self.count.min(window));
        let (floor, clips) = (self.floor(), self.count > CLIP_AFTER);
        if self.count == 1 {
            self.location = value;
            return;
        }
        let deviation = value - self.location;
        // There is one deviation fewer than values, since the location equals the first value.
        let sample_weight = 1.0 / f64::from((self.count - 1).saturating_add(self.prior_weight).min(window));
        let clipped = self.deviation.update(deviation.abs(), sample_weight, floor, clips);
        self.location += weight * clipped.copysign(deviation);
        if let Some(previous) = previous {
            self.difference.update((value - previous).abs(), sample_weight, floor, clips);
        }
    }

    /// The running mean of the values, with outliers clipped.
    pub fn location(&self) -> f64 {
        self.location
    }

    /// The mean absolute deviation from the location, at least the mean absolute difference: positive and finite. It
    /// has 20 bits of mantissa, so that 32 bits can store it.
    pub fn scale(&self) -> f64 {
        round(self.deviation.mean.max(self.difference.mean).max(self.floor()))
    }

    /// The mean absolute one-step difference: positive, at most the scale.
    pub fn difference(&self) -> f64 {
        round(self.difference.mean.max(self.floor()))
    }
    pub fn estimate(&self) -> ScaleEstimate {
        ScaleEstimate { location: self.location(), scale: self.scale(), difference: self.difference() }
    }

    /// Whether a decoded scale is one that [`Self::update`] can produce.
    pub fn is_sound(&self) -> bool {
        let valid = |mean: &ClippedMean| mean.mean >= 0.0 && is_within_limit(mean.mean);
        is_within_limit(self.location) && valid(&self.deviation) && valid(&self.difference)
    }

    fn floor(&self) -> f64 {
        let count = f64::from(self.count.max(1).saturating_add(self.prior_weight));
        (self.location.abs() * FLOOR.max(EARLY_FLOOR / (count * count * count))).max(MIN_SCALE)
    }
}

/// Clears the lower half of the bits.
fn round(positive: f64) -> f64 {
    f64::from_bits(positive.to_bits() & 0xffff_ffff_0000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(values: impl IntoIterator<Item = f64>) -> RobustScale {
        let mut scale = RobustScale::default();
        let mut previous = None;
        for value in values {
            scale.update(value, previous, 128);
            previous = Some(value);
        }
        scale
    }

    fn triangle(step: i32) -> f64 {
        f64::from((step % 20 - 10).abs()) - 5.0
    }

    #[test]
    fn a_triangle_wave_has_its_mean_absolute_deviation_and_difference() {
        let scale = after((0..2000).map(triangle));
        assert!((scale.location()).abs() < 0.5, "{}", scale.location());
        assert!((scale.scale() - 2.5).abs() < 0.2, "{}", scale.scale());
        assert!((scale.difference() - 1.0).abs() < 0.01, "{}", scale.difference());
    }

    #[test]
    fn a_prior_counts_at_first_and_fades() {
        let estimate = ScaleEstimate { location: 50.0, scale: 2.5, difference: 1.0 };
        let prior = ScalePrior::pool(&[estimate]).unwrap();
        let mut scale = RobustScale::with_prior(&prior, 100.0);
        scale.update(100.0, None, 128);
        assert!((scale.scale() - 2.5).abs() < 1e-6 && (scale.difference() - 1.0).abs() < 1e-6, "{scale:?}");
        for step in 0..1000 {
            scale.update(triangle(step), Some(triangle(step - 1)), 128);
        }
        let plain = after((0..1000).map(triangle));
        assert!((scale.scale() / plain.scale() - 1.0).abs() < 0.1, "{} {}", scale.scale(), plain.scale());
    }

    #[test]
    fn one_spike_moves_little() {
        let before = after((0..500).map(triangle));
        let spiked = after((0..500).map(triangle).chain([1e12]));
        assert!(spiked.scale() < 1.1 * before.scale());
        assert!((spiked.location() - before.location()).abs() < 0.15 * before.scale());
    }

    #[test]
    fn a_level_shift_is_learned() {
        let shifted = after((0..500).map(triangle).chain((0..600).map(|step| 1e6 + triangle(step))));
        assert!((shifted.location() - 1e6).abs() < 0.05e6, "{}", shifted.location());
        let moving = after(std::iter::repeat_n(0.0, 500).chain((0..20).map(triangle)));
        assert!(moving.scale() > 0.1, "{}", moving.scale());
    }

    #[test]
    fn constants_have_a_positive_scale() {
        for value in [0.0, 1.0, -1e150, 1e-150] {
            for count in [1, 2, 10_000] {
                let scale = after(std::iter::repeat_n(value, count));
                assert!(scale.scale() > 0.0 && scale.difference() > 0.0, "{value} {count}");
                assert!(scale.scale() <= 0.1 * value.abs().max(1e-100));
            }
        }
        assert!(RobustScale::default().scale() > 0.0);
    }
}
