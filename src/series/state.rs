//! The state of one series.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::context::Context;
use super::corrections::{Correction, Corrections};
use super::feature_layout::PAST_COVARIATE_FEATURES;
use super::features::FeatureSource;
use super::future_covariates::{FutureCovariateTable, FutureCovariates};
use super::past_covariates::PastCovariates;
use super::phase_store::PhaseStore;
use super::queries::QuerySource;
use super::recent_values::RecentValues;
use super::robust_scale::RobustScale;
use super::scale_prior::{ScaleEstimate, ScalePrior};
use super::spec::SeriesSpec;
use super::value_limit::is_within_limit;
use super::watermark::{ClosedSlot, Placement, Reading, Slots};
use crate::snapshot::{Part, PartReader, PartWriter};
use crate::time::{EventTime, Grid};

/// The state of one series: open slots, recent values, scale, covariates. A function of the series' own observations,
/// and of the future covariates at each step.
#[derive(Debug, PartialEq, Default)]
pub struct SeriesState {
    slots: Slots,
    values: Values,
    /// `None` before the first step with covariates.
    past_covariates: Option<Box<PastCovariates>>,
    /// `None` before the first step with covariates.
    future_covariates: Option<Box<FutureCovariates>>,
    /// `None` before the first value of a series with queries.
    phases: Option<Box<PhaseStore>>,
}

clone_in_place!(SeriesState { slots, values, past_covariates, future_covariates, phases });

/// Recent values and their scale.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
struct Values {
    context: Context,
    scale: RobustScale,
    /// The last value; 0 before the first.
    last_value: f64,
    /// Slot of the newest step.
    slot: i64,
    /// Steps since the last reset.
    steps: u64,
}

clone_in_place!(Values { context, scale, last_value, slot, steps });

impl SeriesState {
    /// A series without observations.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new series whose first value is `value`, with the scale prior of its stream.
    pub fn with_scale_prior(prior: &ScalePrior, value: f64) -> Self {
        let values = Values { scale: RobustScale::with_prior(prior, value), ..Values::default() };
        Self { values, ..Self::default() }
    }

    /// Location and scale of its values; `None` before the second one.
    pub fn scale_estimate(&self) -> Option<ScaleEstimate> {
        (self.values.steps > 1).then(|| self.values.scale.estimate())
    }

    /// Assigns a reading to its slot and appends the slots that close to `closed`, in order; at most `max_gap` empty
    /// ones in a row.
    pub fn observe(&mut self, spec: &SeriesSpec, reading: &Reading<'_>, closed: &mut Vec<ClosedSlot>) -> Placement {
        debug_assert!(reading.value.is_finite(), "a reading must be finite");
        let before = self.slots.newest();
        let placement = self.slots.place(spec, reading, closed);
        if self.slots.newest() < before {
            // The series has returned from a jump: its open slots were dropped.
            self.discard_open_covariates();
        }
        if placement == Placement::Accepted && !reading.past_covariates.is_empty() {
            let slot = spec.grid.slot(reading.time);
            self.past_covariates.get_or_insert_default().observe(slot, reading.past_covariates);
        }
        placement
    }

    /// Closes the slots of a silent series that the time of its partition has passed, and appends them to `closed`, in
    /// order; at most `max_gap` empty ones after the newest reading.
    pub fn close_by_partition(&mut self, spec: &SeriesSpec, time: EventTime, closed: &mut Vec<ClosedSlot>) {
        self.slots.close(spec, Some(time), closed);
    }

    /// The slot that closes next by the time of the partition; `None` where the series is silent for too long.
    pub fn next_to_close(&self, spec: &SeriesSpec) -> Option<i64> {
        self.slots.next_to_close(spec)
    }

    /// Closes all open slots, because no more readings are awaited, and appends them to `closed`, in order.
    pub fn close_open(&mut self, spec: &SeriesSpec, closed: &mut Vec<ClosedSlot>) {
        self.slots.close_open(spec, closed);
    }

