//! The history that all experts of a series share.

use serde::{Deserialize, Serialize};

use super::exponential_averages::Averages;
use super::residuals::{MeanUpdate, Residuals};
use super::seasonal_profile::{Baseline, ProfileValue, SeasonalProfile};
use crate::forecast::experts::expert::LINEAR_EXPERTS;
use crate::forecast::numeric::{all_finite, clamp_to_f32, scaled_by};
use crate::forecast::ring::{index_before, next_index};
use crate::forecast::spec::ForecastSpec;
use crate::series::{ClosedSlot, Correction, clone_in_place, is_within_limit};

/// Number of newest differences that a linear expert looks at.
pub(in crate::forecast) const LAGS: usize = 11;
/// Values from which running figures are trusted.
pub(in crate::forecast) const MIN_VALUES: u32 = 50;
/// A regressor, a target or a deviation from a running mean counts for at most this many units.
pub(in crate::forecast) const MAX_UNITS: f32 = 10.0;
/// The seasonal profile learns from a value as if it deviated by at most this many units.
const MAX_PROFILE_UNITS: f32 = 6.0;
/// Which of the running means of residuals is the present level (see `MEMORIES`).
const EXPECTED_LEVEL: usize = 1;
/// Memory of the mean, the unit and the level, in values.
const LONG_MEMORY: u32 = 2000;
/// A series is at rest while it moves by at most this many units a step ...
const REST_UNITS: f32 = 1e-3;
/// ... and such a step counts for the unit by this part of another one.
const REST_WEIGHT: f32 = 0.05;
/// Where the second step is smaller than this part of the first, the first value says nothing of the unit.
const FIRST_JUMP: f32 = 0.01;
/// The reference follows the mean where that is further away than this many units, so that `f32` stays precise.
const MAX_OFFSET_UNITS: f32 = 1024.0;

/// The baselines of the linear experts, in their order; without a season the first is alone.
pub(in crate::forecast) const BASELINES: [Baseline; LINEAR_EXPERTS] =
    [Baseline::Zero, Baseline::Season, Baseline::Week];

/// The newest values of a series, its seasonal profile, and the residuals and running means relative to each baseline.
///
/// All values are deviations from a reference, so that `f32` is precise enough: the first value, and where the series
/// has gone far from it, the mean of that time.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::forecast) struct History {
    reference: f64,
    /// Long-term mean absolute deviation from the mean: the unit of regressors and targets.
    unit: f32,
    mean: f32,
    /// Number of values that moved.
    moved: u32,
    /// Number of values; neither empty steps nor spikes count.
    count: u32,
    /// Steps that a forecast looks further ahead than its lead says: after a gap its empty steps, halved by each value.
    /// During the gap twice as many, since its end halves them, too.
    uncertain_steps: u16,
    /// Index of the newest step in all rings.
    now: u16,
    /// Ring of the values; in an empty step what the baseline expects, or the value before it where there is none.
    values: Vec<f32>,
    profile: SeasonalProfile,
    /// In the order of [`BASELINES`].
    residuals: Vec<Residuals>,
}

clone_in_place!(History { reference, unit, mean, moved, count, uncertain_steps, now, values, profile, residuals });

impl History {
    pub fn new(spec: &ForecastSpec) -> Self {
        let length = ring_length(spec);
        let baselines = &BASELINES[..spec.active_linear_experts()];
        Self {
            reference: 0.0,
            unit: 0.0,
            mean: 0.0,
            moved: 0,
            count: 0,
            uncertain_steps: 0,
            now: 0,
            values: vec![0.0; length],
            profile: SeasonalProfile::new(spec.cycle()),
            residuals: baselines.iter().map(|baseline| Residuals::new(*baseline, length)).collect(),
        }
    }

