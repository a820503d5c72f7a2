//! How unusual a value is, and whether that is news.

use serde::{Deserialize, Serialize};

use super::experts::all_finite;
use super::rarity::Rarity;
use super::ring::after;
use super::spec::ForecastSpec;
use super::tail::Tail;
use crate::series::clone_in_place;

/// Newest errors whose mean is one of the views.
const NEAR: usize = 12;
/// The longest lead that is looked at, and so many errors of it.
const FAR: usize = 24;
/// Ways to look at the errors.
const VIEWS: usize = 3;
/// From this score on the past says how rare a value is, below it the forecast's own quantiles.
const RARE: f32 = 0.99;
/// A newest error that is rarer is a spike, as long as what follows does not confirm it.
const SPIKE: f32 = 1e-4;
/// What follows a spike is nearer to what came before it by this factor.
const BACK: f64 = 0.25;
/// So many steps an anomaly is no news, unless it gets worse.
const REST: u16 = 64;
/// Errors are held to this size, in the values' own unit.
const FARTHEST: f64 = 1e30;

/// When a series is called anomalous.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnomalyThresholds {
    /// From this score on, until ...
    pub start: f32,
    /// ... the score has been below this one ...
    pub end: f32,
    /// ... for so many values in a row.
    pub clear_after: u32,
}

impl Default for AnomalyThresholds {
    fn default() -> Self {
        Self { start: 0.999, end: 0.99, clear_after: 3 }
    }
}

/// What is said of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anomaly {
    /// In `0..=1`, see [`ForecastState::mature`](super::ForecastState::mature).
    pub score: f32,
    /// Whether the series is in an anomaly, by [`AnomalyThresholds`].
    pub anomalous: bool,
    /// Whether nothing so unusual came in the last while: an operator who was told of an anomaly is not told again unless
    /// it gets worse.
    pub is_new: bool,
}

/// Judges each value by the error of its forecasts: the newest error, the mean of the newest few, and the mean of those of a
/// longer lead. Each is held against all that came before it, over weeks; a forecast's own quantiles, which follow
/// the unrest of the day, say what is usual.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Detector {
    tail: Tail,
    near: Window,
    far: Window,
    views: [Rarity; VIEWS],
    /// The highest score of the anomaly that is no news, and for how long it is none.
    told: f32,
    rest: u16,
    anomalous: bool,
    calm: u32,
    /// Whether the newest value is a spike, for all that is known.
    spike: bool,
}

clone_in_place!(Detector { tail, near, far, views, told, rest, anomalous, calm, spike });

impl Detector {
    pub fn new(spec: &ForecastSpec) -> Self {
        Self {
            tail: Tail::new(),
            near: Window::new(NEAR),
            far: Window::new(far_lead(spec)),
            views: std::array::from_fn(|_| Rarity::default()),
            told: 0.0,
            rest: 0,
            anomalous: false,
            calm: 0,
            spike: false,
        }
    }

    /// What is known of forecasts' tails.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Judges a value by the `error` of the newest forecast for it and of that at [`far_bucket`], in the value's unit, and by
    /// what the newest forecast's quantiles say (see [`Tail::score`]).
    pub fn judge(
        &mut self,
        spec: &ForecastSpec,
        error: f64,
        far: Option<f64>,
        predictive: impl FnOnce(&mut Tail) -> f32,
    ) -> Anomaly {
        self.near.push(held(error));
        far.into_iter().for_each(|error| self.far.push(held(error)));
        let [newest, near, far] = &mut self.views;
        let mut rarest = newest.take(held(error).abs());
        self.spike = rarest <= SPIKE;
        for (view, window) in [(near, &self.near), (far, &self.far)] {
            rarest = window.mean().map_or(rarest, |mean| rarest.min(view.take(mean.abs())));
        }
        let outermost = spec.levels[0].max(1.0 - spec.levels[spec.levels.len() - 1]);
        let usual = predictive(&mut self.tail).min(1.0 - 2.0 * outermost.min(0.5));
        let rare = 1.0 - VIEWS as f32 * rarest;
        let score = if rare >= RARE { rare } else { usual };
        Anomaly { score, anomalous: self.label(spec.anomaly, score), is_new: self.is_news(score) }
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        self.near.errors.len() == NEAR && self.far.errors.len() == far_lead(spec)
    }

