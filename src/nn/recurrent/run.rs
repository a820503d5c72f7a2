//! The choice of the fastest way to run a recurrent cell over a sequence.

#[cfg(feature = "cuda")]
use std::sync::Arc;

use candle_core::Result;

use super::cell::RecurrentCell;
use super::{fused, log_space, reference};
#[cfg(feature = "cuda")]
use crate::nn::cuda;
use crate::nn::sequence::{Sequence, SequenceOutput};

/// Runs a cell over a sequence the fastest way that exists for it. Fails where shapes do not fit.
pub fn run(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    #[cfg(feature = "cuda")]
    if let (candle_core::Device::Cuda(device), true) =
        (sequence.inputs.device(), cuda::sequence::is_supported(cell, sequence)?)
    {
        return cuda::sequence::run(Arc::new(cuda::device::Gpu::new(device)?), cell, sequence);
    }
    let (on_cpu, scans) = (sequence.inputs.device().is_cpu(), cell.gates().recurrent.is_empty());
    match (on_cpu, scans) {
        (true, true) => fused::scan(cell, sequence),
        (true, false) if cell.gates().recurrence.has_backward() => fused::run(cell, sequence),
        (false, true) => log_space::run(cell, sequence),
        _ => reference::run(cell, sequence),
    }
}
