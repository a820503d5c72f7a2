//! The kernels on a card against the fused sequence of the processor.

use candle_core::Device;

use super::device::Gpu;
use super::test_layer::{CELLS, TestLayer};
use super::*;

/// The card; none, with a message, where there is none.
fn open() -> Option<Device> {
    // The driver's library is loaded at first use, and where it is missing that panics rather than fails.
    match std::panic::catch_unwind(|| Device::new_cuda_with_stream(0)) {
        Ok(Ok(device)) => Some(device),
        _ => {
            println!("skipped: no CUDA device can be opened here");
            None
        }
    }
}

#[test]
fn a_card_does_as_the_processor() {
    let Some(device) = open() else { return };
    let card = device.as_cuda_device().and_then(Gpu::new).unwrap().card();
    println!("on {card:?}");
    for gates in CELLS {
        for hidden in [6, 64, 128, 130, 256, 512] {
            // A few rows, and more than there are multiprocessors, so that each size of tile is met.
            for rows in [5, 4 * card.multiprocessors + 3, 17 * card.multiprocessors] {
                for starts in [false, true] {
                    let layer = TestLayer { gates, hidden, rows, steps: 6, inputs: 3, starts };
                    let found = layer.run(&device, |sequence| super::super::sequence::run(gates, sequence));
                    layer.assert_close(&found.unwrap(), &layer.on_processor());
                }
            }
        }
    }
}
