//! The history of one series as training reads it. The same [`SeriesState`] and [`SeriesStep`] as in serving compute
//! slots, scales and features. Spikes are found by the errors of the last value, since training makes no forecasts; a
//! value that turns out to be one counts as missing from then on, as in serving.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::forecast::{ForecastSpec, LastValueObserver, SeriesStep, StreamPrior};
use crate::nn::{NetworkSpec, Strategy};
use crate::series::{
    ClosedSlot, FutureCovariateTable, Placement, Reading, ScaleEstimate, SeriesSpec, SeriesState, Target,
};

/// The prior for new series of a stream, pooled over training sequences and the scales of their series; `None` where
/// they are too few.
pub fn stream_prior(
    forecast: &ForecastSpec,
    sequences: &[TrainingSequence],
    scales: &[ScaleEstimate],
) -> Option<Arc<StreamPrior>> {
    let targets: Vec<&[f32]> = sequences.iter().map(|sequence| sequence.targets.as_slice()).collect();
    StreamPrior::pool(forecast, scales, &targets).map(Arc::new)
}

/// The steps of one series, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingSequence {
    /// Features `[steps, inputs]`.
    pub features: Vec<f32>,
    /// Targets `[steps, targets]`: `(x_{t+h} - x_t) / scale_t` for the leads h from 1 on; for a many-to-one network,
    /// the same of the [`Target`] over all leads. NaN where a value is missing or not yet known.
    pub targets: Vec<f32>,
    /// Leads before the first target ([`NetworkSpec::leads_skipped`]).
    pub leads_skipped: usize,
    /// The steps, ascending, before which the hidden state is reset. The first step is one, listed or not.
    pub resets: Vec<usize>,
}

/// One step of the history.
#[derive(Debug, Clone)]
struct Step {
    /// The basis of its targets; none where the slot is empty and nothing is forecast.
    origin: Option<Origin>,
    value: Option<f64>,
    reset: bool,
}

/// The value and the scale of a series at the step of a forecast.
#[derive(Debug, Clone, Copy)]
struct Origin {
    value: f64,
    scale: f64,
}

impl Origin {
    /// The target of a forecast from here, in units of the scale; NaN where `f32` cannot hold it.
    fn target(self, value: f64) -> f32 {
        let target = ((value - self.value) / self.scale) as f32;
        if target.is_finite() { target } else { f32::NAN }
    }
}

/// Builds a [`TrainingSequence`] from the readings of one series and keeps its newest steps.
#[derive(Debug, Clone)]
pub struct SequenceBuilder {
    spec: SeriesSpec,
    state: SeriesState,
    observer: LastValueObserver,
    /// Leads up to the last target.
    leads: usize,
    /// What a many-to-one network predicts of the horizon.
    aggregate: Option<Target>,
    max_steps: usize,
    steps: VecDeque<Step>,
    /// `[steps, inputs]`
    features: VecDeque<f32>,
    closed: Vec<ClosedSlot>,
}

impl SequenceBuilder {
    /// A builder that keeps the newest `max_steps` steps (at least one), with the targets of the network.
    pub fn new(spec: SeriesSpec, network: &NetworkSpec, max_steps: usize) -> Self {
        let (state, steps, features, closed) = (SeriesState::new(), VecDeque::new(), VecDeque::new(), Vec::new());
        let aggregate = (network.strategy == Strategy::ManyToOne).then_some(network.target);
        let leads = network.leads_skipped() + network.targets();
        let observer = LastValueObserver::default();
        Self { spec, state, observer, leads, aggregate, max_steps: max_steps.max(1), steps, features, closed }
    }

    /// Adds a reading, with the future covariates known at that time.
    pub fn observe(&mut self, reading: &Reading<'_>, future_covariates: Option<&FutureCovariateTable>) -> Placement {
        let mut closed = std::mem::take(&mut self.closed);
        let placement = self.state.observe(&self.spec, reading, &mut closed);
        for slot in closed.drain(..) {
            self.update(&slot, future_covariates);
        }
        self.closed = closed;
        placement
    }

