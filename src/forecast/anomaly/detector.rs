//! The anomaly detector: how rare a value is, and whether the series is anomalous.

use serde::{Deserialize, Serialize};

use super::error_window::ErrorWindow;
use super::forecast_tail::ForecastTail;
use super::peaks_over_threshold::PeaksOverThreshold;
use super::spike::SpikeDetector;
use super::thresholds::{AnomalyScore, AnomalyThresholds};
use crate::forecast::numeric::clamp_to_f32;
use crate::forecast::spec::ForecastSpec;
use crate::series::clone_in_place;

/// Number of newest one-step errors whose mean is tested.
const NEAR_ERRORS: usize = 12;
/// The longest lead whose errors are tested, in steps; the mean runs over as many errors.
const MAX_FAR_LEAD: usize = 24;
/// How many independent tests the three of each value are worth: the newest error, the mean of the newest ones, and
/// the mean of those of a longer lead.
const TESTS: f32 = 2.5;
/// From this score on, earlier errors say how rare a value is; below it, the quantiles of its forecast.
const MIN_RARE_SCORE: f32 = 0.99;
/// Steps after an alarm, in which no mean is rare, before a mean begins another one: until then it may hold the same
/// errors.
const SETTLED_AFTER: u16 = 48;
/// A mean of more than this probability is not rare.
const ORDINARY_PROBABILITY: f32 = 0.01;
/// Steps after which an earlier score no longer makes a lower one old news.
const REPEAT_AFTER: u16 = 64;

/// Scores each value by the errors of its forecasts.
///
/// Three tests compare the newest error, the mean of the newest errors and the mean of the errors of a longer lead with
/// all earlier ones, over weeks. The quantiles of a forecast, which follow the volatility of the day, score ordinary
/// values.
///
/// What has been told is not told again: after an alarm only a new error begins another one, until the means have
/// settled. And the mean of a longer lead, which still holds forecasts from before, does not prolong an alarm: a shift
/// of the level is over once the newest forecasts are right again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnomalyDetector {
    tail: ForecastTail,
    near_errors: ErrorWindow,
    far_errors: ErrorWindow,
    spikes: SpikeDetector,
    near_means: PeaksOverThreshold,
    far_means: PeaksOverThreshold,
    /// Steps until the means count again.
    settled_in: u16,
    /// The highest score of the last [`REPEAT_AFTER`] steps, and how many of these are left.
    recent_peak: f32,
    repeat_in: u16,
    anomalous: bool,
    /// Values in a row below the end threshold.
    values_below_end: u32,
}

clone_in_place!(AnomalyDetector {
    tail,
    near_errors,
    far_errors,
    spikes,
    near_means,
    far_means,
    settled_in,
    recent_peak,
    repeat_in,
    anomalous,
    values_below_end
});

/// Errors of the forecasts for one value, in the unit of the values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForecastErrors {
    /// Of the newest forecast.
    pub newest: f64,
    /// Of the forecast made at the end of [`far_bucket`].
    pub far: Option<f64>,
}

impl AnomalyDetector {
    pub fn new(spec: &ForecastSpec) -> Self {
        Self {
            tail: ForecastTail::new(),
            near_errors: ErrorWindow::new(NEAR_ERRORS),
            far_errors: ErrorWindow::new(far_lead(spec)),
            spikes: SpikeDetector::default(),
            near_means: PeaksOverThreshold::default(),
            far_means: PeaksOverThreshold::default(),
            settled_in: 0,
            recent_peak: 0.0,
            repeat_in: 0,
            anomalous: false,
            values_below_end: 0,
        }
    }

    /// The tail beyond the outermost quantiles of a forecast.
    pub fn tail(&self) -> &ForecastTail {
        &self.tail
    }

    /// Which values are spikes.
    pub fn spikes(&self) -> &SpikeDetector {
        &self.spikes
    }

    /// Scores a value by the errors of its forecasts and by `score_under_forecast` ([`ForecastTail::score`]).
    pub fn score(
        &mut self,
        spec: &ForecastSpec,
        errors: ForecastErrors,
        score_under_forecast: impl FnOnce(&mut ForecastTail) -> f32,
    ) -> AnomalyScore {
        self.near_errors.push(clamp_to_f32(errors.newest));
        errors.far.into_iter().for_each(|error| self.far_errors.push(clamp_to_f32(error)));
        let newest = self.spikes.update(errors.newest);
        let near = self.near_errors.mean().map_or(1.0, |mean| self.near_means.update(mean.abs()));
        let far = self.far_errors.mean().map_or(1.0, |mean| self.far_means.update(mean.abs()));
        let rarest = match self.settled_in {
            0 => newest.min(near).min(far),
            _ if self.anomalous => newest.min(near),
            _ => newest,
        };
        if near.min(far) > ORDINARY_PROBABILITY {
            self.settled_in = self.settled_in.saturating_sub(1);
        }
        let outermost = spec.levels[0].max(1.0 - spec.levels[spec.levels.len() - 1]);
        let ordinary = score_under_forecast(&mut self.tail).min(1.0 - 2.0 * outermost.min(0.5));
        let rare = 1.0 - TESTS * rarest;
        let score = self.judge(spec, if rare >= MIN_RARE_SCORE { rare } else { ordinary });
        if score.anomalous {
            self.settled_in = SETTLED_AFTER;
        }
        score
    }

