//! Dilated recurrence over a sequence (Chang et al., NeurIPS 2017, arXiv:1710.02224).

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::nn::sequence::{ResetMask, Sequence, SequenceOutput};
use crate::nn::window::last_resets;

/// A sequence split into `dilation` independent sequences of every `dilation`-th step, which run side by side as rows.
pub(super) struct DilatedSequence {
    dilation: usize,
    steps: usize,
    rows: usize,
    /// `[steps / dilation, dilation * rows, width]`.
    inputs: Tensor,
    /// The slots before the first step `[dilation * rows, slot]`.
    states: Tensor,
    resets: ResetMask,
    /// What [`last_resets`] gives for the original sequence.
    last_resets: Vec<Option<usize>>,
}

impl DilatedSequence {
    /// Splits `inputs` `[steps, rows, width]` with the slots `[rows, dilation * slot]` before the first step.
    pub fn new(dilation: usize, inputs: &Tensor, slots: Tensor, resets: &ResetMask) -> Result<Self> {
        let (steps, rows, width) = inputs.dims3()?;
        let rounds = steps.div_ceil(dilation);
        let inputs = inputs.pad_with_zeros(0, 0, rounds * dilation - steps)?.contiguous()?;
        let slot = slots.dim(1)? / dilation;
        let states = slots.reshape((rows, dilation, slot))?.transpose(0, 1)?.contiguous()?;
        // A split sequence is reset where the original one was reset at any step since the previous step of the split.
        let is_reset = |index: usize| {
            let (step, row) = (index / rows, index % rows);
            (step.saturating_sub(dilation - 1)..=step).any(|step| resets.is_reset(step, row))
        };
        let flags = (0..rounds * dilation * rows).map(is_reset).collect();
        Ok(Self {
            dilation,
            steps,
            rows,
            inputs: inputs.reshape((rounds, dilation * rows, width))?,
            states: states.reshape((dilation * rows, slot))?,
            resets: ResetMask::new(dilation * rows, flags),
            last_resets: last_resets(steps, rows, resets),
        })
    }

    /// The split sequences as one sequence of `dilation * rows` rows.
    pub fn sequence<'a>(&'a self, weights: &'a BTreeMap<&'static str, Tensor>) -> Sequence<'a> {
        Sequence { inputs: &self.inputs, weights, states: &self.states, resets: &self.resets }
    }

    /// The outputs of the split sequences in the order of the original steps, `[steps, rows, hidden]`.
    pub fn interleave(&self, outputs: &Tensor) -> Result<Tensor> {
        let (rounds, _, hidden) = outputs.dims3()?;
        outputs.reshape((rounds * self.dilation, self.rows, hidden))?.narrow(0, 0, self.steps)
    }

    /// The slots after a step, `[rows, dilation * slot]`, the oldest first, detached from the gradient.
    pub fn slots_after(&self, step: usize, output: &SequenceOutput) -> Result<Tensor> {
        let slot = |back: usize| {
            let Some(at) = step.checked_sub(back) else {
                // A slot from before the sequence. The newest of those belongs to the step before the first one.
                return self.states.narrow(0, (self.dilation - (back - step)) * self.rows, self.rows);
            };
            let states = output.states_after(at / self.dilation)?;
            states.narrow(0, at % self.dilation * self.rows, self.rows)
        };
        let slots = (0..self.dilation).rev().map(|back| {
            let last_resets = &self.last_resets[step * self.rows..][..self.rows];
            let keep = |reset: &Option<usize>| reset.is_none_or(|reset| step >= reset + back);
            let keep: Vec<f32> = last_resets.iter().map(|reset| f32::from(u8::from(keep(reset)))).collect();
            slot(back)?.detach().broadcast_mul(&Tensor::from_vec(keep, (self.rows, 1), self.inputs.device())?)
        });
        Tensor::cat(&slots.collect::<Result<Vec<_>>>()?, 1)
    }
}
