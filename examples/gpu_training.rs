//! The time of training a recurrent layer on an NVIDIA GPU: forward and backward over whole sequences, with gradients
//! by all weights and none by the inputs. `scripts/gpu-check` compares it with cuDNN.
//!
//! `cargo run --release --features cuda --example gpu_training` prints one line of JSON per case.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use foretide::nn::cells::gru::Gru;
use foretide::nn::cells::lstm::Lstm;
use foretide::nn::recurrent::cell::RecurrentCell;
use foretide::nn::recurrent::run::run;
use foretide::nn::sequence::{ResetMask, Sequence};

/// Inputs per step.
const INPUTS: usize = 8;
/// Rounds, of whose times the median counts.
const ROUNDS: usize = 7;
/// Shortest duration of a round, which repeats the run until it is reached.
const ROUND: Duration = Duration::from_millis(30);

struct Layer {
    cell: &'static dyn RecurrentCell,
    inputs: Tensor,
    weights: BTreeMap<&'static str, Tensor>,
    states: Tensor,
    resets: ResetMask,
    loss: Tensor,
}

impl Layer {
    fn new(
        cell: &'static dyn RecurrentCell,
        hidden: usize,
        rows: usize,
        steps: usize,
        device: &Device,
    ) -> Result<Self> {
        let size = 1.0 / (hidden as f32).sqrt();
        // The tensor shares its storage with the variable and has a gradient too.
        let variable = |outputs: usize, inputs: &[usize]| {
            let shape = [&[outputs * hidden], inputs].concat();
            Ok::<_, candle_core::Error>(
                Var::from_tensor(&Tensor::rand(-size, size, shape, device)?)?.as_tensor().clone(),
            )
        };
        let weights = BTreeMap::from([
            ("input", variable(cell.gates().input.len(), &[INPUTS])?),
            ("recurrent", variable(cell.gates().recurrent.len(), &[hidden])?),
            ("bias", variable(cell.gates().recurrence.gate_count(), &[])?),
        ]);
        let state = cell.gates().recurrence.states() * hidden.next_multiple_of(16);
        Ok(Self {
            cell,
            inputs: Tensor::randn(0.0_f32, 1.0, (steps, rows, INPUTS), device)?,
            weights,
            states: Tensor::zeros((rows, state), DType::F32, device)?,
            resets: ResetMask::new(rows, Vec::new()),
            loss: Tensor::randn(0.0_f32, 1.0, (steps, rows, hidden), device)?,
        })
    }

    fn train_step(&self) -> Result<()> {
        let Self { inputs, weights, states, resets, .. } = self;
        let outputs = run(self.cell, &Sequence { inputs, weights, states, resets })?.outputs;
        (outputs * &self.loss)?.sum_all()?.backward()?;
        Ok(())
    }
}

/// Median time of one run, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(device: &Device, layer: &Layer) -> Result<f64> {
    let time = |runs: usize| -> Result<Duration> {
        device.synchronize()?;
        let begin = Instant::now();
        for _ in 0..runs {
            layer.train_step()?;
        }
        device.synchronize()?;
        Ok(begin.elapsed())
    };
    time(2)?; // loads the kernels and fills the pool of memory
    let runs = (ROUND.as_secs_f64() / time(1)?.as_secs_f64()).ceil().clamp(1.0, 100.0) as usize;
    let mut rounds = (0..ROUNDS).map(|_| time(runs)).collect::<Result<Vec<_>>>()?;
    rounds.sort();
    Ok(rounds[ROUNDS / 2].as_secs_f64() * 1e3 / runs as f64)
}

fn main() -> Result<()> {
    let device = Device::new_cuda_with_stream(0)?;
    let cells: [(_, &dyn RecurrentCell); 2] = [("gru", &Gru), ("lstm", &Lstm)];
    for (name, cell) in cells {
        for hidden in [64, 128, 256] {
            for rows in [256, 1024, 4096] {
                for steps in [64, 256, 512] {
                    let layer = Layer::new(cell, hidden, rows, steps, &device)?;
                    let milliseconds = measure(&device, &layer)?;
                    let case = format!(r#""cell":"{name}","hidden":{hidden},"batch":{rows},"steps":{steps}"#);
                    println!(r#"{{{case},"inputs":{INPUTS},"milliseconds":{milliseconds:.4}}}"#);
                }
            }
        }
    }
    Ok(())
}
