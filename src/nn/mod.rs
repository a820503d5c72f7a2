//! Neural networks: cells, heads, weights and the kernels that run them.
//!
//! A network is a stack of layers of one cell ([`CellKind`]) under a head that outputs quantiles for every target.
//! [`Network`] serves it from packed weights, one step of many series at a time. [`stack`] runs it over whole sequences
//! for training and computes the same values.

pub mod bidirectional;
pub mod builtin;
pub mod cell;
pub mod cell_kind;
pub mod cell_registry;
pub mod cells;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub mod hash;
pub mod head;
pub mod initialiser;
pub mod kernel;
mod layer_norm;
pub mod network;
pub mod parameter;
pub mod quantile_grid;
pub mod query_decoder;
pub mod recurrent;
pub mod sequence;
pub mod spec;
pub mod spec_error;
pub mod stack;
pub mod strategy;
pub mod tensor_file;
#[cfg(test)]
mod test_support;
pub mod weights;
mod window;

pub use bidirectional::Bidirectional;
pub use cell_kind::CellKind;
pub(crate) use hash::{fnv_1a, mixed, mixed_seed};
pub use kernel::InstructionSet;
pub use network::{Network, NetworkError, Scratch};
pub(crate) use quantile_grid::normal_quantile;
pub use quantile_grid::{GridInterpolation, QUANTILE_GRID};
pub use query_decoder::QueryBatch;
pub use sequence::ResetMask;
pub use spec::NetworkSpec;
pub use spec_error::SpecError;
pub use strategy::Strategy;
pub use tensor_file::{NamedTensor, WeightsError};
pub(crate) use tensor_file::{tensors_from_bytes, tensors_to_bytes};
pub use weights::Weights;
