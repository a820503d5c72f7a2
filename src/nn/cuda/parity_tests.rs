//! The kernels on a GPU against the fused CPU operation.

use candle_core::Device;

use super::test_layer::{CELLS, TestLayer};
use super::{device::Gpu, launch::Kernels};
use crate::nn::recurrent::run::run;

/// The GPU; `None`, with a message, where there is none.
fn open() -> Option<Device> {
    // The driver's library is loaded at first use; where it is missing, that panics instead of returning an error.
    match std::panic::catch_unwind(|| Device::new_cuda_with_stream(0)) {
        Ok(Ok(device)) => Some(device),
        _ => {
            println!("skipped: no CUDA device can be opened here");
            None
        }
    }
}

#[test]
fn the_gpu_agrees_with_the_cpu() {
    let Some(device) = open() else { return };
    let limits = device.as_cuda_device().and_then(Gpu::new).unwrap().limits();
    println!("on {limits:?}");
    for cell in CELLS {
        for hidden in [6, 64, 128, 130, 256, 512] {
            // Fewer and more rows than there are multiprocessors, so that every tile size is tested.
            for rows in [5, 4 * limits.multiprocessors + 3, 17 * limits.multiprocessors] {
                for resets in [false, true] {
                    let layer = TestLayer { cell, hidden, rows, steps: 6, inputs: 3, resets };
                    let found = layer.run(&device, |sequence| run(cell, sequence));
                    layer.assert_close(&found.unwrap(), &layer.on_cpu());
                }
            }
        }
    }
}
