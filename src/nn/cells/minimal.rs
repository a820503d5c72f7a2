//! Minimal recurrent cells (Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, "Were RNNs all we needed?",
//! arXiv:2410.01201), in the form whose candidate is positive, so that a sequence can be computed in log space:
//!
//! ```text
//! minGRU:   z  = sigmoid(W_z x + b_z)                 minLSTM:  f  = sigmoid(W_f x + b_f)
//!           n  = g(W_n x + b_n)                                 i  = sigmoid(W_i x + b_i)
//!           h' = (1 - z) * h + z * n                            n  = g(W_n x + b_n)
//!                                                               h' = f / (f + i) * h + i / (f + i) * n
//! g(v) = v + 0.5 for v >= 0, sigmoid(v) otherwise
//! ```
//!
//! The gates depend on the inputs only, so a sequence is one matrix product over all steps and then a scan of `h' = a *
//! h + b`. On the CPU [`crate::nn::recurrent::fused`] runs the scan and its backward pass, a few steps at a time within
//! the nearer caches. Elsewhere it runs in log space, in `log2(steps)` rounds.
//!
//! Tensors: `input` is `[W_n; W_z]` or `[W_f; W_i; W_n]`, and `bias` has the same order; there is no recurrent matrix.

use candle_core::{Result, Tensor};

use crate::nn::recurrent::cell::{GateLayout, RecurrentCell, sigmoid};
use crate::nn::{initialiser::RetentionGate, kernel::Recurrence};

/// The minimal gated recurrent unit. State: output.
#[derive(Debug, Clone, Copy)]
pub struct MinGru;

/// Minimal long short-term memory. State: output.
#[derive(Debug, Clone, Copy)]
pub struct MinLstm;

impl RecurrentCell for MinGru {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::MinGru,
            input: 0..2,
            recurrent: 0..0,
            retention: &[RetentionGate { gate: 1, sign: -1.0 }],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let (candidate, update) = (positive(&sums[0])?, sigmoid(&sums[1])?);
        Ok(vec![(&states[0] + (update * (candidate - &states[0])?)?)?])
    }

    fn log_coefficients(&self, sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        let log_a = softplus(&sums[1])?.neg()?;
        let log_b = (log_positive(&sums[0])? - softplus(&sums[1].neg()?)?)?;
        Ok(Some((log_a, log_b)))
    }
}

impl RecurrentCell for MinLstm {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::MinLstm,
            input: 0..3,
            recurrent: 0..0,
            retention: &[RetentionGate { gate: 0, sign: 1.0 }, RetentionGate { gate: 1, sign: -1.0 }],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let update = sigmoid(&(softplus(&sums[0].neg()?)? - softplus(&sums[1].neg()?)?)?)?;
        let candidate = positive(&sums[2])?;
        Ok(vec![(&states[0] + (update * (candidate - &states[0])?)?)?])
    }

    fn log_coefficients(&self, sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        let difference = (softplus(&sums[0].neg()?)? - softplus(&sums[1].neg()?)?)?;
        let log_a = softplus(&difference)?.neg()?;
        let log_b = (log_positive(&sums[2])? - softplus(&difference.neg()?)?)?;
        Ok(Some((log_a, log_b)))
    }
}

/// The activation `g` of the candidate in candle's differentiable operations.
fn positive(value: &Tensor) -> Result<Tensor> {
    let below = sigmoid(&value.minimum(&value.zeros_like()?)?)?;
    below + value.relu()?
}

/// `log g(v)`: `log(v + 0.5)` for `v >= 0`, `-softplus(-v)` below.
fn log_positive(value: &Tensor) -> Result<Tensor> {
    let above = value.relu()?.affine(1.0, 0.5)?.log()?;
    let below = softplus(&value.minimum(&value.zeros_like()?)?.neg()?)?.neg()?;
    // At zero both are log(0.5), so one of the two always contributes exactly log(0.5).
    (above + below)?.affine(1.0, -0.5_f64.ln())
}

/// `log(1 + e^v)` without overflow: `max(v, 0) + log(1 + e^-|v|)`.
fn softplus(value: &Tensor) -> Result<Tensor> {
    value.relu()? + value.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?
}
