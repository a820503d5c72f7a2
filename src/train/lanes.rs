//! The history of one series as training reads it: the same slots, scales and features as in serving, because the same
//! [`SeriesState`] makes them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::forecast::{ForecastSpec, StreamPrior};
use crate::nn::{NetworkSpec, Strategy};
use crate::series::{ClosedSlot, FutureCovariateTable, Placement, ScaleEstimate, SeriesSpec, SeriesState, Target};
use crate::time::EventTime;

/// Where a new series of such a stream begins, as far as these lanes and the sizes of their series tell.
pub fn prior(forecast: &ForecastSpec, lanes: &[TrainingSequence], sizes: &[ScaleEstimate]) -> Option<Arc<StreamPrior>> {
    let targets: Vec<&[f32]> = lanes.iter().map(|lane| lane.targets.as_slice()).collect();
    StreamPrior::pool(forecast, sizes, &targets).map(Arc::new)
}

/// The steps of one series in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingSequence {
    /// Features `[steps, inputs]`.
    pub features: Vec<f32>,
    /// Targets `[steps, targets]`: `(x_{t+h} - x_t) / scale_t` for the leads h from 1 on, or the same of the one number
    /// that is made of all leads; NaN where nothing was observed or is known yet.
    pub targets: Vec<f32>,
    /// Leads before that of the first target ([`NetworkSpec::leads_skipped`]).
    pub leads_skipped: usize,
    /// The steps, in order, before which the state is reset; the first step of a lane is one, listed or not.
    pub resets: Vec<usize>,
}

/// One step, as long as its targets may still come.
#[derive(Debug, Clone)]
struct Taken {
    /// `x_t` and `scale_t`; a forecast is made only where the slot holds a value.
    base: Option<(f64, f64)>,
    value: Option<f64>,
    start: bool,
}

/// Feeds the readings of one series through a [`SeriesState`] and keeps the newest steps.
#[derive(Debug, Clone)]
pub struct SequenceBuilder {
    spec: SeriesSpec,
    state: SeriesState,
    /// Leads up to the last target.
    leads: usize,
    /// The one number that is made of all leads, where there is one.
    one: Option<Target>,
    most: usize,
    steps: VecDeque<Taken>,
    /// `[steps, inputs]`: what describes each of them.
    features: VecDeque<f32>,
    closed: Vec<ClosedSlot>,
}

impl SequenceBuilder {
    /// Begins a lane that keeps the newest `most` steps (at least one), with the targets that the network has for each.
    pub fn new(spec: SeriesSpec, network: &NetworkSpec, most: usize) -> Self {
        let (state, steps, features, closed) = (SeriesState::new(), VecDeque::new(), VecDeque::new(), Vec::new());
        let one = (network.strategy == Strategy::ManyToOne).then_some(network.target);
        let leads = network.leads_skipped() + network.targets();
        Self { spec, state, leads, one, most: most.max(1), steps, features, closed }
    }

    /// Takes a reading in, with the covariates that came with it and what is known in advance by then; what became of it.
    pub fn observe(
        &mut self,
        time: EventTime,
        value: f64,
        covariates: &[f64],
        outlook: Option<&FutureCovariateTable>,
    ) -> Placement {
        let mut closed = std::mem::take(&mut self.closed);
        let placed = self.state.observe(&self.spec, time, value, covariates, &mut closed);
        for slot in closed.drain(..) {
            self.state.look_up_future_covariates(&self.spec, slot.slot, outlook);
            self.take(&slot);
        }
        self.closed = closed;
        placed
    }

    fn take(&mut self, slot: &ClosedSlot) {
        self.state.update(&self.spec, slot);
        let mut features = vec![0.0; self.spec.features()];
        self.state.features(&self.spec, &mut features);
        if self.steps.len() == self.most {
            self.steps.pop_front();
            self.features.drain(..features.len());
        }
        self.features.extend(features);
        self.steps.push_back(Taken {
            base: slot.value.map(|_| (self.state.last_value(), self.state.scale())),
            value: slot.value,
            start: slot.reset || self.state.steps() == 1,
        });
    }

    /// Steps so far, at most as many as are kept.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether no slot has closed yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How large its values are, once there are some.
    pub fn scale_estimate(&self) -> Option<ScaleEstimate> {
        self.state.scale_estimate()
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.state.bytes()
            + self.steps.capacity() * size_of::<Taken>()
            + self.features.capacity() * size_of::<f32>()
    }

