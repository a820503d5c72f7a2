//! The state of one series.

use super::clone_in_place::clone_in_place;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::covariates::Covariates;
use super::features::Step;
use super::foreknown::Foreknown;
use super::outlook::FutureCovariateTable;
use super::scale::Scale;
use super::size::{ScalePrior, Size};
use super::slots::{ClosedSlot, Placement, Slots};
use super::spec::{SeriesSpec, is_within_limit};
use crate::time::{EventTime, Grid};

/// The state of one series: open slots, recent values, scale. A function of the series' own observations only.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct SeriesState {
    slots: Slots,
    context: Context,
    scale: Scale,
    anchor: f64,
    /// Slot of the newest step.
    slot: i64,
    steps: u64,
    /// None before the first step of a series that has some. Left out here, so that series without keep their bytes: see
    /// [`Self::covariates`].
    #[serde(skip)]
    covariates: Option<Box<Covariates>>,
    /// The same of what is known in advance: see [`Self::foreknown`].
    #[serde(skip)]
    foreknown: Option<Box<Foreknown>>,
}

clone_in_place!(SeriesState { slots, context, scale, anchor, slot, steps, covariates, foreknown });

impl SeriesState {
    /// A series that nothing is known of.
    pub fn new() -> Self {
        Self::default()
    }

    /// A series whose first value this is, in a stream whose series have such sizes.
    pub fn with_scale_prior(usual: &ScalePrior, value: f64) -> Self {
        Self { scale: Scale::starting(usual, value), ..Self::default() }
    }

    /// How large its values are; `None` before the second one.
    pub fn scale_estimate(&self) -> Option<Size> {
        (self.steps > 1).then(|| Size {
            location: self.scale.location(),
            scale: self.scale.scale(),
            difference: self.scale.difference(),
        })
    }

    /// Puts a reading on the grid, and pushes every slot that closes by it to `closed`, in order.
    ///
    /// `time` lies within [`EventTime::MIN`] and [`EventTime::MAX`]; `value` is finite and is held to
    /// [`LIMIT`](super::LIMIT). `covariates` are those that came with it, in the order of the spec, NaN where one is
    /// missing; or there are none. At most `max_gap` empty slots come out in a row.
    pub fn observe(
        &mut self,
        spec: &SeriesSpec,
        time: EventTime,
        value: f64,
        covariates: &[f64],
        closed: &mut Vec<ClosedSlot>,
    ) -> Placement {
        debug_assert!(value.is_finite(), "a reading must be finite");
        let placed = self.slots.place(spec, time, value, closed);
        if placed == Placement::Accepted && !covariates.is_empty() {
            self.covariates.get_or_insert_default().observe(spec.grid.slot(time), covariates);
        }
        placed
    }

    /// Looks up what is told in advance of `slot`, which is taken next, and of the horizon after it; only where the spec names
    /// numbers. What is told later is not seen before the next look.
    pub fn look_up_future_covariates(&mut self, spec: &SeriesSpec, slot: i64, outlook: Option<&FutureCovariateTable>) {
        let count = spec.extra.future_covariates.names.len();
        if count > 0 {
            self.foreknown.get_or_insert_default().look_up(outlook, slot, spec.horizon as usize, count);
        }
    }

    /// Takes a closed slot in as the newest step. After it [`Self::anchor`], [`Self::scale`] and [`Self::value_back`]
    /// describe that step.
    pub fn update(&mut self, spec: &SeriesSpec, slot: &ClosedSlot) {
        if slot.reset {
            self.context.clear();
            self.steps = 0;
            if let Some(covariates) = &mut self.covariates {
                covariates.reset();
            }
            if let Some(foreknown) = &mut self.foreknown {
                foreknown.reset();
            }
        }
        if let Some(value) = slot.value {
            let before = (self.steps > 0).then_some(self.anchor);
            self.scale.update(value, before, spec.memory());
            self.anchor = value;
        }
        let time = (spec.grid == Grid::Irregular).then_some(slot.slot);
        self.context.push(spec.context_len(), slot.value, time);
        let count = spec.extra.past_covariates.len();
        if count > 0 {
            let covariates = self.covariates.get_or_insert_default();
            covariates.take(slot.slot, count, spec.context_len(), spec.memory());
        }
        let count = spec.extra.future_covariates.names.len();
        if count > 0 {
            let foreknown = self.foreknown.get_or_insert_default();
            foreknown.take(slot.slot, count, spec.context_len(), spec.memory());
        }
        self.slot = slot.slot;
        self.steps = self.steps.saturating_add(1);
    }

    /// Takes the newest step's value for none, as one that turned out to be a spike.
    pub fn mark_newest_missing(&mut self) {
        self.context.mark_newest_missing();
        self.anchor = self.value_back(1).unwrap_or(self.anchor);
    }

    /// Forgets what has come of slots that are not taken yet, so that what is taken now is all that is known.
    pub(crate) fn discard_open_covariates(&mut self) {
        if let Some(covariates) = &mut self.covariates {
            covariates.discard_open_covariates();
        }
    }

    /// What a snapshot keeps beside the state itself where there are covariates.
    pub(crate) fn covariates(&self) -> &Option<Box<Covariates>> {
        &self.covariates
    }

    /// Puts back what [`Self::covariates`] gave.
    pub(crate) fn put_covariates(&mut self, covariates: Option<Box<Covariates>>) {
        self.covariates = covariates;
    }

