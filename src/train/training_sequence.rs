//! The history of one series as training reads it. The same [`SeriesState`] and [`SeriesStep`] as in serving compute
//! slots, scales and features. Spikes are found by the errors of the last value, since training makes no forecasts; a
//! value that turns out to be one counts as missing from then on, as in serving.

use std::ops::Range;
use std::sync::Arc;

use crate::forecast::{ForecastSpec, LastValueObserver, SeriesStep, StreamPrior};
use crate::nn::{NetworkSpec, Strategy};
use crate::series::{
    ClosedSlot, FutureCovariateTable, Placement, QUERY_FEATURES, Reading, RecordedSteps, ScaleEstimate, SeriesSpec,
    SeriesState, Target,
};

/// The prior for new series of a stream, pooled over training sequences and the scales of their series; `None` where
/// they are too few.
pub fn stream_prior(
    forecast: &ForecastSpec,
    sequences: &[TrainingSequence],
    scales: &[ScaleEstimate],
) -> Option<Arc<StreamPrior>> {
    let steps = sequences.iter().map(TrainingSequence::len).sum();
    StreamPrior::pool(forecast, scales, steps, |visit| {
        sequences.iter().for_each(|sequence| sequence.visit_targets(0..sequence.len(), |_, targets| visit(targets)));
    })
    .map(Arc::new)
}

/// The steps of one series, oldest first. Features and targets are computed where they are needed: stored, they would
/// take twenty times the memory. Clones share the steps.
#[derive(Debug, Clone)]
pub struct TrainingSequence {
    steps: Steps,
    targets: TargetLayout,
    resets: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Steps {
    /// Of a series.
    Recorded(Arc<RecordedSteps>),
    /// Made otherwise: `[step, input]` and `[step, target]`.
    Stored { inputs: usize, features: Arc<[f32]>, targets: Arc<[f32]> },
}

/// The targets of a step.
#[derive(Debug, Clone, Copy)]
struct TargetLayout {
    /// How many there are.
    count: usize,
    /// Leads before the first one ([`NetworkSpec::leads_skipped`]).
    leads_skipped: usize,
    /// What a many-to-one network predicts of the leads.
    aggregate: Option<Target>,
}

impl TargetLayout {
    fn of(network: &NetworkSpec) -> Self {
        let leads = network.leads_skipped() + network.targets();
        match network.strategy {
            Strategy::ManyToOne => Self { count: 1, leads_skipped: leads - 1, aggregate: Some(network.target) },
            _ => Self { count: leads, leads_skipped: 0, aggregate: None },
        }
    }

    /// Leads up to the last target.
    fn leads(&self) -> usize {
        self.leads_skipped + self.count
    }
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

impl TrainingSequence {
    /// A sequence of these features `[steps, inputs]` and targets `[steps, targets]`, NaN where one is unknown. The
    /// state is reset before the steps `resets`, ascending.
    ///
    /// # Panics
    /// Where a step has no input or no target, or the two differ in their number of steps.
    pub fn given([inputs, targets]: [usize; 2], features: Vec<f32>, target: Vec<f32>, resets: Vec<usize>) -> Self {
        assert!(inputs > 0 && targets > 0, "a step has features and targets");
        let steps = features.len() / inputs;
        let whole = steps * inputs == features.len() && steps * targets == target.len();
        assert!(whole, "{} features of {inputs} and {} targets of {targets} a step", features.len(), target.len());
        let layout = TargetLayout { count: targets, leads_skipped: 0, aggregate: None };
        let steps = Steps::Stored { inputs, features: features.into(), targets: target.into() };
        Self { steps, targets: layout, resets }
    }

    /// Its number of steps.
    pub fn len(&self) -> usize {
        match &self.steps {
            Steps::Recorded(steps) => steps.len(),
            Steps::Stored { inputs, features, .. } => features.len() / inputs,
        }
    }

    /// Whether it has no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Features and targets of a step.
    pub(super) fn shape(&self) -> [usize; 2] {
        let inputs = match &self.steps {
            Steps::Recorded(steps) => steps.spec().features(),
            Steps::Stored { inputs, .. } => *inputs,
        };
        [inputs, self.targets.count]
    }

