//! Long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9(8), 1997) with a forget gate (Gers,
//! Schmidhuber, Cummins, Neural Computation 12(10), 2000), without peepholes, as in cuDNN and PyTorch:
//!
//! ```text
//! i  = sigmoid(W_i x + U_i h + b_i)
//! f  = sigmoid(W_f x + U_f h + b_f)
//! g  = tanh(W_g x + U_g h + b_g)
//! o  = sigmoid(W_o x + U_o h + b_o)
//! c' = f * c + i * g
//! h' = o * tanh(c')
//! ```
//!
//! The order of the gates in all tensors is i, f, g, o, as in PyTorch.

use candle_core::{Result, Tensor};

use crate::nn::recurrent::cell::{GateLayout, RecurrentCell, sigmoid};
use crate::nn::{initialiser::RetentionGate, kernel::Recurrence};

/// Long short-term memory. State: output `h`, cell state `c`.
#[derive(Debug, Clone, Copy)]
pub struct Lstm;

impl RecurrentCell for Lstm {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::Lstm,
            input: 0..4,
            recurrent: 0..4,
            retention: &[RetentionGate { gate: 1, sign: 1.0 }, RetentionGate { gate: 0, sign: -1.0 }],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let input = sigmoid(&sums[0])?;
        let forget = sigmoid(&sums[1])?;
        let candidate = sums[2].tanh()?;
        let output = sigmoid(&sums[3])?;
        let cell = ((forget * &states[1])? + (input * candidate)?)?;
        Ok(vec![(output * cell.tanh()?)?, cell])
    }
}
