//! The typical scale of a stream's series, with which a new series starts.

use serde::{Deserialize, Serialize};

use super::value_limit::VALUE_LIMIT;

/// Location and scale of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleEstimate {
    /// The running mean of the values.
    pub location: f64,
    /// Their mean absolute deviation from it.
    pub scale: f64,
    /// Their mean absolute one-step difference.
    pub difference: f64,
}

/// The typical scale of the series of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScalePrior {
    /// The median scale: in the unit of the values, or relative to their location.
    scale: f64,
    /// The median one-step difference, relative to the scale.
    difference: f64,
    /// Whether `scale` is relative to the location, because that varies less between the series.
    relative: bool,
}

impl ScalePrior {
    /// Pools the estimates of many series; `None` where none of them moves.
    pub fn pool(series: &[ScaleEstimate]) -> Option<Self> {
        let moving =
            || series.iter().filter(|series| series.scale > 0.0 && series.difference > 0.0 && series.scale.is_finite());
        let sorted = |values: &mut dyn Iterator<Item = f64>| {
            let mut sorted: Vec<f64> = values.collect();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let scales = sorted(&mut moving().map(|series| series.scale));
        let located = || moving().filter(|series| series.location != 0.0);
        let ratios = sorted(&mut located().map(|series| series.scale / series.location.abs()));
        let differences = sorted(&mut moving().map(|series| series.difference / series.scale));
        let median = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied();
        let quartile_ratio = |sorted: &[f64]| sorted[sorted.len() - 1 - sorted.len() / 4] / sorted[sorted.len() / 4];
        let relative =
            ratios.len() == scales.len() && !ratios.is_empty() && quartile_ratio(&ratios) < quartile_ratio(&scales);
        let scale = median(if relative { &ratios } else { &scales })?;
        Some(Self { scale, difference: median(&differences)?.min(1.0), relative })
    }

    /// Whether a decoded prior is one that [`Self::pool`] can produce.
    pub fn is_sound(&self) -> bool {
        self.scale > 0.0 && self.scale <= VALUE_LIMIT && self.difference > 0.0 && self.difference <= 1.0
    }

    /// The likely scale and one-step difference of a series whose first value is `value`.
    pub(super) fn at(&self, value: f64) -> (f64, f64) {
        let scale = if self.relative { (self.scale * value.abs()).min(VALUE_LIMIT) } else { self.scale };
        (scale, self.difference * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_is_relative_where_that_varies_less_between_the_series() {
        let estimates = |each: &dyn Fn(f64) -> (f64, f64)| -> Vec<ScaleEstimate> {
            let estimate = |at: i32| {
                let (location, scale) = each(f64::from(at));
                ScaleEstimate { location, scale, difference: scale / 4.0 }
            };
            (1..=9).map(estimate).collect()
        };
        let near = |(scale, difference): (f64, f64), expected: f64| {
            assert!(
                (scale / expected - 1.0).abs() < 1e-6 && (difference / scale - 0.25).abs() < 1e-6,
                "{scale} {expected}"
            );
        };
        let absolute = ScalePrior::pool(&estimates(&|at| (100.0 * at, 5.0))).unwrap();
        near(absolute.at(10_000.0), 5.0);
        let relative = ScalePrior::pool(&estimates(&|at| (100.0 * at, 10.0 * at))).unwrap();
        near(relative.at(-10_000.0), 1000.0);
        let largest = ScalePrior { scale: VALUE_LIMIT, ..relative };
        let too_large = ScalePrior { scale: 2.0 * VALUE_LIMIT, ..relative };
        assert!(relative.is_sound() && largest.is_sound() && !too_large.is_sound());
        assert_eq!(largest.at(1e100).0, VALUE_LIMIT);
        assert_eq!(ScalePrior::pool(&[]), None);
        assert_eq!(ScalePrior::pool(&[ScaleEstimate { location: 1.0, scale: 0.0, difference: 0.0 }]), None);
    }
}
