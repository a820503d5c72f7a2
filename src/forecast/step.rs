//! One step of a series, the same in serving and in training.

use super::anomaly::spike::{SpikeContext, SpikeDetector};
use crate::series::{ClosedSlot, FutureCovariateTable, SeriesSpec, SeriesState};

/// A closed slot that a series takes as its newest step.
pub struct SeriesStep<'a> {
    /// The stream's grid and features.
    pub spec: &'a SeriesSpec,
    /// The closed slot.
    pub slot: &'a ClosedSlot,
    /// The future covariates of the series, as they are known now.
    pub future: Option<&'a FutureCovariateTable>,
}

/// Learns from the values of a series as they come, and decides which of them are spikes.
pub trait StepObserver {
    /// What decides about spikes.
    fn spikes(&self) -> &SpikeDetector;

    /// Learns from a slot that `series` does not hold yet. `newest_was_spike` says that the newest value of the series
    /// turned out to be a spike; the series holds none in its place.
    fn observe(&mut self, series: &SeriesState, slot: &ClosedSlot, newest_was_spike: bool);
}

impl SeriesStep<'_> {
    /// Takes the step: decides whether the value before was a spike, lets the observer learn, updates the series, and
    /// writes the features of the new step. Returns whether the value before was a spike, and now counts as missing.
    pub fn apply(&self, series: &mut SeriesState, observer: &mut impl StepObserver, features: &mut [f32]) -> bool {
        let values = SpikeContext { before: series.value_back(1), newest: series.value_back(0), next: self.slot.value };
        let newest_was_spike = observer.spikes().newest_was_spike(values);
        if newest_was_spike {
            series.mark_newest_missing();
        }
        observer.observe(series, self.slot, newest_was_spike);
        series.look_up_future_covariates(self.spec, self.slot.slot, self.future);
        series.update(self.spec, self.slot);
        series.features(self.spec, features);
        newest_was_spike
    }
}

/// Observes a series that is not forecast, as in training: finds spikes by the errors of the last value.
#[derive(Debug, Clone, Default)]
pub struct LastValueObserver {
    spikes: SpikeDetector,
}

impl StepObserver for LastValueObserver {
    fn spikes(&self) -> &SpikeDetector {
        &self.spikes
    }

    fn observe(&mut self, series: &SeriesState, slot: &ClosedSlot, _: bool) {
        if let Some(value) = slot.value.filter(|_| series.steps() > 0 && !slot.reset) {
            self.spikes.update(value - series.last_value());
        }
    }
}
