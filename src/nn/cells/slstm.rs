//! sLSTM, the scalar cell of xLSTM (Beck et al., NeurIPS 2024, arXiv:2405.04517): long short-term memory with
//! exponential input and forget gates, a normaliser and a stabiliser, here with one head (full recurrent matrices):
//!
//! ```text
//! i~ = W_i x + U_i h + b_i            m' = max(f~ + m, i~)
//! f~ = W_f x + U_f h + b_f            i  = exp(i~ - m')
//! z  = tanh(W_z x + U_z h + b_z)      f  = exp(f~ + m - m')
//! o  = sigmoid(W_o x + U_o h + b_o)   c' = f * c + i * z
//!                                     n' = f * n + i
//!                                     h' = o * c' / n'
//! ```
//!
//! The stabiliser `m` keeps both exponents at or below zero and cancels out of `h'`. All four vectors of state are zero
//! initially. The order of the gates in all tensors is i, f, z, o.

use candle_core::{Result, Tensor};

use crate::nn::kernel::Recurrence;
use crate::nn::recurrent::cell::{GateLayout, RecurrentCell, sigmoid};

/// sLSTM. State: output `h`, cell state `c`, normaliser `n`, stabiliser `m`.
#[derive(Debug, Clone, Copy)]
pub struct Slstm;

impl RecurrentCell for Slstm {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::Slstm,
            input: 0..4,
            recurrent: 0..4,
            // None: an exponential forget gate with a sum of zero keeps the whole state.
            retention: &[],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let forget = (&sums[1] + &states[3])?;
        // The outputs do not depend on the stabiliser, so no gradient passes through it.
        let stabiliser = forget.maximum(&sums[0])?.detach();
        let (input, forget) = ((&sums[0] - &stabiliser)?.exp()?, (forget - &stabiliser)?.exp()?);
        let cell = ((&forget * &states[1])? + (&input * sums[2].tanh()?)?)?;
        let normaliser = ((forget * &states[2])? + input)?;
        let output = (sigmoid(&sums[3])? * (&cell / &normaliser)?)?;
        Ok(vec![output, cell, normaliser, stabiliser])
    }
}
