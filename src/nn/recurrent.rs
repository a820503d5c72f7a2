//! Layers of recurrent cells: gates that look at the inputs and at the outputs before, packed for the kernels, run over
//! sequences, dilated, fed with windows of steps.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::cell::{Cell, Memory, PackedLayer, Parameter, Shape, Start};
use super::kernel::{self, Combination, Input, InstructionSet, Layer, Panel, Rows, States, padded};
use super::sequence::{self, Sequence, SequenceOutput, Starts};
use super::window::{Unfolded, Window};

/// A recurrent cell, described by its gates and what it does with them.
///
/// Each gate is a linear function of the layer's inputs, of the cell's own outputs of the step before, or of both, plus
/// a bias. So a cell's tensors are `input` `[gates * hidden, inputs]`, `recurrent` `[gates * hidden, hidden]` (none where
/// no gate looks at the outputs) and `bias` `[gates * hidden]`, each with the gates that it belongs to, in order.
pub trait Gates: Send + Sync {
    /// Its gates and states, and what happens to them, in the kernels.
    fn combination(&self) -> Combination;

    /// The gates that look at the layer's inputs.
    fn input_gates(&self) -> Range<usize>;

    /// The gates that look at the cell's outputs of the step before.
    fn recurrent_gates(&self) -> Range<usize>;

    /// The gates whose biases decide how long is remembered, the most important first: those with 1 remember while they
    /// are open, those with -1 forget.
    fn remembering(&self) -> &'static [(usize, f32)];

    /// The states `[rows, hidden]` after a step, out of the gates' sums `[rows, hidden]` and the states before it, in
    /// candle's operations: the definition that kernels and backward passes are held against, and what runs where they
    /// do not. A late gate's sum lacks its recurrent part, whose transposed matrix comes as `late`.
    ///
    /// # Errors
    /// Those of candle.
    fn plain_step(&self, sums: &[Tensor], states: &[Tensor], late: Option<&Tensor>) -> Result<Vec<Tensor>>;

    /// For cells whose gates look at the inputs only: the logarithms of `a` and `b` in `h' = a * h + b`, out of the
    /// gates' sums.
    ///
    /// # Errors
    /// Those of candle.
    fn log_space(&self, _sums: &[Tensor]) -> Result<Option<(Tensor, Tensor)>> {
        Ok(None)
    }
}

/// Layers of a recurrent cell.
///
/// State: the register of past inputs where the layer reads windows, then a slot for each step of the dilation, the
/// oldest first. A step moves the oldest slot on, and it becomes the newest.
#[derive(Clone, Copy)]
pub struct Recurrent<G: 'static>(pub &'static G);

fn window(shape: &Shape) -> Window {
    Window { inputs: shape.inputs, taps: shape.window, apart: 1 }
}

impl<G: Gates> Recurrent<G> {
    /// Numbers of one slot.
    fn slot(&self, shape: &Shape) -> usize {
        self.0.combination().states() * padded(shape.hidden)
    }
}

impl<G: Gates> Cell for Recurrent<G> {
    fn parameters(&self, shape: &Shape) -> Vec<Parameter> {
        let (hidden, gates) = (shape.hidden, self.0);
        let mut parameters = vec![Parameter {
            name: "input",
            shape: vec![gates.input_gates().len() * hidden, window(shape).width()],
            start: Start::Uniform { fan_out: hidden },
        }];
        if !gates.recurrent_gates().is_empty() {
            let shape = vec![gates.recurrent_gates().len() * hidden, hidden];
            parameters.push(Parameter { name: "recurrent", shape, start: Start::Orthogonal });
        }
        let start = Start::Biases { hidden, gates: gates.remembering(), chrono: shape.chrono };
        parameters.push(Parameter { name: "bias", shape: vec![gates.combination().gates() * hidden], start });
        parameters
    }

    fn state_len(&self, shape: &Shape) -> usize {
        window(shape).state_len() + shape.dilation * self.slot(shape)
    }

    fn pack<'a>(&self, shape: &Shape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer> {
        let sizes = (window(shape).width(), shape.hidden);
        Box::new(Packed {
            window: window(shape),
            slots: shape.dilation,
            slot: self.slot(shape),
            layer: pack(self.0, sizes, tensor("input"), tensor("recurrent"), tensor("bias")),
        })
    }

    fn sequence(&self, shape: &Shape, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        let (window, dilation) = (window(shape), shape.dilation);
        if window.taps == 1 && dilation == 1 {
            return sequence::run(self.0, sequence);
        }
        let register = window.state_len();
        let unfolded = Unfolded::new(window, sequence.inputs, sequence.states, 0, sequence.starts)?;
        let slots = sequence.states.narrow(1, register, dilation * self.slot(shape))?.contiguous()?;
        let dilated = Dilated::new(dilation, &unfolded.windows()?, slots, sequence.starts)?;
        let output = sequence::run(
            self.0,
            &Sequence { inputs: &dilated.inputs, states: &dilated.states, starts: &dilated.starts, ..*sequence },
        )?;
        let outputs = dilated.together(&output.outputs)?;
        Ok(SequenceOutput::new(outputs, move |step| {
            Tensor::cat(&[unfolded.register_after(step)?, dilated.slots_after(step, &output)?], 1)
        }))
    }
}

