//! Packing of a recurrent layer's matrices for the kernels.

use super::cell::RecurrentCell;
use crate::nn::kernel::{Layer, Panel};

/// The matrices of a recurrent layer, row-major, with their gates in order.
pub(in crate::nn) struct LayerMatrices<'a> {
    /// Inputs per step.
    pub inputs: usize,
    /// Units.
    pub hidden: usize,
    /// `[input gates * hidden, inputs]`.
    pub input: &'a [f32],
    /// `[recurrent gates * hidden, hidden]`.
    pub recurrent: &'a [f32],
    /// `[gates * hidden]`.
    pub bias: &'a [f32],
}

/// Packs a layer: one panel per gate.
pub(in crate::nn) fn pack(cell: &dyn RecurrentCell, matrices: LayerMatrices<'_>) -> Layer {
    let LayerMatrices { inputs, hidden, input, recurrent, bias } = matrices;
    let recurrence = cell.gates().recurrence;
    let panel = |gate: usize| {
        let from_input = cell.gates().input.position(|other| other == gate);
        let from_recurrent = cell.gates().recurrent.position(|other| other == gate);
        let first = if from_input.is_some() { inputs } else { 0 };
        let second = if from_recurrent.is_some() { hidden } else { 0 };
        let weight = |output: usize, at: usize| {
            if at < first {
                input[(from_input.unwrap_or(0) * hidden + output) * inputs + at]
            } else {
                recurrent[(from_recurrent.unwrap_or(0) * hidden + output) * hidden + at - first]
            }
        };
        Panel::new(hidden, (first, second), weight, |output| bias[gate * hidden + output])
    };
    Layer::new(recurrence, (0..recurrence.gate_count()).map(panel).collect())
}
