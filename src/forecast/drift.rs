//! Whether the forecasts have become lastingly worse.

use super::facts::AccuracySums;

/// Matured forecasts whose mean error makes up one sample.
const SAMPLE: u64 = 500;
/// Samples from which their mean and deviation are known.
const KNOWN_FROM: u32 = 30;
/// Memory of these, in samples.
const MEMORY: u32 = 500;
/// A sample must be worse than the mean by so many deviations to count ...
const TOLERANCE: f64 = 0.5;
/// ... and so many must have been gathered.
const THRESHOLD: f64 = 20.0;
/// One sample counts for at most so many deviations.
const CLIP: f64 = 5.0;

/// Page's test (Biometrika 1954) in the form of Hinkley, on mean errors of matured forecasts relative to one another: it tells
/// when they have been larger than usual for so long that chance does not explain it. What is learnt from that is up to the
/// caller; the test then begins anew.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drift {
    forecasts: u64,
    errors: f64,
    samples: u32,
    mean: f64,
    variance: f64,
    gathered: f64,
}

impl Drift {
    /// Takes in what matured; returns whether the errors have become lastingly larger.
    pub fn update(&mut self, facts: &AccuracySums) -> bool {
        self.forecasts += facts.buckets.iter().map(|bucket| bucket.points).sum::<u64>();
        self.errors += facts.buckets.iter().map(|bucket| bucket.absolute_error).sum::<f64>();
        if self.forecasts < SAMPLE {
            return false;
        }
        let sample = (self.errors / self.forecasts as f64).max(1e-12).ln();
        (self.forecasts, self.errors) = (0, 0.0);
        self.judge(sample)
    }

    fn judge(&mut self, sample: f64) -> bool {
        self.samples = self.samples.saturating_add(1);
        let apart = sample - self.mean;
        if self.samples > KNOWN_FROM {
            let deviations = (apart / self.variance.sqrt().max(0.02)).clamp(-CLIP, CLIP);
            self.gathered = (self.gathered + deviations - TOLERANCE).max(0.0);
            if self.gathered > THRESHOLD {
                *self = Self::default();
                return true;
            }
        }
        let weight = 1.0 / f64::from(self.samples.min(MEMORY));
        self.mean += weight * apart;
        self.variance += weight * (apart * (sample - self.mean) - self.variance);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::ForecastSpec;

    /// The samples at which a drift is told, of errors with noise and a daily rhythm, `factor` times as large from sample
    /// 1000 on.
    fn told(factor: f64) -> Vec<u32> {
        let spec = ForecastSpec::new(1, &[0.5], 0).unwrap();
        let (mut drift, mut facts) = (Drift::default(), AccuracySums::new(&spec));
        let noise = |step: u32| f64::from(step.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
        let sample = |step: u32| {
            let day = 1.0 + 0.3 * (f64::from(step) / 24.0 * std::f64::consts::TAU).sin();
            day * (0.8 + 0.4 * noise(step)) * if step < 1000 { 1.0 } else { factor }
        };
        let mut of = |step: u32| {
            facts.buckets[0].points = SAMPLE;
            facts.buckets[0].absolute_error = sample(step) * SAMPLE as f64;
            drift.update(&facts)
        };
        (0..2000).filter(|step| of(*step)).collect()
    }

    #[test]
    fn a_lasting_rise_is_told_once_and_a_rhythm_is_not() {
        assert!(told(1.0).is_empty());
        let rise = told(1.6);
        assert!(rise.len() == 1 && (1005..1100).contains(&rise[0]), "{rise:?}");
        assert!(told(0.5).is_empty(), "better is no drift");
    }

    #[test]
    fn few_forecasts_wait_for_more() {
        let spec = ForecastSpec::new(1, &[0.5], 0).unwrap();
        let (mut drift, mut facts) = (Drift::default(), AccuracySums::new(&spec));
        (facts.buckets[0].points, facts.buckets[0].absolute_error) = (SAMPLE / 2, 1.0);
        assert!(!drift.update(&facts) && drift.samples == 0);
        assert!(!drift.update(&facts) && drift.samples == 1);
    }
}
