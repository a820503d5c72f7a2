//! What training a recurrent layer costs on an NVIDIA GPU: forward and backward over whole sequences, from inputs that
//! need no gradient to the gradients by all weights. `scripts/gpu-check` holds it against cuDNN.
//!
//! `cargo run --release --features cuda --example gpu_training` prints a line of JSON for each case.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use foretide::nn::sequence::{LayerTensors, Sequence, Starts, run};
use foretide::nn::{Cell, CellKind, cell};

const INPUTS: usize = 8;
const ROUNDS: usize = 7;
/// A round lasts at least this long, in as many runs as that takes.
const ROUND: Duration = Duration::from_millis(30);

struct Layer {
    cell: &'static dyn Cell,
    inputs: Tensor,
    variables: [Var; 3],
    states: Tensor,
    starts: Starts,
    loss: Tensor,
}

impl Layer {
    fn new(kind: CellKind, hidden: usize, rows: usize, steps: usize, device: &Device) -> Result<Self> {
        let cell = cell(kind);
        let size = 1.0 / (hidden as f32).sqrt();
        let uniform = |shape: &[usize]| Tensor::rand(-size, size, shape, device);
        let variable = |shape: &[usize]| Var::from_tensor(&uniform(shape)?);
        let (input, recurrent) = (cell.input_gates().len() * hidden, cell.recurrent_gates().len() * hidden);
        Ok(Self {
            cell,
            inputs: Tensor::randn(0.0_f32, 1.0, (steps, rows, INPUTS), device)?,
            variables: [variable(&[input, INPUTS])?, variable(&[recurrent, hidden])?, variable(&[4 * hidden])?],
            states: Tensor::zeros((rows, cell.states() * hidden.next_multiple_of(16)), DType::F32, device)?,
            starts: Starts::new(rows, Vec::new()),
            loss: Tensor::randn(0.0_f32, 1.0, (steps, rows, hidden), device)?,
        })
    }

    fn learn(&self) -> Result<()> {
        let [input, recurrent, bias] = self.variables.each_ref().map(|variable| variable.as_tensor().clone());
        let weights = LayerTensors { input, recurrent, bias };
        let sequence = Sequence { inputs: &self.inputs, weights: &weights, states: &self.states, starts: &self.starts };
        let outputs = run(self.cell, &sequence)?.outputs;
        (outputs * &self.loss)?.sum_all()?.backward()?;
        Ok(())
    }
}

/// The median time of one run in milliseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(device: &Device, layer: &Layer) -> Result<f64> {
    let time = |runs: usize| -> Result<Duration> {
        device.synchronize()?;
        let begin = Instant::now();
        for _ in 0..runs {
            layer.learn()?;
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
    for kind in [CellKind::Gru, CellKind::Lstm] {
        for hidden in [64, 128, 256] {
            for rows in [256, 1024, 4096] {
                for steps in [64, 256, 512] {
                    let layer = Layer::new(kind, hidden, rows, steps, &device)?;
                    let milliseconds = measure(&device, &layer)?;
                    let case = format!(r#""cell":"{kind}","hidden":{hidden},"batch":{rows},"steps":{steps}"#);
                    println!(r#"{{{case},"inputs":{INPUTS},"milliseconds":{milliseconds:.4}}}"#);
                }
            }
        }
    }
    Ok(())
}