    /// The lane so far. A target beyond a reset belongs to another stretch of the series and stays unknown.
    pub fn to_sequence(&self) -> TrainingSequence {
        let mut lane = TrainingSequence {
            features: self.features.iter().copied().collect(),
            targets: Vec::with_capacity(self.steps.len() * if self.one.is_some() { 1 } else { self.leads }),
            leads_skipped: if self.one.is_some() { self.leads - 1 } else { 0 },
            resets: Vec::new(),
        };
        for (at, step) in self.steps.iter().enumerate() {
            if step.start || at == 0 {
                lane.resets.push(at);
            }
            let ahead = self.steps.range(at + 1..).take_while(|later| !later.start).take(self.leads);
            match self.one {
                None => {
                    lane.targets.extend(ahead.map(|later| target(step.base, later.value)));
                    lane.targets.resize((at + 1) * self.leads, f32::NAN);
                }
                Some(one) => {
                    let values: Vec<f64> = ahead.map(|later| later.value.unwrap_or(f64::NAN)).collect();
                    let whole = values.len() == self.leads;
                    lane.targets.push(target(step.base, one.of(values).filter(|_| whole)));
                }
            }
        }
        lane
    }
}

/// What the network should have said; NaN where it cannot be told, or not in `f32`.
fn target(base: Option<(f64, f64)>, value: Option<f64>) -> f32 {
    match (base, value) {
        (Some((anchor, scale)), Some(value)) => {
            let target = ((value - anchor) / scale) as f32;
            if target.is_finite() { target } else { f32::NAN }
        }
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Aggregation, Calendar, ExtraFeatures, FEATURES};
    use crate::time::Grid;

    fn spec() -> SeriesSpec {
        SeriesSpec {
            grid: Grid::Regular { interval: 1000 },
            aggregation: Aggregation::Last,
            readings_per_slot: None,
            allowed_lateness: 0,
            max_gap: 3,
            max_gap_millis: 0,
            season: 0,
            horizon: 2,
            burn_in: 4,
            calendar: Calendar::utc(),
            extra: ExtraFeatures::default(),
        }
    }

    fn builder(most: usize, readings: &[(i64, f64)]) -> SequenceBuilder {
        builder_for(&NetworkSpec { horizon: 2, ..NetworkSpec::default() }, most, readings)
    }

    fn builder_for(network: &NetworkSpec, most: usize, readings: &[(i64, f64)]) -> SequenceBuilder {
        let mut builder = SequenceBuilder::new(spec(), network, most);
        for (second, value) in readings {
            assert_eq!(builder.observe(EventTime(second * 1000), *value, &[], None), Placement::Accepted);
        }
        builder
    }

    #[test]
    fn targets_are_what_serving_would_have_been_asked() {
        // Slot 2 is empty; slot 3 is still open.
        let lane = builder(100, &[(0, 1.0), (1, 4.0), (3, 2.0), (4, 2.0)]).to_sequence();
        assert_eq!((lane.features.len(), lane.targets.len(), lane.resets.as_slice()), (4 * FEATURES, 8, &[0][..]));
        let mut state = SeriesState::new();
        let mut scales = Vec::new();
        for (slot, value) in [(0, Some(1.0)), (1, Some(4.0)), (2, None), (3, Some(2.0))] {
            let slot = ClosedSlot { slot, value, readings: u32::from(value.is_some()), reset: false };
            state.update(&spec(), &slot);
            scales.push(state.scale());
            let mut features = [0.0; FEATURES];
            state.features(&spec(), &mut features);
            let at = scales.len() - 1;
            assert_eq!(lane.features[at * FEATURES..][..FEATURES], features, "step {at}");
        }
        let expected = [(3.0 / scales[0]) as f32, f32::NAN, f32::NAN, (-2.0 / scales[1]) as f32];
        for (at, (target, expected)) in lane.targets.iter().zip(expected.into_iter().chain([f32::NAN; 4])).enumerate() {
            assert_eq!(target.to_bits(), expected.to_bits(), "target {at}: {target}");
        }
    }

    #[test]
    fn one_number_is_a_target_when_all_its_steps_are_known() {
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
            let lane = builder.to_sequence();
            let scales: Vec<f64> = builder.steps.iter().map(|step| step.base.map_or(1.0, |(_, scale)| scale)).collect();
            let expected =
                expected.iter().zip(scales).map(|(number, scale)| number.map(|number| (number / scale) as f32));
            let found = lane.targets.iter().map(|target| (!target.is_nan()).then_some(*target));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{target}");
            assert_eq!(lane.leads_skipped, 1);
        }
    }

    #[test]
    fn no_target_reaches_over_a_reset() {
        let lane = builder(100, &[(0, 1.0), (1, 2.0), (60, 3.0), (61, 4.0), (62, 5.0)]).to_sequence();
        let second = *lane.resets.last().unwrap();
        assert!(lane.resets[0] == 0 && second > 1, "{:?}", lane.resets);
        let known = |step: usize, ahead: usize| !lane.targets[step * 2 + ahead].is_nan();
        assert!(known(0, 0) && !known(0, 1) && !known(1, 0), "{:?}", lane.targets);
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
    fn late_readings_are_told() {
        let mut builder = builder(10, &[(0, 1.0), (5, 2.0)]);
        assert!(matches!(builder.observe(EventTime(0), 1.0, &[], None), Placement::Late { .. }));
    }
}
