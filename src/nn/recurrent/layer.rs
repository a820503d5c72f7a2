//! A layer of a recurrent cell, with windows of inputs and dilation.

use candle_core::{Result, Tensor};

use super::cell::{GateLayout, RecurrentCell};
use super::packing::{LayerMatrices, pack};
use super::{dilation::DilatedSequence, run};
use crate::nn::cell::{Cell, LayerScratch, LayerShape, PackedLayer};
use crate::nn::kernel::{Input, InstructionSet, Layer, Rows, RowsMut, layer_step, padded};
use crate::nn::sequence::{Sequence, SequenceOutput};
use crate::nn::window::{Window, WindowedSequence};
use crate::nn::{initialiser::Initialiser, parameter::Parameter};

/// A layer of a recurrent cell.
///
/// State: the register of past inputs where the layer reads windows, then one slot for each step of the dilation, the
/// oldest first. A step updates the oldest slot, which becomes the newest.
#[derive(Clone, Copy)]
pub struct RecurrentLayer<C: 'static>(pub &'static C);

fn window(shape: &LayerShape) -> Window {
    Window { inputs: shape.inputs, taps: shape.window, dilation: 1 }
}

impl<C: RecurrentCell> RecurrentLayer<C> {
    /// Number of values in one slot.
    fn slot_len(&self, shape: &LayerShape) -> usize {
        self.0.gates().recurrence.states() * padded(shape.hidden)
    }
}

impl<C: RecurrentCell> Cell for RecurrentLayer<C> {
    fn parameters(&self, shape: &LayerShape) -> Vec<Parameter> {
        let (hidden, cell) = (shape.hidden, self.0);
        let GateLayout { recurrence, input, recurrent, retention } = cell.gates();
        let input = [input.len() * hidden, window(shape).width()];
        let mut parameters = vec![Parameter::new("input", &input, Initialiser::Uniform { fan_out: hidden })];
        if !recurrent.is_empty() {
            let shape = [recurrent.len() * hidden, hidden];
            parameters.push(Parameter::new("recurrent", &shape, Initialiser::Orthogonal));
        }
        let bias = Initialiser::RetentionBias { hidden, gates: retention, chrono: shape.chrono };
        parameters.push(Parameter::new("bias", &[recurrence.gate_count() * hidden], bias));
        parameters
    }

    fn state_len(&self, shape: &LayerShape) -> usize {
        window(shape).state_len() + shape.dilation * self.slot_len(shape)
    }

    fn pack<'a>(&self, shape: &LayerShape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer> {
        let (window, hidden) = (window(shape), shape.hidden);
        let (input, recurrent, bias) = (tensor("input"), tensor("recurrent"), tensor("bias"));
        let matrices = LayerMatrices { inputs: window.width(), hidden, input, recurrent, bias };
        let layer = pack(self.0, matrices);
        Box::new(PackedRecurrentLayer { window, slots: shape.dilation, slot_len: self.slot_len(shape), layer })
    }

    fn sequence(&self, shape: &LayerShape, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        let (window, dilation) = (window(shape), shape.dilation);
        if window.taps == 1 && dilation == 1 {
            return run::run(self.0, sequence);
        }
        let register = window.state_len();
        let windowed = WindowedSequence::new(window, sequence.inputs, sequence.states, 0, sequence.resets)?;
        let slots = sequence.states.narrow(1, register, dilation * self.slot_len(shape))?.contiguous()?;
        let dilated = DilatedSequence::new(dilation, &windowed.windows()?, slots, sequence.resets)?;
        let output = run::run(self.0, &dilated.sequence(sequence.weights))?;
        let outputs = dilated.interleave(&output.outputs)?;
        Ok(SequenceOutput::new(outputs, move |step| {
            Tensor::cat(&[windowed.register_after(step)?, dilated.slots_after(step, &output)?], 1)
        }))
    }
}

struct PackedRecurrentLayer {
    window: Window,
    slots: usize,
    slot_len: usize,
    layer: Layer,
}

impl PackedLayer for PackedRecurrentLayer {
    fn step(
        &self,
        isa: InstructionSet,
        rows: usize,
        input: Input<'_>,
        states: RowsMut<'_>,
        scratch: &mut LayerScratch,
    ) {
        let mut states = states;
        let input = if self.window.taps == 1 {
            input
        } else {
            self.window.gather(rows, input, &mut states, &mut scratch.windows);
            Input::Rows(Rows { data: &scratch.windows, stride: self.window.width(), offset: 0 })
        };
        let RowsMut { data, stride, offset } = states;
        let offset = offset + self.window.state_len();
        let oldest = RowsMut { data: &mut *data, stride, offset };
        layer_step(isa, &self.layer, rows, input, oldest, &mut scratch.gates);
        if self.slots > 1 {
            for row in 0..rows {
                data[offset + row * stride..][..self.slots * self.slot_len].rotate_left(self.slot_len);
            }
        }
    }

    fn output_at(&self) -> usize {
        self.window.state_len() + (self.slots - 1) * self.slot_len
    }

    fn bytes(&self) -> usize {
        self.layer.bytes()
    }
}
