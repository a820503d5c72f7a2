//! Whole sequences for training.
//!
//! On the processor a layer's sequence is one operation with its own backward pass (`fused`); elsewhere it is made of
//! candle's operations, a few per step, from the cell's [`Cell::plain_step`].

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::cell::Cell;
use super::fused::{self, Saved};
use super::kernel::padded;

/// Which rows begin anew before which steps: their state is zero there, and no gradient passes.
#[derive(Debug, Clone)]
pub struct Starts {
    rows: usize,
    flags: Arc<[bool]>,
}

impl Starts {
    /// Takes flags `[steps][rows]`.
    pub fn new(rows: usize, flags: Vec<bool>) -> Self {
        Self { rows, flags: flags.into() }
    }

    /// The flags of one step; none beyond the last.
    pub fn at(&self, step: usize) -> &[bool] {
        self.flags.get(step * self.rows..(step + 1) * self.rows).unwrap_or(&[])
    }
}

/// The tensors of one layer.
#[derive(Debug, Clone)]
pub struct LayerTensors {
    /// `[gates * hidden, inputs]`.
    pub input: Tensor,
    /// `[gates * hidden, hidden]`.
    pub recurrent: Tensor,
    /// `[gates * hidden]`.
    pub bias: Tensor,
}

/// A layer's run over a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Inputs `[steps, rows, inputs]`, `f32`.
    pub inputs: &'a Tensor,
    /// The layer's weights.
    pub weights: &'a LayerTensors,
    /// States before the first step `[rows, states * hidden padded to 16]`, as in serving.
    pub states: &'a Tensor,
    /// Where rows begin anew.
    pub starts: &'a Starts,
}

/// What a layer gives over a sequence.
#[derive(Debug, Clone)]
pub struct SequenceOutput {
    /// Outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
    states: History,
}

#[derive(Debug, Clone)]
enum History {
    Fused(Arc<Saved>),
    Plain(Vec<Tensor>),
}

impl SequenceOutput {
    pub(super) fn fused(outputs: Tensor, saved: Arc<Saved>) -> Self {
        Self { outputs, states: History::Fused(saved) }
    }

    /// The states after a step `[rows, states * hidden padded to 16]`, cut off from the gradient.
    ///
    /// # Errors
    /// Where there is no such step.
    pub fn states_after(&self, step: usize) -> Result<Tensor> {
        match &self.states {
            History::Fused(saved) => saved.states_after(step),
            History::Plain(states) => match states.get(step) {
                Some(states) => Ok(states.detach()),
                None => candle_core::bail!("step {step} of a sequence of {}", states.len()),
            },
        }
    }
}

/// Runs a cell over a sequence: fused on the processor, in candle's operations elsewhere.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn run<C: Cell + ?Sized>(cell: &C, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    if sequence.inputs.device().is_cpu() { fused::run(cell.kind(), sequence) } else { plain(cell, sequence) }
}

/// The definition: a step at a time, in operations whose gradients candle knows. The graph grows with the steps and so
/// does the stack that its backward pass needs.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn plain<C: Cell + ?Sized>(cell: &C, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (steps, rows, _) = sequence.inputs.dims3()?;
    let weights = sequence.weights;
    let hidden = weights.recurrent.dim(1)?;
    let (input, recurrent) = (weights.input.t()?, weights.recurrent.t()?);
    let mut states = (0..cell.states())
        .map(|vector| sequence.states.narrow(1, vector * padded(hidden), hidden)?.contiguous())
        .collect::<Result<Vec<_>>>()?;
    let (mut outputs, mut history) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for step in 0..steps {
        let starts = sequence.starts.at(step);
        if starts.contains(&true) {
            let keep: Vec<f32> = starts.iter().map(|start| f32::from(u8::from(!start))).collect();
            let keep = Tensor::from_vec(keep, (rows, 1), sequence.inputs.device())?;
            states = states.iter().map(|state| state.broadcast_mul(&keep)).collect::<Result<_>>()?;
        }
        let from_input = sequence.inputs.get(step)?.matmul(&input)?;
        let from_recurrent = states[0].matmul(&recurrent)?;
        let sums = (0..weights.bias.dim(0)? / hidden)
            .map(|gate| {
                let mut sum = weights.bias.narrow(0, gate * hidden, hidden)?.broadcast_as((rows, hidden))?;
                for (gates, part) in [(cell.input_gates(), &from_input), (cell.recurrent_gates(), &from_recurrent)] {
                    if gates.contains(&gate) {
                        sum = (sum + part.narrow(1, (gate - gates.start) * hidden, hidden)?)?;
                    }
                }
                Ok(sum)
            })
            .collect::<Result<Vec<_>>>()?;
        states = cell.plain_step(&sums, &states)?;
        outputs.push(states[0].clone());
        let wide = |state: &Tensor| state.detach().pad_with_zeros(1, 0, padded(hidden) - hidden);
        history.push(Tensor::cat(&states.iter().map(wide).collect::<Result<Vec<_>>>()?, 1)?);
    }
    Ok(SequenceOutput { outputs: Tensor::stack(&outputs, 0)?, states: History::Plain(history) })
}

/// The logistic function in operations whose gradients candle knows.
pub(super) fn sigmoid(value: &Tensor) -> Result<Tensor> {
    value.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}
