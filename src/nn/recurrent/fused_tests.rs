//! The fused sequence and the scan against repeated serving steps, candle's own gradients and finite differences.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::super::run::run as fastest;
use super::super::{log_space, reference};
use super::*;
use super::{super::sizes::MAX_TILE_ROWS, super::tile::clear_reset_rows};
use crate::nn::cells::minimal::{MinGru, MinLstm};
use crate::nn::cells::{elman::Elman, gru::Gru, lstm::Lstm, slstm::Slstm};
use crate::nn::test_support::{assert_close, largest, sine, values};
use crate::nn::{CellKind, Network, NetworkSpec, Scratch, Weights};
use crate::nn::{kernel::padded, parameter::layer_tensor_name};

const STEPS: usize = 7;
const ROWS: usize = 5;
const INPUTS: usize = 3;

/// An implementation that computes a sequence.
type Implementation = fn(&'static dyn RecurrentCell, &Sequence<'_>) -> Result<SequenceOutput>;

fn cell(kind: CellKind) -> &'static dyn RecurrentCell {
    match kind {
        CellKind::Elman => &Elman { relu: false },
        CellKind::ElmanRelu => &Elman { relu: true },
        CellKind::Lstm => &Lstm,
        CellKind::Gru => &Gru,
        CellKind::MinGru => &MinGru,
        CellKind::MinLstm => &MinLstm,
        CellKind::Slstm => &Slstm,
        other => panic!("{other} has no fused sequence"),
    }
}

/// The kinds of cells that have a fused sequence.
fn kinds() -> impl Iterator<Item = CellKind> {
    CellKind::ALL.into_iter().filter(|kind| kind.is_recurrent() && *kind != CellKind::GruResetBefore)
}

/// Every cell with a narrow and a wide layer, and every implementation except the definition itself.
fn cases() -> impl Iterator<Item = (CellKind, usize, Implementation)> {
    kinds().flat_map(|kind| [6, 32].map(|hidden| (kind, hidden))).flat_map(|(kind, hidden)| {
        let minimal = cell(kind).gates().recurrent.is_empty();
        let all: &[Implementation] = if minimal { &[run, fastest, log_space::run] } else { &[run] };
        all.iter().map(move |implementation| (kind, hidden, *implementation))
    })
}

/// A layer whose inputs, states and weights are variables.
struct TestLayer {
    kind: CellKind,
    hidden: usize,
    rows: usize,
    inputs: Var,
    states: Var,
    weights: BTreeMap<&'static str, Var>,
    resets: ResetMask,
}

impl TestLayer {
    fn new(kind: CellKind, hidden: usize) -> Self {
        Self::of(kind, hidden, ROWS)
    }

    fn of(kind: CellKind, hidden: usize, rows: usize) -> Self {
        let spec = spec(kind, hidden);
        let initial = Weights::initial(&spec);
        let mut weights = BTreeMap::new();
        for tensor in ["input", "recurrent", "bias"] {
            if let Some(initial) = initial.tensors().get(&layer_tensor_name(0, tensor)) {
                let mut shifted = initial.values.clone();
                shifted.iter_mut().zip(sine(10_000, 0.37, 0.2)).for_each(|(value, shift)| *value += shift);
                weights.insert(tensor, Var::from_vec(shifted, initial.shape.as_slice(), &Device::Cpu).unwrap());
            }
        }
        let vectors = cell(kind).gates().recurrence.states();
        let mut states = sine(rows * vectors * padded(hidden), 0.71, 0.6);
        if [CellKind::MinGru, CellKind::MinLstm, CellKind::Slstm].contains(&kind) {
            // Outputs and normalisers of these cells are positive.
            states.iter_mut().for_each(|state| *state = state.abs() + 0.1);
        }
        for vector in states.chunks_exact_mut(padded(hidden)) {
            vector[hidden..].fill(0.0);
        }
        let mut flags = vec![false; STEPS * rows];
        (flags[1], flags[3 * rows + 2], flags[3 * rows + 4], flags[6 * rows]) = (true, true, true, true);
        Self {
            kind,
            hidden,
            rows,
            inputs: Var::from_vec(sine(STEPS * rows * INPUTS, 0.53, 1.3), (STEPS, rows, INPUTS), &Device::Cpu).unwrap(),
            states: Var::from_vec(states, (rows, vectors * padded(hidden)), &Device::Cpu).unwrap(),
            weights,
            resets: ResetMask::new(rows, flags),
        }
    }

