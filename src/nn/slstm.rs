//! The scalar memory of xLSTM (Beck et al., NeurIPS 2024, arXiv:2405.04517): long short-term memory with exponential
//! input and forget gates, a normaliser and a stabiliser, here with one head (full recurrent matrices):
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
//! The stabiliser `m` keeps both exponents at or below zero and cancels out of `h'`. All four vectors of state begin at
//! zero. The gates' order in all tensors is i, f, z, o.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::kernel::Combination;
use super::recurrent::Gates;
use super::sequence::sigmoid;

/// Scalar long short-term memory. Its state is its output, its memory, the normaliser and the stabiliser.
#[derive(Debug, Clone, Copy)]
pub struct Slstm;

impl Gates for Slstm {
    fn combination(&self) -> Combination {
        Combination::Slstm
    }

    fn input_gates(&self) -> Range<usize> {
        0..4
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..4
    }

    /// None: an exponential forget gate at zero already keeps all that there is.
    fn remembering(&self) -> &'static [(usize, f32)] {
        &[]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let forget = (&sums[1] + &states[3])?;
        // The outputs do not depend on the stabiliser, so no gradient needs to pass through it.
        let stabiliser = forget.maximum(&sums[0])?.detach();
        let (input, forget) = ((&sums[0] - &stabiliser)?.exp()?, (forget - &stabiliser)?.exp()?);
        let memory = ((&forget * &states[1])? + (&input * sums[2].tanh()?)?)?;
        let normaliser = ((forget * &states[2])? + input)?;
        let output = (sigmoid(&sums[3])? * (&memory / &normaliser)?)?;
        Ok(vec![output, memory, normaliser, stabiliser])
    }
}
