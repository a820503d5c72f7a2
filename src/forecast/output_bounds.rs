//! Bounds that a series never crosses, as its values show them.

use crate::series::{clone_in_place, is_within_limit};
use serde::{Deserialize, Serialize};

/// An extreme counts as a bound once this many values have equalled it ...
const MIN_TOUCHES: u32 = 20;
/// ... and at least one in this many of all values.
const MAX_VALUES_PER_TOUCH: u32 = 100;
/// A quantile this near to a bound is moved onto it, as a share of the range of all values.
const SNAP_SHARE: f64 = 0.02;
/// A point forecast may leave the range of all values by this share of the range.
const MARGIN_SHARE: f64 = 0.1;

/// Minimum and maximum of a series, and how often its values equal them.
///
/// An extreme that recurs is a bound: no cars at night, a full tank, a gauge at its end. Forecasts stay within a bound
/// until a value crosses it.
#[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct OutputBounds {
    minimum: Extreme,
    maximum: Extreme,
    count: u32,
}

clone_in_place!(OutputBounds { minimum, maximum, count });

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
        self.minimum.update(value, is_first || value < self.minimum.value);
        self.maximum.update(value, is_first || value > self.maximum.value);
    }

    /// Whether the values can stem from a series; a snapshot comes from outside.
    pub fn is_sound(&self) -> bool {
        let (minimum, maximum) = (self.minimum.value, self.maximum.value);
        is_within_limit(minimum) && is_within_limit(maximum) && minimum <= maximum
    }

    /// The limits for the next forecast.
    pub fn limits(&self) -> OutputLimits {
        let enough = MIN_TOUCHES.max(self.count / MAX_VALUES_PER_TOUCH);
        let bound =
            |extreme: Extreme, unbounded: f64| if extreme.touches >= enough { extreme.value } else { unbounded };
        let range = self.maximum.value - self.minimum.value;
        let margin = MARGIN_SHARE * range;
        OutputLimits {
            lower: bound(self.minimum, f64::NEG_INFINITY),
            upper: bound(self.maximum, f64::INFINITY),
            snap: SNAP_SHARE * range,
            lowest_point: self.minimum.value - margin,
            highest_point: self.maximum.value + margin,
        }
    }
}

/// Limits of a forecast, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutputLimits {
    /// The bounds; infinite where there is none.
    lower: f64,
    upper: f64,
    /// Quantiles this near to a bound are moved onto it.
    snap: f64,
    /// Limits of a point forecast, unless the newest value lies outside.
    lowest_point: f64,
    highest_point: f64,
}

impl OutputLimits {
    /// Clamps a point forecast to the bounds and to the range of all values plus a margin, `newest` included. NaN
    /// becomes `newest`.
    pub fn clamp_point(self, point: f64, newest: f64) -> f64 {
        let point = if point.is_nan() { newest } else { point };
        self.clamp(point.clamp(self.lowest_point.min(newest), self.highest_point.max(newest)))
    }

    fn clamp(self, value: f64) -> f64 {
        value.clamp(self.lower, self.upper)
    }

    /// Clamps a quantile above or below the median to the bounds. A quantile just inside its bound is moved onto it:
    /// many values lie exactly on the bound, and the quantile would miss all of them.
    pub fn clamp_quantile(self, quantile: f64, above_median: bool) -> f64 {
        let (lower, upper) = (self.lower, self.upper);
        match above_median {
            true if quantile > upper - self.snap => upper,
            false if quantile < lower + self.snap => lower,
            _ => self.clamp(quantile),
        }
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

    fn bounds_of(bounds: &OutputBounds) -> (f64, f64) {
        (bounds.limits().lower, bounds.limits().upper)
    }

    #[test]
    fn a_recurring_extreme_is_a_bound_until_a_value_crosses_it() {
        let mut bounds = OutputBounds::default();
        for step in 0..400 {
            bounds.update(f64::from((step * 7) % 50).max(5.0));
        }
        assert_eq!(bounds_of(&bounds), (5.0, f64::INFINITY), "49 came 8 times only");
        assert_eq!(bounds.limits().clamp(3.0), 5.0);
        assert_eq!(bounds.limits().clamp_point(100.0, 20.0), 53.4, "a tenth of the range beyond 49");
        assert_eq!(bounds.limits().clamp_point(100.0, 70.0), 70.0);
        assert_eq!(bounds.limits().clamp_point(f64::NAN, 20.0), 20.0, "NaN becomes the newest value");
        assert_eq!(bounds.limits().clamp_quantile(5.5, false), 5.0, "moved onto the bound");
        assert_eq!(bounds.limits().clamp_quantile(5.5, true), 5.5, "an upper quantile ignores the lower bound");
        assert_eq!(bounds.limits().clamp_quantile(1e9, true), 1e9);
        bounds.update(4.0);
        assert_eq!(bounds_of(&bounds), UNBOUNDED);
        let mut rare = OutputBounds::default();
        for step in 0..10_000 {
            rare.update(f64::from(step % 125)); // 80 times each, which is less than one in a hundred
        }
        assert_eq!(bounds_of(&rare), UNBOUNDED);
    }
}