    /// Leads before the first target.
    pub(super) fn leads_skipped(&self) -> usize {
        self.targets.leads_skipped
    }

    /// The steps, ascending, before which the hidden state is reset. The first step is one, listed or not.
    pub(super) fn resets(&self) -> &[usize] {
        &self.resets
    }

    /// Visits the features of steps, in order.
    pub(super) fn visit_features(&self, steps: Range<usize>, mut visit: impl FnMut(usize, &[f32])) {
        match &self.steps {
            Steps::Recorded(recorded) => {
                let mut features = vec![0.0; recorded.spec().features()];
                recorded.visit(steps, |at, step| {
                    step.write_features(&mut features);
                    visit(at, &features);
                });
            }
            Steps::Stored { inputs, features, .. } => {
                steps.for_each(|at| visit(at, &features[at * inputs..(at + 1) * inputs]));
            }
        }
    }

    /// Visits the queries `[lead][QUERY_FEATURES]` of the leads that `leads` gives for each of these steps, in order.
    /// Sequences that were not made from a series have none.
    pub(super) fn visit_queries<const N: usize>(
        &self,
        steps: Range<usize>,
        leads: impl Fn(usize) -> [usize; N],
        mut visit: impl FnMut(usize, &[f32]),
    ) {
        let Steps::Recorded(recorded) = &self.steps else { return };
        let mut queries = vec![0.0; N * QUERY_FEATURES];
        recorded.visit(steps, |at, step| {
            step.write_queries(leads(at), &mut queries);
            visit(at, &queries);
        });
    }

    /// Visits the targets of steps, in order: `(x_{t+h} - x_t) / scale_t` for the leads h from 1 on; for a many-to-one
    /// network, the same of the [`Target`] over all leads. NaN where a value is missing or not yet known. No target
    /// reaches across a reset.
    pub(super) fn visit_targets(&self, steps: Range<usize>, mut visit: impl FnMut(usize, &[f32])) {
        let TargetLayout { count, aggregate, .. } = self.targets;
        let recorded = match &self.steps {
            Steps::Recorded(recorded) => recorded,
            Steps::Stored { targets, .. } => {
                steps.for_each(|at| visit(at, &targets[at * count..(at + 1) * count]));
                return;
            }
        };
        // The values of all steps, and of those that their targets refer to.
        let (from, leads) = (steps.start, self.targets.leads());
        let upto = (steps.end + leads).min(self.len());
        let values: Vec<f64> = (from..upto).map(|at| recorded.value(at).unwrap_or(f64::NAN)).collect();
        let mut next_reset = self.resets.partition_point(|reset| *reset <= from);
        let mut targets = vec![f32::NAN; count];
        recorded.visit(steps, |at, step| {
            while self.resets.get(next_reset).is_some_and(|reset| *reset <= at) {
                next_reset += 1;
            }
            let end = self.resets.get(next_reset).copied().unwrap_or(upto).min(at + 1 + leads).min(upto);
            let ahead = &values[at + 1 - from..end - from];
            let origin = step.value().map(|value| Origin { value, scale: step.scale() });
            targets.fill(f32::NAN);
            match (origin, aggregate) {
                (None, _) => {}
                (Some(origin), None) => {
                    targets.iter_mut().zip(ahead).for_each(|(target, value)| *target = origin.target(*value));
                }
                (Some(origin), Some(aggregate)) if ahead.len() == leads => {
                    let value = aggregate.of(ahead.iter().copied());
                    targets[0] = value.map_or(f32::NAN, |value| origin.target(value));
                }
                _ => {}
            }
            visit(at, &targets);
        });
    }
}

/// Builds a [`TrainingSequence`] from the readings of one series and keeps its newest steps.
#[derive(Debug, Clone)]
pub struct SequenceBuilder {
    spec: Arc<SeriesSpec>,
    state: SeriesState,
    observer: LastValueObserver,
    targets: TargetLayout,
    max_steps: usize,
    steps: Arc<RecordedSteps>,
}

impl SequenceBuilder {
    /// A builder that keeps the newest `max_steps` steps (at least one), with the targets of the network.
    pub fn new(spec: impl Into<Arc<SeriesSpec>>, network: &NetworkSpec, max_steps: usize) -> Self {
        let spec = spec.into();
        Self {
            steps: Arc::new(RecordedSteps::new(Arc::clone(&spec))),
            spec,
            state: SeriesState::new(),
            observer: LastValueObserver::default(),
            targets: TargetLayout::of(network),
            max_steps: max_steps.max(1),
        }
    }