    fn update(&mut self, slot: &ClosedSlot, future: Option<&FutureCovariateTable>) {
        let mut features = vec![0.0; self.spec.features()];
        let step = SeriesStep { spec: &self.spec, slot, future };
        step.apply(&mut self.state, &mut self.observer, &mut features);
        if self.steps.len() == self.max_steps {
            self.steps.pop_front();
            self.features.drain(..features.len());
        }
        self.features.extend(features);
        self.steps.push_back(Step {
            origin: slot.value.map(|_| Origin { value: self.state.last_value(), scale: self.state.scale() }),
            value: slot.value,
            reset: slot.reset || self.state.steps() == 1,
        });
    }

    /// Steps kept so far.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether no slot has closed yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Location and scale of the values; `None` before the second one.
    pub fn scale_estimate(&self) -> Option<ScaleEstimate> {
        self.state.scale_estimate()
    }

    /// The sequence so far. No target reaches across a reset.
    pub fn to_sequence(&self) -> TrainingSequence {
        let mut sequence = TrainingSequence {
            features: self.features.iter().copied().collect(),
            targets: Vec::with_capacity(self.steps.len() * if self.aggregate.is_some() { 1 } else { self.leads }),
            leads_skipped: if self.aggregate.is_some() { self.leads - 1 } else { 0 },
            resets: Vec::new(),
        };
        for (at, step) in self.steps.iter().enumerate() {
            if step.reset || at == 0 {
                sequence.resets.push(at);
            }
            let target =
                |value: Option<f64>| step.origin.zip(value).map_or(f32::NAN, |(from, value)| from.target(value));
            let ahead = self.steps.range(at + 1..).take_while(|later| !later.reset).take(self.leads);
            match self.aggregate {
                None => {
                    sequence.targets.extend(ahead.map(|later| target(later.value)));
                    sequence.targets.resize((at + 1) * self.leads, f32::NAN);
                }
                Some(aggregate) => {
                    let values: Vec<f64> = ahead.map(|later| later.value.unwrap_or(f64::NAN)).collect();
                    let complete = values.len() == self.leads;
                    sequence.targets.push(target(aggregate.of(values).filter(|_| complete)));
                }
            }
        }
        sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Aggregation, FEATURES};
    use crate::time::{EventTime, Grid};

    fn spec() -> SeriesSpec {
        let spec = SeriesSpec::new(Grid::Regular { interval: 1000 });
        SeriesSpec { aggregation: Aggregation::Last, max_gap: 3, horizon: 2, ..spec }
    }

