//! A layer for tests of the kernels, and its outputs, states and gradients on any device.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};

use super::super::fused;
use super::super::{gru::Gru, lstm::Lstm};
use super::*;

/// The cells that have kernels.
pub(super) const CELLS: [&dyn Gates; 2] = [&Gru, &Lstm];

/// What a test looks at, each with its name.
pub(super) type Numbers = Vec<(String, Vec<f32>)>;

#[derive(Clone, Copy)]
pub(super) struct TestLayer {
    pub(super) gates: &'static dyn Gates,
    pub(super) hidden: usize,
    pub(super) rows: usize,
    pub(super) steps: usize,
    pub(super) inputs: usize,
    pub(super) starts: bool,
}

fn wave(count: usize, frequency: f64, size: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * frequency).sin() * size) as f32).collect()
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

impl TestLayer {
    /// Runs it forward and backward.
    pub(super) fn run(
        &self,
        device: &Device,
        run: impl FnOnce(&Sequence<'_>) -> Result<SequenceOutput>,
    ) -> Result<Numbers> {
        let Self { gates, hidden, rows, steps, inputs, .. } = *self;
        let states = gates.combination().states();
        let variable = |values: Vec<f32>, shape: &[usize]| Var::from_vec(values, shape, device);
        // As large as trained weights are, so that what the gates do matters.
        let size = 1.5 / (hidden as f64).sqrt();
        let (input, recurrent) = (gates.input_gates().len() * hidden, gates.recurrent_gates().len() * hidden);
        let mut first = wave(rows * states * padded(hidden), 0.71, 0.6);
        for vector in first.chunks_exact_mut(padded(hidden)) {
            vector[hidden..].fill(0.0);
        }
        let variables = [
            ("inputs", variable(wave(steps * rows * inputs, 0.53, 1.3), &[steps, rows, inputs])?),
            ("input", variable(wave(input * inputs, 0.377, 0.5), &[input, inputs])?),
            ("recurrent", variable(wave(recurrent * hidden, 0.619, size), &[recurrent, hidden])?),
            ("bias", variable(wave(GATES * hidden, 0.293, 0.4), &[GATES * hidden])?),
            ("states", variable(first, &[rows, states * padded(hidden)])?),
        ];
        let flags = (0..steps * rows).map(|at| self.starts && at % 7 == 3).collect();
        let weights: BTreeMap<_, _> =
            variables.iter().map(|(name, variable)| (*name, variable.as_tensor().clone())).collect();
        let sequence = Sequence {
            inputs: &weights["inputs"],
            weights: &weights,
            states: &weights["states"],
            starts: &Starts::new(rows, flags),
        };
        let output = run(&sequence)?;
        assert_eq!(output.outputs.dims(), [steps, rows, hidden]);
        assert!(output.states_after(steps).is_err());
        let mut found = vec![("outputs".to_owned(), numbers(&output.outputs)?)];
        for step in 0..steps {
            found.push((format!("states after {step}"), numbers(&output.states_after(step)?)?));
        }
        // A loss that weighs every output differently.
        let weights = Tensor::from_vec(wave(steps * rows * hidden, 0.91, 1.0), (steps, rows, hidden), device)?;
        let gradients = (output.outputs * weights)?.sum_all()?.backward()?;
        for (name, variable) in &variables {
            let gradient = gradients.get(variable).ok_or_else(|| candle_core::Error::Msg(format!("{name}: none")))?;
            assert_eq!(gradient.dims(), variable.dims(), "{name}");
            found.push((format!("gradient by {name}"), numbers(gradient)?));
        }
        Ok(found)
    }

    /// What the fused sequence of the processor makes of it.
    pub(super) fn on_processor(&self) -> Numbers {
        self.run(&Device::Cpu, |sequence| fused::run(self.gates, sequence)).unwrap()
    }

    /// Asserts that two runs of it agree but for rounding.
    pub(super) fn assert_close(&self, ours: &Numbers, theirs: &Numbers) {
        let Self { gates, hidden, rows, starts, .. } = self;
        let of = format!("{:?}, hidden {hidden}, rows {rows}, starts {starts}", gates.combination());
        assert_eq!(ours.len(), theirs.len());
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            assert_eq!(ours.len(), theirs.len(), "{name}");
            let largest = theirs.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest > 1e-3, "{of}: {name} is nothing");
            let error = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0_f32, f32::max);
            let whole = ours.iter().all(|value| value.is_finite());
            assert!(whole && error < 2e-5 * largest.max(1.0), "{of}: {name} is {error} off, of up to {largest}");
        }
    }
}
