//! Whole sequences against repeated serving steps, in one chunk and in several, and against values from PyTorch.

use std::collections::BTreeMap;

use candle_core::Var;
use serde_json::Value;

use super::*;
use crate::nn::test_support::{largest, reference, reference_tensor, values};
use crate::nn::{CellKind, Network, Scratch, Strategy, Weights, head};

const STEPS: usize = 11;
const ROWS: usize = 3;
const INPUTS: usize = 5;

fn sine(count: usize, frequency: f32, amplitude: f32) -> Vec<f32> {
    (0..count).map(|at| (at as f32 * frequency).sin() * amplitude).collect()
}

fn close(left: &[f32], right: &[f32], most: f32, what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        assert!((left - right).abs() <= most * right.abs().max(1.0), "{what} at {at}: {left} against {right}");
    }
}

/// Every cell with two layers, and every option with the cells that it affects.
fn specs() -> Vec<NetworkSpec> {
    let sizes = NetworkSpec { hidden: 24, inputs: INPUTS, horizon: 6, levels: 2, layers: 2, ..NetworkSpec::default() };
    let base = NetworkSpec { context: 4, ..sizes };
    let mut specs: Vec<_> = CellKind::ALL.map(|cell| NetworkSpec { cell, ..base.clone() }).into();
    for cell in [CellKind::Lstm, CellKind::MinGru, CellKind::GruResetBefore, CellKind::Tcn, CellKind::Attention] {
        specs.push(NetworkSpec { cell, residual: true, layer_norm: true, layers: 3, ..base.clone() });
        specs.push(NetworkSpec { cell, strategy: Strategy::OneToOne, ..base.clone() });
        specs.push(NetworkSpec { cell, dilations: vec![2, 3], ..base.clone() });
    }
    for cell in [CellKind::Gru, CellKind::Slstm] {
        specs.push(NetworkSpec { cell, segment: 3, ..base.clone() });
        specs.push(NetworkSpec { cell, window: 4, ..base.clone() });
        specs.push(NetworkSpec { cell, segment: 2, strategy: Strategy::OneToMany, layers: 1, ..base.clone() });
        specs.push(NetworkSpec { cell, strategy: Strategy::ManyToOne, ..base.clone() });
    }
    specs
}

/// Initial weights with a sine added, so that nothing is zero.
fn weights(spec: &NetworkSpec) -> Weights {
    let mut tensors = Weights::initial(spec).tensors().clone();
    for (at, tensor) in tensors.values_mut().enumerate() {
        let noise = sine(tensor.values.len(), 0.37 + at as f32 * 0.01, 0.15);
        tensor.values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    }
    Weights::from_tensors(tensors)
}

fn lookup(weights: &Weights) -> impl Fn(&str) -> Result<Tensor> + '_ {
    |name| {
        let tensor = &weights.tensors()[name];
        Tensor::from_slice(&tensor.values, tensor.shape.as_slice(), &Device::Cpu)
    }
}

fn inputs() -> Tensor {
    Tensor::from_vec(sine(STEPS * ROWS * INPUTS, 0.53, 1.2), (STEPS, ROWS, INPUTS), &Device::Cpu).unwrap()
}

fn flags() -> Vec<bool> {
    let mut flags = vec![false; STEPS * ROWS];
    (flags[0], flags[4 * ROWS + 1], flags[5 * ROWS + 1], flags[8 * ROWS + 2]) = (true, true, true, true);
    flags
}

/// The outputs of the head `[steps, rows, outputs]`.
fn quantiles(spec: &NetworkSpec, weights: &Weights, outputs: &Tensor) -> Vec<f32> {
    let tensor = lookup(weights);
    let decoded = head::decode(spec, &outputs.flatten(0, 1).unwrap(), &|name| tensor(&format!("head.{name}"))).unwrap();
    let quantiles = decoded.matmul(&tensor("head.weight").unwrap().t().unwrap()).unwrap();
    values(&quantiles.broadcast_add(&tensor("head.bias").unwrap()).unwrap())
}

