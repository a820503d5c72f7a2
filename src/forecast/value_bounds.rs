//! Bounds and kind of the values of a series, as the settings declare them.

/// What the values of a series can be: no forecast is anything else. The default is any number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueBounds {
    /// In the unit of the values; infinite where there is none. Whole where the values are.
    minimum: f64,
    maximum: f64,
    /// Whether the values are whole numbers.
    integer: bool,
}

impl Default for ValueBounds {
    fn default() -> Self {
        Self { minimum: f64::NEG_INFINITY, maximum: f64::INFINITY, integer: false }
    }
}

impl ValueBounds {
    /// Values from `minimum` to `maximum`, where there are such; whole numbers where `integer` says so. `None` where no
    /// value lies between them.
    pub fn new(minimum: Option<f64>, maximum: Option<f64>, integer: bool) -> Option<Self> {
        let (minimum, maximum) = (minimum.unwrap_or(f64::NEG_INFINITY), maximum.unwrap_or(f64::INFINITY));
        let (minimum, maximum) = if integer { (minimum.ceil(), maximum.floor()) } else { (minimum, maximum) };
        (minimum <= maximum).then_some(Self { minimum, maximum, integer })
    }

    /// The minimum and the maximum; `None` where there is neither.
    pub fn range(self) -> Option<[f64; 2]> {
        (self.minimum.is_finite() || self.maximum.is_finite()).then_some([self.minimum, self.maximum])
    }

    /// Whether a value lies beyond the minimum or the maximum.
    pub fn excludes(self, value: f64) -> bool {
        value < self.minimum || value > self.maximum
    }

    /// The value, or the bound that it lies beyond.
    pub(super) fn clamp(self, value: f64) -> f64 {
        value.clamp(self.minimum, self.maximum)
    }

    /// Rounds quantiles of whole numbers to the nearest ones. They stay within the bounds, and in order.
    pub(super) fn round(self, quantiles: &mut [f64]) {
        if self.integer {
            // Adding 0 makes 0 of -0.
            quantiles.iter_mut().for_each(|quantile| *quantile = quantile.round() + 0.0);
        }
    }

    /// The probability that a value lies above `threshold`, or below it where `below` says so, where the bounds alone
    /// give it: 0 or 1.
    pub(super) fn crossing(self, threshold: f64, below: bool) -> Option<f32> {
        let (never, always) = if below {
            (threshold <= self.minimum, threshold > self.maximum)
        } else {
            (threshold >= self.maximum, threshold < self.minimum)
        };
        if never {
            Some(0.0)
        } else if always {
            Some(1.0)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_clamped_and_quantiles_of_whole_numbers_rounded() {
        let any = ValueBounds::default();
        assert_eq!((any.clamp(-1e300), any.range(), any.excludes(1e300)), (-1e300, None, false));
        let charge = ValueBounds::new(Some(0.0), Some(99.5), false).unwrap();
        assert_eq!([-3.0, 50.25, 120.0].map(|value| charge.clamp(value)), [0.0, 50.25, 99.5]);
        assert_eq!([-0.1, 0.0, 99.5, 99.6].map(|value| charge.excludes(value)), [true, false, false, true]);
        let mut quantiles = [0.4, 1.5, 7.0];
        charge.round(&mut quantiles);
        assert_eq!(quantiles, [0.4, 1.5, 7.0]);
        let whole = ValueBounds::new(Some(-0.5), Some(7.9), true).unwrap();
        assert_eq!([-3.0, 0.4, 7.8].map(|value| whole.clamp(value)), [0.0, 0.4, 7.0], "the whole numbers between");
        let mut quantiles = [-0.4, 0.4, 1.5, 7.0];
        whole.round(&mut quantiles);
        assert_eq!(quantiles.map(f64::to_bits), [0.0_f64, 0.0, 2.0, 7.0].map(f64::to_bits), "and no -0");
        assert_eq!(ValueBounds::new(Some(1.0), Some(0.0), false), None);
        assert_eq!(ValueBounds::new(Some(0.2), Some(0.8), true), None);
    }

    #[test]
    fn a_threshold_beyond_the_bounds_is_crossed_always_or_never() {
        let bounds = ValueBounds::new(Some(0.0), Some(100.0), false).unwrap();
        let of = |threshold, below| bounds.crossing(threshold, below);
        assert_eq!([of(-1.0, false), of(0.0, false), of(100.0, false)], [Some(1.0), None, Some(0.0)]);
        assert_eq!([of(0.0, true), of(100.0, true), of(101.0, true)], [Some(0.0), None, Some(1.0)]);
        assert_eq!(ValueBounds::default().crossing(0.0, true), None);
    }
}
