//! Networks: cells, heads, weights and the kernels that serve them.
//!
//! A network is a stack of layers of one recurrent [`Cell`] under a linear head that gives quantiles for every step of
//! the horizon. [`Network`] serves it from packed weights; [`sequence`] runs it over whole sequences for training, with
//! the same numbers.

pub mod cell;
mod fused;
pub mod gru;
mod initial;
pub mod kernel;
pub mod lstm;
pub mod network;
pub mod sequence;
pub mod spec;
pub mod weights;

pub use cell::{Cell, cell};
pub use kernel::Instructions;
pub use network::{Network, NetworkError, Scratch};
pub use spec::{CellKind, NetworkSpec, SpecError};
pub use weights::{NamedTensor, Weights, WeightsError};
pub(crate) use weights::{tensors_from_bytes, tensors_to_bytes};