    /// Corrects the steps whose values late readings have changed before the step at `slot`, and visits them. Returns
    /// whether there were late readings.
    pub fn apply_corrections(&mut self, slot: i64, mut visit: impl FnMut(Correction)) -> bool {
        let Some(corrections) = self.slots.corrections_mut() else { return false };
        let values = &mut self.values;
        corrections.take_due(slot, |corrected, value| {
            let Ok(steps_back) = usize::try_from(values.slot - corrected) else { return };
            if steps_back as u64 >= values.steps {
                return;
            }
            let Some(before) = values.context.replace(steps_back, value) else { return };
            let is_last_value = (0..steps_back).all(|newer| values.context.back(newer).is_nan());
            if is_last_value {
                values.last_value = value;
            }
            visit(Correction { steps_back, before: (!before.is_nan()).then_some(before), after: value });
        })
    }

    /// Looks up the future covariates of `slot`, which the next [`Self::update`] takes, and of the horizon after it.
    /// Does nothing where the spec has none. Values that arrive later are seen at the next look-up.
    pub fn look_up_future_covariates(&mut self, spec: &SeriesSpec, slot: i64, table: Option<&FutureCovariateTable>) {
        let count = spec.extra.future_covariates.names.len();
        if count > 0 {
            self.future_covariates.get_or_insert_default().look_up(table, slot, spec.horizon as usize, count);
        }
    }

    /// Makes a closed slot the newest step, which [`Self::last_value`], [`Self::scale`] and [`Self::value_back`] then
    /// describe.
    pub fn update(&mut self, spec: &SeriesSpec, slot: &ClosedSlot) {
        if slot.reset {
            if let Some(corrections) = self.slots.corrections_mut() {
                corrections.reset();
            }
            self.values.context.clear();
            self.values.steps = 0;
            if let Some(covariates) = &mut self.past_covariates {
                covariates.reset();
            }
            if let Some(covariates) = &mut self.future_covariates {
                covariates.reset();
            }
        }
        let values = &mut self.values;
        let (length, window) = (spec.context_len(), spec.scale_window());
        if let Some(value) = slot.value {
            let previous = (values.steps > 0).then_some(values.last_value);
            values.scale.update(value, previous, window);
            values.last_value = value;
            if let Some(season) = spec.phase_season() {
                let phases = self.phases.get_or_insert_default();
                phases.update(season, slot.slot, value, values.scale.scale());
            }
        }
        let time = (spec.grid == Grid::Irregular).then_some(slot.slot);
        values.context.push(length, slot.value, time);
        let count = spec.extra.past_covariates.len();
        if count > 0 {
            self.past_covariates.get_or_insert_default().update(slot.slot, count, length, window);
        }
        let count = spec.extra.future_covariates.names.len();
        if count > 0 {
            self.future_covariates.get_or_insert_default().update(slot.slot, count, length, window);
        }
        values.slot = slot.slot;
        values.steps = values.steps.saturating_add(1);
    }

    /// Treats the newest value as missing, because it has turned out to be a spike.
    pub fn mark_newest_missing(&mut self) {
        self.values.context.mark_newest_missing();
        self.values.last_value = self.value_back(1).unwrap_or(self.values.last_value);
    }

    /// Discards the covariates of open slots: of a copy of the series that runs ahead and must not use them, or with
    /// the slots.
    pub(crate) fn discard_open_covariates(&mut self) {
        if let Some(covariates) = &mut self.past_covariates {
            covariates.discard_open();
        }
    }

    /// A future covariate `lead` steps after the newest step, in units of its own scale; none where unknown.
    pub(crate) fn future_covariate_ahead(&self, covariate: usize, lead: usize) -> Option<f32> {
        self.future_covariates.as_ref()?.ahead(covariate, self.values.slot, lead)
    }

    /// A future covariate `back` steps before the newest step, in units of the same scale; none where unknown.
    pub(crate) fn future_covariate_back(&self, covariate: usize, back: usize) -> Option<f32> {
        self.future_covariates.as_ref()?.back(covariate, back)
    }

