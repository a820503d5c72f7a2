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

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::cell::Cell;
use super::kernel::Combination;
use super::sequence::sigmoid;
use super::spec::CellKind;

/// The gated recurrent unit. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct Gru;

impl Cell for Gru {
    fn kind(&self) -> CellKind {
        CellKind::Gru
    }

    fn combination(&self) -> Combination {
        Combination::Gru
    }

    fn input_gates(&self) -> Range<usize> {
        0..3
    }

    fn recurrent_gates(&self) -> Range<usize> {
        1..4
    }

    fn open_gate(&self) -> Option<usize> {
        Some(2)
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor]) -> Result<Vec<Tensor>> {
        let reset = sigmoid(&sums[1])?;
        let update = sigmoid(&sums[2])?;
        let candidate = (&sums[0] + (reset * &sums[3])?)?.tanh()?;
        Ok(vec![(&candidate + (update * (&states[0] - &candidate)?)?)?])
    }
}
