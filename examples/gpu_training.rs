//! What training a recurrent layer costs on an NVIDIA GPU: forward and backward over whole sequences, from inputs that
//! need no gradient to the gradients by all weights. `scripts/gpu-check` holds it against cuDNN.
//!
//! `cargo run --release --features cuda --example gpu_training` prints a line of JSON for each case.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use foretide::nn::gru::Gru;
use foretide::nn::lstm::Lstm;
use foretide::nn::recurrent::Gates;
use foretide::nn::sequence::{Sequence, Starts, run};

const INPUTS: usize = 8;
const ROUNDS: usize = 7;
/// A round lasts at least this long, in as many runs as that takes.
const ROUND: Duration = Duration::from_millis(30);

struct Layer {
    gates: &'static dyn Gates,
    inputs: Tensor,
    weights: BTreeMap<&'static str, Tensor>,
    states: Tensor,
    starts: Starts,
    loss: Tensor,
}

impl Layer {
    fn new(gates: &'static dyn Gates, hidden: usize, rows: usize, steps: usize, device: &Device) -> Result<Self> {
        let size = 1.0 / (hidden as f32).sqrt();
        // The tensor shares its storage with the variable, and asks for a gradient as it does.
        let variable = |outputs: usize, inputs: &[usize]| {
            let shape = [&[outputs * hidden], inputs].concat();
            Ok::<_, candle_core::Error>(
                Var::from_tensor(&Tensor::rand(-size, size, shape, device)?)?.as_tensor().clone(),
            )
        };
        let weights = BTreeMap::from([
            ("input", variable(gates.input_gates().len(), &[INPUTS])?),
            ("recurrent", variable(gates.recurrent_gates().len(), &[hidden])?),
            ("bias", variable(gates.combination().gates(), &[])?),
        ]);
        let state = gates.combination().states() * hidden.next_multiple_of(16);
        Ok(Self {
            gates,
            inputs: Tensor::randn(0.0_f32, 1.0, (steps, rows, INPUTS), device)?,
            weights,
            states: Tensor::zeros((rows, state), DType::F32, device)?,
            starts: Starts::new(rows, Vec::new()),
            loss: Tensor::randn(0.0_f32, 1.0, (steps, rows, hidden), device)?,
        })
    }

    fn learn(&self) -> Result<()> {
        let Self { inputs, weights, states, starts, .. } = self;
        let outputs = run(self.gates, &Sequence { inputs, weights, states, starts })?.outputs;
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
    let cells: [(_, &dyn Gates); 2] = [("gru", &Gru), ("lstm", &Lstm)];
    for (name, gates) in cells {
        for hidden in [64, 128, 256] {
            for rows in [256, 1024, 4096] {
                for steps in [64, 256, 512] {
                    let layer = Layer::new(gates, hidden, rows, steps, &device)?;
                    let milliseconds = measure(&device, &layer)?;
                    let case = format!(r#""cell":"{name}","hidden":{hidden},"batch":{rows},"steps":{steps}"#);
                    println!(r#"{{{case},"inputs":{INPUTS},"milliseconds":{milliseconds:.4}}}"#);
                }
            }
        }
    }
    Ok(())
}
