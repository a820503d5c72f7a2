//! Sums over scored forecasts, for metrics.

use crate::forecast::experts::expert::EXPERTS;
use crate::forecast::spec::ForecastSpec;

/// Sums over forecasts whose target has come, per bucket of leads.
///
/// Errors are in units of their series' own scale, clamped to 20, so that they add up over series of any magnitude. The
/// ratio of two errors says how good a forecast is: `absolute_error / expert_errors[LastValue]` below 1 beats the last
/// value.
#[derive(Debug, Clone, PartialEq)]
pub struct AccuracySums {
    /// One per bucket of the [`ForecastSpec`].
    pub buckets: Vec<BucketSums>,
    /// Values with an anomaly score.
    pub scored: u64,
    /// Of these, values at which the series is anomalous by the stream's thresholds.
    pub anomalous: u64,
}

/// Sums over the scored forecasts of one bucket.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BucketSums {
    /// Scored point forecasts, at the bucket's middle.
    pub points: u64,
    /// Sum of the absolute errors of the median.
    pub absolute_error: f64,
    /// Sum of the squared errors of the mean.
    pub squared_error: f64,
    /// Sum of the absolute errors of each expert for the same targets, in the order of
    /// [`Expert`](crate::forecast::Expert).
    pub expert_errors: [f64; EXPERTS],
    /// Sum of the weight of each expert at the time of the target.
    pub expert_weights: [f64; EXPERTS],
    /// Scored quantile forecasts, at the bucket's end.
    pub intervals: u64,
    /// Sum of the pinball losses, each averaged over the levels.
    pub pinball: f64,
    /// Targets inside each central interval, in the order of [`ForecastSpec::intervals`].
    pub covered: Vec<u64>,
}

impl AccuracySums {
    /// Empty sums.
    pub fn new(spec: &ForecastSpec) -> Self {
        let bucket = BucketSums { covered: vec![0; spec.intervals().count()], ..BucketSums::default() };
        Self { buckets: vec![bucket; spec.buckets.len()], scored: 0, anomalous: 0 }
    }

    /// Resets all sums to zero and keeps their memory.
    pub fn clear(&mut self) {
        self.scored = 0;
        self.anomalous = 0;
        for bucket in &mut self.buckets {
            let mut covered = std::mem::take(&mut bucket.covered);
            covered.fill(0);
            *bucket = BucketSums { covered, ..BucketSums::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleared_sums_are_empty() {
        let spec = ForecastSpec::new(3, &[0.1, 0.5, 0.9], 0).unwrap();
        let mut sums = AccuracySums::new(&spec);
        sums.scored = 2;
        sums.buckets[1] =
            BucketSums { points: 1, expert_errors: [1.0; EXPERTS], covered: vec![1], ..BucketSums::default() };
        sums.clear();
        assert_eq!(sums, AccuracySums::new(&spec));
    }
}
