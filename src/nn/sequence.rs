//! Whole sequences for training: one differentiable operation per layer.

use candle_core::{Result, Tensor};

use super::cell::Cell;

/// A layer's run over a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Inputs `[steps, rows, inputs]`.
    pub inputs: &'a Tensor,
}

/// What a layer gives over a sequence.
#[derive(Debug, Clone)]
pub struct SequenceOutput {
    /// Outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
}

/// Runs a cell over a sequence.
///
/// # Errors
/// Those of candle.
pub fn run<C: Cell + ?Sized>(_cell: &C, _sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    candle_core::bail!("not yet")
}

/// The logistic function in operations whose gradients candle knows.
pub(super) fn sigmoid(value: &Tensor) -> Result<Tensor> {
    value.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}
