//! Where a series lies and how widely it swings, online and robust.

use serde::{Deserialize, Serialize};

use super::{size::ScalePrior, spec::is_within_limit};

/// A deviation counts for at most this many times the usual one (Huber's clipping, Annals of Mathematical Statistics 1964).
const CLIP: f64 = 4.0;
/// Deviations are taken as they are until this many values are known.
const TRUST_FROM: u32 = 4;
/// The scale is never below this share of the location ...
const FLOOR: f64 = 1e-9;
/// ... nor, after n values, below this share divided by n^3: one value alone says little about its spread.
const FIRST_FLOOR: f64 = 0.1;
/// What series of the stream usually have counts for so many values of a new one.
const HEAD_START: u32 = 4;
/// The scale of a series that is zero.
const LEAST: f64 = 1e-120;

/// A running mean of absolute sizes that clips what is far out.
///
/// The limit doubles with every clipped size in a row, so that one spike moves little, and a lasting shift or a wake-up is
/// learnt in a few steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Mean {
    mean: f64,
    /// Clipped in a row.
    clipped: u8,
}

impl Mean {
    /// Takes `size` in with `weight`; returns what was left of it.
    fn update(&mut self, size: f64, weight: f64, floor: f64, trusted: bool) -> f64 {
        // Nothing is far out beside a series that did not move at all.
        let limit = if trusted && self.mean > floor {
            CLIP * self.mean * (1_u64 << self.clipped.min(63)) as f64
        } else {
            f64::INFINITY
        };
        self.clipped = if size > limit { self.clipped.saturating_add(1) } else { 0 };
        let kept = size.min(limit);
        self.mean += weight * (kept - self.mean);
        kept
    }
}

/// Running location of the values, mean absolute deviation from it, and mean absolute one-step difference; exponentially
/// weighted, with weights 1/n until the memory is full.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Scale {
    count: u32,
    location: f64,
    deviation: Mean,
    difference: Mean,
    /// Values that the first sizes count for.
    head_start: u32,
}

impl Scale {
    /// Of a series whose first value this is, where the others of its stream have such sizes.
    pub fn starting(usual: &ScalePrior, value: f64) -> Self {
        let (scale, difference) = usual.at(value);
        let mean = |mean| Mean { mean, clipped: 0 };
        Self { deviation: mean(scale), difference: mean(difference), head_start: HEAD_START, ..Self::default() }
    }

    /// Takes in a value, and the one before it where there is one; `memory` in steps.
    pub fn update(&mut self, value: f64, before: Option<f64>, memory: u32) {
        self.count = self.count.saturating_add(1);
        let weight = 1.0 / f64::from(self.count.min(memory));
        let (floor, trusted) = (self.floor(), self.count > TRUST_FROM);
        if self.count == 1 {
            self.location = value;
            return;
        }
        let apart = value - self.location;
        // The deviation has one sample less than the location, which is exact after the first.
        let sample_weight = 1.0 / f64::from((self.count - 1).saturating_add(self.head_start).min(memory));
        let kept = self.deviation.update(apart.abs(), sample_weight, floor, trusted);
        self.location += weight * kept.copysign(apart);
        if let Some(before) = before {
            self.difference.update((value - before).abs(), sample_weight, floor, trusted);
        }
    }

    /// Where the values lie.
    pub fn location(&self) -> f64 {
        self.location
    }

    /// How widely the values swing: positive and finite. Holds 20 bits of mantissa, so that it can be kept in 32 bits.
    pub fn scale(&self) -> f64 {
        round(self.deviation.mean.max(self.difference.mean).max(self.floor()))
    }

    /// The mean absolute one-step difference: positive, at most the scale.
    pub fn difference(&self) -> f64 {
        round(self.difference.mean.max(self.floor()))
    }

    /// Whether its sizes are some: they may come from outside.
    pub fn is_sound(&self) -> bool {
        let size = |size: f64| size >= 0.0 && is_within_limit(size);
        is_within_limit(self.location) && size(self.deviation.mean) && size(self.difference.mean)
    }

    fn floor(&self) -> f64 {
        let count = f64::from(self.count.max(1).saturating_add(self.head_start));
        (self.location.abs() * FLOOR.max(FIRST_FLOOR / (count * count * count))).max(LEAST)
    }
}

/// Drops the lower half of the bits.
fn round(positive: f64) -> f64 {
    f64::from_bits(positive.to_bits() & 0xffff_ffff_0000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Size;

    fn after(values: impl IntoIterator<Item = f64>) -> Scale {
        let mut scale = Scale::default();
        let mut before = None;
        for value in values {
            scale.update(value, before, 128);
            before = Some(value);
        }
        scale
    }

    fn wave(step: i32) -> f64 {
        f64::from((step % 20 - 10).abs()) - 5.0
    }

    #[test]
    fn a_wave_has_its_mean_absolute_sizes() {
        let scale = after((0..2000).map(wave));
        assert!((scale.location()).abs() < 0.5, "{}", scale.location());
        assert!((scale.scale() - 2.5).abs() < 0.2, "{}", scale.scale());
        assert!((scale.difference() - 1.0).abs() < 0.01, "{}", scale.difference());
    }

    #[test]
    fn a_head_start_is_believed_at_first_and_then_forgotten() {
        let size = Size { location: 50.0, scale: 2.5, difference: 1.0 };
        let usual = ScalePrior::of(&[size]).unwrap();
        let mut scale = Scale::starting(&usual, 100.0);
        scale.update(100.0, None, 128);
        assert!((scale.scale() - 2.5).abs() < 1e-6 && (scale.difference() - 1.0).abs() < 1e-6, "{scale:?}");
        for step in 0..1000 {
            scale.update(wave(step), Some(wave(step - 1)), 128);
        }
        let plain = after((0..1000).map(wave));
        assert!((scale.scale() / plain.scale() - 1.0).abs() < 0.1, "{} {}", scale.scale(), plain.scale());
    }

    #[test]
    fn one_spike_moves_little() {
        let calm = after((0..500).map(wave));
        let spiked = after((0..500).map(wave).chain([1e12]));
        assert!(spiked.scale() < 1.1 * calm.scale());
        assert!((spiked.location() - calm.location()).abs() < 0.15 * calm.scale());
    }

    #[test]
    fn a_lasting_shift_is_learnt() {
        let shifted = after((0..500).map(wave).chain((0..600).map(|step| 1e6 + wave(step))));
        assert!((shifted.location() - 1e6).abs() < 0.05e6, "{}", shifted.location());
        let awake = after(std::iter::repeat_n(0.0, 500).chain((0..20).map(wave)));
        assert!(awake.scale() > 0.1, "{}", awake.scale());
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
        assert!(Scale::default().scale() > 0.0);
    }
}
