//! The interface between a sequence and whatever runs the kernels: a GPU, or an emulation in tests.

use candle_core::{Result, Storage, Tensor};

use super::tile::{GpuLimits, Tile};

/// Where the kernels run.
pub(in crate::nn) trait Kernels: Send + Sync + 'static {
    /// The limits of the GPU.
    fn limits(&self) -> GpuLimits;

    /// Launches one kernel and returns its outputs, which may still be computed asynchronously.
    fn launch(&self, launch: &Launch<'_>) -> Result<Vec<Storage>>;
}

/// One launch of a kernel. Its arguments are the inputs, the outputs, steps, rows and resident quads, in this order.
#[derive(Debug)]
pub(in crate::nn) struct Launch<'a> {
    pub(super) kernel: String,
    pub(super) tile: Tile,
    /// Units of the layer, padded to a multiple of 16.
    pub(super) width: usize,
    pub(super) steps: usize,
    pub(super) rows: usize,
    /// Contiguous tensors; `None` becomes a null pointer.
    pub(super) inputs: &'a [Option<&'a Tensor>],
    /// Number of values of each output, at least one.
    pub(super) outputs: &'a [usize],
}
