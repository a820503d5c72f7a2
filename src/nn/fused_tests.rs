//! The fused sequence and the scan against repeated serving steps, against candle's own gradients and against finite
//! differences.

use candle_core::{Device, Tensor, Var};

use std::collections::BTreeMap;

use super::super::cell::name;
use super::super::elman::Elman;
use super::super::gru::Gru;
use super::super::kernel::padded;
use super::super::lstm::Lstm;
use super::super::minimal::{MinGru, MinLstm};
use super::super::sequence::{log_space, plain, run as best};
use super::super::slstm::Slstm;
use super::super::tile::{MOST_ROWS, clear};
use super::super::{CellKind, Network, NetworkSpec, Scratch, Weights};
use super::*;

const STEPS: usize = 7;
const ROWS: usize = 5;
const INPUTS: usize = 3;

fn wave(count: usize, frequency: f64, size: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * frequency).sin() * size) as f32).collect()
}

/// How a sequence is computed.
type Way = fn(&'static dyn Gates, &Sequence<'_>) -> Result<SequenceOutput>;

fn by_candle(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    plain(gates, sequence)
}

fn by_logarithms(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    log_space(gates, sequence)
}

fn gates(kind: CellKind) -> &'static dyn Gates {
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

const KINDS: [CellKind; 7] = [
    CellKind::Elman,
    CellKind::ElmanRelu,
    CellKind::Lstm,
    CellKind::Gru,
    CellKind::MinGru,
    CellKind::MinLstm,
    CellKind::Slstm,
];

/// Every cell with a narrow and a wide layer, and every way that is not the definition itself.
fn cases() -> impl Iterator<Item = (CellKind, usize, Way)> {
    KINDS.into_iter().flat_map(|kind| [6, 32].map(|hidden| (kind, hidden))).flat_map(|(kind, hidden)| {
        let minimal = gates(kind).recurrent_gates().is_empty();
        let ways: &[Way] = if minimal { &[run, best, by_logarithms] } else { &[run] };
        ways.iter().map(move |way| (kind, hidden, *way))
    })
}

/// A layer with everything that can have a gradient as a variable.
struct Layer {
    kind: CellKind,
    hidden: usize,
    rows: usize,
    inputs: Var,
    states: Var,
    weights: BTreeMap<&'static str, Var>,
    starts: Starts,
}

impl Layer {
    fn new(kind: CellKind, hidden: usize) -> Self {
        Self::of(kind, hidden, ROWS)
    }

    fn of(kind: CellKind, hidden: usize, rows: usize) -> Self {
        let spec = spec(kind, hidden);
        let initial = Weights::initial(&spec);
        let mut weights = BTreeMap::new();
        for tensor in ["input", "recurrent", "bias"] {
            if let Some(initial) = initial.tensors().get(&name(0, tensor)) {
                let mut values = initial.values.clone();
                values.iter_mut().zip(wave(10_000, 0.37, 0.2)).for_each(|(value, wave)| *value += wave);
                weights.insert(tensor, Var::from_vec(values, initial.shape.as_slice(), &Device::Cpu).unwrap());
            }
        }
        let vectors = gates(kind).combination().states();
        let mut states = wave(rows * vectors * padded(hidden), 0.71, 0.6);
        if [CellKind::MinGru, CellKind::MinLstm, CellKind::Slstm].contains(&kind) {
            // States that these cells can have: outputs and normalisers are positive.
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
            inputs: Var::from_vec(wave(STEPS * rows * INPUTS, 0.53, 1.3), (STEPS, rows, INPUTS), &Device::Cpu).unwrap(),
            states: Var::from_vec(states, (rows, vectors * padded(hidden)), &Device::Cpu).unwrap(),
            weights,
            starts: Starts::new(rows, flags),
        }
    }

    fn run(&self, way: Way) -> Result<SequenceOutput> {
        let weights = self.weights.iter().map(|(name, weight)| (*name, weight.as_tensor().clone())).collect();
        let sequence = Sequence { inputs: &self.inputs, weights: &weights, states: &self.states, starts: &self.starts };
        way(gates(self.kind), &sequence)
    }