    fn run(&self, implementation: Implementation) -> Result<SequenceOutput> {
        let weights = self.weights.iter().map(|(name, weight)| (*name, weight.as_tensor().clone())).collect();
        let sequence = Sequence { inputs: &self.inputs, weights: &weights, states: &self.states, resets: &self.resets };
        implementation(cell(self.kind), &sequence)
    }

    /// A loss that weights every output differently.
    fn loss(&self, implementation: Implementation) -> Tensor {
        let outputs = self.run(implementation).unwrap().outputs;
        let weights = Tensor::from_vec(sine(outputs.elem_count(), 0.91, 1.0), outputs.shape(), &Device::Cpu).unwrap();
        (outputs * weights).unwrap().sum_all().unwrap()
    }

    fn variables(&self) -> Vec<(&'static str, &Var)> {
        let weights = self.weights.iter().map(|(name, variable)| (*name, variable));
        [("inputs", &self.inputs), ("states", &self.states)].into_iter().chain(weights).collect()
    }
}

fn spec(kind: CellKind, hidden: usize) -> NetworkSpec {
    let sizes = NetworkSpec { inputs: INPUTS, horizon: 1, levels: 1, seed: 9, ..NetworkSpec::default() };
    NetworkSpec { cell: kind, hidden, ..sizes }
}

#[test]
fn outputs_and_states_equal_those_of_candles_operations() {
    for (kind, hidden, implementation) in cases() {
        let layer = TestLayer::new(kind, hidden);
        let (fused, plain) = (layer.run(implementation).unwrap(), layer.run(reference::run).unwrap());
        assert_eq!(fused.outputs.dims(), [STEPS, ROWS, hidden]);
        assert_close(&values(&fused.outputs), &values(&plain.outputs), 1e-5, &format!("{kind} {hidden}"));
        for step in 0..STEPS {
            let (left, right) = (fused.states_after(step).unwrap(), plain.states_after(step).unwrap());
            assert_close(&values(&left), &values(&right), 2e-5, &format!("{kind} {hidden} state {step}"));
        }
        assert!(fused.states_after(STEPS).is_err() && plain.states_after(STEPS).is_err());
    }
}

