//! What a series never goes beyond.

use crate::series::{clone_in_place, is_within_limit};
use serde::{Deserialize, Serialize};

/// A bound is known once values have lain on it so often ...
const LEAST: u32 = 20;
/// ... and have been at least one in so many of all.
const ONE_IN: u32 = 100;
/// What is so near to a bound, in distances between the two extremes, counts as on it.
const NEAR: f64 = 0.02;

/// A point forecast goes beyond what was ever seen by this share of all that was.
const SPARE: f64 = 0.1;

/// The least and the greatest value, and how often the series lay exactly there. Where it does so again and again (no cars at
/// night, a full tank, a gauge at its end), it is a bound, and no forecast goes beyond it; until a value does.
#[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct Bounds {
    least: Extreme,
    greatest: Extreme,
    count: u32,
}

clone_in_place!(Bounds { least, greatest, count });

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
struct Extreme {
    value: f64,
    times: u32,
}

impl Bounds {
    /// Takes in what came.
    pub fn take(&mut self, value: f64) {
        let known = self.count > 0;
        self.count = self.count.saturating_add(1);
        self.least.take(value, !known || value < self.least.value);
        self.greatest.take(value, !known || value > self.greatest.value);
    }

    /// Whether these are extremes of values: they may come from outside.
    pub fn is_sound(&self) -> bool {
        let (least, greatest) = (self.least.value, self.greatest.value);
        is_within_limit(least) && is_within_limit(greatest) && least <= greatest
    }

    /// What is known of them.
    pub fn known(&self) -> Known {
        let enough = LEAST.max(self.count / ONE_IN);
        let of = |extreme: Extreme, none: f64| if extreme.times >= enough { extreme.value } else { none };
        let range = self.greatest.value - self.least.value;
        let spare = SPARE * range;
        Known {
            lower: of(self.least, f64::NEG_INFINITY),
            upper: of(self.greatest, f64::INFINITY),
            near: NEAR * range,
            lowest: self.least.value - spare,
            highest: self.greatest.value + spare,
        }
    }
}

/// The bounds that are known; infinite where none is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    lower: f64,
    upper: f64,
    near: f64,
    /// Where points are held.
    lowest: f64,
    highest: f64,
}

impl Known {
    /// A point forecast, held to the bounds and to a little more than what was ever seen, the newest value included, which
    /// stands for a forecast that has become no number.
    pub fn hold_point(self, point: f64, newest: f64) -> f64 {
        let point = if point.is_nan() { newest } else { point };
        self.hold(point.clamp(self.lowest.min(newest), self.highest.max(newest)))
    }

    fn hold(self, value: f64) -> f64 {
        value.clamp(self.lower, self.upper)
    }

    /// A quantile above or below the median, held to the bounds; one that nearly reaches its bound lies on it, since many
    /// values do, and all of them would just miss it.
    pub fn hold_quantile(self, quantile: f64, above: bool) -> f64 {
        let (lower, upper) = (self.lower, self.upper);
        match above {
            true if quantile > upper - self.near => upper,
            false if quantile < lower + self.near => lower,
            _ => self.hold(quantile),
        }
    }
}

impl Extreme {
    fn take(&mut self, value: f64, beyond: bool) {
        if beyond {
            *self = Self { value, times: 1 };
        } else if value == self.value {
            self.times = self.times.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    fn known(bounds: &Bounds) -> (f64, f64) {
        (bounds.known().lower, bounds.known().upper)
    }

    #[test]
    fn what_is_touched_again_and_again_is_a_bound_until_it_is_broken() {
        let mut bounds = Bounds::default();
        for step in 0..400 {
            bounds.take(f64::from((step * 7) % 50).max(5.0));
        }
        assert_eq!(known(&bounds), (5.0, f64::INFINITY), "49 came 8 times only");
        assert_eq!(bounds.known().hold(3.0), 5.0);
        assert_eq!(bounds.known().hold_point(100.0, 20.0), 53.4, "a tenth of the range beyond 49");
        assert_eq!(bounds.known().hold_point(100.0, 70.0), 70.0);
        assert_eq!(bounds.known().hold_point(f64::NAN, 20.0), 20.0, "the newest value stands for what is no number");
        assert_eq!(bounds.known().hold_quantile(5.5, false), 5.0, "nearly there");
        assert_eq!(bounds.known().hold_quantile(5.5, true), 5.5, "an upper quantile is not drawn to the lower bound");
        assert_eq!(bounds.known().hold_quantile(1e9, true), 1e9);
        bounds.take(4.0);
        assert_eq!(known(&bounds), NONE);
        let mut rare = Bounds::default();
        for step in 0..10_000 {
            rare.take(f64::from(step % 125)); // 80 times each, which is less than one in a hundred
        }
        assert_eq!(known(&rare), NONE);
    }
}