    /// A loss that weighs every output differently.
    fn loss(&self, way: Way) -> Tensor {
        let outputs = self.run(way).unwrap().outputs;
        let weights = Tensor::from_vec(wave(outputs.elem_count(), 0.91, 1.0), outputs.shape(), &Device::Cpu).unwrap();
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

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn outputs_and_states_are_those_of_candles_own_operations() {
    for (kind, hidden, way) in cases() {
        let layer = Layer::new(kind, hidden);
        let (fused, plain) = (layer.run(way).unwrap(), layer.run(by_candle).unwrap());
        assert_eq!(fused.outputs.dims(), [STEPS, ROWS, hidden]);
        for (left, right) in numbers(&fused.outputs).iter().zip(numbers(&plain.outputs)) {
            assert!((left - right).abs() < 1e-5, "{kind} {hidden}: {left} {right}");
        }
        for step in 0..STEPS {
            let (left, right) = (fused.states_after(step).unwrap(), plain.states_after(step).unwrap());
            for (left, right) in numbers(&left).iter().zip(numbers(&right)) {
                assert!((left - right).abs() < 2e-5, "{kind} {hidden} state {step}: {left} {right}");
            }
        }
        assert!(fused.states_after(STEPS).is_err() && plain.states_after(STEPS).is_err());
    }
}

#[test]
fn gradients_are_those_of_candles_own_operations() {
    for (kind, hidden, way) in cases() {
        let layer = Layer::new(kind, hidden);
        let fused = layer.loss(way).backward().unwrap();
        let plain = layer.loss(by_candle).backward().unwrap();
        for (name, variable) in layer.variables() {
            let (fused, plain) = (fused.get(variable).unwrap(), plain.get(variable).unwrap());
            assert_eq!(fused.dims(), plain.dims());
            let (fused, plain) = (numbers(fused), numbers(plain));
            let largest = plain.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest > 1e-3, "{kind} {hidden} {name} has a gradient");
            for (at, (left, right)) in fused.iter().zip(&plain).enumerate() {
                assert!((left - right).abs() < 2e-5 * largest.max(1.0), "{kind} {hidden} {name} {at}: {left} {right}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (kind, hidden, way) in cases().filter(|(kind, hidden, _)| *hidden == 6 && *kind != CellKind::ElmanRelu) {
        let layer = Layer::new(kind, hidden);
        let gradients = layer.loss(way).backward().unwrap();
        for (name, variable) in layer.variables() {
            let gradient = numbers(gradients.get(variable).unwrap());
            let (values, shape) = (numbers(variable), variable.shape().clone());
            for at in (0..values.len()).step_by((values.len() / 12).max(1)) {
                // The padding of the states is no variable of the network.
                if name == "states" && at % padded(hidden) >= hidden {
                    continue;
                }
                let loss = |by: f32| {
                    let mut moved = values.clone();
                    moved[at] += by;
                    variable.set(&Tensor::from_vec(moved, &shape, &Device::Cpu).unwrap()).unwrap();
                    f64::from(layer.loss(way).to_scalar::<f32>().unwrap())
                };
                let by = 4e-3_f32;
                let (left, right) = (loss(0.0) - loss(-by), loss(by) - loss(0.0));
                let difference = (left + right) / (2.0 * f64::from(by));
                variable.set(&Tensor::from_vec(values.clone(), &shape, &Device::Cpu).unwrap()).unwrap();
                let error = (difference - f64::from(gradient[at])).abs();
                // The minimal cells' candidate has a kink: across it the two sides differ, and the gradient is either's.
                let kink = ((right - left) / f64::from(by)).abs();
                let close = 3e-3 * difference.abs().max(1.0) + kink.min(0.2);
                assert!(error < close, "{kind} {name} {at}: {} against {difference}", gradient[at]);
            }
        }
    }
}

#[test]
fn a_sequence_is_repeated_serving_steps_to_the_last_bit() {
    for (kind, hidden, _) in cases() {
        let layer = Layer::new(kind, hidden);
        let spec = spec(kind, hidden);
        let mut tensors = Weights::initial(&spec).tensors().clone();
        for (tensor, variable) in &layer.weights {
            tensors.get_mut(&name(0, tensor)).unwrap().values = numbers(variable);
        }
        let network = Network::new(&spec, &Weights::from_tensors(tensors)).unwrap();
        let ways: [Way; 2] = [run, best];
        for output in ways.map(|way| layer.run(way).unwrap()) {
            let (inputs, outputs) = (numbers(&layer.inputs), numbers(&output.outputs));
            let mut states = numbers(&layer.states);
            for step in 0..STEPS {
                clear(layer.starts.at(step), network.state_len(), &mut states);
                let x = &inputs[step * ROWS * INPUTS..][..ROWS * INPUTS];
                network.advance(&mut Scratch::default(), ROWS, x, &mut states);
                let served: Vec<f32> =
                    states.chunks_exact(network.state_len()).flat_map(|row| row[..hidden].to_vec()).collect();
                assert_eq!(outputs[step * ROWS * hidden..][..ROWS * hidden], served, "{kind} {hidden} step {step}");
                assert_eq!(numbers(&output.states_after(step).unwrap()), states);
            }
        }
    }
}

#[test]
fn many_rows_have_candles_gradients_and_the_same_bits_on_any_number_of_threads() {
    for (kind, way) in [(CellKind::Gru, run as Way), (CellKind::Slstm, run), (CellKind::MinGru, best)] {
        let layer = Layer::of(kind, 6, 2 * MOST_ROWS + 5);
        let all = |way: Way| {
            let gradients = layer.loss(way).backward().unwrap();
            let each = layer.variables().into_iter().map(|(_, variable)| numbers(gradients.get(variable).unwrap()));
            let last = layer.run(way).unwrap().states_after(STEPS - 1).unwrap();
            each.chain([numbers(&last)]).collect::<Vec<_>>()
        };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all(way))
        };
        let alone = on(1);
        assert_eq!(alone[0].len(), STEPS * layer.rows * INPUTS);
        assert_eq!(alone, on(3), "{kind}");
        for (fused, plain) in alone.iter().zip(all(by_candle)) {
            let largest = plain.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
            for (left, right) in fused.iter().zip(&plain) {
                assert!((left - right).abs() < 2e-5 * largest, "{kind}: {left} {right}");
            }
        }
    }
}

#[test]
fn wrong_shapes_are_errors() {
    for kind in KINDS {
        let mut layer = Layer::new(kind, 6);
        layer.states = Var::from_vec(vec![0.0_f32; ROWS * 6], (ROWS, 6), &Device::Cpu).unwrap();
        assert!(layer.run(best).unwrap_err().to_string().contains("do not fit"), "{kind}");
        assert_eq!(layer.hidden, 6);
    }
}
