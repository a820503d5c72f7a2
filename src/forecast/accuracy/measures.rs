//! Accuracy measures of point and quantile forecasts, accumulated in `f64`.
//!
//! Definitions: the M competitions (Makridakis and others, International Journal of Forecasting 2020) and Gneiting and
//! Raftery (Journal of the American Statistical Association 2007).

/// Point errors of one forecaster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PointMeasures {
    count: u64,
    absolute: f64,
    squared: f64,
    symmetric: f64,
    scaled: f64,
    scaled_count: u64,
}

impl PointMeasures {
    /// Adds a target and its forecast. The squared error is taken of the `mean`, all other errors of the `median`,
    /// since these minimise them (Gneiting, Journal of the American Statistical Association 2011).
    ///
    /// `naive_scale` is the mean absolute error of the seasonal naive forecast on the training rows of the series, for
    /// the scaled error; `None` where it is unknown.
    pub fn add(&mut self, target: f64, mean: f64, median: f64, naive_scale: Option<f64>) {
        let error = (target - median).abs();
        self.count += 1;
        self.absolute += error;
        self.squared += (target - mean) * (target - mean);
        let size = target.abs() + median.abs();
        self.symmetric += if size > 0.0 { 2.0 * error / size } else { 0.0 };
        if let Some(scale) = naive_scale.filter(|scale| *scale > 0.0) {
            self.scaled += error / scale;
            self.scaled_count += 1;
        }
    }

    /// Adds the targets of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.absolute += other.absolute;
        self.squared += other.squared;
        self.symmetric += other.symmetric;
        self.scaled += other.scaled;
        self.scaled_count += other.scaled_count;
    }

    /// Number of targets.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean absolute error; `None` without targets.
    pub fn mae(&self) -> Option<f64> {
        mean(self.absolute, self.count)
    }

    /// Mean squared error; `None` without targets.
    pub fn mse(&self) -> Option<f64> {
        mean(self.squared, self.count)
    }

    /// Symmetric mean absolute percentage error, in percent, 0 to 200: the mean of `200 |y - f| / (|y| + |f|)`.
    pub fn smape(&self) -> Option<f64> {
        mean(100.0 * self.symmetric, self.count)
    }

    /// Mean absolute scaled error (Hyndman and Koehler, International Journal of Forecasting 2006). Below 1 is better
    /// than the seasonal naive forecast on the training rows.
    pub fn mase(&self) -> Option<f64> {
        mean(self.scaled, self.scaled_count)
    }
}

/// How well a central interval covers its targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntervalCoverage {
    /// The share of targets that should lie inside.
    pub nominal: f64,
    /// The share of targets that lie inside.
    pub inside: f64,
}

/// Quantile errors of one forecaster, and the coverage of its central intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileMeasures {
    levels: Vec<f32>,
    count: u64,
    pinball: Vec<f64>,
    /// Central intervals, outermost first: pairs of levels, by index.
    intervals: Vec<(usize, usize)>,
    /// Per interval: targets inside.
    inside: Vec<u64>,
    /// Sum of the targets' magnitudes.
    magnitudes: f64,
}

impl QuantileMeasures {
    /// Empty measures of quantiles at `levels`, ascending.
    pub fn new(levels: &[f32]) -> Self {
        let pairs = (0..levels.len() / 2).map(|low| (low, levels.len() - 1 - low));
        let central = |(low, high): &(usize, usize)| (levels[*low] + levels[*high] - 1.0).abs() < 1e-6;
        let intervals: Vec<_> = pairs.filter(central).collect();
        Self {
            levels: levels.to_vec(),
            count: 0,
            pinball: vec![0.0; levels.len()],
            inside: vec![0; intervals.len()],
            intervals,
            magnitudes: 0.0,
        }
    }

    /// Adds a target and its forecast quantiles, in the order of the levels.
    pub fn add(&mut self, target: f64, quantiles: &[f64]) {
        self.count += 1;
        self.magnitudes += target.abs();
        for (index, (level, quantile)) in self.levels.iter().zip(quantiles).enumerate() {
            let (level, error) = (f64::from(*level), target - quantile);
            self.pinball[index] += (level * error).max((level - 1.0) * error);
        }
        for (index, (low, high)) in self.intervals.iter().enumerate() {
            self.inside[index] += u64::from(quantiles[*low] <= target && target <= quantiles[*high]);
        }
    }

    /// Adds the targets of `other`, which has the same levels.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.magnitudes += other.magnitudes;
        self.pinball.iter_mut().zip(&other.pinball).for_each(|(sum, more)| *sum += more);
        self.inside.iter_mut().zip(&other.inside).for_each(|(sum, more)| *sum += more);
    }

    /// Mean pinball loss over targets and levels.
    pub fn pinball(&self) -> Option<f64> {
        mean(self.pinball.iter().sum::<f64>() / self.levels.len() as f64, self.count)
    }

    /// Weighted quantile loss as in the M5 competition and GluonTS: twice the sum of the pinball losses, averaged over
    /// the levels, divided by the sum of the targets' magnitudes. `None` where all targets are 0.
    pub fn weighted_quantile_loss(&self) -> Option<f64> {
        (self.magnitudes > 0.0)
            .then(|| 2.0 * self.pinball.iter().sum::<f64>() / self.levels.len() as f64 / self.magnitudes)
    }

    /// Coverage of each central interval, outermost first.
    pub fn coverage(&self) -> Vec<IntervalCoverage> {
        let count = self.count.max(1) as f64;
        let each = |(index, (low, high)): (usize, &(usize, usize))| IntervalCoverage {
            nominal: f64::from(self.levels[*high] - self.levels[*low]),
            inside: self.inside[index] as f64 / count,
        };
        self.intervals.iter().enumerate().map(each).collect()
    }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: Option<f64>, right: f64) -> bool {
        left.is_some_and(|left| (left - right).abs() < 1e-6)
    }

    #[test]
    fn point_measures_match_a_calculation_by_hand() {
        let mut one = PointMeasures::default();
        assert_eq!((one.mae(), one.mase()), (None, None));
        one.add(10.0, 9.0, 8.0, Some(4.0));
        let mut two = PointMeasures::default();
        two.add(0.0, 0.0, 0.0, Some(0.0));
        two.add(-5.0, 5.0, 5.0, None);
        one.merge(&two);
        assert_eq!(one.count(), 3);
        assert!(near(one.mae(), 4.0) && near(one.mse(), 101.0 / 3.0));
        assert!(near(one.mase(), 0.5), "targets without a scale do not count");
        assert!(near(one.smape(), (200.0 * 2.0 / 18.0 + 0.0 + 200.0) / 3.0));
    }

    #[test]
    fn quantile_measures_match_a_calculation_by_hand() {
        let mut one = QuantileMeasures::new(&[0.1, 0.5, 0.9]);
        assert_eq!((one.pinball(), one.weighted_quantile_loss()), (None, None));
        one.add(10.0, &[8.0, 9.0, 12.0]);
        let mut two = one.clone();
        two.add(20.0, &[8.0, 9.0, 12.0]);
        one.merge(&two);
        let losses = 2.0 * (0.2 + 0.5 + 0.2) + (1.2 + 5.5 + 7.2);
        assert!(near(one.pinball(), losses / 9.0), "{:?}", one.pinball());
        assert!(near(one.weighted_quantile_loss(), 2.0 * losses / 3.0 / 40.0));
        let IntervalCoverage { nominal, inside } = one.coverage()[0];
        assert!((nominal - 0.8).abs() < 1e-6 && (inside - 2.0 / 3.0).abs() < 1e-9);
    }
}