/// Packs a layer for the kernels.
pub(super) fn pack(
    gates: &dyn Gates,
    (inputs, hidden): (usize, usize),
    input: &[f32],
    recurrent: &[f32],
    bias: &[f32],
) -> Layer {
    let combination = gates.combination();
    let panel = |gate: usize| {
        let from_input = gates.input_gates().position(|other| other == gate);
        let from_recurrent = gates.recurrent_gates().position(|other| other == gate);
        let first = if from_input.is_some() { inputs } else { 0 };
        let second = if from_recurrent.is_some() { hidden } else { 0 };
        let weight = |output: usize, at: usize| {
            if at < first {
                input[(from_input.unwrap_or(0) * hidden + output) * inputs + at]
            } else {
                recurrent[(from_recurrent.unwrap_or(0) * hidden + output) * hidden + at - first]
            }
        };
        Panel::new(hidden, (first, second), weight, |output| bias[gate * hidden + output])
    };
    Layer::new(combination, (0..combination.gates()).map(panel).collect())
}

struct Packed {
    window: Window,
    slots: usize,
    slot: usize,
    layer: Layer,
}

impl PackedLayer for Packed {
    fn step(&self, on: InstructionSet, rows: usize, input: Input<'_>, mut states: States<'_>, memory: &mut Memory) {
        let input = if self.window.taps == 1 {
            input
        } else {
            self.window.gather(rows, input, &mut states, &mut memory.windows);
            Input::Rows(Rows { data: &memory.windows, stride: self.window.width(), offset: 0 })
        };
        let States { data, stride, offset } = states;
        let offset = offset + self.window.state_len();
        let oldest = States { data: &mut *data, stride, offset };
        kernel::layer_step(on, &self.layer, rows, input, oldest, &mut memory.gates);
        if self.slots > 1 {
            for row in 0..rows {
                data[offset + row * stride..][..self.slots * self.slot].rotate_left(self.slot);
            }
        }
    }

    fn output_at(&self) -> usize {
        self.window.state_len() + (self.slots - 1) * self.slot
    }

    fn bytes(&self) -> usize {
        self.layer.bytes()
    }
}

/// A sequence dealt out to `dilation` sequences of every `dilation`-th step, which know nothing of each other and stand
/// side by side as rows.
struct Dilated {
    dilation: usize,
    steps: usize,
    rows: usize,
    /// `[steps / dilation, dilation * rows, width]`.
    inputs: Tensor,
    /// The slots before the first step `[dilation * rows, slot]`.
    states: Tensor,
    starts: Starts,
    begun: Vec<Option<usize>>,
}

impl Dilated {
    fn new(dilation: usize, inputs: &Tensor, slots: Tensor, starts: &Starts) -> Result<Self> {
        let (steps, rows, width) = inputs.dims3()?;
        let rounds = steps.div_ceil(dilation);
        let inputs = inputs.pad_with_zeros(0, 0, rounds * dilation - steps)?.contiguous()?;
        let slot = slots.dim(1)? / dilation;
        let states = slots.reshape((rows, dilation, slot))?.transpose(0, 1)?.contiguous()?;
        let begins = |index: usize| {
            let (step, row) = (index / rows, index % rows);
            let since = step.saturating_sub(dilation - 1);
            (since..=step).any(|step| starts.at(step).get(row).copied().unwrap_or(false))
        };
        let flags = (0..rounds * dilation * rows).map(begins).collect();
        Ok(Self {
            dilation,
            steps,
            rows,
            inputs: inputs.reshape((rounds, dilation * rows, width))?,
            states: states.reshape((dilation * rows, slot))?,
            starts: Starts::new(dilation * rows, flags),
            begun: super::window::begun(steps, rows, starts),
        })
    }

    /// The outputs of all steps in order again, `[steps, rows, hidden]`.
    fn together(&self, outputs: &Tensor) -> Result<Tensor> {
        let (rounds, _, hidden) = outputs.dims3()?;
        outputs.reshape((rounds * self.dilation, self.rows, hidden))?.narrow(0, 0, self.steps)
    }

    /// The slots after a step, `[rows, dilation * slot]`, the oldest first, cut off from the gradient.
    fn slots_after(&self, step: usize, output: &SequenceOutput) -> Result<Tensor> {
        let slot = |back: usize| {
            let Some(at) = step.checked_sub(back) else {
                // Of before the sequence: the newest slot there is that of one step before its first.
                return self.states.narrow(0, (self.dilation - (back - step)) * self.rows, self.rows);
            };
            let states = output.states_after(at / self.dilation)?;
            states.narrow(0, at % self.dilation * self.rows, self.rows)
        };
        let slots = (0..self.dilation).rev().map(|back| {
            let begun = &self.begun[step * self.rows..][..self.rows];
            let keep = |begun: &Option<usize>| begun.is_none_or(|begun| step >= begun + back);
            let keep: Vec<f32> = begun.iter().map(|begun| f32::from(u8::from(keep(begun)))).collect();
            slot(back)?.detach().broadcast_mul(&Tensor::from_vec(keep, (self.rows, 1), self.inputs.device())?)
        });
        Tensor::cat(&slots.collect::<Result<Vec<_>>>()?, 1)
    }
}
