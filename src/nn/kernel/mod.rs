//! CPU kernels: a step of a recurrent layer, a dense layer and their gradients, for many rows at once.
//!
//! Rows are series. A row's results have the same bits alone or in any batch, on AVX-512, on AVX2 and in portable Rust:
//! each output is one chain of fused multiply-adds over its inputs in order, and every other operation is a single
//! correctly rounded one. [`InstructionSet::best`] picks the instruction set once, at run time.
//!
//! Every `unsafe fn` that is generic over `Lanes` requires a CPU that supports the instructions of `L`; only
//! [`dispatch`] calls one from safe code. The SAFETY comments state what is needed beyond that.
#![allow(unsafe_code)]

mod activation;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_panel;
mod cell_steps;
mod dense;
mod dispatch;
mod instruction_set;
mod lanes;
mod layer;
mod loss;
mod outer;
mod query;
mod recurrence;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use dense::{OutputMode, Panel};
pub use dispatch::{
    dense_rows, layer_backward, layer_step, layer_step_saving, loss_gradients, outer_rows, query_gradients,
    query_quantiles, query_units, query_units_with_slopes, scan_backward, scan_forward,
};
pub use instruction_set::InstructionSet;
pub use lanes::{LANES, Line, flat, flat_mut, padded};
pub use layer::{Input, Layer};
pub use loss::QuantileLoss;
pub use outer::OuterProduct;
pub use recurrence::{Recurrence, SavedStep};
pub use rows::{Rows, RowsMut};
pub use scan::{Scan, ScanBackward};
