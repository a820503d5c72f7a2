//! A bidirectional encoder of a window: one recurrent layer reads it forward and another one backward, so that the
//! outputs of every step depend on the whole window (Schuster, Paliwal, IEEE Transactions on Signal Processing 45(11),
//! 1997). It reads future values by design, so it serves imputation of gaps and never forecasts.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::parameter::{self, Parameter};
use super::sequence::{ResetMask, Sequence};
use super::{
    cell::LayerShape, cell_kind::CellKind, cell_registry::cell, spec_error::SpecError, tensor_file::NamedTensor,
};

/// The two layers; their tensors' names begin with these words.
const DIRECTIONS: [&str; 2] = ["forward", "backward"];

/// The architecture of an encoder. Its tensors are `forward.input`, `forward.recurrent` and `forward.bias` and the same
/// for `backward`, each as in a layer of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bidirectional {
    kind: CellKind,
    shape: LayerShape,
}

impl Bidirectional {
    /// An encoder of windows with `inputs` values per step and `hidden` units in each direction.
    ///
    /// # Errors
    /// Where the cell is not LSTM or GRU, or a size is outside its limits.
    pub fn new(kind: CellKind, inputs: usize, hidden: usize) -> std::result::Result<Self, SpecError> {
        if !matches!(kind, CellKind::Lstm | CellKind::Gru) {
            return Err(SpecError::Inconsistent(format!(
                "cell is {kind}, expected lstm or gru for a bidirectional layer"
            )));
        }
        for (what, value, max) in [("inputs", inputs, 64), ("hidden", hidden, 1024)] {
            if value == 0 || value > max {
                return Err(SpecError::Limit { what, value, min: 1, max });
            }
        }
        Ok(Self { kind, shape: LayerShape { inputs, hidden, window: 1, dilation: 1, context: 1, chrono: 0 } })
    }

    /// Outputs per step: `2 * hidden`.
    pub fn outputs(&self) -> usize {
        2 * self.shape.hidden
    }

    /// Its initial tensors, drawn from a seed.
    pub fn initial(&self, seed: u64) -> BTreeMap<String, NamedTensor> {
        let parameters = DIRECTIONS.into_iter().flat_map(|direction| {
            let named = move |parameter: Parameter| (format!("{direction}.{}", parameter.name), parameter);
            cell(self.kind).parameters(&self.shape).into_iter().map(named)
        });
        parameter::draw(seed, parameters.collect())
    }

    /// Encodes windows `[steps, rows, inputs]` to `[steps, rows, 2 * hidden]`, differentiable by the windows and by the
    /// tensors that `tensor` finds by name. Each step has the outputs of the forward layer, which has read the steps up
    /// to it, then those of the backward layer, which has read the steps from it on. Fails where shapes do not fit.
    pub fn run(&self, tensor: &dyn Fn(&str) -> Result<Tensor>, inputs: &Tensor) -> Result<Tensor> {
        let [forward, backward] = DIRECTIONS;
        let backward = self.layer(backward, tensor, &inputs.flip(&[0])?)?.flip(&[0])?;
        Tensor::cat(&[self.layer(forward, tensor, inputs)?, backward], 2)
    }

    fn layer(&self, direction: &str, tensor: &dyn Fn(&str) -> Result<Tensor>, inputs: &Tensor) -> Result<Tensor> {
        let (cell, shape) = (cell(self.kind), &self.shape);
        let named = |name: &'static str| Ok((name, tensor(&format!("{direction}.{name}"))?));
        let weights = cell.parameters(shape).iter().map(|parameter| named(parameter.name)).collect::<Result<_>>()?;
        let rows = inputs.dim(1)?;
        let states = Tensor::zeros((rows, cell.state_len(shape)), DType::F32, inputs.device())?;
        let resets = ResetMask::new(rows, Vec::new());
        let sequence = Sequence { inputs, weights: &weights, states: &states, resets: &resets };
        Ok(cell.sequence(shape, &sequence)?.outputs)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use serde_json::Value;

    use super::*;
    use crate::nn::test_support::{assert_close, largest, reference, reference_tensor, values};

    fn close(ours: &Tensor, theirs: &Tensor, what: &str) {
        assert_eq!(ours.dims(), theirs.dims(), "{what}");
        let (ours, theirs) = (values(ours), values(theirs));
        assert_close(&ours, &theirs, 2e-5 * largest(&theirs, 1.0), what);
    }

    #[test]
    fn bidirectional_outputs_and_gradients_equal_those_of_pytorch() {
        let reference: Value = reference();
        for kind in [CellKind::Gru, CellKind::Lstm] {
            let case = &reference[format!("bidirectional_{kind}")];
            let size = |name: &str| case["sizes"][name].as_u64().unwrap() as usize;
            let encoder = Bidirectional::new(kind, size("inputs"), size("hidden")).unwrap();
            let tensors: BTreeMap<String, Var> = case["tensors"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), reference_tensor(value)))
                .collect();
            let initial = encoder.initial(1);
            assert!(initial.keys().eq(tensors.keys()));
            assert!(initial.iter().all(|(name, tensor)| tensor.shape == tensors[name].dims()));
            let (inputs, weight) = (reference_tensor(&case["inputs"]), reference_tensor(&case["weight"]));
            let output = encoder.run(&|name| Ok(tensors[name].as_tensor().clone()), &inputs).unwrap();
            assert_eq!(output.dim(2).unwrap(), encoder.outputs());
            close(&output, &reference_tensor(&case["outputs"]), kind.name());
            let gradients = (output * weight.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
            for (name, expected) in case["gradients"].as_object().unwrap() {
                let variable = if name == "inputs" { &inputs } else { &tensors[name] };
                close(
                    gradients.get(variable).unwrap(),
                    &reference_tensor(expected),
                    &format!("{kind}: gradient by {name}"),
                );
            }
        }
    }

    #[test]
    fn a_cell_that_cannot_be_bidirectional_is_named_in_the_error() {
        let error = Bidirectional::new(CellKind::Tcn, 3, 5).unwrap_err().to_string();
        assert_eq!(error, "network: cell is tcn, expected lstm or gru for a bidirectional layer");
        let error = Bidirectional::new(CellKind::Gru, 3, 0).unwrap_err().to_string();
        assert_eq!(error, "network: hidden is 0, expected 1 to 1024");
    }
}
