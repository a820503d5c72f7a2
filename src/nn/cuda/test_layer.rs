//! A layer for tests of the GPU kernels: its outputs, states and gradients on any device.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};

use super::sequence::GATES;
use crate::nn::cells::{gru::Gru, lstm::Lstm};
use crate::nn::sequence::{ResetMask, Sequence, SequenceOutput};
use crate::nn::{kernel::padded, recurrent::cell::RecurrentCell, recurrent::fused, test_support::sine};

/// The cells that have kernels.
pub(super) const CELLS: [&dyn RecurrentCell; 2] = [&Gru, &Lstm];

/// The results that a test compares, each with its name.
pub(super) type Results = Vec<(String, Vec<f32>)>;

#[derive(Clone, Copy)]
pub(super) struct TestLayer {
    pub(super) cell: &'static dyn RecurrentCell,
    pub(super) hidden: usize,
    pub(super) rows: usize,
    pub(super) steps: usize,
    pub(super) inputs: usize,
    pub(super) resets: bool,
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

impl TestLayer {
    /// Runs the layer forward and backward.
    pub(super) fn run(
        &self,
        device: &Device,
        run: impl FnOnce(&Sequence<'_>) -> Result<SequenceOutput>,
    ) -> Result<Results> {
        let Self { cell, hidden, rows, steps, inputs, .. } = *self;
        let states = cell.gates().recurrence.states();
        let variable = |values: Vec<f32>, shape: &[usize]| Var::from_vec(values, shape, device);
        // As large as trained weights, so that the gates differ from each other.
        let size = 1.5 / (hidden as f64).sqrt();
        let (input, recurrent) = (cell.gates().input.len() * hidden, cell.gates().recurrent.len() * hidden);
        let mut first = sine(rows * states * padded(hidden), 0.71, 0.6);
        for vector in first.chunks_exact_mut(padded(hidden)) {
            vector[hidden..].fill(0.0);
        }
        let variables = [
            ("inputs", variable(sine(steps * rows * inputs, 0.53, 1.3), &[steps, rows, inputs])?),
            ("input", variable(sine(input * inputs, 0.377, 0.5), &[input, inputs])?),
            ("recurrent", variable(sine(recurrent * hidden, 0.619, size), &[recurrent, hidden])?),
            ("bias", variable(sine(GATES * hidden, 0.293, 0.4), &[GATES * hidden])?),
            ("states", variable(first, &[rows, states * padded(hidden)])?),
        ];
        let flags = (0..steps * rows).map(|at| self.resets && at % 7 == 3).collect();
        let weights: BTreeMap<_, _> =
            variables.iter().map(|(name, variable)| (*name, variable.as_tensor().clone())).collect();
        let sequence = Sequence {
            inputs: &weights["inputs"],
            weights: &weights,
            states: &weights["states"],
            resets: &ResetMask::new(rows, flags),
        };
        let output = run(&sequence)?;
        assert_eq!(output.outputs.dims(), [steps, rows, hidden]);
        assert!(output.states_after(steps).is_err());
        let mut found = vec![("outputs".to_owned(), values(&output.outputs)?)];
        for step in 0..steps {
            found.push((format!("states after {step}"), values(&output.states_after(step)?)?));
        }
        // A loss that weights every output differently.
        let weights = Tensor::from_vec(sine(steps * rows * hidden, 0.91, 1.0), (steps, rows, hidden), device)?;
        let gradients = (output.outputs * weights)?.sum_all()?.backward()?;
        for (name, variable) in &variables {
            let gradient = gradients.get(variable).ok_or_else(|| candle_core::Error::Msg(format!("{name}: none")))?;
            assert_eq!(gradient.dims(), variable.dims(), "{name}");
            found.push((format!("gradient by {name}"), values(gradient)?));
        }
        Ok(found)
    }

    /// The results of the fused CPU operation.
    pub(super) fn on_cpu(&self) -> Results {
        self.run(&Device::Cpu, |sequence| fused::run(self.cell, sequence)).unwrap()
    }

    /// Asserts that the results of two runs agree up to rounding.
    pub(super) fn assert_close(&self, ours: &Results, theirs: &Results) {
        let Self { cell, hidden, rows, resets, .. } = self;
        let of = format!("{:?}, hidden {hidden}, rows {rows}, resets {resets}", cell.gates().recurrence);
        assert_eq!(ours.len(), theirs.len());
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            assert_eq!(ours.len(), theirs.len(), "{name}");
            let largest = theirs.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest > 1e-3, "{of}: {name} is nothing");
            let error = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0_f32, f32::max);
            let finite = ours.iter().all(|value| value.is_finite());
            assert!(finite && error < 2e-5 * largest.max(1.0), "{of}: {name} is {error} off, of up to {largest}");
        }
    }
}
