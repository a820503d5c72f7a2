//! The gated recurrent unit (Cho et al., EMNLP 2014, arXiv:1406.1078) in the form of cuDNN and PyTorch, where the reset
//! gate acts on the candidate's recurrent part after its matrix and bias:
//!
//! ```text
//! r  = sigmoid(W_r x + U_r h + b_r)
//! z  = sigmoid(W_z x + U_z h + b_z)
//! n  = tanh(W_n x + b_n + r * (U_n h + c_n))
//! h' = (1 - z) * n + z * h = n + z * (h - n)
//! ```
//!
//! The gates' order is n's input part, r, z, n's recurrent part; so the tensors are `input` `[W_n; W_r; W_z]`,
//! `recurrent` `[U_r; U_z; U_n]` and `bias` `[b_n; b_r; b_z; c_n]`. (PyTorch: r, z, n everywhere, with two biases for r
//! and z that only ever act as their sum.)
//!
//! As first published the reset gate acts on the outputs before the matrix, `n = tanh(W_n x + b_n + U_n (r * h))`. That
//! is [`GruResetBefore`], with the gates' order r, z, n in all tensors. It computes the same kind of thing but cannot
//! multiply by all three recurrent matrices at once, so it is slower, and its training has no fused form.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::kernel::Combination;
use super::recurrent::Gates;
use super::sequence::sigmoid;

/// The gated recurrent unit. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct Gru;

impl Gates for Gru {
    fn combination(&self) -> Combination {
        Combination::Gru
    }

    fn input_gates(&self) -> Range<usize> {
        0..3
    }

    fn recurrent_gates(&self) -> Range<usize> {
        1..4
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[(2, 1.0)]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let reset = sigmoid(&sums[1])?;
        let update = sigmoid(&sums[2])?;
        let candidate = (&sums[0] + (reset * &sums[3])?)?.tanh()?;
        Ok(vec![(&candidate + (update * (&states[0] - &candidate)?)?)?])
    }
}

/// The gated recurrent unit with the reset gate before the recurrent matrix. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct GruResetBefore;

impl Gates for GruResetBefore {
    fn combination(&self) -> Combination {
        Combination::GruResetBefore
    }

    fn input_gates(&self) -> Range<usize> {
        0..3
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..3
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[(1, 1.0)]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], late: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let (Some(late), reset, update) = (late, sigmoid(&sums[0])?, sigmoid(&sums[1])?) else {
            candle_core::bail!("the late gate's matrix is missing")
        };
        let candidate = (&sums[2] + (reset * &states[0])?.matmul(late)?)?.tanh()?;
        Ok(vec![(&candidate + (update * (&states[0] - &candidate)?)?)?])
    }
}
