//! What every recurrent cell has: a state per series, a step for serving, a sequence for training.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::gru::Gru;
use super::kernel::{self, Combination, Input, Instructions, Layer, Line, Panel, States};
use super::lstm::Lstm;
use super::sequence::{self, Sequence, SequenceOutput};
use super::spec::CellKind;

/// A recurrent cell, described by its gates and what it does with them.
///
/// Each gate is a linear function of the layer's inputs, of the cell's own outputs of the step before, or of both, plus
/// a bias. So a cell's weights are `input` `[gates * hidden, inputs]`, `recurrent` `[gates * hidden, hidden]` and
/// `bias` `[gates * hidden]`, each with the gates that it belongs to, in order.
pub trait Cell: Send + Sync {
    /// Which cell this is.
    fn kind(&self) -> CellKind;

    /// Its gates and states, and what happens to them, in the kernels.
    fn combination(&self) -> Combination;

    /// The gates that look at the layer's inputs.
    fn input_gates(&self) -> Range<usize>;

    /// The gates that look at the cell's outputs of the step before.
    fn recurrent_gates(&self) -> Range<usize>;

    /// The gate whose bias begins at one, so that the cell remembers from the beginning.
    fn open_gate(&self) -> Option<usize>;

    /// The states `[rows, hidden]` after a step, out of the gates' sums `[rows, hidden]` and the states before it, in
    /// candle's operations: the definition that kernels and backward passes are held against, and what runs where they
    /// do not.
    ///
    /// # Errors
    /// Those of candle.
    fn plain_step(&self, sums: &[Tensor], states: &[Tensor]) -> Result<Vec<Tensor>>;

    /// Vectors of `hidden` numbers in the state of one series.
    fn states(&self) -> usize {
        self.combination().states()
    }

    /// One step for serving: moves the states of rows `0..rows` on by their inputs, in place.
    fn step(
        &self,
        instructions: Instructions,
        layer: &Layer,
        rows: usize,
        input: Input<'_>,
        states: States<'_>,
        scratch: &mut Vec<Line>,
    ) {
        kernel::layer_step(instructions, layer, rows, input, states, scratch);
    }

    /// A whole sequence for training, differentiable by its inputs, its weights and its first state; the same numbers
    /// as repeated [`step`](Self::step).
    ///
    /// # Errors
    /// Those of candle: shapes that do not fit.
    fn sequence(&self, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        sequence::run(self, sequence)
    }
}

/// The cell of a kind.
pub fn cell(kind: CellKind) -> &'static dyn Cell {
    match kind {
        CellKind::Lstm => &Lstm,
        CellKind::Gru => &Gru,
    }
}

/// How the numbers of a tensor begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Zero.
    Zero,
    /// Uniform, for this many outputs.
    Uniform { fan_out: usize },
    /// Orthogonal matrices under each other.
    Orthogonal,
    /// Zero but for `count` ones from `first` on.
    OneFor { first: usize, count: usize },
}

/// A tensor that a layer or the head has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub start: Start,
}

/// The tensors of one layer, in the order in which training packs them.
pub(crate) fn parameters(cell: &dyn Cell, inputs: usize, hidden: usize) -> Vec<Parameter> {
    let bias = match cell.open_gate() {
        Some(gate) => Start::OneFor { first: gate * hidden, count: hidden },
        None => Start::Zero,
    };
    vec![
        Parameter {
            name: "input",
            shape: vec![cell.input_gates().len() * hidden, inputs],
            start: Start::Uniform { fan_out: hidden },
        },
        Parameter {
            name: "recurrent",
            shape: vec![cell.recurrent_gates().len() * hidden, hidden],
            start: Start::Orthogonal,
        },
        Parameter { name: "bias", shape: vec![Combination::GATES * hidden], start: bias },
    ]
}

/// The tensors of the head; zero, so that a network forecasts nothing until it has learnt.
pub(crate) fn head_parameters(hidden: usize, outputs: usize) -> [Parameter; 2] {
    [
        Parameter { name: "weight", shape: vec![outputs, hidden], start: Start::Zero },
        Parameter { name: "bias", shape: vec![outputs], start: Start::Zero },
    ]
}

/// The full name of a layer's tensor.
pub(crate) fn name(layer: usize, tensor: &str) -> String {
    format!("layer{layer}.{tensor}")
}

/// Packs a layer for the kernels.
pub(crate) fn pack(
    cell: &dyn Cell,
    (inputs, hidden): (usize, usize),
    input: &[f32],
    recurrent: &[f32],
    bias: &[f32],
) -> Layer {
    let panels = [0, 1, 2, 3].map(|gate| {
        let from_input = cell.input_gates().position(|other| other == gate);
        let from_recurrent = cell.recurrent_gates().position(|other| other == gate);
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
    });
    Layer { combination: cell.combination(), panels }
}
