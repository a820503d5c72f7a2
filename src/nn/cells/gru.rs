//! The gated recurrent unit (Cho et al., EMNLP 2014, arXiv:1406.1078) in the form of PyTorch and cuDNN, whose reset
//! gate acts after the recurrent product:
//!
//! ```text
//! r  = sigmoid(W_r x + U_r h + b_r)
//! z  = sigmoid(W_z x + U_z h + b_z)
//! n  = tanh(W_n x + b_n + r * (U_n h + c_n))
//! h' = (1 - z) * n + z * h = n + z * (h - n)
//! ```
//!
//! The order of the gates is: n's input part, r, z, n's recurrent part. So the tensors are `input` `[W_n; W_r; W_z]`,
//! `recurrent` `[U_r; U_z; U_n]` and `bias` `[b_n; b_r; b_z; c_n]`. (PyTorch uses r, z, n everywhere, with two biases
//! for each of r and z of which only the sum matters.)
//!
//! Cho et al. published the form whose reset gate acts before the recurrent product:
//! `n = tanh(W_n x + b_n + U_n (r * h))`. That is [`GruResetBefore`], with the order r, z, n in all tensors. It cannot
//! multiply by all three recurrent matrices at once, so it is slower, and it has no fused training.

use candle_core::{Result, Tensor};

use crate::nn::recurrent::cell::{GateLayout, RecurrentCell, sigmoid};
use crate::nn::{initialiser::RetentionGate, kernel::Recurrence};

/// The gated recurrent unit with the reset gate after the recurrent product. State: output.
#[derive(Debug, Clone, Copy)]
pub struct Gru;

impl RecurrentCell for Gru {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::Gru,
            input: 0..3,
            recurrent: 1..4,
            retention: &[RetentionGate { gate: 2, sign: 1.0 }],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let reset = sigmoid(&sums[1])?;
        let update = sigmoid(&sums[2])?;
        let candidate = (&sums[0] + (reset * &sums[3])?)?.tanh()?;
        Ok(vec![(&candidate + (update * (&states[0] - &candidate)?)?)?])
    }
}

/// The gated recurrent unit with the reset gate before the recurrent product. State: output.
#[derive(Debug, Clone, Copy)]
pub struct GruResetBefore;

impl RecurrentCell for GruResetBefore {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: Recurrence::GruResetBefore,
            input: 0..3,
            recurrent: 0..3,
            retention: &[RetentionGate { gate: 1, sign: 1.0 }],
        }
    }

    fn reference_step(&self, sums: &[Tensor], states: &[Tensor], candidate: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let (Some(matrix), reset, update) = (candidate, sigmoid(&sums[0])?, sigmoid(&sums[1])?) else {
            candle_core::bail!("the candidate's recurrent matrix is missing")
        };
        let candidate = (&sums[2] + (reset * &states[0])?.matmul(matrix)?)?.tanh()?;
        Ok(vec![(&candidate + (update * (&states[0] - &candidate)?)?)?])
    }
}
