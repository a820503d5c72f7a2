//! The past steps of one series, compactly, for training: about nine bytes a step instead of all its features.
//!
//! What is kept are the values, and at the start of each block the running scale. From these the features of any step
//! follow again, to the last bit as [`SeriesState::features`] wrote them when the step was the newest. Only the
//! features of covariates are kept as they were: they depend on what was known then.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::feature_layout::{FEATURES, FUTURE_COVARIATE_FEATURES, PAST_COVARIATE_FEATURES};
use super::features::FeatureSource;
use super::phase_store::PhaseStore;
use super::queries::QuerySource;
use super::recent_values::RecentValues;
use super::robust_scale::RobustScale;
use super::spec::SeriesSpec;
use super::state::SeriesState;
use super::watermark::ClosedSlot;
use crate::time::Grid;

/// Steps of a block.
const BLOCK: usize = 64;

/// The newest steps of one series, oldest first. Methods count them from 0; internally they are counted from the first
/// that was ever recorded.
#[derive(Debug, Clone)]
pub struct RecordedSteps {
    spec: Arc<SeriesSpec>,
    /// Whole blocks; the last one grows. The first ones may hold steps before `first`, which later features refer to.
    blocks: VecDeque<Box<Block>>,
    /// The first step of the first block.
    oldest: usize,
    /// The first step that is kept.
    first: usize,
    /// The step after the newest one.
    end: usize,
    /// Ascending. The first one covers `oldest`.
    runs: VecDeque<Run>,
    /// Values that turned out to be spikes, ascending by step. Blocks hold NaN in their place.
    spikes: VecDeque<Spike>,
}

#[derive(Debug, Clone)]
struct Block {
    /// The scale after the first step.
    scale: RobustScale,
    /// The phase store after the first step, of a series with queries.
    phases: Option<Box<PhaseStore>>,
    /// The value of the first step, or the last one before it where it is empty or was a spike.
    last_value: f64,
    /// When its newest step was recorded.
    recorded_at: i64,
    /// `[step]`; NaN where the slot is empty or the value was a spike.
    values: [f64; BLOCK],
    /// `[step]`: event times, on an irregular grid.
    times: Vec<i64>,
    /// `[step][feature]`
    covariate_features: Vec<f32>,
}

impl Block {
    fn start(&self) -> (RobustScale, f64, Option<PhaseStore>) {
        (self.scale.clone(), self.last_value, self.phases.as_deref().cloned())
    }
}

/// Steps without a reset in between. On a regular grid their slots follow each other.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: usize,
    /// The slot of the first step.
    slot: i64,
}

#[derive(Debug, Clone, Copy)]
struct Spike {
    step: usize,
    value: f64,
}

impl RecordedSteps {
    /// No steps yet.
    pub fn new(spec: Arc<SeriesSpec>) -> Self {
        Self {
            spec,
            blocks: VecDeque::new(),
            oldest: 0,
            first: 0,
            end: 0,
            runs: VecDeque::new(),
            spikes: VecDeque::new(),
        }
    }

    /// Records the step that `state` has just taken from `slot`, with its `features`. `before_was_spike` says that the
    /// value before has turned out to be a spike. `now` is a time that does not decrease, for
    /// [`Self::drop_recorded_before`].
    pub fn push(&mut self, state: &SeriesState, slot: &ClosedSlot, before_was_spike: bool, features: &[f32], now: i64) {
        if before_was_spike {
            self.mark_newest_as_spike();
        }
        let at = self.end;
        if slot.reset || state.steps() == 1 {
            self.runs.push_back(Run { first: at, slot: slot.slot });
        }
        if (at - self.oldest).is_multiple_of(BLOCK) {
            let (scale, last_value) = (state.robust_scale().clone(), state.last_value());
            let (times, covariate_features) = (Vec::new(), Vec::new());
            let values = [f64::NAN; BLOCK];
            self.blocks.push_back(Box::new(Block {
                scale,
                phases: state.phases().cloned().map(Box::new),
                last_value,
                recorded_at: now,
                values,
                times,
                covariate_features,
            }));
        }
        let covariates = covariate_features(&self.spec);
        let Some(block) = self.blocks.back_mut() else { return };
        block.recorded_at = now;
        block.values[(at - self.oldest) % BLOCK] = slot.value.unwrap_or(f64::NAN);
        if self.spec.grid == Grid::Irregular {
            if block.times.is_empty() {
                block.times.reserve_exact(BLOCK);
            }
            block.times.push(slot.slot);
        }
        if covariates > 0 {
            if block.covariate_features.is_empty() {
                block.covariate_features.reserve_exact(BLOCK * covariates);
            }
            block.covariate_features.extend(&features[features.len() - covariates..]);
        }
        self.end += 1;
    }