    /// Writes the regressors `[covariate][PAST_COVARIATE_REGRESSORS]` of the step `ago` steps before the slot `next`,
    /// which follows the newest step. `lag` is the length of a change in steps. 0 where nothing is known.
    pub(crate) fn past_covariate_regressors(&self, next: i64, ago: usize, lag: usize, out: &mut [f32]) {
        match &self.past_covariates {
            Some(covariates) => covariates.write_regressors(next, ago, lag, out),
            None => out.fill(0.0),
        }
    }

    /// Writes the features of the newest step, `[SeriesSpec::features]`; see [`FEATURE_NAMES`](super::FEATURE_NAMES).
    pub fn features(&self, spec: &SeriesSpec, out: &mut [f32]) {
        debug_assert_eq!(out.len(), spec.features(), "room for every feature");
        self.write_features(spec, 0, out);
    }

    /// Visits the features of the newest `spec.burn_in` steps (or of all, where there are fewer), oldest first, all in
    /// units of today's scale.
    pub fn recent_features(&self, spec: &SeriesSpec, mut visit: impl FnMut(&[f32])) {
        let steps = usize::try_from(self.values.steps).unwrap_or(usize::MAX).min(spec.burn_in as usize);
        let mut features = vec![0.0; spec.features()];
        for back in (0..steps).rev() {
            self.write_features(spec, back, &mut features);
            visit(&features);
        }
    }

    /// Writes the queries `[lead][QUERY_FEATURES]` of these leads, each at least 1; see
    /// [`QUERY_NAMES`](super::QUERY_NAMES).
    pub fn queries(&self, spec: &SeriesSpec, leads: impl IntoIterator<Item = usize>, out: &mut [f32]) {
        let Values { context: values, scale, slot, last_value, .. } = &self.values;
        let phases = self.phases.as_deref();
        QuerySource { spec, values, phases, scale, slot: *slot, last_value: *last_value }.write(leads, out);
    }

    /// The last observed value, which empty slots repeat; 0 before the first.
    pub fn last_value(&self) -> f64 {
        self.values.last_value
    }

    /// The robust mean absolute deviation of the values from their running location: positive, finite, at most 20 bits
    /// of mantissa.
    pub fn scale(&self) -> f64 {
        self.values.scale.scale()
    }

    /// The robust mean absolute one-step difference: positive, at most [`Self::scale`].
    pub fn mean_absolute_difference(&self) -> f64 {
        self.values.scale.difference()
    }

    /// Steps since the last reset.
    pub fn steps(&self) -> u64 {
        self.values.steps
    }

    /// The slot of the newest step; none before the first.
    pub fn newest_slot(&self) -> Option<i64> {
        (self.values.steps > 0).then_some(self.values.slot)
    }

    /// The slot after the newest step: the next of a grid. On an irregular grid it is as far away as the newest
    /// step is from the one before it; 1 ms where there is none.
    pub fn next_slot(&self, spec: &SeriesSpec) -> i64 {
        let Values { slot, steps, ref context, .. } = self.values;
        let before = context.time_back(1).filter(|_| steps > 1);
        slot.saturating_add(match spec.grid {
            Grid::Irregular => before.map_or(1, |before| slot.saturating_sub(before)),
            _ => 1,
        })
    }

    /// The value `steps_back` before the newest step (0); none for an empty slot or one outside the context.
    #[inline]
    pub fn value_back(&self, steps_back: usize) -> Option<f64> {
        let value = self.values.context.back(steps_back);
        (!value.is_nan()).then_some(value)
    }

    /// Copies values into `out` in order of time, from `steps_back` before the newest step on; NaN where
    /// [`Self::value_back`] has none, and beyond the newest step.
    pub fn copy_back(&self, steps_back: usize, out: &mut [f64]) {
        self.values.context.copy_back(steps_back, out);
    }

