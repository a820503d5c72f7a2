//! The fused sequence against repeated serving steps, against candle's own gradients and against finite differences.

use candle_core::{Device, Tensor, Var};

use super::super::cell::name;
use super::super::sequence::{LayerTensors, plain};
use super::super::{Network, NetworkSpec, Scratch, Weights};
use super::*;

const STEPS: usize = 7;
const ROWS: usize = 5;
const INPUTS: usize = 3;

fn wave(count: usize, frequency: f64, size: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * frequency).sin() * size) as f32).collect()
}

/// A layer with everything that can have a gradient as a variable.
struct Layer {
    kind: CellKind,
    hidden: usize,
    inputs: Var,
    states: Var,
    weights: [Var; 3],
    starts: Starts,
}

impl Layer {
    fn new(kind: CellKind, hidden: usize) -> Self {
        let spec = NetworkSpec { cell: kind, layers: 1, hidden, inputs: INPUTS, horizon: 1, levels: 1, seed: 9 };
        let weights = Weights::initial(&spec);
        let weights = ["input", "recurrent", "bias"].map(|tensor| {
            let tensor = &weights.tensors()[&name(0, tensor)];
            let mut values = tensor.values.clone();
            values.iter_mut().zip(wave(10_000, 0.37, 0.2)).for_each(|(value, wave)| *value += wave);
            Var::from_vec(values, tensor.shape.as_slice(), &Device::Cpu).unwrap()
        });
        let vectors = cell(kind).states();
        let mut states = wave(ROWS * vectors * padded(hidden), 0.71, 0.6);
        for vector in states.chunks_exact_mut(padded(hidden)) {
            vector[hidden..].fill(0.0);
        }
        let mut flags = vec![false; STEPS * ROWS];
        (flags[1], flags[3 * ROWS + 2], flags[3 * ROWS + 4], flags[6 * ROWS]) = (true, true, true, true);
        Self {
            kind,
            hidden,
            inputs: Var::from_vec(wave(STEPS * ROWS * INPUTS, 0.53, 1.3), (STEPS, ROWS, INPUTS), &Device::Cpu).unwrap(),
            states: Var::from_vec(states, (ROWS, vectors * padded(hidden)), &Device::Cpu).unwrap(),
            weights,
            starts: Starts::new(ROWS, flags),
        }
    }

    fn run(&self, fused: bool) -> SequenceOutput {
        let [input, recurrent, bias] = self.weights.each_ref().map(|weight| weight.as_tensor().clone());
        let weights = LayerTensors { input, recurrent, bias };
        let sequence = Sequence { inputs: &self.inputs, weights: &weights, states: &self.states, starts: &self.starts };
        if fused { run(self.kind, &sequence).unwrap() } else { plain(cell(self.kind), &sequence).unwrap() }
    }

    /// A loss that weighs every output differently.
    fn loss(&self, fused: bool) -> Tensor {
        let outputs = self.run(fused).outputs;
        let weights = Tensor::from_vec(wave(outputs.elem_count(), 0.91, 1.0), outputs.shape(), &Device::Cpu).unwrap();
        (outputs * weights).unwrap().sum_all().unwrap()
    }

    fn variables(&self) -> [(&'static str, &Var); 5] {
        let [input, recurrent, bias] = &self.weights;
        [("inputs", &self.inputs), ("states", &self.states), ("input", input), ("recurrent", recurrent), ("bias", bias)]
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

const CASES: [(CellKind, usize); 4] =
    [(CellKind::Gru, 6), (CellKind::Gru, 32), (CellKind::Lstm, 6), (CellKind::Lstm, 32)];

#[test]
fn outputs_and_states_are_those_of_candles_own_operations() {
    for (kind, hidden) in CASES {
        let layer = Layer::new(kind, hidden);
        let (fused, plain) = (layer.run(true), layer.run(false));
        assert_eq!(fused.outputs.dims(), [STEPS, ROWS, hidden]);
        for (left, right) in numbers(&fused.outputs).iter().zip(numbers(&plain.outputs)) {
            assert!((left - right).abs() < 1e-5, "{kind} {hidden}: {left} {right}");
        }
        for step in 0..STEPS {
            let (left, right) = (fused.states_after(step).unwrap(), plain.states_after(step).unwrap());
            for (left, right) in numbers(&left).iter().zip(numbers(&right)) {
                assert!((left - right).abs() < 1e-5, "{kind} {hidden} state {step}: {left} {right}");
            }
        }
        assert!(fused.states_after(STEPS).is_err() && plain.states_after(STEPS).is_err());
    }
}

#[test]
fn gradients_are_those_of_candles_own_operations() {
    for (kind, hidden) in CASES {
        let layer = Layer::new(kind, hidden);
        let fused = layer.loss(true).backward().unwrap();
        let plain = layer.loss(false).backward().unwrap();
        for (name, variable) in layer.variables() {
            let (fused, plain) = (fused.get(variable).unwrap(), plain.get(variable).unwrap());
            assert_eq!(fused.dims(), plain.dims());
            let (fused, plain) = (numbers(fused), numbers(plain));
            let largest = plain.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest > 1e-3, "{kind} {hidden} {name} has a gradient");
            for (at, (left, right)) in fused.iter().zip(&plain).enumerate() {
                assert!((left - right).abs() < 1e-5 * largest.max(1.0), "{kind} {hidden} {name} {at}: {left} {right}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (kind, hidden) in [(CellKind::Gru, 6), (CellKind::Lstm, 6)] {
        let layer = Layer::new(kind, hidden);
        let gradients = layer.loss(true).backward().unwrap();
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
                    f64::from(layer.loss(true).to_scalar::<f32>().unwrap())
                };
                let by = 4e-3_f32;
                let difference = (loss(by) - loss(-by)) / (2.0 * f64::from(by));
                variable.set(&Tensor::from_vec(values.clone(), &shape, &Device::Cpu).unwrap()).unwrap();
                let error = (difference - f64::from(gradient[at])).abs();
                let close = 2e-3 * difference.abs().max(1.0);
                assert!(error < close, "{kind} {name} {at}: {} against {difference}", gradient[at]);
            }
        }
    }
}

#[test]
fn a_sequence_is_repeated_serving_steps_to_the_last_bit() {
    for (kind, hidden) in CASES {
        let layer = Layer::new(kind, hidden);
        let spec = NetworkSpec { cell: kind, layers: 1, hidden, inputs: INPUTS, horizon: 1, levels: 1, seed: 9 };
        let mut tensors = Weights::initial(&spec).tensors().clone();
        for (tensor, variable) in ["input", "recurrent", "bias"].iter().zip(&layer.weights) {
            tensors.get_mut(&name(0, tensor)).unwrap().values = numbers(variable);
        }
        let network = Network::new(&spec, &Weights::from_tensors(tensors)).unwrap();
        let output = layer.run(true);
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

#[test]
fn wrong_shapes_are_errors() {
    let mut layer = Layer::new(CellKind::Gru, 6);
    layer.states = Var::from_vec(vec![0.0_f32; ROWS * 6], (ROWS, 6), &Device::Cpu).unwrap();
    let [input, recurrent, bias] = layer.weights.each_ref().map(|weight| weight.as_tensor().clone());
    let weights = LayerTensors { input, recurrent, bias };
    let sequence = Sequence { inputs: &layer.inputs, weights: &weights, states: &layer.states, starts: &layer.starts };
    assert!(run(layer.kind, &sequence).unwrap_err().to_string().contains("do not fit"));
    assert_eq!(layer.hidden, 6);
}