#[test]
fn gradients_equal_those_of_candles_operations() {
    for (kind, hidden, implementation) in cases() {
        let layer = TestLayer::new(kind, hidden);
        let fused = layer.loss(implementation).backward().unwrap();
        let plain = layer.loss(reference::run).backward().unwrap();
        for (name, variable) in layer.variables() {
            let (fused, plain) = (fused.get(variable).unwrap(), plain.get(variable).unwrap());
            assert_eq!(fused.dims(), plain.dims());
            let (fused, plain) = (values(fused), values(plain));
            assert!(largest(&plain, 0.0) > 1e-3, "{kind} {hidden} {name} has a gradient");
            assert_close(&fused, &plain, 2e-5 * largest(&plain, 1.0), &format!("{kind} {hidden} {name}"));
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    for (kind, hidden, implementation) in
        cases().filter(|(kind, hidden, _)| *hidden == 6 && *kind != CellKind::ElmanRelu)
    {
        let layer = TestLayer::new(kind, hidden);
        let gradients = layer.loss(implementation).backward().unwrap();
        for (name, variable) in layer.variables() {
            let gradient = values(gradients.get(variable).unwrap());
            let (initial, shape) = (values(variable), variable.shape().clone());
            for at in (0..initial.len()).step_by((initial.len() / 12).max(1)) {
                // The padding of the states is not part of the network.
                if name == "states" && at % padded(hidden) >= hidden {
                    continue;
                }
                let loss = |by: f32| {
                    let mut moved = initial.clone();
                    moved[at] += by;
                    variable.set(&Tensor::from_vec(moved, &shape, &Device::Cpu).unwrap()).unwrap();
                    f64::from(layer.loss(implementation).to_scalar::<f32>().unwrap())
                };
                let by = 4e-3_f32;
                let (left, right) = (loss(0.0) - loss(-by), loss(by) - loss(0.0));
                let difference = (left + right) / (2.0 * f64::from(by));
                variable.set(&Tensor::from_vec(initial.clone(), &shape, &Device::Cpu).unwrap()).unwrap();
                let error = (difference - f64::from(gradient[at])).abs();
                // The candidate of the minimal cells has a kink. Its one-sided differences differ, and either may be
                // the gradient.
                let kink = ((right - left) / f64::from(by)).abs();
                let close = 3e-3 * difference.abs().max(1.0) + kink.min(0.2);
                assert!(error < close, "{kind} {name} {at}: {} against {difference}", gradient[at]);
            }
        }
    }
}

#[test]
fn a_fused_sequence_equals_repeated_serving_steps_to_the_last_bit() {
    for (kind, hidden, _) in cases() {
        let layer = TestLayer::new(kind, hidden);
        let spec = spec(kind, hidden);
        let mut tensors = Weights::initial(&spec).tensors().clone();
        for (tensor, variable) in &layer.weights {
            tensors.get_mut(&layer_tensor_name(0, tensor)).unwrap().values = values(variable);
        }
        let network = Network::new(&spec, &Weights::from_tensors(tensors)).unwrap();
        let implementations: [Implementation; 2] = [run, fastest];
        for output in implementations.map(|implementation| layer.run(implementation).unwrap()) {
            let (inputs, outputs) = (values(&layer.inputs), values(&output.outputs));
            let mut states = values(&layer.states);
            for step in 0..STEPS {
                clear_reset_rows(layer.resets.at(step), network.state_len(), &mut states);
                let x = &inputs[step * ROWS * INPUTS..][..ROWS * INPUTS];
                network.advance(&mut Scratch::default(), ROWS, x, &mut states);
                let served: Vec<f32> =
                    states.chunks_exact(network.state_len()).flat_map(|row| row[..hidden].to_vec()).collect();
                assert_eq!(outputs[step * ROWS * hidden..][..ROWS * hidden], served, "{kind} {hidden} step {step}");
                assert_eq!(values(&output.states_after(step).unwrap()), states);
            }
        }
    }
}

#[test]
fn many_rows_have_candles_gradients_and_the_same_bits_on_any_number_of_threads() {
    for (kind, implementation) in
        [(CellKind::Gru, run as Implementation), (CellKind::Slstm, run), (CellKind::MinGru, fastest)]
    {
        let layer = TestLayer::of(kind, 6, 2 * MAX_TILE_ROWS + 5);
        let all = |implementation: Implementation| {
            let gradients = layer.loss(implementation).backward().unwrap();
            let each = layer.variables().into_iter().map(|(_, variable)| values(gradients.get(variable).unwrap()));
            let last = layer.run(implementation).unwrap().states_after(STEPS - 1).unwrap();
            each.chain([values(&last)]).collect::<Vec<_>>()
        };
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all(implementation))
        };
        let alone = with_threads(1);
        assert_eq!(alone[0].len(), STEPS * layer.rows * INPUTS);
        assert_eq!(alone, with_threads(3), "{kind}");
        for (fused, plain) in alone.iter().zip(all(reference::run)) {
            assert_close(fused, &plain, 2e-5 * largest(&plain, 1.0), kind.name());
        }
    }
}

#[test]
fn a_wrong_shape_is_an_error() {
    for kind in kinds() {
        let mut layer = TestLayer::new(kind, 6);
        layer.states = Var::from_vec(vec![0.0_f32; ROWS * 6], (ROWS, 6), &Device::Cpu).unwrap();
        assert!(layer.run(fastest).unwrap_err().to_string().contains("do not fit"), "{kind}");
        assert_eq!(layer.hidden, 6);
    }
}