    fn reading(time: i64, value: f64) -> Reading<'static> {
        Reading::new(EventTime(time), value)
    }

    fn builder(max_steps: usize, readings: &[(i64, f64)]) -> SequenceBuilder {
        builder_for(&NetworkSpec { horizon: 2, ..NetworkSpec::default() }, max_steps, readings)
    }

    fn builder_for(network: &NetworkSpec, max_steps: usize, readings: &[(i64, f64)]) -> SequenceBuilder {
        let mut builder = SequenceBuilder::new(spec(), network, max_steps);
        for (second, value) in readings {
            assert_eq!(builder.observe(&reading(second * 1000, *value), None), Placement::Accepted);
        }
        builder
    }

    #[test]
    fn targets_and_features_are_those_of_serving() {
        // Slot 2 is empty; slot 3 is still open.
        let TrainingSequence { features: found, targets, resets, .. } =
            builder(100, &[(0, 1.0), (1, 4.0), (3, 2.0), (4, 2.0)]).to_sequence();
        assert_eq!((found.len(), targets.len(), resets), (4 * FEATURES, 8, vec![0]));
        let mut state = SeriesState::new();
        let mut scales = Vec::new();
        for (slot, value) in [(0, Some(1.0)), (1, Some(4.0)), (2, None), (3, Some(2.0))] {
            let slot = ClosedSlot { slot, value, readings: u32::from(value.is_some()), reset: false };
            state.update(&spec(), &slot);
            scales.push(state.scale());
            let mut features = [0.0; FEATURES];
            state.features(&spec(), &mut features);
            let at = scales.len() - 1;
            assert_eq!(found[at * FEATURES..][..FEATURES], features, "step {at}");
        }
        let expected = [(3.0 / scales[0]) as f32, f32::NAN, f32::NAN, (-2.0 / scales[1]) as f32];
        for (at, (target, expected)) in targets.iter().zip(expected.into_iter().chain([f32::NAN; 4])).enumerate() {
            assert_eq!(target.to_bits(), expected.to_bits(), "target {at}: {target}");
        }
    }

    #[test]
    fn a_spike_counts_as_missing_once_the_series_has_returned() {
        let value = |at: i64| (at as f64 * 0.7).sin();
        let readings = |spike: Option<f64>| -> Vec<(i64, f64)> {
            let with_spike = (0..300).map(|at| (at, if at == 200 { spike } else { Some(value(at)) }));
            with_spike.filter_map(|(at, value)| Some((at, value?))).collect()
        };
        let features = |spike| builder(400, &readings(spike)).to_sequence().features;
        let (spiked, empty) = (features(Some(1e6)), features(None));
        let at = |step: usize| step * FEATURES..(step + 1) * FEATURES;
        assert_eq!(spiked[at(199)], empty[at(199)]);
        assert_ne!(spiked[at(200)], empty[at(200)]);
        let pairs = spiked[at(220)].iter().zip(&empty[at(220)]);
        let largest = pairs.map(|(spiked, empty)| (spiked - empty).abs()).fold(0.0, f32::max);
        assert!(largest < 0.5, "{largest} after 20 steps");
    }

    #[test]
    fn a_many_to_one_target_needs_every_step_of_the_horizon() {
        let strategy = Strategy::ManyToOne;
        // Slot 2 is empty; slot 4 is still open.
        let readings = [(0, 1.0), (1, 4.0), (3, 2.0), (4, 2.0)];
        for (target, expected) in [
            (Target::Maximum, [Some(3.0), Some(-2.0), None, None]),
            (Target::Mean, [Some(3.0), Some(-2.0), None, None]),
            (Target::Last, [None, Some(-2.0), None, None]),
        ] {
            let network = NetworkSpec { horizon: 2, strategy, target, ..NetworkSpec::default() };
            let builder = builder_for(&network, 100, &readings);
            let sequence = builder.to_sequence();
            let scales: Vec<f64> =
                builder.steps.iter().map(|step| step.origin.map_or(1.0, |origin| origin.scale)).collect();
            let expected =
                expected.iter().zip(scales).map(|(number, scale)| number.map(|number| (number / scale) as f32));
            let found = sequence.targets.iter().map(|target| (!target.is_nan()).then_some(*target));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{target}");
            assert_eq!(sequence.leads_skipped, 1);
        }
    }

    #[test]
    fn no_target_reaches_across_a_reset() {
        let sequence = builder(100, &[(0, 1.0), (1, 2.0), (60, 3.0), (61, 4.0), (62, 5.0)]).to_sequence();
        let second = *sequence.resets.last().unwrap();
        assert!(sequence.resets[0] == 0 && second > 1, "{:?}", sequence.resets);
        let known = |step: usize, ahead: usize| !sequence.targets[step * 2 + ahead].is_nan();
        assert!(known(0, 0) && !known(0, 1) && !known(1, 0), "{:?}", sequence.targets);
        assert!(known(second, 0));
    }

    #[test]
    fn only_the_newest_steps_are_kept() {
        let readings: Vec<(i64, f64)> = (0..50).map(|at| (at, (at as f64 * 0.3).sin())).collect();
        let (all, newest) = (builder(100, &readings).to_sequence(), builder(10, &readings));
        assert_eq!((newest.len(), newest.is_empty()), (10, false));
        let newest = newest.to_sequence();
        assert_eq!(newest.features[..], all.features[39 * FEATURES..]);
        let (left, right) = (&newest.targets[..16], &all.targets[39 * 2..][..16]);
        assert_eq!(left, right);
        assert_eq!(newest.resets, [0]);
    }

    #[test]
    fn late_readings_are_rejected() {
        let mut builder = builder(10, &[(0, 1.0), (5, 2.0)]);
        assert!(matches!(builder.observe(&reading(0, 1.0), None), Placement::Late { .. }));
    }
}