    /// Adds a reading, with the future covariates known at that time.
    pub fn observe(&mut self, reading: &Reading<'_>, future_covariates: Option<&FutureCovariateTable>) -> Placement {
        self.observe_at(0, reading, future_covariates)
    }

    /// [`Self::observe`] of a reading that arrived at `now`, which does not decrease: see [`Self::drop_before`].
    pub fn observe_at(
        &mut self,
        now: i64,
        reading: &Reading<'_>,
        future_covariates: Option<&FutureCovariateTable>,
    ) -> Placement {
        let mut closed = Vec::new();
        let placement = self.state.observe(&self.spec, reading, &mut closed);
        if !closed.is_empty() {
            self.update(&closed, future_covariates, now);
        }
        placement
    }

    fn update(&mut self, closed: &[ClosedSlot], future: Option<&FutureCovariateTable>, now: i64) {
        let mut features = vec![0.0; self.spec.features()];
        let recorded = Arc::make_mut(&mut self.steps);
        for slot in closed {
            let step = SeriesStep { spec: &self.spec, slot, future };
            let before_was_spike = step.apply(&mut self.state, &mut self.observer, &mut features);
            recorded.push(&self.state, slot, before_was_spike, &features, now);
        }
        recorded.keep_newest(self.max_steps);
    }

    /// Drops steps that arrived before `time`, in blocks. A builder that is then empty has no history any more.
    pub fn drop_before(&mut self, time: i64) {
        Arc::make_mut(&mut self.steps).drop_recorded_before(time);
    }

    /// Steps kept so far.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether no step is kept.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Location and scale of the values; `None` before the second one.
    pub fn scale_estimate(&self) -> Option<ScaleEstimate> {
        self.state.scale_estimate()
    }

    /// The sequence so far. It shares the steps, so that it should be dropped before the next reading.
    pub fn to_sequence(&self) -> TrainingSequence {
        let resets = self.steps.resets();
        TrainingSequence { steps: Steps::Recorded(Arc::clone(&self.steps)), targets: self.targets, resets }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() - size_of::<SeriesState>() + self.state.bytes() + self.steps.bytes()
    }
}

#[cfg(test)]
impl TrainingSequence {
    /// All features, `[step, input]`.
    pub(super) fn features(&self) -> Vec<f32> {
        let mut all = Vec::new();
        self.visit_features(0..self.len(), |_, features| all.extend(features));
        all
    }

    /// All targets, `[step, target]`.
    pub(super) fn targets(&self) -> Vec<f32> {
        let mut all = Vec::new();
        self.visit_targets(0..self.len(), |_, targets| all.extend(targets));
        all
    }

