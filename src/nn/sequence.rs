//! What a layer reads and returns when it runs over a whole sequence in training.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::{Result, Tensor};

/// Which rows are reset before which steps: their state is zero there, and no gradient passes.
#[derive(Debug, Clone)]
pub struct ResetMask {
    rows: usize,
    flags: Arc<[bool]>,
}

impl ResetMask {
    /// A mask of flags `[steps][rows]`. No row is reset at steps beyond the last flag.
    pub fn new(rows: usize, flags: Vec<bool>) -> Self {
        Self { rows, flags: flags.into() }
    }

    /// The flags of one step, one per row; empty beyond the last step.
    pub fn at(&self, step: usize) -> &[bool] {
        self.flags.get(step * self.rows..(step + 1) * self.rows).unwrap_or(&[])
    }

    /// Whether a row is reset before a step.
    pub fn is_reset(&self, step: usize, row: usize) -> bool {
        self.at(step).get(row).copied().unwrap_or(false)
    }
}

/// A layer's run over a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Inputs `[steps, rows, inputs]`, `f32`.
    pub inputs: &'a Tensor,
    /// The layer's tensors by name.
    pub weights: &'a BTreeMap<&'static str, Tensor>,
    /// States before the first step `[rows, state]`, laid out as in serving.
    pub states: &'a Tensor,
    /// Where rows are reset.
    pub resets: &'a ResetMask,
}

impl<'a> Sequence<'a> {
    /// One of the layer's tensors.
    ///
    /// # Errors
    /// Where the layer has no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.weights.get(name).ok_or_else(|| candle_core::Error::Msg(format!("the layer has no tensor \"{name}\"")))
    }
}

type StatesAfter = dyn Fn(usize) -> Result<Tensor> + Send + Sync;

/// What a layer returns for a sequence.
#[derive(Clone)]
pub struct SequenceOutput {
    /// Outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
    states_after: Arc<StatesAfter>,
}

impl SequenceOutput {
    /// Outputs, and a function that gives the states after a step.
    pub(super) fn new(outputs: Tensor, states_after: impl Fn(usize) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { outputs, states_after: Arc::new(states_after) }
    }

    /// The states after a step `[rows, state]`, detached from the gradient.
    ///
    /// # Errors
    /// Where the sequence has no such step.
    pub fn states_after(&self, step: usize) -> Result<Tensor> {
        match self.outputs.dim(0)? {
            steps if step < steps => (self.states_after)(step),
            steps => candle_core::bail!("step {step} of a sequence of {steps}"),
        }
    }
}

impl fmt::Debug for SequenceOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SequenceOutput").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}
