//! A test for lasting drift of forecast accuracy.

use super::sums::AccuracySums;

/// Scored forecasts whose mean error makes up one sample.
const FORECASTS_PER_SAMPLE: u64 = 500;
/// Samples before mean and variance are trusted.
const MIN_SAMPLES: u32 = 30;
/// Memory of mean and variance, in samples.
const MEMORY_SAMPLES: u32 = 500;
/// A sample adds to the sum only beyond this many standard deviations above the mean.
const TOLERANCE: f64 = 0.5;
/// The sum, in standard deviations, at which drift is reported.
const THRESHOLD: f64 = 20.0;
/// One sample counts for at most this many standard deviations.
const MAX_DEVIATIONS: f64 = 5.0;
/// The least standard deviation of log errors; a smoother series would report drift of a few percent.
const MIN_STANDARD_DEVIATION: f64 = 0.02;

/// Detects when forecast errors have grown for so long that chance does not explain it.
///
/// This is Page's cumulative-sum test (Biometrika 1954) in Hinkley's form, on logarithms of mean errors. After a
/// detection it starts over; the caller decides what to do about the drift.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftDetector {
    forecasts: u64,
    errors: f64,
    samples: u32,
    mean: f64,
    variance: f64,
    cumulative_sum: f64,
}

impl DriftDetector {
    /// Adds newly scored forecasts; returns whether drift is detected.
    pub fn update(&mut self, sums: &AccuracySums) -> bool {
        self.forecasts += sums.buckets.iter().map(|bucket| bucket.points).sum::<u64>();
        self.errors += sums.buckets.iter().map(|bucket| bucket.absolute_error).sum::<f64>();
        if self.forecasts < FORECASTS_PER_SAMPLE {
            return false;
        }
        let sample = (self.errors / self.forecasts as f64).max(1e-12).ln();
        (self.forecasts, self.errors) = (0, 0.0);
        self.test(sample)
    }

    fn test(&mut self, sample: f64) -> bool {
        self.samples = self.samples.saturating_add(1);
        let deviation = sample - self.mean;
        if self.samples > MIN_SAMPLES {
            let deviations =
                (deviation / self.variance.sqrt().max(MIN_STANDARD_DEVIATION)).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS);
            self.cumulative_sum = (self.cumulative_sum + deviations - TOLERANCE).max(0.0);
            if self.cumulative_sum > THRESHOLD {
                *self = Self::default();
                return true;
            }
        }
        let weight = 1.0 / f64::from(self.samples.min(MEMORY_SAMPLES));
        self.mean += weight * deviation;
        self.variance += weight * (deviation * (sample - self.mean) - self.variance);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::ForecastSpec;

    /// The samples at which drift is detected, of errors with noise and a daily rhythm that grow by `factor` at sample
    /// 1000.
    fn detections(factor: f64) -> Vec<u32> {
        let spec = ForecastSpec::new(1, &[0.5], 0).unwrap();
        let (mut drift, mut sums) = (DriftDetector::default(), AccuracySums::new(&spec));
        let noise = |step: u32| f64::from(step.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
        let sample = |step: u32| {
            let day = 1.0 + 0.3 * (f64::from(step) / 24.0 * std::f64::consts::TAU).sin();
            day * (0.8 + 0.4 * noise(step)) * if step < 1000 { 1.0 } else { factor }
        };
        let mut is_drift = |step: u32| {
            sums.buckets[0].points = FORECASTS_PER_SAMPLE;
            sums.buckets[0].absolute_error = sample(step) * FORECASTS_PER_SAMPLE as f64;
            drift.update(&sums)
        };
        (0..2000).filter(|step| is_drift(*step)).collect()
    }

    #[test]
    fn a_lasting_rise_is_detected_once_and_a_rhythm_is_not() {
        assert!(detections(1.0).is_empty());
        let rise = detections(1.6);
        assert!(rise.len() == 1 && (1005..1100).contains(&rise[0]), "{rise:?}");
        assert!(detections(0.5).is_empty(), "better is no drift");
    }

    #[test]
    fn a_sample_waits_for_enough_forecasts() {
        let spec = ForecastSpec::new(1, &[0.5], 0).unwrap();
        let (mut drift, mut sums) = (DriftDetector::default(), AccuracySums::new(&spec));
        (sums.buckets[0].points, sums.buckets[0].absolute_error) = (FORECASTS_PER_SAMPLE / 2, 1.0);
        assert!(!drift.update(&sums) && drift.samples == 0);
        assert!(!drift.update(&sums) && drift.samples == 1);
    }
}
