//! The kernels on a processor: `sequence.cu`, compiled as C++ with what it needs of CUDA emulated, launched as on a card.
//! It holds the arithmetic, the indexing, the barriers and all launches; not what only a card can show.

use std::io::Write;
use std::process::{Command, Stdio};

use candle_core::Device;

use super::super::fused;
use super::super::gru::{Gru, GruResetBefore};
use super::test_layer::{CELLS, Numbers, TestLayer};
use super::*;

struct Emulation {
    program: Arc<tempfile::TempDir>,
    card: Card,
}

/// Compiles the emulation; none, with a message, where there is no g++.
fn build() -> Option<Arc<tempfile::TempDir>> {
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/nn/cuda/emulate/main.cpp");
    let options = ["-std=c++17", "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-ffp-contract=off", "-o"];
    let compiled = Command::new("g++").args(options).arg(folder.path().join("kernel")).arg(source).output();
    let Ok(compiled) = compiled else {
        println!("skipped: no g++ to emulate the GPU's kernels with");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(Arc::new(folder))
}

impl Kernels for Emulation {
    fn card(&self) -> Card {
        self.card
    }

    /// The protocol is described in `emulate/main.cpp`.
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
        // It answers only when it has read all.
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

fn emulated(program: &Arc<tempfile::TempDir>, card: Card, layer: &TestLayer) -> Numbers {
    let kernels = Arc::new(Emulation { program: program.clone(), card });
    layer.run(&Device::Cpu, |sequence| run(kernels.clone(), layer.gates, sequence)).unwrap()
}

const H100: Card = Card { multiprocessors: 132, shared: 227 * 1024 };

#[test]
fn emulated_kernels_do_as_the_fused_sequence_of_the_processor() {
    let Some(program) = build() else { return };
    for gates in CELLS {
        for (hidden, rows, starts) in [(6, 5, true), (64, 3, true), (64, 9, false), (130, 3, true)] {
            let layer = TestLayer { gates, hidden, rows, steps: 5, inputs: 3, starts };
            let expected = layer.on_processor();
            // One multiprocessor: as many rows to a thread as it can have. Little memory: few resident weights.
            for card in [H100, Card { multiprocessors: 1, ..H100 }, Card { shared: 24 * 1024, ..H100 }] {
                layer.assert_close(&emulated(&program, card, &layer), &expected);
            }
        }
    }
}

#[test]
fn a_rows_bits_depend_neither_on_the_tile_nor_on_what_is_resident() {
    let Some(program) = build() else { return };
    for gates in CELLS {
        let layer = TestLayer { gates, hidden: 64, rows: 21, steps: 4, inputs: 2, starts: true };
        let expected = emulated(&program, H100, &layer);
        for (multiprocessors, shared) in [(11, H100.shared), (5, H100.shared), (2, H100.shared), (1, 40 * 1024)] {
            let found = emulated(&program, Card { multiprocessors, shared }, &layer);
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                // Only the gradient by the bias adds up over the rows of tiles.
                if name != "gradient by bias" {
                    assert_eq!(expected, found, "{:?} {multiprocessors} {name}", gates.combination());
                }
            }
        }
    }
}

#[test]
fn what_there_are_no_kernels_for_is_said() {
    let layer = |hidden| TestLayer { gates: &Gru, hidden, rows: 2, steps: 1, inputs: 1, starts: false };
    let can = |hidden, gates: &'static dyn Gates| {
        let mut found = None;
        let ran = layer(hidden).run(&Device::Cpu, |sequence| {
            found = Some(can_run(gates, sequence)?);
            fused::run(&Gru, sequence)
        });
        ran.map(|_| found).unwrap()
    };
    assert_eq!(
        [can(64, &Gru), can(512, &Gru), can(64, &GruResetBefore), can(513, &Gru)].map(Option::unwrap),
        [true, true, false, false]
    );

    let program = Arc::new(tempfile::tempdir().unwrap());
    let kernels = Arc::new(Emulation { program, card: Card { shared: 512, ..H100 } });
    let error = layer(64).run(&Device::Cpu, |sequence| run(kernels.clone(), &Gru, sequence)).unwrap_err();
    assert!(error.to_string().contains("no kernel"), "{error}");
}
