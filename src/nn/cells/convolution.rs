//! A dense layer over a window of steps with a rectified linear unit: the building block of two architectures.
//!
//! ```text
//! h_t = max(0, W [x_{t-(k-1)d}; ...; x_{t-d}; x_t] + b)
//! ```
//!
//! With a window over the whole context in the lowest layer and windows of one step above, it is the feed-forward
//! network over lagged inputs (Lapedes, Farber 1987). With windows of three steps whose dilation doubles from layer to
//! layer, it is the temporal convolutional network (van den Oord et al. 2016, arXiv:1609.03499; Bai, Kolter, Koltun
//! 2018, arXiv:1803.01271). Inputs before the first step are zero.
//!
//! Tensors: `input` `W`, the oldest step first, and `bias` `b`. State: the register of past inputs, then the output.

use candle_core::{Result, Tensor};

use crate::nn::cell::{Cell, LayerScratch, LayerShape, PackedLayer};
use crate::nn::kernel::{Input, InstructionSet, OutputMode, Panel, Rows, RowsMut, dense_rows, padded};
use crate::nn::parameter::Parameter;
use crate::nn::sequence::{Sequence, SequenceOutput};
use crate::nn::window::{Window, WindowedSequence};

/// A dense layer over a window of steps.
#[derive(Debug, Clone, Copy)]
pub struct Convolution;

fn window(shape: &LayerShape) -> Window {
    Window { inputs: shape.inputs, taps: shape.window, dilation: shape.dilation }
}

impl Cell for Convolution {
    fn parameters(&self, shape: &LayerShape) -> Vec<Parameter> {
        vec![Parameter::uniform("input", shape.hidden, window(shape).width()), Parameter::zero("bias", &[shape.hidden])]
    }

    fn state_len(&self, shape: &LayerShape) -> usize {
        window(shape).state_len() + padded(shape.hidden)
    }

    fn pack<'a>(&self, shape: &LayerShape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer> {
        let window = window(shape);
        Box::new(PackedConvolution { window, panel: Panel::of_matrix(window.width(), tensor("input"), tensor("bias")) })
    }

    fn sequence(&self, shape: &LayerShape, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        let (steps, rows, _) = sequence.inputs.dims3()?;
        let (window, hidden) = (window(shape), shape.hidden);
        let windowed = WindowedSequence::new(window, sequence.inputs, sequence.states, 0, sequence.resets)?;
        let windows = windowed.windows()?.reshape((steps * rows, window.width()))?;
        let sums = windows.matmul(&sequence.tensor("input")?.t()?)?.broadcast_add(sequence.tensor("bias")?)?;
        let outputs = sums.relu()?.reshape((steps, rows, hidden))?;
        let newest = outputs.detach();
        Ok(SequenceOutput::new(outputs, move |step| {
            let output = newest.get(step)?.pad_with_zeros(1, 0, padded(hidden) - hidden)?;
            Tensor::cat(&[windowed.register_after(step)?, output], 1)
        }))
    }
}

struct PackedConvolution {
    window: Window,
    panel: Panel,
}

impl PackedLayer for PackedConvolution {
    fn step(
        &self,
        isa: InstructionSet,
        rows: usize,
        input: Input<'_>,
        states: RowsMut<'_>,
        scratch: &mut LayerScratch,
    ) {
        let mut states = states;
        self.window.gather(rows, input, &mut states, &mut scratch.windows);
        let windows = Rows { data: &scratch.windows, stride: self.window.width(), offset: 0 };
        let RowsMut { data, stride, offset } = states;
        let offset = offset + self.output_at();
        let out = RowsMut { data: &mut *data, stride, offset };
        dense_rows(isa, &self.panel, rows, windows, out, OutputMode::Exact);
        for row in 0..rows {
            let outputs = &mut data[offset + row * stride..][..self.panel.outputs()];
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