    /// Appends the step of a closed slot to the rings. [`Self::add_value`] learns from its value, unless that is a
    /// spike. Returns false, and appends nothing, before the first value.
    pub fn append(&mut self, spec: &ForecastSpec, slot: &ClosedSlot, is_spike: bool) -> bool {
        if self.count == 0 {
            let Some(value) = slot.value else { return false };
            self.reference = value;
        }
        let last = usize::from(self.now);
        self.now = next_index(self.now, self.values.len());
        let now = usize::from(self.now);
        let expected = self.expected_after(spec, slot.slot, |residuals| residuals.residuals[last]);
        let expected = expected.unwrap_or(self.values[last]);
        self.values[now] = slot.value.map_or(expected, |value| self.relative(value));
        for (residuals, baseline) in self.residuals.iter_mut().zip(BASELINES) {
            let value = self.profile.at(spec.cycle(), baseline, slot.slot);
            residuals.baselines.get_mut(now).into_iter().for_each(|baseline| *baseline = value);
            // Forecasts start from a spike, but nothing learns from it.
            let is_new = is_spike && slot.value.is_some() || baseline == Baseline::Zero;
            residuals.residuals[now] = if is_new { self.values[now] - value } else { residuals.residuals[last] };
            residuals.averages[now] = residuals.averages[last];
        }
        self.uncertain_steps = match slot.value {
            Some(_) => self.uncertain_steps / 2,
            None => self.uncertain_steps.saturating_add(2).min(most_uncertain_steps(spec)),
        };
        true
    }

    /// After a gap that was too long to bridge: what was learnt still holds, but nothing is known of the level.
    pub fn reset(&mut self, spec: &ForecastSpec) {
        self.uncertain_steps = most_uncertain_steps(spec);
    }

    /// What the seasonal profile expects in a slot at the present level, relative to the reference; `None` where the
    /// whole season is not known yet.
    pub fn expected(&self, spec: &ForecastSpec, slot: i64) -> Option<f32> {
        self.expected_after(spec, slot, |residuals| residuals.averages[usize::from(self.now)][EXPECTED_LEVEL])
    }

    /// The baseline in a slot, and `level` relative to it.
    fn expected_after(&self, spec: &ForecastSpec, slot: i64, level: impl Fn(&Residuals) -> f32) -> Option<f32> {
        let (residuals, baseline) = self.residuals.iter().zip(BASELINES).next_back()?;
        let cycle = spec.cycle();
        (baseline != Baseline::Zero && self.profile.is_known(cycle, slot))
            .then(|| self.profile.at(cycle, baseline, slot) + level(residuals))
    }

    /// Steps that a forecast from the newest step looks further ahead than its lead says.
    #[inline]
    pub fn uncertain_steps(&self) -> usize {
        self.uncertain_steps.into()
    }

    /// Learns from the value of the newest step: mean, unit, seasonal profile, residuals and running means.
    pub fn add_value(&mut self, spec: &ForecastSpec, slot: i64) {
        let now = usize::from(self.now);
        self.update_unit(self.values[now], self.values[index_before(now, 1, self.values.len())]);
        if self.mean.abs() > MAX_OFFSET_UNITS * self.unit && self.unit > 0.0 {
            self.move_reference(self.mean);
        }
        let value = self.values[now];
        self.update_profile(spec, slot, false);
        let update = MeanUpdate {
            is_first: self.count == 0,
            bound: self.deviation_bound(),
            level_memory: self.count.clamp(1, LONG_MEMORY) as f32,
        };
        for (residuals, baseline) in self.residuals.iter_mut().zip(BASELINES) {
            residuals.put(now, value - self.profile.at(spec.cycle(), baseline, slot), update);
        }
    }

    /// Notes in the seasonal profile that the newest value looks like a spike: one that comes every season is none.
    pub fn add_spike(&mut self, spec: &ForecastSpec, slot: i64) {
        self.update_profile(spec, slot, true);
    }

    fn update_profile(&mut self, spec: &ForecastSpec, slot: i64, is_spike: bool) {
        let (value, mean, unit) = (self.values[usize::from(self.now)], self.mean, self.unit);
        let bound = if self.count > MIN_VALUES && unit > 0.0 { MAX_PROFILE_UNITS * unit } else { f32::INFINITY };
        self.profile.update(spec.cycle(), ProfileValue { slot, value, mean, unit, bound, is_spike });
    }

