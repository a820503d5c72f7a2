//! What happened, for the shell to count.

use super::experts::EXPERTS;
use super::spec::ForecastSpec;

/// Sums over matured forecasts, per bucket of leads. Errors are in units of their series' own scale, held to 20 of them, so that they add up
/// over series of any size; ratios of them are what tells: `foretide / last` below 1 is better than the last value.
#[derive(Debug, Clone, PartialEq)]
pub struct AccuracySums {
    /// One per bucket of the [`ForecastSpec`].
    pub buckets: Vec<BucketSums>,
    /// Values that got an anomaly score.
    pub scored: u64,
    /// Of these, scores of 0.99 and more; well calibrated, one in a hundred.
    pub anomalous: u64,
}

/// Sums over the matured forecasts of one bucket.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BucketSums {
    /// Point forecasts that matured, at the bucket's middle.
    pub points: u64,
    /// Sum of the absolute errors of the median.
    pub absolute_error: f64,
    /// Sum of the squared errors of the mean.
    pub squared_error: f64,
    /// Sum of the absolute errors of each expert for the same targets, in the order of [`Expert`](super::Expert).
    pub expert_errors: [f64; EXPERTS],
    /// Sum of the weight that each expert had when the forecast matured.
    pub expert_weights: [f64; EXPERTS],
    /// Quantile forecasts that matured, at the bucket's end.
    pub intervals: u64,
    /// Sum of the pinball losses over all levels (mean over the levels per forecast).
    pub pinball: f64,
    /// How many targets each central interval held, in the order of [`ForecastSpec::intervals`].
    pub covered: Vec<u64>,
}

impl AccuracySums {
    /// Empty sums.
    pub fn new(spec: &ForecastSpec) -> Self {
        let bucket = BucketSums { covered: vec![0; spec.intervals().count()], ..BucketSums::default() };
        Self { buckets: vec![bucket; spec.buckets.len()], scored: 0, anomalous: 0 }
    }

    /// Adds what `other` holds; both are of the same [`ForecastSpec`].
    pub fn merge(&mut self, other: &Self) {
        self.scored += other.scored;
        self.anomalous += other.anomalous;
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            mine.merge(theirs);
        }
    }

    /// Back to empty sums, keeping the memory.
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

impl BucketSums {
    fn merge(&mut self, other: &Self) {
        self.points += other.points;
        self.absolute_error += other.absolute_error;
        self.squared_error += other.squared_error;
        self.intervals += other.intervals;
        self.pinball += other.pinball;
        for expert in 0..EXPERTS {
            self.expert_errors[expert] += other.expert_errors[expert];
            self.expert_weights[expert] += other.expert_weights[expert];
        }
        for (mine, theirs) in self.covered.iter_mut().zip(&other.covered) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_add_up_and_clear() {
        let spec = ForecastSpec::new(3, &[0.1, 0.5, 0.9], 0).unwrap();
        let mut one = AccuracySums::new(&spec);
        one.scored = 2;
        one.buckets[1] = BucketSums {
            points: 1,
            expert_errors: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            covered: vec![1],
            ..one.buckets[1].clone()
        };
        let mut sum = one.clone();
        sum.merge(&one);
        assert_eq!((sum.scored, sum.buckets[1].points, sum.buckets[1].expert_errors[2]), (4, 2, 6.0));
        assert_eq!(sum.buckets[1].covered, [2]);
        sum.clear();
        assert_eq!(sum, AccuracySums::new(&spec));
    }
}