#[test]
fn a_sequence_equals_repeated_serving_steps() {
    for spec in specs() {
        let weights = weights(&spec);
        let network = Network::new(&spec, &weights).unwrap();
        let resets = ResetMask::new(ROWS, flags());
        let first = zero_states(&spec, ROWS, &Device::Cpu).unwrap();
        let output = run(&spec, &lookup(&weights), &inputs(), &first, &resets).unwrap();
        let trained = quantiles(&spec, &weights, &output.outputs);

        let (x, mut state) = (values(&inputs()), vec![0.0; ROWS * network.state_len()]);
        let (mut scratch, mut y) = (Scratch::default(), vec![0.0; ROWS * network.outputs()]);
        for step in 0..STEPS {
            let states = state.chunks_exact_mut(network.state_len()).zip(resets.at(step));
            states.filter(|(_, reset)| **reset).for_each(|(state, _)| state.fill(0.0));
            network.step(&mut scratch, ROWS, &x[step * ROWS * INPUTS..][..ROWS * INPUTS], &mut state, &mut y);
            let what = format!("{spec:?} step {step}");
            close(&trained[step * y.len()..][..y.len()], &y, 3e-5, &what);
            assert!(y.iter().all(|value| value.is_finite()) && y.iter().any(|value| *value != 0.0), "{what}");
            let states = Tensor::cat(&output.states_after(step).unwrap(), 1).unwrap();
            close(&values(&states), &state, 3e-5, &format!("state of {what}"));
        }
        assert!(output.states_after(STEPS).is_err());
    }
}

#[test]
fn a_sequence_in_chunks_equals_the_whole_sequence() {
    for spec in specs() {
        let weights = weights(&spec);
        let resets = ResetMask::new(ROWS, flags());
        let mut states = zero_states(&spec, ROWS, &Device::Cpu).unwrap();
        let whole = run(&spec, &lookup(&weights), &inputs(), &states, &resets).unwrap();
        let mut at = 0;
        for steps in [1, 4, 5, 1] {
            let chunk = inputs().narrow(0, at, steps).unwrap().contiguous().unwrap();
            let resets = ResetMask::new(ROWS, flags()[at * ROWS..(at + steps) * ROWS].to_vec());
            let output = run(&spec, &lookup(&weights), &chunk, &states, &resets).unwrap();
            let expected = whole.outputs.narrow(0, at, steps).unwrap();
            close(&values(&output.outputs), &values(&expected), 1e-5, &format!("{spec:?} from {at}"));
            at += steps;
            states = output.states_after(steps - 1).unwrap();
        }
        let (left, right) = (Tensor::cat(&states, 1).unwrap(), whole.states_after(STEPS - 1).unwrap());
        close(&values(&left), &values(&Tensor::cat(&right, 1).unwrap()), 1e-5, &format!("{spec:?} at the end"));
    }
}

#[test]
fn outputs_and_gradients_equal_those_of_pytorch() {
    let reference: Value = reference();
    let of = |kind: CellKind| reference[kind.name()].clone();
    let mut cases: Vec<(CellKind, Value)> = CellKind::ALL.map(|kind| (kind, of(kind))).into();
    cases.push((CellKind::Attention, reference["attention_16"].clone()));
    cases.push((CellKind::Gru, reference["norm_residual_gru"].clone()));
    for (cell, case) in cases {
        let size = |name: &str| case["sizes"][name].as_u64().map(|size| size as usize);
        let layers = size("layers").unwrap_or(1);
        let spec = NetworkSpec {
            cell,
            layers,
            hidden: size("hidden").unwrap(),
            inputs: size("inputs").unwrap(),
            context: size("context").unwrap_or(1),
            dilations: size("dilation").into_iter().collect(),
            residual: layers > 1,
            layer_norm: layers > 1,
            ..NetworkSpec::default()
        };
        let named = |name: &str| if layers > 1 { name.to_owned() } else { format!("layer0.{name}") };
        let tensors: BTreeMap<String, Var> = case["tensors"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (named(name), reference_tensor(value)))
            .collect();
        let (inputs, weight) = (reference_tensor(&case["inputs"]), reference_tensor(&case["weight"]));
        let rows = inputs.dim(1).unwrap();
        let look = |name: &str| Ok(tensors.get(name).unwrap_or_else(|| panic!("{name}")).as_tensor().clone());
        let first = zero_states(&spec, rows, &Device::Cpu).unwrap();
        let output = run(&spec, &look, &inputs, &first, &ResetMask::new(rows, Vec::new())).unwrap().outputs;
        close(&values(&output), &values(&reference_tensor(&case["outputs"])), 1e-5, cell.name());

        let gradients = (output * weight.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let expected = case["gradients"].as_object().unwrap();
        assert_eq!(expected.len(), tensors.len() + 1);
        for (name, expected) in expected {
            let variable = if name == "inputs" { &inputs } else { &tensors[&named(name)] };
            let (ours, theirs) = (values(gradients.get(variable).unwrap()), values(&reference_tensor(expected)));
            close(&ours, &theirs, 2e-5 * largest(&theirs, 1.0), &format!("{cell}: gradient by {name}"));
        }
    }
}