    /// Counts the value of the newest step, once everything has learned from it.
    pub fn count_value(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Replaces the newest value by the one before it, as if its slot were empty.
    pub fn mark_newest_missing(&mut self) {
        let now = usize::from(self.now);
        let last = index_before(now, 1, self.values.len());
        self.values[now] = self.values[last];
        for residuals in &mut self.residuals {
            residuals.residuals[now] = residuals.residuals[last];
        }
    }

    /// Replaces the value of a step. What was learnt from the one before stays.
    pub fn correct(&mut self, correction: &Correction) {
        let &Correction { steps_back, before, after } = correction;
        if self.count == 0 || steps_back >= self.values.len() {
            return;
        }
        let at = index_before(usize::from(self.now), steps_back, self.values.len());
        let value = self.relative(after);
        for residuals in &mut self.residuals {
            residuals.residuals[at] = match before {
                Some(_) => residuals.residuals[at] + value - self.values[at],
                None => value - residuals.baselines.get(at).copied().unwrap_or(0.0),
            };
        }
        self.values[at] = value;
    }

    /// Number of values so far.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Long-term mean absolute deviation of the values from their mean; 0 while unknown.
    #[inline]
    pub fn unit(&self) -> f32 {
        self.unit
    }

    /// Whether there are enough values for the regressors of a linear expert.
    #[inline]
    pub fn has_regressors(&self) -> bool {
        self.unit > 0.0 && self.count as usize > LAGS
    }

    /// `distance` in long-term units; 1 while the unit is unknown.
    #[inline]
    pub fn in_units(&self, distance: f64) -> f32 {
        if self.unit > 0.0 { scaled_by(distance, f64::from(self.unit)) } else { 1.0 }
    }

    /// A value relative to the reference.
    #[inline]
    pub fn relative(&self, value: f64) -> f32 {
        clamp_to_f32(value - self.reference)
    }

    /// The value that is so far from the reference.
    #[inline]
    pub fn absolute(&self, relative: f32) -> f64 {
        self.reference + f64::from(relative)
    }

    /// What the linear expert at `index` looks at; `None` where it is not in use.
    #[inline]
    pub fn view(&self, index: usize) -> Option<HistoryView<'_>> {
        Some(HistoryView { history: self, residuals: self.residuals.get(index)?, baseline: BASELINES[index] })
    }

    /// Follows mean and unit: slowly, and with deviations clamped. A step at rest hardly counts for the unit: a series
    /// that wakes is still measured by how it moved before.
    fn update_unit(&mut self, value: f32, last: f32) {
        if self.count == 0 {
            self.mean = value;
            return;
        }
        let bound = self.deviation_bound();
        let deviation = (value - self.mean).clamp(-bound, bound);
        let step = (value - last).abs();
        if self.count == 2 && step < FIRST_JUMP * self.unit {
            (self.unit, self.moved) = (0.0, 0); // the first value was of another kind
        }
        let is_at_rest = step <= REST_UNITS * self.unit;
        self.moved = self.moved.saturating_add(u32::from(!is_at_rest));
        let weight = 1.0 / self.moved.clamp(1, LONG_MEMORY) as f32;
        self.unit += if is_at_rest { REST_WEIGHT * weight } else { weight } * (deviation.abs() - self.unit);
        self.mean += deviation / self.count.min(LONG_MEMORY) as f32;
    }

    /// How far a value may deviate from a running mean; infinite while the unit is not trusted.
    #[inline]
    fn deviation_bound(&self) -> f32 {
        if self.moved > MIN_VALUES && self.unit > 0.0 { MAX_UNITS * self.unit } else { f32::INFINITY }
    }

    /// Moves the reference `by` so much, and everything that is relative to it.
    fn move_reference(&mut self, by: f32) {
        self.reference += f64::from(by);
        self.mean -= by;
        self.values.iter_mut().for_each(|value| *value -= by);
        self.profile.shift(-by);
        for (residuals, baseline) in self.residuals.iter_mut().zip(BASELINES) {
            residuals.shift(baseline, -by);
        }
    }