    fn mark_newest_as_spike(&mut self) {
        let Some(step) = self.end.checked_sub(1) else { return };
        let value = std::mem::replace(self.stored_mut(step), f64::NAN);
        self.spikes.push_back(Spike { step, value });
        // A spike has a value before it: see `SpikeContext`.
        let before = self.stored(step.saturating_sub(1));
        if (step - self.oldest).is_multiple_of(BLOCK)
            && let Some(block) = self.blocks.back_mut()
        {
            block.last_value = before;
        }
    }

    /// What the stream's configuration says about the series.
    pub fn spec(&self) -> &SeriesSpec {
        &self.spec
    }

    /// Steps that are kept.
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.end == self.first
    }

    /// The steps, ascending, that follow a reset. The first step is one.
    pub fn resets(&self) -> Vec<usize> {
        let later = self.runs.iter().map(|run| run.first).filter(|first| (self.first + 1..self.end).contains(first));
        std::iter::once(self.first).filter(|_| !self.is_empty()).chain(later).map(|step| step - self.first).collect()
    }

    /// Keeps only the newest `steps` steps.
    pub fn keep_newest(&mut self, steps: usize) {
        self.first = self.first.max(self.end.saturating_sub(steps));
        self.drop_unneeded();
    }

    /// Drops the blocks of 64 steps of which the newest was recorded before `time`.
    pub fn drop_recorded_before(&mut self, time: i64) {
        let old = self.blocks.iter().take_while(|block| block.recorded_at < time).count();
        self.first = self.first.max((self.oldest + old * BLOCK).min(self.end));
        self.drop_unneeded();
    }

    /// Drops what no feature of a kept step refers to.
    fn drop_unneeded(&mut self) {
        let needed = self.first.saturating_sub(self.spec.context_len());
        while self.blocks.len() > 1 && self.oldest + BLOCK <= needed {
            self.blocks.pop_front();
            self.oldest += BLOCK;
        }
        while self.runs.get(1).is_some_and(|run| run.first <= self.oldest) {
            self.runs.pop_front();
        }
        while self.spikes.front().is_some_and(|spike| spike.step < self.oldest) {
            self.spikes.pop_front();
        }
    }

    /// The value of a step as it was when it came; none where the slot was empty.
    pub fn value(&self, step: usize) -> Option<f64> {
        let value = self.value_when_new(self.first + step);
        (!value.is_nan()).then_some(value)
    }

    /// Visits these steps in order, with their index.
    pub fn visit(&self, steps: Range<usize>, mut visit: impl FnMut(usize, &RecordedStep<'_>)) {
        let steps = self.first + steps.start..(self.first + steps.end).min(self.end);
        if steps.is_empty() {
            return;
        }
        let mut at = steps.start - (steps.start - self.oldest) % BLOCK;
        let (mut scale, mut last_value, mut phases) = self.block(at).start();
        let mut runs = self.runs.partition_point(|run| run.first <= at);
        let window = self.spec.scale_window();
        loop {
            let run = runs.checked_sub(1).map_or(Run { first: at, slot: 0 }, |run| self.runs[run]);
            if at >= steps.start {
                let step = RecordedStep { steps: self, at, run, scale: &scale, phases: &phases, last_value };
                visit(at - self.first, &step);
            }
            at += 1;
            if at >= steps.end {
                return;
            }
            let reset = self.runs.get(runs).is_some_and(|run| run.first == at);
            runs += usize::from(reset);
            if (at - self.oldest).is_multiple_of(BLOCK) {
                (scale, last_value, phases) = self.block(at).start();
                continue;
            }
            if self.spike(at - 1).is_some() && !(at - 1 - self.oldest).is_multiple_of(BLOCK) {
                last_value = self.stored(at - 2);
            }
            let value = self.value_when_new(at);
            if !value.is_nan() {
                scale.update(value, (!reset).then_some(last_value), window);
                last_value = value;
                if let Some(season) = self.spec.phase_season() {
                    let run = if reset { self.runs[runs - 1] } else { run };
                    let slot = run.slot.saturating_add((at - run.first) as i64);
                    phases.get_or_insert_default().update(season, slot, value, scale.scale());
                }
            }
        }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.blocks.len() * block_bytes(&self.spec)
            + self.blocks.capacity() * size_of::<Box<Block>>()
            + self.runs.capacity() * size_of::<Run>()
            + self.spikes.capacity() * size_of::<Spike>()
    }

    /// About how many bytes `steps` steps of a series take, with those before them that their features refer to.
    pub fn predicted_bytes(spec: &SeriesSpec, steps: usize) -> usize {
        let blocks = (steps + spec.context_len()).div_ceil(BLOCK) + 1;
        size_of::<Self>() + blocks * (block_bytes(spec) + 2 * size_of::<Box<Block>>())
    }

    fn block(&self, step: usize) -> &Block {
        &self.blocks[(step - self.oldest) / BLOCK]
    }

    /// The value of a step as later steps see it.
    fn stored(&self, step: usize) -> f64 {
        let Some(at) = step.checked_sub(self.oldest) else { return f64::NAN };
        self.blocks.get(at / BLOCK).map_or(f64::NAN, |block| block.values[at % BLOCK])
    }

    fn stored_mut(&mut self, step: usize) -> &mut f64 {
        let at = step - self.oldest;
        &mut self.blocks[at / BLOCK].values[at % BLOCK]
    }

    fn spike(&self, step: usize) -> Option<f64> {
        if self.spikes.is_empty() || !self.stored(step).is_nan() {
            return None;
        }
        let at = self.spikes.binary_search_by_key(&step, |spike| spike.step).ok()?;
        Some(self.spikes[at].value)
    }

    fn value_when_new(&self, step: usize) -> f64 {
        self.spike(step).unwrap_or_else(|| self.stored(step))
    }
}

