//! All layers over a sequence, for training.

use candle_core::{DType, Device, Result, Tensor};

use super::cell::{cell, name};
use super::norm::normalised;
use super::sequence::{Sequence, SequenceOutput, Starts, weights};
use super::spec::NetworkSpec;

/// What the layers give over a sequence.
#[derive(Debug, Clone)]
pub struct StackOutput {
    /// The top layer's outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
    layers: Vec<SequenceOutput>,
}

impl StackOutput {
    /// Every layer's states after a step, as [`run`] takes them, cut off from the gradient.
    ///
    /// # Errors
    /// Where there is no such step.
    pub fn states_after(&self, step: usize) -> Result<Vec<Tensor>> {
        self.layers.iter().map(|layer| layer.states_after(step)).collect()
    }
}

/// The states of `rows` rows that begin anew, a tensor per layer.
///
/// # Errors
/// Those of candle.
pub fn fresh(spec: &NetworkSpec, rows: usize, device: &Device) -> Result<Vec<Tensor>> {
    let state = |layer| Tensor::zeros((rows, cell(spec.cell).state_len(&spec.shape(layer))), DType::F32, device);
    (0..spec.layers).map(state).collect()
}

/// Runs all layers from the lowest up over `inputs` `[steps, rows, inputs]`, from `states` on; `tensor` knows the
/// network's tensors by their full names.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn run(
    spec: &NetworkSpec,
    tensor: &dyn Fn(&str) -> Result<Tensor>,
    inputs: &Tensor,
    states: &[Tensor],
    starts: &Starts,
) -> Result<StackOutput> {
    let (steps, rows, _) = inputs.dims3()?;
    let forgetful = spec.strategy.forgets().then(|| Starts::new(rows, vec![true; steps * rows]));
    let starts = forgetful.as_ref().unwrap_or(starts);
    let (mut outputs, mut layers) = (inputs.clone(), Vec::with_capacity(spec.layers));
    for (layer, states) in states.iter().enumerate() {
        let (cell, shape) = (cell(spec.cell), spec.shape(layer));
        let weights = weights(cell, &shape, |own| tensor(&name(layer, own)))?;
        let output = cell.sequence(&shape, &Sequence { inputs: &outputs, weights: &weights, states, starts })?;
        let mut above = output.outputs.clone();
        if spec.layer_norm {
            let [scale, shift] = ["norm_scale", "norm_shift"].map(|tensor| name(layer, tensor));
            above = normalised(&above, &tensor(&scale)?, &tensor(&shift)?)?;
        }
        if spec.residual && layer > 0 {
            above = (above + &outputs)?;
        }
        outputs = above;
        layers.push(output);
    }
    Ok(StackOutput { outputs, layers })
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
