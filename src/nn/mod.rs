//! Networks: cells, heads, weights and the kernels that serve them.
//!
//! A network is a stack of layers of one [`Cell`] under a head that gives quantiles for every target. [`Network`] serves
//! it from packed weights; [`stack`] runs it over whole sequences for training, with the same numbers.

pub mod attention;
pub mod bidirectional;
mod buffer;
pub mod cell;
pub mod convolution;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub mod elman;
mod fused;
pub mod gru;
pub mod head;
mod initial;
pub mod kernel;
pub mod lstm;
pub mod minimal;
pub mod network;
mod norm;
pub mod recurrent;
pub mod sequence;
pub mod slstm;
pub mod spec;
pub mod stack;
mod tile;
pub mod weights;
mod window;

pub use bidirectional::Bidirectional;
pub use cell::{Cell, cell};
pub use kernel::InstructionSet;
pub use network::{Network, NetworkError, Scratch};
pub(crate) use spec::fnv_1a;
pub use spec::{CellKind, NetworkSpec, SpecError, Strategy};
pub use weights::{NamedTensor, Weights, WeightsError};
pub(crate) use weights::{tensors_from_bytes, tensors_to_bytes};
