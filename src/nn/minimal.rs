//! Minimal recurrent cells (Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, "Were RNNs all we needed?",
//! arXiv:2410.01201), in the form whose candidate is positive, so that a sequence may be computed in log space:
//!
//! ```text
//! minGRU:   z  = sigmoid(W_z x + b_z)                 minLSTM:  f  = sigmoid(W_f x + b_f)
//!           n  = g(W_n x + b_n)                                 i  = sigmoid(W_i x + b_i)
//!           h' = (1 - z) * h + z * n                            n  = g(W_n x + b_n)
//!                                                               h' = f / (f + i) * h + i / (f + i) * n
//! g(v) = v + 0.5 for v >= 0, sigmoid(v) otherwise
//! ```
//!
//! The gates look at the inputs only, so a sequence is one matrix product over all steps and then a scan of
//! `h' = a * h + b`. On the processor [`super::fused`] runs it and its reverse, a few steps at a time in the nearer caches; elsewhere
//! it runs in log space, in as many rounds as the number of steps has binary digits.
//!
//! Tensors: `input` `[W_n; W_z]` and `[W_f; W_i; W_n]`, `bias` alike; there is no recurrent matrix.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::kernel::Combination;
use super::recurrent::Gates;
use super::sequence::sigmoid;

/// The minimal gated recurrent unit. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct MinGru;

/// Minimal long short-term memory. Its state is its output.
#[derive(Debug, Clone, Copy)]
pub struct MinLstm;

impl Gates for MinGru {
    fn combination(&self) -> Combination {
        Combination::MinGru
    }

    fn input_gates(&self) -> Range<usize> {
        0..2
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..0
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[(1, -1.0)]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let (candidate, update) = (positive(&sums[0])?, sigmoid(&sums[1])?);
        Ok(vec![(&states[0] + (update * (candidate - &states[0])?)?)?])
    }

    fn log_space(&self, sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        let kept = softplus(&sums[1])?.neg()?;
        let added = (log_positive(&sums[0])? - softplus(&sums[1].neg()?)?)?;
        Ok(Some((kept, added)))
    }
}

impl Gates for MinLstm {
    fn combination(&self) -> Combination {
        Combination::MinLstm
    }

    fn input_gates(&self) -> Range<usize> {
        0..3
    }

    fn recurrent_gates(&self) -> Range<usize> {
        0..0
    }

    fn remembering(&self) -> &'static [(usize, f32)] {
        &[(0, 1.0), (1, -1.0)]
    }

    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let update = sigmoid(&(softplus(&sums[0].neg()?)? - softplus(&sums[1].neg()?)?)?)?;
        let candidate = positive(&sums[2])?;
        Ok(vec![(&states[0] + (update * (candidate - &states[0])?)?)?])
    }

    fn log_space(&self, sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        let difference = (softplus(&sums[0].neg()?)? - softplus(&sums[1].neg()?)?)?;
        let kept = softplus(&difference)?.neg()?;
        let added = (log_positive(&sums[2])? - softplus(&difference.neg()?)?)?;
        Ok(Some((kept, added)))
    }
}

/// `g` in operations whose gradients candle knows.
fn positive(value: &Tensor) -> Result<Tensor> {
    let below = sigmoid(&value.minimum(&value.zeros_like()?)?)?;
    below + value.relu()?
}

/// `log g(v)`: `log(v + 0.5)` for `v >= 0`, `-softplus(-v)` below.
fn log_positive(value: &Tensor) -> Result<Tensor> {
    let above = value.relu()?.affine(1.0, 0.5)?.log()?;
    let below = softplus(&value.minimum(&value.zeros_like()?)?.neg()?)?.neg()?;
    // At zero both are log(0.5): one of the two is always that.
    (above + below)?.affine(1.0, -0.5_f64.ln())
}

/// `log(1 + e^v)` without overflow: `max(v, 0) + log(1 + e^-|v|)`.
fn softplus(value: &Tensor) -> Result<Tensor> {
    value.relu()? + value.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?
}
