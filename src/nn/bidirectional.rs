//! A bidirectional encoder of a window: one recurrent layer reads it from its first step on and another from its last
//! back, so that every step's outputs know the whole window (Schuster, Paliwal, IEEE Transactions on Signal Processing
//! 45(11), 1997). It looks ahead by design, and is for gaps between known values, never for forecasts.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::cell::{Cell, Parameter, Shape, cell};
use super::initial;
use super::sequence::{Sequence, Starts, weights};
use super::spec::{CellKind, SpecError};
use super::weights::NamedTensor;

/// The two layers, and what their tensors' names begin with.
const DIRECTIONS: [&str; 2] = ["forward", "backward"];

/// The architecture of an encoder; its tensors are `forward.input`, `forward.recurrent`, `forward.bias` and the same of
/// `backward`, each as in a layer of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bidirectional {
    kind: CellKind,
    shape: Shape,
}

impl Bidirectional {
    /// An encoder of windows with `inputs` numbers per step by `hidden` units in each direction.
    ///
    /// # Errors
    /// Cells other than LSTM and GRU, and sizes outside their limits.
    pub fn new(kind: CellKind, inputs: usize, hidden: usize) -> std::result::Result<Self, SpecError> {
        if !matches!(kind, CellKind::Lstm | CellKind::Gru) {
            return Err(SpecError::Apart(format!("cell is {kind}, expected lstm or gru for reading from both ends")));
        }
        for (what, value, most) in [("inputs", inputs, 64), ("hidden", hidden, 1024)] {
            if value == 0 || value > most {
                return Err(SpecError::Limit { what, value, least: 1, most });
            }
        }
        Ok(Self { kind, shape: Shape { inputs, hidden, window: 1, dilation: 1, context: 1, chrono: 0 } })
    }

    /// Numbers that go out per step: `2 * hidden`.
    pub fn outputs(&self) -> usize {
        2 * self.shape.hidden
    }

    /// Its tensors before training, drawn from a seed.
    pub fn initial(&self, seed: u64) -> BTreeMap<String, NamedTensor> {
        let parameters = DIRECTIONS.into_iter().flat_map(|direction| {
            let named = move |parameter: Parameter| (format!("{direction}.{}", parameter.name), parameter);
            cell(self.kind).parameters(&self.shape).into_iter().map(named)
        });
        initial::draw(seed, parameters.collect())
    }

    /// Encodes windows `[steps, rows, inputs]`, differentiable by them and by the tensors that `tensor` knows by name:
    /// `[steps, rows, 2 * hidden]`, at each step what the forward layer makes of it and the steps before it, then what
    /// the backward layer makes of it and the steps after it.
    ///
    /// # Errors
    /// Those of candle, where shapes do not fit.
    pub fn run(&self, tensor: &dyn Fn(&str) -> Result<Tensor>, inputs: &Tensor) -> Result<Tensor> {
        let [forward, backward] = DIRECTIONS;
        let from_the_end = self.layer(backward, tensor, &inputs.flip(&[0])?)?.flip(&[0])?;
        Tensor::cat(&[self.layer(forward, tensor, inputs)?, from_the_end], 2)
    }

    fn layer(&self, direction: &str, tensor: &dyn Fn(&str) -> Result<Tensor>, inputs: &Tensor) -> Result<Tensor> {
        let cell: &dyn Cell = cell(self.kind);
        let weights = weights(cell, &self.shape, |own| tensor(&format!("{direction}.{own}")))?;
        let rows = inputs.dim(1)?;
        let states = Tensor::zeros((rows, cell.state_len(&self.shape)), DType::F32, inputs.device())?;
        let starts = Starts::new(rows, Vec::new());
        let sequence = Sequence { inputs, weights: &weights, states: &states, starts: &starts };
        Ok(cell.sequence(&self.shape, &sequence)?.outputs)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use serde_json::Value;

    use super::*;

    fn tensor(value: &Value) -> Var {
        let list = |key: &str| value[key].as_array().unwrap().iter();
        let shape: Vec<usize> = list("shape").map(|size| size.as_u64().unwrap() as usize).collect();
        let values: Vec<f32> = list("values").map(|value| value.as_f64().unwrap() as f32).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn close(ours: &Tensor, theirs: &Tensor, what: &str) {
        assert_eq!(ours.dims(), theirs.dims(), "{what}");
        let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (ours, theirs) = (numbers(ours), numbers(theirs));
        let largest = theirs.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() <= 2e-5 * largest, "{what} at {at}: {ours} against {theirs}");
        }
    }

    #[test]
    fn outputs_and_gradients_are_those_of_pytorch() {
        let reference: Value = serde_json::from_str(include_str!("reference/cells.json")).unwrap();
        for kind in [CellKind::Gru, CellKind::Lstm] {
            let case = &reference[format!("bidirectional_{kind}")];
            let size = |name: &str| case["sizes"][name].as_u64().unwrap() as usize;
            let encoder = Bidirectional::new(kind, size("inputs"), size("hidden")).unwrap();
            let tensors: BTreeMap<String, Var> = case["tensors"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), tensor(value)))
                .collect();
            let initial = encoder.initial(1);
            assert!(initial.keys().eq(tensors.keys()));
            assert!(initial.iter().all(|(name, tensor)| tensor.shape == tensors[name].dims()));
            let (inputs, weight) = (tensor(&case["inputs"]), tensor(&case["weight"]));
            let output = encoder.run(&|name| Ok(tensors[name].as_tensor().clone()), &inputs).unwrap();
            assert_eq!(output.dim(2).unwrap(), encoder.outputs());
            close(&output, &tensor(&case["outputs"]), kind.name());
            let gradients = (output * weight.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            for (name, expected) in case["gradients"].as_object().unwrap() {
                let variable = if name == "inputs" { &inputs } else { &tensors[name] };
                close(gradients.get(variable).unwrap(), &tensor(expected), &format!("{kind}: gradient by {name}"));
            }
        }
    }

    #[test]
    fn what_cannot_be_read_from_both_ends_is_named() {
        let error = Bidirectional::new(CellKind::Tcn, 3, 5).unwrap_err().to_string();
        assert_eq!(error, "network: cell is tcn, expected lstm or gru for reading from both ends");
        let error = Bidirectional::new(CellKind::Gru, 3, 0).unwrap_err().to_string();
        assert_eq!(error, "network: hidden is 0, expected 1 to 1024");
    }
}
