//! The kernels on the CPU: `sequence.cu`, compiled as C++ with an emulation of the CUDA features it uses, launched as
//! on a GPU. It tests the arithmetic, the indexing, the barriers and all launches, but nothing that only a GPU can
//! show.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use candle_core::{CpuStorage, Device, Result, Storage};

use super::launch::{Kernels, Launch};
use super::sequence::{is_supported, run};
use super::test_layer::{CELLS, Results, TestLayer};
use super::tile::{GpuLimits, Tile};
use crate::nn::cells::gru::{Gru, GruResetBefore};
use crate::nn::{recurrent::cell::RecurrentCell, recurrent::fused};

struct Emulation {
    program: Arc<tempfile::TempDir>,
    limits: GpuLimits,
}

/// Compiles the emulation; `None`, with a message, where there is no g++.
fn build() -> Option<Arc<tempfile::TempDir>> {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/nn/cuda/emulate/main.cpp");
    let options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-ffp-contract=off", "-o"];
    let compiled = Command::new("g++").args(options).arg(folder.path().join("kernel")).arg(source).output();
    let Ok(compiled) = compiled else {
        println!("skipped: no g++ to compile the emulation of the GPU kernels");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(Arc::new(folder))
}

impl Kernels for Emulation {
    fn limits(&self) -> GpuLimits {
        self.limits
    }

    /// `emulate/main.cpp` documents the protocol.
    fn launch(&self, launch: &Launch<'_>) -> Result<Vec<Storage>> {
        let mut request = launch.kernel.clone().into_bytes();
        request.resize(32, 0);
        let Tile { groups, blocks, resident, shared, .. } = launch.tile;
        let (inputs, outputs) = (launch.inputs.len(), launch.outputs.len());
        for size in [blocks, launch.width, groups, shared, inputs, outputs, launch.steps, launch.rows, resident] {
            request.extend((size as u32).to_le_bytes());
        }
        for input in launch.inputs {
            let values: Vec<f32> = match input {
                Some(input) => input.flatten_all()?.to_vec1()?,
                None => Vec::new(),
            };
            request.extend((values.len() as u32).to_le_bytes());
            request.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        request.extend(launch.outputs.iter().flat_map(|length| (*length as u32).to_le_bytes()));

        let mut command = Command::new(self.program.path().join("kernel"));
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The program answers only after it has read the whole request.
        program.stdin.take().unwrap().write_all(&request).unwrap();
        let answer = program.wait_with_output().unwrap();
        assert!(answer.status.success(), "{} failed", launch.kernel);
        let mut values = answer.stdout.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(values.len(), launch.outputs.iter().sum::<usize>());
        Ok(launch
            .outputs
            .iter()
            .map(|length| Storage::Cpu(CpuStorage::F32(values.by_ref().take(*length).collect())))
            .collect())
    }
}

fn emulated(program: &Arc<tempfile::TempDir>, limits: GpuLimits, layer: &TestLayer) -> Results {
    let kernels = Arc::new(Emulation { program: program.clone(), limits });
    layer.run(&Device::Cpu, |sequence| run(kernels.clone(), layer.cell, sequence)).unwrap()
}

const H100: GpuLimits = GpuLimits { multiprocessors: 132, shared_memory: 227 * 1024 };

#[test]
fn emulated_kernels_agree_with_the_fused_cpu_operation() {
    let Some(program) = build() else { return };
    for cell in CELLS {
        for (hidden, rows, resets) in [(6, 5, true), (64, 3, true), (64, 9, false), (130, 3, true)] {
            let layer = TestLayer { cell, hidden, rows, steps: 5, inputs: 3, resets };
            let expected = layer.on_cpu();
            // One multiprocessor gives the most rows per thread, little shared memory the fewest resident weights.
            let small = [GpuLimits { multiprocessors: 1, ..H100 }, GpuLimits { shared_memory: 24 * 1024, ..H100 }];
            for limits in [H100].into_iter().chain(small) {
                layer.assert_close(&emulated(&program, limits, &layer), &expected);
            }
        }
    }
}

#[test]
fn the_bits_of_a_row_depend_neither_on_the_tile_nor_on_resident_weights() {
    let Some(program) = build() else { return };
    for cell in CELLS {
        let layer = TestLayer { cell, hidden: 64, rows: 21, steps: 4, inputs: 2, resets: true };
        let expected = emulated(&program, H100, &layer);
        let shared = H100.shared_memory;
        for (multiprocessors, shared_memory) in [(11, shared), (5, shared), (2, shared), (1, 40 * 1024)] {
            let found = emulated(&program, GpuLimits { multiprocessors, shared_memory }, &layer);
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                // Only the gradient by the bias is a sum over the rows of tiles.
                if name != "gradient by bias" {
                    assert_eq!(expected, found, "{:?} {multiprocessors} {name}", cell.gates().recurrence);
                }
            }
        }
    }
}

#[test]
fn a_layer_without_kernels_is_an_error() {
    let layer = |hidden| TestLayer { cell: &Gru, hidden, rows: 2, steps: 1, inputs: 1, resets: false };
    let supported = |hidden, cell: &'static dyn RecurrentCell| {
        let mut found = None;
        let ran = layer(hidden).run(&Device::Cpu, |sequence| {
            found = Some(is_supported(cell, sequence)?);
            fused::run(&Gru, sequence)
        });
        ran.map(|_| found).unwrap()
    };
    assert_eq!(
        [supported(64, &Gru), supported(512, &Gru), supported(64, &GruResetBefore), supported(513, &Gru)]
            .map(Option::unwrap),
        [true, true, false, false]
    );

    let program = Arc::new(tempfile::tempdir().unwrap());
    let kernels = Arc::new(Emulation { program, limits: GpuLimits { shared_memory: 512, ..H100 } });
    let error = layer(64).run(&Device::Cpu, |sequence| run(kernels.clone(), &Gru, sequence)).unwrap_err();
    assert!(error.to_string().contains("no kernel"), "{error}");
}
