//! A recurrent cell, described by its gates.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::nn::{initialiser::RetentionGate, kernel::Recurrence};

/// The gates of a recurrent cell.
pub struct GateLayout {
    /// The recurrence that the kernels compute; it knows the number of gates and of state vectors.
    pub recurrence: Recurrence,
    /// The gates that read the layer's inputs.
    pub input: Range<usize>,
    /// The gates that read the cell's previous outputs.
    pub recurrent: Range<usize>,
    /// The gates whose biases decide how long the state is kept, the most important first.
    pub retention: &'static [RetentionGate],
}

/// A recurrent cell.
///
/// Each gate is a linear function of the layer's inputs, of the cell's own previous outputs, or of both, plus a bias.
/// The tensors are `input` `[input gates * hidden, inputs]`, `recurrent` `[recurrent gates * hidden, hidden]` (absent
/// where no gate reads the outputs) and `bias` `[gates * hidden]`, each with its gates in order.
pub trait RecurrentCell: Send + Sync {
    /// The cell's gates.
    fn gates(&self) -> GateLayout;

    /// The definition of a step in candle's differentiable operations: from the gates' sums and the previous states,
    /// each `[rows, hidden]`, to the new states. Kernels and backward passes are tested against it, and it runs where
    /// they do not. For a cell whose reset gate acts before the recurrent product, the candidate's sum lacks that
    /// product, and `candidate` is the candidate's transposed recurrent matrix.
    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], candidate: Option<&Tensor>) -> Result<Vec<Tensor>>;

    /// For cells whose gates depend on the inputs only: the logarithms of `a` and `b` in `h' = a * h + b`, from the
    /// gates' sums.
    fn log_coefficients(&self, _sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        Ok(None)
    }
}

/// The logistic function in candle's differentiable operations.
pub(in crate::nn) fn sigmoid(value: &Tensor) -> Result<Tensor> {
    value.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}
