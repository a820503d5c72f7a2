//! All layers over a sequence, for training.

use candle_core::{DType, Device, Result, Tensor};

use super::sequence::{ResetMask, Sequence, SequenceOutput};
use super::{cell_registry::cell, layer_norm::normalise_tensor, parameter::layer_tensor_name, spec::NetworkSpec};

/// What the layers return for a sequence.
#[derive(Debug, Clone)]
pub struct StackOutput {
    /// The top layer's outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
    layers: Vec<SequenceOutput>,
}

impl StackOutput {
    /// Every layer's states after a step, in the form that [`run`] takes, detached from the gradient.
    ///
    /// # Errors
    /// Where the sequence has no such step.
    pub fn states_after(&self, step: usize) -> Result<Vec<Tensor>> {
        self.layers.iter().map(|layer| layer.states_after(step)).collect()
    }
}

/// Initial states, one tensor `[rows, state]` per layer.
pub fn zero_states(spec: &NetworkSpec, rows: usize, device: &Device) -> Result<Vec<Tensor>> {
    let state = |layer| Tensor::zeros((rows, cell(spec.cell).state_len(&spec.shape(layer))), DType::F32, device);
    (0..spec.layers).map(state).collect()
}

/// Runs all layers, the lowest first, over `inputs` `[steps, rows, inputs]`, starting from `states`. `tensor` finds the
/// network's tensors by their full names. Fails where shapes do not fit.
pub fn run(
    spec: &NetworkSpec,
    tensor: &dyn Fn(&str) -> Result<Tensor>,
    inputs: &Tensor,
    states: &[Tensor],
    resets: &ResetMask,
) -> Result<StackOutput> {
    let (steps, rows, _) = inputs.dims3()?;
    let every_step = spec.strategy.is_stateless().then(|| ResetMask::new(rows, vec![true; steps * rows]));
    let resets = every_step.as_ref().unwrap_or(resets);
    let (mut outputs, mut layers) = (inputs.clone(), Vec::with_capacity(spec.layers));
    for (layer, states) in states.iter().enumerate() {
        let (cell, shape) = (cell(spec.cell), spec.shape(layer));
        let named = |name: &'static str| Ok((name, tensor(&layer_tensor_name(layer, name))?));
        let weights = cell.parameters(&shape).iter().map(|parameter| named(parameter.name)).collect::<Result<_>>()?;
        let output = cell.sequence(&shape, &Sequence { inputs: &outputs, weights: &weights, states, resets })?;
        let mut above = output.outputs.clone();
        if spec.layer_norm {
            let [scale, shift] = ["norm_scale", "norm_shift"].map(|tensor| layer_tensor_name(layer, tensor));
            above = normalise_tensor(&above, &tensor(&scale)?, &tensor(&shift)?)?;
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
