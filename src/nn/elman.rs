//! The simple recurrent net (Elman, Cognitive Science 14(2), 1990), squashed by tanh, or cut at zero and started from an
//! orthogonal recurrent matrix (Le, Jaitly, Hinton 2015, arXiv:1504.00941):
//!
//! ```text
//! h' = tanh(W x + U h + b)      or      h' = max(0, W x + U h + b)
//! ```
//!
//! Tensors: `input` `W`, `recurrent` `U`, `bias` `b`.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::kernel::Combination;
use super::recurrent::Gates;

/// The simple recurrent net. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct Elman {
    /// Cut at zero instead of squashed by tanh.
    pub relu: bool,
}

impl Gates for Elman {
    fn combination(&self) -> Combination {
        if self.relu { Combination::ElmanRelu } else { Combination::Elman }
    }

    fn input_gates(&self) -> Range<usize> {
        0..1
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..1
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[]
    }

    fn plain_step(&self, sums: &[Tensor], _: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        Ok(vec![if self.relu { sums[0].relu()? } else { sums[0].tanh()? }])
    }
}