    /// Whether the series is anomalous with this score of its newest value.
    pub fn judge(&mut self, spec: &ForecastSpec, score: f32) -> AnomalyScore {
        AnomalyScore { score, anomalous: self.update_anomalous(spec.anomaly, score), is_new: self.update_is_new(score) }
    }

    /// Whether it has the shape that `spec` needs, and valid values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        self.near_errors.len() == NEAR_ERRORS
            && self.far_errors.len() == far_lead(spec)
            && self.tail.is_sound()
            && self.near_errors.is_sound()
            && self.far_errors.is_sound()
            && self.spikes.is_sound()
            && self.near_means.is_sound()
            && self.far_means.is_sound()
            && self.recent_peak.is_finite()
    }

    pub fn heap_bytes(&self) -> usize {
        self.near_errors.heap_bytes() + self.far_errors.heap_bytes()
    }

    fn update_anomalous(&mut self, thresholds: AnomalyThresholds, score: f32) -> bool {
        self.values_below_end = if score < thresholds.end { self.values_below_end.saturating_add(1) } else { 0 };
        self.anomalous = score >= thresholds.start || self.anomalous && self.values_below_end < thresholds.clear_after;
        self.anomalous
    }

    fn update_is_new(&mut self, score: f32) -> bool {
        self.repeat_in = self.repeat_in.saturating_sub(1);
        if self.repeat_in == 0 {
            self.recent_peak = 0.0;
        }
        let is_new = score > self.recent_peak;
        if is_new {
            (self.recent_peak, self.repeat_in) = (score, REPEAT_AFTER);
        }
        is_new
    }
}

/// The bucket whose end is the longer lead that is tested beside the newest error.
pub(crate) fn far_bucket(spec: &ForecastSpec) -> Option<usize> {
    (1..spec.buckets.len()).rev().find(|bucket| spec.buckets[*bucket] <= MAX_FAR_LEAD)
}

fn far_lead(spec: &ForecastSpec) -> usize {
    far_bucket(spec).map_or(0, |bucket| spec.buckets[bucket])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each score makes its series anomalous, and whether it is new.
    fn labels(scores: &[f32]) -> (Vec<bool>, Vec<bool>) {
        let spec = ForecastSpec::new(24, &[0.05, 0.5, 0.95], 0).unwrap();
        let mut detector = AnomalyDetector::new(&spec);
        scores
            .iter()
            .map(|score| (detector.update_anomalous(spec.anomaly, *score), detector.update_is_new(*score)))
            .unzip()
    }

    #[test]
    fn an_anomaly_lasts_until_a_few_values_in_a_row_score_low() {
        let scores = [0.5, 0.995, 0.9995, 0.5, 0.995, 0.5, 0.5, 0.5, 0.995];
        assert_eq!(labels(&scores).0, [false, false, true, true, true, true, true, false, false]);
    }

    #[test]
    fn an_anomaly_is_new_once_and_again_when_it_gets_worse_or_long_after() {
        let mut scores = vec![0.9; 200];
        (scores[10], scores[20], scores[30], scores[150]) = (0.999, 0.9995, 0.999, 0.999);
        let new: Vec<usize> =
            labels(&scores).1.into_iter().enumerate().filter(|(_, is_new)| *is_new).map(|(at, _)| at).collect();
        assert_eq!(new, [0, 10, 20, 84, 148, 150]);
    }

    #[test]
    fn a_shift_that_no_single_error_shows_is_detected_in_their_mean() {
        let spec = ForecastSpec::new(24, &[0.05, 0.5, 0.95], 0).unwrap();
        let mut detector = AnomalyDetector::new(&spec);
        let noise = |step: u32| f64::from(step.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24) - 0.5;
        let mut score =
            |error: f64| detector.score(&spec, ForecastErrors { newest: error, far: Some(error) }, |_| 0.5).score;
        assert!((0..3000).map(|step| score(noise(step))).filter(|score| *score >= 0.999).count() < 12);
        let shifted: Vec<f32> = (3000..3030).map(|step| score(noise(step) * 0.5 + 0.25)).collect();
        assert!(shifted[0] < 0.99 && shifted.iter().any(|score| *score > 0.999), "{shifted:?}");
    }
}
