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
//! The gates' order in all tensors is i, f, g, o, as in PyTorch.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::kernel::Combination;
use super::recurrent::Gates;
use super::sequence::sigmoid;

/// Long short-term memory. Its state is its output, then its memory.
#[derive(Debug, Clone, Copy)]
pub struct Lstm;

impl Gates for Lstm {
    fn combination(&self) -> Combination {
        Combination::Lstm
    }

    fn input_gates(&self) -> Range<usize> {
        0..4
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..4
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[(1, 1.0), (0, -1.0)]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let input = sigmoid(&sums[0])?;
        let forget = sigmoid(&sums[1])?;
        let candidate = sums[2].tanh()?;
        let open = sigmoid(&sums[3])?;
        let memory = ((forget * &states[1])? + (input * candidate)?)?;
        Ok(vec![(open * memory.tanh()?)?, memory])
    }
}
