//! A dense layer over a window of steps, cut at zero: the building block of two architectures.
//!
//! ```text
//! h_t = max(0, W [x_{t-(k-1)d}; ...; x_{t-d}; x_t] + b)
//! ```
//!
//! With a window over the whole context in the lowest layer and none above it is the feed-forward network over lagged
//! inputs (Lapedes, Farber 1987); with a window of three steps, twice as far apart from layer to layer, the temporal
//! convolutional network (van den Oord et al. 2016, arXiv:1609.03499; Bai, Kolter, Koltun 2018, arXiv:1803.01271). Before
//! the first step there is zero.
//!
//! Tensors: `input` `W`, the oldest step first, and `bias` `b`. State: the register of past inputs, then the output.

use candle_core::{Result, Tensor};

use super::cell::{Cell, Memory, PackedLayer, Parameter, Shape};
use super::kernel::{Input, InstructionSet, Panel, Rows, States, dense_rows, padded};
use super::sequence::{Sequence, SequenceOutput};
use super::window::{Unfolded, Window};

/// A dense layer over a window of steps.
#[derive(Debug, Clone, Copy)]
pub struct Convolution;

fn window(shape: &Shape) -> Window {
    Window { inputs: shape.inputs, taps: shape.window, apart: shape.dilation }
}

impl Cell for Convolution {
    fn parameters(&self, shape: &Shape) -> Vec<Parameter> {
        vec![Parameter::uniform("input", shape.hidden, window(shape).width()), Parameter::zero("bias", &[shape.hidden])]
    }

    fn state_len(&self, shape: &Shape) -> usize {
        window(shape).state_len() + padded(shape.hidden)
    }

    fn pack<'a>(&self, shape: &Shape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer> {
        let window = window(shape);
        Box::new(Packed { window, panel: Panel::of_matrix(window.width(), tensor("input"), tensor("bias")) })
    }

    fn sequence(&self, shape: &Shape, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        let (steps, rows, _) = sequence.inputs.dims3()?;
        let (window, hidden) = (window(shape), shape.hidden);
        let unfolded = Unfolded::new(window, sequence.inputs, sequence.states, 0, sequence.starts)?;
        let windows = unfolded.windows()?.reshape((steps * rows, window.width()))?;
        let sums = windows.matmul(&sequence.tensor("input")?.t()?)?.broadcast_add(sequence.tensor("bias")?)?;
        let outputs = sums.relu()?.reshape((steps, rows, hidden))?;
        let newest = outputs.detach();
        Ok(SequenceOutput::new(outputs, move |step| {
            let output = newest.get(step)?.pad_with_zeros(1, 0, padded(hidden) - hidden)?;
            Tensor::cat(&[unfolded.register_after(step)?, output], 1)
        }))
    }
}

struct Packed {
    window: Window,
    panel: Panel,
}

impl PackedLayer for Packed {
    fn step(&self, on: InstructionSet, rows: usize, input: Input<'_>, mut states: States<'_>, memory: &mut Memory) {
        self.window.gather(rows, input, &mut states, &mut memory.windows);
        let windows = Rows { data: &memory.windows, stride: self.window.width(), offset: 0 };
        let outputs = &mut states.data[states.offset + self.output_at()..];
        dense_rows(on, &self.panel, rows, windows, outputs, states.stride);
        for row in 0..rows {
            let outputs = &mut outputs[row * states.stride..][..self.panel.outputs()];
            outputs.iter_mut().filter(|output| **output < 0.0).for_each(|output| *output = 0.0);
        }
    }

    fn output_at(&self) -> usize {
        self.window.state_len()
    }

    fn bytes(&self) -> usize {
        self.panel.bytes()
    }
}
