//! What every architecture has: layers with a state per series, a step for serving, a sequence for training.

use candle_core::Result;

use super::attention::Attention;
use super::convolution::Convolution;
use super::elman::Elman;
use super::gru::{Gru, GruResetBefore};
use super::kernel::{Input, InstructionSet, Line, States};
use super::lstm::Lstm;
use super::minimal::{MinGru, MinLstm};
use super::recurrent::Recurrent;
use super::sequence::{Sequence, SequenceOutput};
use super::slstm::Slstm;
use super::spec::CellKind;

/// The sizes of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Numbers that come in per step.
    pub inputs: usize,
    /// Numbers that go out per step.
    pub hidden: usize,
    /// Steps that the layer's matrices look at side by side.
    pub window: usize,
    /// Steps between a recurrent layer's output and the one that it remembers, or between the steps of a convolution's
    /// window.
    pub dilation: usize,
    /// Steps that attention looks at.
    pub context: usize,
    /// The longest memory that the first biases spread over; 0: a forget bias of one.
    pub chrono: usize,
}

/// A cell: what a layer is made of. One trait serves every architecture.
pub trait Cell: Send + Sync {
    /// The tensors of one layer.
    fn parameters(&self, shape: &Shape) -> Vec<Parameter>;

    /// `f32` numbers in the state of one series, a multiple of 16. A state that begins anew is zero.
    fn state_len(&self, shape: &Shape) -> usize;

    /// Packs a layer for serving from its tensors, by name.
    fn pack<'a>(&self, shape: &Shape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer>;

    /// A whole sequence for training, differentiable by its inputs and its weights (and, for recurrent cells without
    /// dilation, its first state): the numbers of repeated steps, to the last bit where the processor's fused operations
    /// run, to rounding elsewhere.
    ///
    /// # Errors
    /// Those of candle: shapes that do not fit.
    fn sequence(&self, shape: &Shape, sequence: &Sequence<'_>) -> Result<SequenceOutput>;
}

/// A layer packed for serving.
pub trait PackedLayer: Send + Sync {
    /// Moves the states of rows `0..rows` on by their inputs, in place.
    fn step(&self, on: InstructionSet, rows: usize, input: Input<'_>, states: States<'_>, memory: &mut Memory);

    /// Where in a row's state the layer's newest outputs stand.
    fn output_at(&self) -> usize;

    /// Memory in bytes.
    fn bytes(&self) -> usize;
}

/// Working memory of the layers: holds nothing from one call to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// For the gates.
    pub gates: Vec<Line>,
    /// For windows laid side by side.
    pub windows: Vec<f32>,
    /// For what attention and decoders make on the way.
    pub rows: [Vec<f32>; 4],
}

/// The cell of a kind.
pub fn cell(kind: CellKind) -> &'static dyn Cell {
    match kind {
        CellKind::Elman => &Recurrent(&Elman { relu: false }),
        CellKind::ElmanRelu => &Recurrent(&Elman { relu: true }),
        CellKind::Lstm => &Recurrent(&Lstm),
        CellKind::Gru => &Recurrent(&Gru),
        CellKind::GruResetBefore => &Recurrent(&GruResetBefore),
        CellKind::MinGru => &Recurrent(&MinGru),
        CellKind::MinLstm => &Recurrent(&MinLstm),
        CellKind::Slstm => &Recurrent(&Slstm),
        CellKind::Feedforward | CellKind::Tcn => &Convolution,
        CellKind::Attention => &Attention,
    }
}

/// How the numbers of a tensor begin.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Zero.
    Zero,
    /// One.
    One,
    /// Uniform, for this many outputs.
    Uniform {
        /// Outputs that one input feeds.
        fan_out: usize,
    },
    /// Orthogonal matrices under each other.
    Orthogonal,
    /// Zero but for the gates that decide what is remembered.
    Biases {
        /// Numbers per gate.
        hidden: usize,
        /// The gate, and whether it remembers (1) or forgets (-1).
        gates: &'static [(usize, f32)],
        /// The longest memory in steps, 0: the first of the gates is one, the others zero.
        chrono: usize,
    },
}

/// A tensor that a layer or the head has.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name within the layer.
    pub name: &'static str,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// How it begins.
    pub start: Start,
}

impl Parameter {
    /// A matrix with uniform numbers.
    pub(super) fn uniform(name: &'static str, outputs: usize, inputs: usize) -> Self {
        Self { name, shape: vec![outputs, inputs], start: Start::Uniform { fan_out: outputs } }
    }

    /// A tensor of zeros.
    pub(super) fn zero(name: &'static str, shape: &[usize]) -> Self {
        Self { name, shape: shape.to_vec(), start: Start::Zero }
    }
}

/// The full name of a layer's tensor.
pub(crate) fn name(layer: usize, tensor: &str) -> String {
    format!("layer{layer}.{tensor}")
}
