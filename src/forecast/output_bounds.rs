//! Bounds that a series never crosses, as its values show them.

use crate::series::{clone_in_place, is_within_limit};
use serde::{Deserialize, Serialize};

/// An extreme counts as a bound once this many values have equalled it ...
const MIN_TOUCHES: u32 = 20;
/// ... and at least one in this many of all values.
const MAX_VALUES_PER_TOUCH: u32 = 100;
/// A quantile this near to a bound is moved onto it, as a share of the median's distance from the bound.
const SNAP_SHARE: f64 = 0.05;
/// A point forecast may leave the range of all values by this share of the range ...
const MARGIN_SHARE: f64 = 0.1;
/// ... or lie beyond the newest value by this many times what the series has moved within the last horizon.
const MAX_MOVES: f64 = 1.5;
/// The range of fewer values says little to a pre-trained network, which knows how far series like this one go.
const MIN_RANGE_VALUES: u32 = 64;
/// Number of values from which a series is known to count something.
const MIN_COUNTS: u32 = 20;

/// Minimum and maximum of a series, and how often its values equal them.
///
/// An extreme that recurs is a bound: no cars at night, a full tank, a gauge at its end. So is zero where all values
/// are counts: whole numbers, none of them negative. Forecasts stay within a bound until a value crosses it.
#[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct OutputBounds {
    minimum: Extreme,
    maximum: Extreme,
    count: u32,
    /// Whether a value was no whole number.
    fractions: bool,
}

clone_in_place!(OutputBounds { minimum, maximum, count, fractions });

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
struct Extreme {
    value: f64,
    touches: u32,
}

impl OutputBounds {
    /// Adds a value.
    pub fn update(&mut self, value: f64) {
        let is_first = self.count == 0;
        self.count = self.count.saturating_add(1);
        self.fractions |= value.fract() != 0.0;
        self.minimum.update(value, is_first || value < self.minimum.value);
        self.maximum.update(value, is_first || value > self.maximum.value);
    }

    /// Whether the values can stem from a series; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        let (minimum, maximum) = (self.minimum.value, self.maximum.value);
        is_within_limit(minimum) && is_within_limit(maximum) && minimum <= maximum
    }

    /// The limits for the next forecast. `newest` is the newest value, and `before` that of one horizon ago, if known.
    pub fn limits(&self, newest: f64, before: Option<f64>, pretrained: bool) -> OutputLimits {
        let enough = MIN_TOUCHES.max(self.count / MAX_VALUES_PER_TOUCH);
        let bound =
            |extreme: Extreme, unbounded: f64| if extreme.touches >= enough { extreme.value } else { unbounded };
        let range = self.maximum.value - self.minimum.value;
        let is_young = pretrained && self.count < MIN_RANGE_VALUES;
        let margin = if is_young { f64::INFINITY } else { MARGIN_SHARE * range };
        let ahead = newest + MAX_MOVES * before.map_or(0.0, |before| newest - before);
        let are_counts = !self.fractions && self.count >= MIN_COUNTS && self.minimum.value >= 0.0;
        OutputLimits {
            lower: bound(self.minimum, if are_counts { 0.0 } else { f64::NEG_INFINITY }),
            upper: bound(self.maximum, f64::INFINITY),
            lowest_point: (self.minimum.value - margin).min(ahead).min(newest),
            highest_point: (self.maximum.value + margin).max(ahead).max(newest),
        }
    }
}

/// Limits of a forecast, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutputLimits {
    /// The bounds; infinite where there is none.
    lower: f64,
    upper: f64,
    /// Limits of a point forecast.
    lowest_point: f64,
    highest_point: f64,
}

impl OutputLimits {
    /// Clamps a point forecast to the bounds and to the range of all values plus a margin. NaN becomes `newest`.
    pub fn clamp_point(self, point: f64, newest: f64) -> f64 {
        let point = if point.is_nan() { newest } else { point };
        self.clamp(point.clamp(self.lowest_point, self.highest_point))
    }

    fn clamp(self, value: f64) -> f64 {
        value.clamp(self.lower, self.upper)
    }

