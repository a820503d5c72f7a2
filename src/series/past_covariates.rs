//! Past covariates: numbers that arrive with the values of a series and are not forecast.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::covariate_history::CovariateHistory;
use super::feature_layout::PAST_COVARIATE_FEATURES;
use super::value_limit::{VALUE_LIMIT, is_within_limit};

/// Regressors of one past covariate at a step: its value, and its change over one season (over one step where there is
/// no season).
pub(crate) const PAST_COVARIATE_REGRESSORS: usize = 2;

/// The past covariates of one series.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PastCovariates {
    /// Readings of slots that are still open, ascending by slot.
    open: Vec<OpenMeans>,
    /// `[covariate]`
    histories: Vec<CovariateHistory>,
}

clone_in_place!(PastCovariates { open, histories });

/// The covariates of one open slot, `[covariate]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenMeans {
    slot: i64,
    means: Vec<RunningMean>,
}
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct RunningMean {
    mean: f64,
    readings: u32,
}

impl OpenMeans {
    /// The mean of one covariate, where it has a reading.
    fn mean(&self, covariate: usize) -> Option<f64> {
        self.means.get(covariate).filter(|mean| mean.readings > 0).map(|mean| mean.mean)
    }
}

impl PastCovariates {
    /// Adds the covariates that arrived with a reading of `slot`, in the order of the spec; NaN where one is missing.
    pub fn observe(&mut self, slot: i64, values: &[f64]) {
        let at = self.open.partition_point(|open| open.slot < slot);
        if self.open.get(at).is_none_or(|open| open.slot != slot) {
            self.open.insert(at, OpenMeans { slot, means: vec![RunningMean::default(); values.len()] });
        }
        for (RunningMean { mean, readings }, value) in self.open[at].means.iter_mut().zip(values) {
            if !value.is_nan() {
                *readings = readings.saturating_add(1);
                *mean += (value.clamp(-VALUE_LIMIT, VALUE_LIMIT) - *mean) / f64::from(*readings);
            }
        }
    }

    /// Discards the readings of open slots, so that a copy of the series that runs ahead does not use them.
    pub fn discard_open(&mut self) {
        self.open.clear();
    }

    /// Forgets the values when the series resets; the scales stay.
    pub fn reset(&mut self) {
        self.histories.iter_mut().for_each(CovariateHistory::reset);
    }

    /// Makes `slot` the newest step of `count` covariates. The context holds `length` steps; `window` is the time
    /// constant of the scales, in steps.
    pub fn update(&mut self, slot: i64, count: usize, length: usize, window: u32) {
        let upto = self.open.partition_point(|open| open.slot <= slot);
        let closed = self.open.drain(..upto).next_back().filter(|open| open.slot == slot);
        self.histories.resize_with(count, CovariateHistory::default);
        for (covariate, history) in self.histories.iter_mut().enumerate() {
            history.update(closed.as_ref().and_then(|open| open.mean(covariate)), length, window);
        }
    }

    /// Writes the features `[covariate][PAST_COVARIATE_FEATURES]` of the step `back` steps before the newest: the value
    /// in its own scale (the last value where it is missing) and whether it is present. 0 where nothing is known.
    pub fn write_features(&self, back: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (out, history) in out.chunks_exact_mut(PAST_COVARIATE_FEATURES).zip(&self.histories) {
            out[0] = history.scaled(back).unwrap_or(0.0);
            out[1] = f32::from(u8::from(history.is_present(back)));
        }
    }

    /// Writes the regressors `[covariate][PAST_COVARIATE_REGRESSORS]` of the step `ago` steps before the slot `next`,
    /// which follows the newest step. `lag` is the length of the change in steps. 0 where nothing is known.
    pub fn write_regressors(&self, next: i64, ago: usize, lag: usize, out: &mut [f32]) {
        out.fill(0.0);
        let open = self.open.iter().find(|open| open.slot == next).filter(|_| ago == 0);
        for (covariate, (out, history)) in
            out.chunks_exact_mut(PAST_COVARIATE_REGRESSORS).zip(&self.histories).enumerate()
        {
            let value = match open.and_then(|open| open.mean(covariate)) {
                Some(mean) => Some(history.in_scale(mean)),
                None => history.scaled(ago.saturating_sub(1)),
            };
            let Some(value) = value else { continue };
            out[0] = value;
            out[1] = history.scaled((ago + lag).saturating_sub(1)).map_or(0.0, |before| value - before);
        }
    }