    /// Writes the parts of a snapshot that hold this state.
    pub fn write_parts(&self, parts: &mut PartWriter<'_>) {
        parts.put(Part::SLOTS, &self.slots);
        parts.put(Part::VALUES, &self.values);
        self.slots.corrections().iter().for_each(|corrections| parts.put(Part::CORRECTIONS, corrections));
        self.past_covariates.iter().for_each(|covariates| parts.put(Part::PAST_COVARIATES, covariates));
        self.future_covariates.iter().for_each(|covariates| parts.put(Part::FUTURE_COVARIATES, covariates));
        self.phases.iter().for_each(|phases| parts.put(Part::PHASES, phases));
    }

    /// Reads the state back from the parts of a snapshot. `None` where the slots or the values cannot be used: the
    /// series is then rebuilt from the input. Covariates that cannot be used begin afresh.
    pub fn read_parts(spec: &SeriesSpec, parts: &mut PartReader<'_>) -> Option<Self> {
        let past = |covariates: &PastCovariates| covariates.is_sound();
        let future = |covariates: &FutureCovariates| covariates.is_sound(&spec.grid);
        let is_valid = |slot, value| spec.grid.contains(slot) && is_within_limit(value);
        let corrections = parts.take_optional(Part::CORRECTIONS, |made: &Corrections| made.is_sound(is_valid));
        let mut slots = parts.take(Part::SLOTS, |slots: &Slots| slots.is_sound(&spec.grid))?;
        corrections.into_iter().for_each(|corrections| slots.set_corrections(corrections));
        Some(Self {
            slots,
            values: parts.take(Part::VALUES, |values: &Values| values.is_sound(&spec.grid))?,
            past_covariates: parts.take_optional(Part::PAST_COVARIATES, past).map(Box::new),
            future_covariates: parts.take_optional(Part::FUTURE_COVARIATES, future).map(Box::new),
            phases: parts.take_optional(Part::PHASES, PhaseStore::is_sound).map(Box::new),
        })
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        let past = |covariates: &PastCovariates| size_of::<PastCovariates>() + covariates.heap_bytes();
        let future = |covariates: &FutureCovariates| size_of::<FutureCovariates>() + covariates.heap_bytes();
        size_of::<Self>()
            + self.slots.heap_bytes()
            + self.values.context.heap_bytes()
            + self.past_covariates.as_deref().map_or(0, past)
            + self.future_covariates.as_deref().map_or(0, future)
            + self.phases.as_deref().map_or(0, |phases| size_of::<PhaseStore>() + phases.heap_bytes())
    }

    /// The phase store, from which those of later steps follow.
    pub(super) fn phases(&self) -> Option<&PhaseStore> {
        self.phases.as_deref()
    }

    /// The scale, from which those of later steps follow.
    pub(super) fn robust_scale(&self) -> &RobustScale {
        &self.values.scale
    }

    fn write_features(&self, spec: &SeriesSpec, back: usize, out: &mut [f32]) {
        let Values { context, scale, slot, steps, .. } = &self.values;
        let source = FeatureSource { spec, values: context, scale, slot: *slot, steps: *steps };
        let rest = source.write_features(back, out);
        let (past, future) = rest.split_at_mut(spec.extra.past_covariates.len() * PAST_COVARIATE_FEATURES);
        match &self.past_covariates {
            Some(covariates) => covariates.write_features(back, past),
            None => past.fill(0.0),
        }
        match &self.future_covariates {
            Some(covariates) => covariates.write_features(back, *slot, spec.horizon as usize, future),
            None => future.fill(0.0),
        }
    }
}

impl Values {
    /// Whether decoded values are ones that a series can have.
    fn is_sound(&self, grid: &Grid) -> bool {
        self.context.is_sound() && self.scale.is_sound() && is_within_limit(self.last_value) && grid.contains(self.slot)
    }
}

#[cfg(test)]
mod correction_tests;
#[cfg(test)]
mod tests;
