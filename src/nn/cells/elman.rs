//! The simple recurrent network (Elman, Cognitive Science 14(2), 1990) with tanh, or with a rectified linear unit and
//! an orthogonal initial recurrent matrix (Le, Jaitly, Hinton 2015, arXiv:1504.00941):
//!
//! ```text
//! h' = tanh(W x + U h + b)      or      h' = max(0, W x + U h + b)
//! ```
//!
//! Tensors: `input` `W`, `recurrent` `U`, `bias` `b`.

use candle_core::{Result, Tensor};

use crate::nn::kernel::Recurrence;
use crate::nn::recurrent::cell::{GateLayout, RecurrentCell};

/// The simple recurrent network. State: output.
#[derive(Debug, Clone, Copy)]
pub struct Elman {
    /// Whether the activation is a rectified linear unit instead of tanh.
    pub relu: bool,
}

impl RecurrentCell for Elman {
    fn gates(&self) -> GateLayout {
        GateLayout {
            recurrence: if self.relu { Recurrence::ElmanRelu } else { Recurrence::Elman },
            input: 0..1,
            recurrent: 0..1,
            retention: &[],
        }
    }

    fn reference_step(&self, sums: &[Tensor], _: &[Tensor], _: Option<&Tensor>) -> Result<Vec<Tensor>> {
        Ok(vec![if self.relu { sums[0].relu()? } else { sums[0].tanh()? }])
    }
}