    /// Whether decoded covariates are ones that a series can have.
    pub fn is_sound(&self) -> bool {
        let means = self.open.iter().flat_map(|open| &open.means);
        means.map(|mean| mean.mean).all(is_within_limit) && self.histories.iter().all(CovariateHistory::is_sound)
    }
    pub fn heap_bytes(&self) -> usize {
        let open = |open: &OpenMeans| open.means.capacity() * size_of::<RunningMean>();
        self.open.capacity() * size_of::<OpenMeans>()
            + self.open.iter().map(open).sum::<usize>()
            + self.histories.capacity() * size_of::<CovariateHistory>()
            + self.histories.iter().map(CovariateHistory::heap_bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 6;

    fn features(covariates: &PastCovariates, back: usize) -> [f32; 4] {
        let mut out = [9.0; 4];
        covariates.write_features(back, &mut out);
        out
    }

    #[test]
    fn readings_of_a_slot_are_averaged_and_gaps_repeat_the_last_value() {
        let mut covariates = PastCovariates::default();
        for (slot, value) in [(0, 10.0), (1, 14.0), (2, 12.0)] {
            covariates.observe(slot, &[value - 1.0, f64::NAN]);
            covariates.observe(slot, &[value + 1.0, f64::NAN]);
            covariates.observe(slot, &[f64::NAN, f64::NAN]);
            covariates.update(slot, 2, LENGTH, 128);
        }
        assert_eq!(covariates.histories[0].last_value, Some(12.0));
        assert!(covariates.histories[0].scale.location() == 12.0 && covariates.open.is_empty());
        assert_eq!(features(&covariates, 0), [0.0, 1.0, 0.0, 0.0]);
        let one_back = features(&covariates, 1);
        assert!(one_back[0] > 0.5 && one_back[1] == 1.0, "{one_back:?}");
        covariates.update(3, 2, LENGTH, 128);
        covariates.update(4, 2, LENGTH, 128);
        assert_eq!(features(&covariates, 0), [0.0, 0.0, 0.0, 0.0], "the last value, and that it is missing");
        assert_eq!(features(&covariates, 3), one_back);
        covariates.reset();
        assert_eq!(features(&covariates, 3), [0.0; 4]);
    }

    #[test]
    fn regressors_hold_the_value_and_its_change() {
        let mut covariates = PastCovariates::default();
        for (slot, value) in [5.0, 9.0, 7.0, 11.0].into_iter().enumerate() {
            covariates.observe(slot as i64, &[value]);
            covariates.update(slot as i64, 1, LENGTH, 128);
        }
        let (mut now, mut before) = ([0.0; 2], [0.0; 2]);
        covariates.write_regressors(4, 1, 2, &mut now);
        covariates.write_regressors(4, 3, 2, &mut before);
        assert!((now[1] - (now[0] - before[0])).abs() < 1e-6 && now[0] > before[0], "{now:?} {before:?}");
        assert_eq!(before[1], 0.0, "nothing is known of so long ago");
        // The next slot is visible before it closes, and only at its own step.
        let (mut next, mut repeated) = ([0.0; 2], [0.0; 2]);
        covariates.write_regressors(4, 0, 2, &mut repeated);
        assert_eq!(repeated[0], now[0], "the last value");
        covariates.observe(4, &[15.0]);
        covariates.write_regressors(4, 0, 2, &mut next);
        assert!(next[0] > now[0], "{next:?} {now:?}");
        covariates.write_regressors(4, 1, 2, &mut repeated);
        assert_eq!(repeated, now);
    }

    #[test]
    fn readings_of_open_slots_wait_until_the_slot_closes() {
        let mut covariates = PastCovariates::default();
        covariates.observe(2, &[1.0]);
        covariates.observe(1, &[3.0]);
        covariates.update(0, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.histories[0].last_value), (2, None));
        let mut copy = covariates.clone();
        copy.discard_open();
        copy.update(1, 1, LENGTH, 128);
        assert_eq!(copy.histories[0].last_value, None);
        covariates.update(1, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.histories[0].last_value), (1, Some(3.0)));
        covariates.update(5, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.histories[0].last_value), (0, Some(3.0)), "slot 2 never closed");
    }
}
