//! The contract of every architecture: a layer with a state per series, a step for serving, a sequence for training.

use candle_core::Result;

use super::kernel::{Input, InstructionSet, Line, RowsMut};
use super::parameter::Parameter;
use super::sequence::{Sequence, SequenceOutput};

/// The sizes of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// Inputs per step.
    pub inputs: usize,
    /// Outputs per step.
    pub hidden: usize,
    /// Steps that the layer's input matrix reads together.
    pub window: usize,
    /// Steps between a recurrent layer's output and the output that it reads back, or between the taps of a
    /// convolution.
    pub dilation: usize,
    /// Steps that attention reads.
    pub context: usize,
    /// Longest time constant in steps that the initial biases spread over; 0: a forget bias of one.
    pub chrono: usize,
}

/// A cell: what a layer is made of. Every architecture implements this trait.
pub trait Cell: Send + Sync {
    /// The tensors of one layer.
    fn parameters(&self, shape: &LayerShape) -> Vec<Parameter>;

    /// Number of `f32` values in the state of one series, a multiple of 16. The initial state is zero.
    fn state_len(&self, shape: &LayerShape) -> usize;

    /// Packs a layer for serving; `tensor` finds the layer's tensors by name.
    fn pack<'a>(&self, shape: &LayerShape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer>;

    /// Runs a layer over a whole sequence for training. The result is differentiable by the inputs and the weights, and
    /// for recurrent cells without dilation by the first state. The values equal those of repeated serving steps, to
    /// the last bit for the fused CPU operations and up to rounding elsewhere. Fails where shapes do not fit.
    fn sequence(&self, shape: &LayerShape, sequence: &Sequence<'_>) -> Result<SequenceOutput>;
}

/// A layer that is packed for serving.
pub trait PackedLayer: Send + Sync {
    /// Advances the states of rows `0..rows` by one step, in place.
    fn step(&self, isa: InstructionSet, rows: usize, input: Input<'_>, states: RowsMut<'_>, scratch: &mut LayerScratch);

    /// Offset of the newest outputs in a row's state.
    fn output_at(&self) -> usize;

    /// Size in memory, in bytes.
    fn bytes(&self) -> usize;
}

/// Scratch buffers of the layers. They contain nothing from one call to the next.
#[derive(Debug, Default)]
pub struct LayerScratch {
    /// Gates of a recurrent layer.
    pub gates: Vec<Line>,
    /// Windows of steps, one row after the other.
    pub windows: Vec<f32>,
    /// Intermediate results of attention and of the segment decoder.
    pub rows: [Vec<f32>; 4],
}