    /// Whether its places lie within its windows and its numbers can be reckoned with: it may come from outside.
    pub fn is_sound(&self) -> bool {
        self.tail.is_sound()
            && [&self.near, &self.far].into_iter().all(Window::is_sound)
            && self.views.iter().all(Rarity::is_sound)
            && self.told.is_finite()
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.near.errors.capacity() + self.far.errors.capacity()) * size_of::<f32>()
    }

    /// Whether the newest value is taken for a spike.
    pub fn is_spike(&self) -> bool {
        self.spike
    }

    /// Whether the newest value was a spike: the `coming` one is back where the one before was.
    pub fn spike_is_over(&self, before: Option<f64>, newest: Option<f64>, coming: Option<f64>) -> bool {
        match (before, newest, coming) {
            (Some(before), Some(newest), Some(coming)) if self.spike => {
                (coming - before).abs() <= BACK * (newest - before).abs()
            }
            _ => false,
        }
    }

    fn label(&mut self, alarm: AnomalyThresholds, score: f32) -> bool {
        self.calm = if score < alarm.end { self.calm.saturating_add(1) } else { 0 };
        self.anomalous = score >= alarm.start || self.anomalous && self.calm < alarm.clear_after;
        self.anomalous
    }

    fn is_news(&mut self, score: f32) -> bool {
        self.rest = self.rest.saturating_sub(1);
        if self.rest == 0 {
            self.told = 0.0;
        }
        let news = score > self.told;
        if news {
            (self.told, self.rest) = (score, REST);
        }
        news
    }
}

/// The bucket at whose end errors are looked at beside the newest: the longest up to [`FAR`].
pub(super) fn far_bucket(spec: &ForecastSpec) -> Option<usize> {
    (1..spec.buckets.len()).rev().find(|bucket| spec.buckets[*bucket] <= FAR)
}

fn far_lead(spec: &ForecastSpec) -> usize {
    far_bucket(spec).map_or(0, |bucket| spec.buckets[bucket])
}

fn held(error: f64) -> f32 {
    error.clamp(-FARTHEST, FARTHEST) as f32
}

/// The newest errors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Window {
    errors: Vec<f32>,
    now: u16,
    full: bool,
}

clone_in_place!(Window { errors, now, full });

impl Window {
    fn new(length: usize) -> Self {
        Self { errors: vec![0.0; length], now: 0, full: false }
    }

    fn push(&mut self, error: f32) {
        self.errors[usize::from(self.now)] = error;
        self.now = after(self.now, self.errors.len());
        self.full |= self.now == 0;
    }

    fn is_sound(&self) -> bool {
        let length = self.errors.len();
        let place = if length == 0 { !self.full } else { usize::from(self.now) < length };
        place && all_finite(&self.errors)
    }

    /// Their mean, once there are enough.
    fn mean(&self) -> Option<f32> {
        self.full.then(|| self.errors.iter().sum::<f32>() / self.errors.len() as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(scores: &[f32]) -> (Detector, Vec<(bool, bool)>) {
        let spec = ForecastSpec::new(24, &[0.05, 0.5, 0.95], 0).unwrap();
        let mut detector = Detector::new(&spec);
        let told =
            scores.iter().map(|score| (detector.label(spec.anomaly, *score), detector.is_news(*score))).collect();
        (detector, told)
    }

    #[test]
    fn an_anomaly_lasts_until_a_few_values_in_a_row_are_calm() {
        let scores = [0.5, 0.995, 0.9995, 0.5, 0.995, 0.5, 0.5, 0.5, 0.995];
        let anomalous: Vec<bool> = detector(&scores).1.into_iter().map(|(anomalous, _)| anomalous).collect();
        assert_eq!(anomalous, [false, false, true, true, true, true, true, false, false]);
    }

    #[test]
    fn an_anomaly_is_news_once_and_again_when_it_gets_worse_or_long_after() {
        let mut scores = vec![0.9; 200];
        (scores[10], scores[20], scores[30], scores[150]) = (0.999, 0.9995, 0.999, 0.999);
        let news: Vec<usize> =
            detector(&scores).1.into_iter().enumerate().filter(|(_, (_, news))| *news).map(|(at, _)| at).collect();
        assert_eq!(news, [0, 10, 20, 84, 148, 150]);
    }

    #[test]
    fn a_shift_that_no_single_error_shows_is_seen_in_their_mean() {
        let spec = ForecastSpec::new(24, &[0.05, 0.5, 0.95], 0).unwrap();
        let mut detector = Detector::new(&spec);
        let noise = |step: u32| f64::from(step.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24) - 0.5;
        let mut judge = |error: f64| detector.judge(&spec, error, Some(error), |_| 0.5).score;
        assert!((0..3000).map(|step| judge(noise(step))).filter(|score| *score >= 0.999).count() < 12);
        let shifted: Vec<f32> = (3000..3030).map(|step| judge(noise(step) * 0.5 + 0.25)).collect();
        assert!(shifted[0] < 0.99 && shifted.iter().any(|score| *score > 0.999), "{shifted:?}");
    }
}