    /// Whether it has the shape that `spec` needs, and valid indices and values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let length = ring_length(spec);
        self.values.len() == length
            && usize::from(self.now) < length
            && is_within_limit(self.reference)
            && self.unit >= 0.0
            && all_finite(&[self.unit, self.mean])
            && all_finite(&self.values)
            && self.profile.is_sound(spec.cycle())
            && self.residuals.len() == spec.active_linear_experts()
            && self.residuals.iter().zip(BASELINES).all(|(residuals, baseline)| residuals.is_sound(baseline, length))
    }

    pub fn heap_bytes(&self) -> usize {
        self.profile.heap_bytes()
            + self.values.capacity() * size_of::<f32>()
            + self.residuals.capacity() * size_of::<Residuals>()
            + self.residuals.iter().map(Residuals::heap_bytes).sum::<usize>()
    }
}

fn most_uncertain_steps(spec: &ForecastSpec) -> u16 {
    u16::try_from(2 * spec.horizon).unwrap_or(u16::MAX)
}

/// Steps in the rings: the lags of every origin whose targets are still to come.
fn ring_length(spec: &ForecastSpec) -> usize {
    spec.horizon + LAGS + 1
}

/// The history relative to one baseline. Steps are counted back from the newest one.
#[derive(Clone, Copy)]
pub(in crate::forecast) struct HistoryView<'a> {
    pub history: &'a History,
    residuals: &'a Residuals,
    pub baseline: Baseline,
}

impl<'a> HistoryView<'a> {
    #[inline]
    fn index(&self, steps_back: usize) -> usize {
        index_before(usize::from(self.history.now), steps_back, self.history.values.len())
    }

    /// The value relative to the reference.
    #[inline]
    pub fn value(&self, steps_back: usize) -> f32 {
        self.history.values[self.index(steps_back)]
    }

    /// The value without the baseline.
    #[inline]
    pub fn residual(&self, steps_back: usize) -> f32 {
        self.residuals.residuals[self.index(steps_back)]
    }

    /// The baseline as it was before the value came; 0 where the baseline is zero.
    #[inline]
    pub fn baseline_before_value(&self, steps_back: usize) -> f32 {
        self.residuals.baselines.get(self.index(steps_back)).copied().unwrap_or(0.0)
    }

    /// The running means of the residuals.
    #[inline]
    pub fn averages(&self, steps_back: usize) -> Averages {
        self.residuals.averages[self.index(steps_back)]
    }

    /// The running mean of the residuals over a long memory, at the newest step.
    #[inline]
    pub fn level(&self) -> f32 {
        self.residuals.level
    }

    /// The baseline in the slots from `slot` on.
    #[inline]
    pub fn baseline_from(&self, spec: &'a ForecastSpec, slot: i64) -> impl Iterator<Item = f32> + 'a {
        self.history.profile.baselines(spec.cycle(), self.baseline, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history_of(values: impl Iterator<Item = f64>) -> History {
        let spec = ForecastSpec::new(1, &[0.5], 0).unwrap();
        let mut history = History::new(&spec);
        for (slot, value) in (0..).zip(values) {
            assert!(history.append(&spec, &ClosedSlot { slot, value: Some(value), readings: 1, reset: false }, false));
            history.add_value(&spec, slot);
            history.count_value();
        }
        history
    }

    fn wave(step: i32) -> f64 {
        3.0 * (f64::from(step) * 0.7).sin()
    }

    #[test]
    fn a_series_that_wakes_is_measured_by_how_it_moved_before() {
        let moved = history_of((0..3000).map(wave)).unit();
        let rested = history_of((0..3000).map(wave).chain([1.0; 60_000])).unit();
        assert!(rested > 0.15 * moved, "{rested} of {moved} after a week of 10 s");
    }

    #[test]
    fn a_first_value_of_another_kind_costs_no_precision() {
        let value = |step| if step == 0 { 0.0 } else { 101_325.0 + wave(step) };
        let history = history_of((0..400).map(value));
        let kept = history.reference + f64::from(history.view(0).unwrap().value(0));
        assert!((kept - value(399)).abs() < 1e-5, "{kept} for {}", value(399));
        assert!((1.0..3.0).contains(&history.unit()), "{}", history.unit());
    }
}