    /// Clamps a quantile above or below the `median` to the bounds. A quantile just inside its bound is moved onto it:
    /// many values lie exactly on the bound, and the quantile would miss all of them.
    pub fn clamp_quantile(self, quantile: f64, median: f64) -> f64 {
        let bound = if quantile > median { self.upper } else { self.lower };
        if (quantile - bound).abs() < SNAP_SHARE * (median - bound).abs() { bound } else { self.clamp(quantile) }
    }
}

impl Extreme {
    fn update(&mut self, value: f64, is_new_extreme: bool) {
        if is_new_extreme {
            *self = Self { value, touches: 1 };
        } else if value == self.value {
            self.touches = self.touches.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    fn limits(bounds: &OutputBounds) -> OutputLimits {
        bounds.limits(20.0, None, false)
    }

    fn bounds_of(bounds: &OutputBounds) -> (f64, f64) {
        (limits(bounds).lower, limits(bounds).upper)
    }

    #[test]
    fn a_recurring_extreme_is_a_bound_until_a_value_crosses_it() {
        let mut bounds = OutputBounds::default();
        for step in 0..400 {
            bounds.update(f64::from((step * 7) % 50).max(5.0) + 0.5);
        }
        assert_eq!(bounds_of(&bounds), (5.5, f64::INFINITY), "49.5 came 8 times only");
        assert_eq!(limits(&bounds).clamp(3.0), 5.5);
        assert_eq!(limits(&bounds).clamp_point(100.0, 20.0), 53.9, "a tenth of the range beyond 49.5");
        assert_eq!(bounds.limits(70.0, None, false).clamp_point(100.0, 70.0), 70.0);
        assert_eq!(limits(&bounds).clamp_point(f64::NAN, 20.0), 20.0, "NaN becomes the newest value");
        assert_eq!(limits(&bounds).clamp_quantile(6.0, 30.0), 5.5, "moved onto the bound");
        assert_eq!(limits(&bounds).clamp_quantile(6.0, 7.0), 6.0, "near to the bound, but so is the median");
        assert_eq!(limits(&bounds).clamp_quantile(6.0, 5.7), 6.0, "an upper quantile ignores the lower bound");
        assert_eq!(limits(&bounds).clamp_quantile(1e9, 30.0), 1e9);
        bounds.update(4.5);
        assert_eq!(bounds_of(&bounds), UNBOUNDED);
        let mut rare = OutputBounds::default();
        for step in 0..10_000 {
            rare.update(f64::from(step % 125) - 0.5); // 80 times each, which is less than one in a hundred
        }
        assert_eq!(bounds_of(&rare), UNBOUNDED);
    }

    #[test]
    fn counts_are_never_negative_and_other_numbers_may_be() {
        let of = |values: &[f64]| {
            let mut bounds = OutputBounds::default();
            (0..8).flat_map(|_| values).for_each(|value| bounds.update(*value));
            bounds_of(&bounds)
        };
        assert_eq!(of(&[3.0, 5.0, 4.0]), (0.0, f64::INFINITY));
        assert_eq!(of(&[3.0, 5.0]), UNBOUNDED, "too few values");
        assert_eq!(of(&[3.0, 5.5, 4.0]), UNBOUNDED);
        assert_eq!(of(&[3.0, 5.0, -1.0]), UNBOUNDED);
    }

    #[test]
    fn a_trend_may_go_on_beyond_the_range_seen() {
        let mut bounds = OutputBounds::default();
        (0..100).for_each(|step| bounds.update(0.5 * f64::from(step)));
        let trend = bounds.limits(49.5, Some(37.5), false);
        assert_eq!([trend.clamp_point(61.5, 49.5), trend.clamp_point(99.0, 49.5)], [61.5, 67.5]);
        assert_eq!(bounds.limits(49.5, None, false).clamp_point(61.5, 49.5), 54.45);
        assert_eq!(bounds.limits(10.0, Some(22.0), false).clamp_point(-20.0, 10.0), -8.0, "downwards too");
    }
}
