//! Training of recurrent layers on an NVIDIA GPU.
//!
//! [`sequence`] launches the kernels through [`launch::Kernels`]: on a GPU by `device`, and in tests by an emulation on
//! the CPU, so that machines without a GPU can compare them with the fused CPU operation.

#[cfg(feature = "cuda")]
pub(super) mod device;
#[cfg(test)]
mod emulation_tests;
mod launch;
#[cfg(all(test, feature = "cuda"))]
mod parity_tests;
#[cfg(test)]
mod ptx_tests;
pub(super) mod sequence;
#[cfg(test)]
mod test_layer;
mod tile;