/// Features of a step that stem from covariates: the last ones.
fn covariate_features(spec: &SeriesSpec) -> usize {
    spec.extra.past_covariates.len() * PAST_COVARIATE_FEATURES
        + spec.extra.future_covariates.names.len() * FUTURE_COVARIATE_FEATURES
}

fn block_bytes(spec: &SeriesSpec) -> usize {
    let times = if spec.grid == Grid::Irregular { BLOCK * size_of::<i64>() } else { 0 };
    let phases = spec.phase_season().map_or(0, PhaseStore::predicted_bytes);
    size_of::<Block>() + phases + times + BLOCK * covariate_features(spec) * size_of::<f32>()
}

/// One of the [`RecordedSteps`].
pub struct RecordedStep<'a> {
    steps: &'a RecordedSteps,
    at: usize,
    run: Run,
    scale: &'a RobustScale,
    phases: &'a Option<PhaseStore>,
    /// The last value before the step.
    last_value: f64,
}

impl RecordedStep<'_> {
    /// Its value, as it was when it came; none where the slot was empty.
    pub fn value(&self) -> Option<f64> {
        let value = self.steps.value_when_new(self.at);
        (!value.is_nan()).then_some(value)
    }

    /// The scale of the series at this step: see [`SeriesState::scale`].
    pub fn scale(&self) -> f64 {
        self.scale.scale()
    }

    /// Writes the queries of these leads, `[lead][QUERY_FEATURES]`, as [`SeriesState::queries`] did.
    pub fn write_queries(&self, leads: impl IntoIterator<Item = usize>, out: &mut [f32]) {
        let spec = &self.steps.spec;
        let slot = self.slot();
        let last_value = self.value().unwrap_or(self.last_value);
        let (phases, scale) = (self.phases.as_ref(), self.scale);
        QuerySource { spec, values: self, phases, scale, slot, last_value }.write(leads, out);
    }

    /// The slot of the step; on an irregular grid its time.
    fn slot(&self) -> i64 {
        match self.steps.spec.grid {
            Grid::Irregular => self.time_back(0).unwrap_or(self.run.slot),
            _ => self.run.slot.saturating_add((self.at - self.run.first) as i64),
        }
    }

    /// Writes the features of the step, `[SeriesSpec::features]`, as [`SeriesState::features`] did.
    pub fn write_features(&self, out: &mut [f32]) {
        let RecordedSteps { spec, oldest, .. } = self.steps;
        debug_assert!(out.len() == spec.features() && out.len() >= FEATURES, "room for every feature");
        let since_reset = self.at - self.run.first;
        let slot = self.slot();
        let source = FeatureSource { spec, values: self, scale: self.scale, slot, steps: since_reset as u64 + 1 };
        let rest = source.write_features(0, out);
        let (block, at, count) = (self.steps.block(self.at), (self.at - oldest) % BLOCK, rest.len());
        if let Some(features) = block.covariate_features.get(at * count..(at + 1) * count) {
            rest.copy_from_slice(features);
        }
    }
}

impl RecentValues for RecordedStep<'_> {
    #[inline]
    fn back(&self, steps_back: usize) -> f64 {
        match steps_back {
            0 => self.steps.value_when_new(self.at),
            back if back < self.steps.spec.context_len() && back <= self.at - self.run.first => {
                self.steps.stored(self.at - back)
            }
            _ => f64::NAN,
        }
    }

    #[inline]
    fn time_back(&self, steps_back: usize) -> Option<i64> {
        let at = self.at.checked_sub(steps_back)?.checked_sub(self.steps.oldest)?;
        self.steps.blocks.get(at / BLOCK)?.times.get(at % BLOCK).copied()
    }
}

#[cfg(test)]
#[path = "recorded_steps_tests.rs"]
mod tests;