    /// What a snapshot keeps beside the state itself where numbers are known in advance.
    pub(crate) fn foreknown(&self) -> &Option<Box<Foreknown>> {
        &self.foreknown
    }

    /// Puts back what [`Self::foreknown`] gave.
    pub(crate) fn put_foreknown(&mut self, foreknown: Option<Box<Foreknown>>) {
        self.foreknown = foreknown;
    }

    /// Of a number that is known in advance: what is told of it `lead` steps after the newest, in its own scale.
    pub(crate) fn future_covariate_ahead(&self, place: usize, lead: usize) -> Option<f32> {
        self.foreknown.as_ref()?.ahead(place, self.slot, lead)
    }

    /// Of a number that is known in advance: what it was `back` steps before the newest, in the same scale.
    pub(crate) fn future_covariate_back(&self, place: usize, back: usize) -> Option<f32> {
        self.foreknown.as_ref()?.back(place, back)
    }

    /// Writes [`PAST_COVARIATE_REGRESSORS`](super::PAST_COVARIATE_REGRESSORS) numbers of each covariate at the step `ago` steps before `coming`,
    /// the slot that is taken next; `apart` is how many steps a change lasts. 0 where nothing is known.
    pub(crate) fn past_covariate_regressors(&self, coming: i64, ago: usize, apart: usize, out: &mut [f32]) {
        match &self.covariates {
            Some(covariates) => covariates.look(coming, ago, apart, out),
            None => out.fill(0.0),
        }
    }

    /// The features of the newest step, [`SeriesSpec::features`] of them; see [`FEATURE_NAMES`](super::FEATURE_NAMES).
    pub fn features(&self, spec: &SeriesSpec, out: &mut [f32]) {
        debug_assert_eq!(out.len(), spec.features(), "room for every feature");
        self.step(spec).describe(0, out);
    }

    /// Visits the features of the newest `spec.burn_in` steps (fewer where there are not so many), oldest first, all with
    /// today's scale.
    pub fn recent_features(&self, spec: &SeriesSpec, mut visit: impl FnMut(&[f32])) {
        let steps = usize::try_from(self.steps).unwrap_or(usize::MAX).min(spec.burn_in as usize);
        let mut features = vec![0.0; spec.features()];
        for back in (0..steps).rev() {
            self.step(spec).describe(back, &mut features);
            visit(&features);
        }
    }

    /// The last observed value, carried over empty slots; 0 before the first.
    pub fn last_value(&self) -> f64 {
        self.anchor
    }

    /// How widely the values swing (mean absolute deviation from their running location): positive, finite, at most 20
    /// bits of mantissa.
    pub fn scale(&self) -> f64 {
        self.scale.scale()
    }

    /// The mean absolute one-step difference: positive, at most [`Self::scale`].
    pub fn mean_absolute_difference(&self) -> f64 {
        self.scale.difference()
    }

    /// Steps taken since the last reset.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The slot of the newest step; none before the first.
    pub fn newest_slot(&self) -> Option<i64> {
        (self.steps > 0).then_some(self.slot)
    }

    /// The slot that follows the newest step's: the next of a regular grid; on an irregular one as far from it as it lies
    /// from the step before, 1 ms where there is none.
    pub fn next_slot(&self, spec: &SeriesSpec) -> i64 {
        let before = self.context.time_back(1).filter(|_| self.steps > 1);
        self.slot.saturating_add(match spec.grid {
            Grid::Regular { .. } => 1,
            Grid::Irregular => before.map_or(1, |before| self.slot.saturating_sub(before)),
        })
    }

    /// The value `steps_back` before the newest step (0); none for an empty slot, or one that the context does not hold.
    #[inline]
    pub fn value_back(&self, steps_back: usize) -> Option<f64> {
        let value = self.context.back(steps_back);
        (!value.is_nan()).then_some(value)
    }

    /// Copies values into `out` in the order of time, beginning `steps_back` before the newest step; NaN where
    /// [`Self::value_back`] has none, and beyond the newest step.
    pub fn copy_back(&self, steps_back: usize, out: &mut [f64]) {
        self.context.copy_back(steps_back, out);
    }

    /// Whether it is one that a series can come to: it may come from outside.
    pub fn is_sound(&self, spec: &SeriesSpec) -> bool {
        self.slots.is_sound(spec.grid)
            && self.context.is_sound()
            && self.scale.is_sound()
            && is_within_limit(self.anchor)
            && spec.grid.contains(self.slot)
            && self.covariates.as_ref().is_none_or(|covariates| covariates.is_sound())
            && self.foreknown.as_ref().is_none_or(|foreknown| foreknown.is_sound(spec.grid))
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.slots.heap_bytes()
            + self.context.heap_bytes()
            + self.covariates.as_ref().map_or(0, |covariates| size_of::<Covariates>() + covariates.heap_bytes())
            + self.foreknown.as_ref().map_or(0, |foreknown| size_of::<Foreknown>() + foreknown.heap_bytes())
    }

    fn step<'a>(&'a self, spec: &'a SeriesSpec) -> Step<'a> {
        Step {
            spec,
            context: &self.context,
            scale: &self.scale,
            covariates: self.covariates.as_deref(),
            foreknown: self.foreknown.as_deref(),
            slot: self.slot,
            steps: self.steps,
        }
    }
}

#[cfg(test)]
mod tests;