    /// The same features, targets and resets, stored, after a change of the features and targets.
    pub(super) fn stored(&self, change: impl FnOnce(&mut [f32], &mut [f32])) -> Self {
        let (mut features, mut targets) = (self.features(), self.targets());
        change(&mut features, &mut targets);
        let mut stored = Self::given(self.shape(), features, targets, self.resets.clone());
        stored.targets.leads_skipped = self.targets.leads_skipped;
        stored
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
        let sequence = builder(100, &[(0, 1.0), (1, 4.0), (3, 2.0), (4, 2.0)]).to_sequence();
        let (found, targets, resets) = (sequence.features(), sequence.targets(), sequence.resets().to_vec());
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

    /// Features and targets as they were stored step by step before they were computed: those of each step when it was
    /// the newest, and the values after it in units of its scale.
    #[test]
    fn features_and_targets_of_past_steps_are_those_of_the_time() {
        let spec = SeriesSpec { season: 12, ..spec() };
        let network = NetworkSpec { horizon: 2, ..NetworkSpec::default() };
        let mut builder = SequenceBuilder::new(spec.clone(), &network, 10_000);
        let (mut state, mut observer) = (SeriesState::new(), LastValueObserver::default());
        let (mut features, mut steps, mut spikes) = (Vec::new(), Vec::new(), 0);
        let mut second = 0;
        for reading in 0..2_000_u32 {
            second += if reading % 300 == 299 { 40 } else { 1 + i64::from(reading % 50 == 49) };
            // Each spike is larger than all before it: they are not alike.
            let spike = if reading % 97 == 96 { 10_f64.powi(2 + (reading / 97) as i32) } else { 0.0 };
            let value = (f64::from(reading) * 0.5).sin() + spike;
            let reading = Reading::new(EventTime(second * 1000), value);
            builder.observe(&reading, None);
            let mut closed = Vec::new();
            state.observe(&spec, &reading, &mut closed);
            for slot in closed {
                let mut newest = vec![0.0; spec.features()];
                let step = SeriesStep { spec: &spec, slot: &slot, future: None };
                spikes += u32::from(step.apply(&mut state, &mut observer, &mut newest));
                features.extend(newest);
                steps.push((slot.value, state.scale(), slot.reset || state.steps() == 1));
            }
        }
        let target = |at: usize, lead: usize| {
            let ahead = steps.get(at + lead)?;
            let reset = (at + 1..=at + lead).any(|step| steps[step].2);
            let target = ((ahead.0? - steps[at].0?) / steps[at].1) as f32;
            (!reset && target.is_finite()).then_some(target)
        };
        let targets = (0..steps.len()).flat_map(|at| [1, 2].map(|lead| target(at, lead).unwrap_or(f32::NAN)));
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let sequence = builder.to_sequence();
        assert!(spikes > 5 && sequence.resets().len() == 7, "{spikes} {:?}", sequence.resets());
        assert_eq!(bits(&sequence.features()), bits(&features));
        assert_eq!(bits(&sequence.targets()), bits(&targets.collect::<Vec<_>>()));
    }

    #[test]
    fn a_spike_counts_as_missing_once_the_series_has_returned() {
        let value = |at: i64| (at as f64 * 0.7).sin();
        let readings = |spike: Option<f64>| -> Vec<(i64, f64)> {
            let with_spike = (0..300).map(|at| (at, if at == 200 { spike } else { Some(value(at)) }));
            with_spike.filter_map(|(at, value)| Some((at, value?))).collect()
        };
        let features = |spike| builder(400, &readings(spike)).to_sequence().features();
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
            let mut scales = Vec::new();
            builder.steps.visit(0..builder.len(), |_, step| scales.push(step.scale()));
            let expected =
                expected.iter().zip(scales).map(|(number, scale)| number.map(|number| (number / scale) as f32));
            let found = sequence.targets();
            let found = found.iter().map(|target| (!target.is_nan()).then_some(*target));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{target}");
            assert_eq!(sequence.leads_skipped(), 1);
        }
    }

    #[test]
    fn no_target_reaches_across_a_reset() {
        let sequence = builder(100, &[(0, 1.0), (1, 2.0), (60, 3.0), (61, 4.0), (62, 5.0)]).to_sequence();
        let (second, targets) = (*sequence.resets().last().unwrap(), sequence.targets());
        assert!(sequence.resets()[0] == 0 && second > 1, "{:?}", sequence.resets());
        let known = |step: usize, ahead: usize| !targets[step * 2 + ahead].is_nan();
        assert!(known(0, 0) && !known(0, 1) && !known(1, 0), "{targets:?}");
        assert!(known(second, 0));
    }

    #[test]
    fn only_the_newest_steps_are_kept() {
        let readings: Vec<(i64, f64)> = (0..50).map(|at| (at, (at as f64 * 0.3).sin())).collect();
        let (all, newest) = (builder(100, &readings).to_sequence(), builder(10, &readings));
        assert_eq!((newest.len(), newest.is_empty()), (10, false));
        let newest = newest.to_sequence();
        assert_eq!(newest.features()[..], all.features()[39 * FEATURES..]);
        assert_eq!(newest.targets()[..16], all.targets()[39 * 2..][..16]);
        assert_eq!(newest.resets(), [0]);
    }

    #[test]
    fn late_readings_are_rejected() {
        let mut builder = builder(10, &[(0, 1.0), (5, 2.0)]);
        assert!(matches!(builder.observe(&reading(0, 1.0), None), Placement::Late { .. }));
    }
}
