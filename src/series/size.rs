//! How large the values of a stream's series usually are: where the scale of a new one begins.

use serde::{Deserialize, Serialize};

use super::spec::LIMIT;

/// The size of one series that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Where its values lie.
    pub location: f64,
    /// How widely they swing around it.
    pub scale: f64,
    /// Their mean absolute one-step difference.
    pub difference: f64,
}

/// What the sizes of a stream's series have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScalePrior {
    /// The usual scale: in the values' unit, or as a part of where they lie.
    scale: f64,
    /// The usual one-step difference, as a part of the scale.
    difference: f64,
    /// Whether the scale is told as a part of where the values lie, since that differs less between the series.
    relative: bool,
}

impl ScalePrior {
    /// Of these series; `None` where none of them moves.
    pub fn of(series: &[Size]) -> Option<Self> {
        let moving =
            || series.iter().filter(|size| size.scale > 0.0 && size.difference > 0.0 && size.scale.is_finite());
        let sorted = |numbers: &mut dyn Iterator<Item = f64>| {
            let mut sorted: Vec<f64> = numbers.collect();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let scales = sorted(&mut moving().map(|size| size.scale));
        let standing = || moving().filter(|size| size.location != 0.0);
        let shares = sorted(&mut standing().map(|size| size.scale / size.location.abs()));
        let differences = sorted(&mut moving().map(|size| size.difference / size.scale));
        let middle = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied();
        // How many times the lower quartile goes into the upper one.
        let spread = |sorted: &[f64]| sorted[sorted.len() - 1 - sorted.len() / 4] / sorted[sorted.len() / 4];
        let relative = shares.len() == scales.len() && !shares.is_empty() && spread(&shares) < spread(&scales);
        let scale = middle(if relative { &shares } else { &scales })?;
        Some(Self { scale, difference: middle(&differences)?.min(1.0), relative })
    }

    /// Whether these are sizes: they come from outside.
    pub fn is_sound(&self) -> bool {
        self.scale > 0.0 && self.scale <= LIMIT && self.difference > 0.0 && self.difference <= 1.0
    }

    /// The scale and the difference that a series probably has whose first value this is.
    pub(super) fn at(&self, value: f64) -> (f64, f64) {
        let scale = if self.relative { (self.scale * value.abs()).min(LIMIT) } else { self.scale };
        (scale, self.difference * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_less_between_the_series_is_taken() {
        let sizes = |each: &dyn Fn(f64) -> (f64, f64)| -> Vec<Size> {
            let size = |at: i32| {
                let (location, scale) = each(f64::from(at));
                Size { location, scale, difference: scale / 4.0 }
            };
            (1..=9).map(size).collect()
        };
        let near = |(scale, difference): (f64, f64), expected: f64| {
            assert!(
                (scale / expected - 1.0).abs() < 1e-6 && (difference / scale - 0.25).abs() < 1e-6,
                "{scale} {expected}"
            );
        };
        let alike = ScalePrior::of(&sizes(&|at| (100.0 * at, 5.0))).unwrap();
        near(alike.at(10_000.0), 5.0);
        let in_parts = ScalePrior::of(&sizes(&|at| (100.0 * at, 10.0 * at))).unwrap();
        near(in_parts.at(-10_000.0), 1000.0);
        let largest = ScalePrior { scale: LIMIT, ..in_parts };
        assert!(in_parts.is_sound() && largest.is_sound() && !ScalePrior { scale: 2.0 * LIMIT, ..in_parts }.is_sound());
        assert_eq!(largest.at(1e100).0, LIMIT, "what is larger could not be reckoned with");
        assert_eq!(ScalePrior::of(&[]), None);
        assert_eq!(ScalePrior::of(&[Size { location: 1.0, scale: 0.0, difference: 0.0 }]), None);
    }
}
