//! What a training is between two updates, and the steps that every training loop makes of it.

use std::sync::Arc;

use candle_core::Tensor;

use super::batch::{Batch, Chunk};
use super::checkpoint::{Checkpoint, Counters};
use super::device;
use super::optimiser::{AdamW, clip, global_norm, named};
use super::spec::{Progress, TrainError, TrainSpec};
use super::truncated_bptt::{LossAndGradients, Model};
use crate::nn::stack::StackOutput;
use crate::nn::{NamedTensor, NetworkError, NetworkSpec, Weights};

/// The weights, the optimiser, the hidden states, and the position in the data.
pub(super) struct TrainingState {
    pub model: Model,
    optimiser: AdamW,
    /// The weights that training started from.
    pub champion: Weights,
    /// The weights that are kept beside the current ones: the best so far, or a mean.
    pub kept: Weights,
    /// Hidden states at the start of the next chunk, one tensor per layer; empty at the start of a pass over a batch.
    states: Vec<Tensor>,
    order: u64,
    pub counters: Counters,
}

/// Checks that a checkpoint's weights fit the network.
pub(super) fn check_weights(network: &NetworkSpec, from: &Checkpoint) -> Result<(), TrainError> {
    network.check().map_err(NetworkError::from)?;
    for weights in [&from.champion, &from.weights, &from.best] {
        weights.check(network).map_err(NetworkError::from)?;
    }
    Ok(())
}

impl TrainingState {
    /// The state of a checkpoint, whose weights fit. `order` is a hash of all that determines the order of the data;
    /// where it differs, `other_order` says what to do.
    pub fn resume(
        spec: &TrainSpec,
        network: &NetworkSpec,
        from: &Checkpoint,
        order: u64,
        other_order: &str,
    ) -> Result<Self, TrainError> {
        if from.counters.updates > 0 && from.order != order {
            return Err(TrainError::Invalid(other_order.to_owned()));
        }
        let device = device::open(spec.device)?;
        let model = Model::new(network, &from.weights, &device)?;
        let optimiser = AdamW::new(model.variables(), spec.weight_decay, &from.moments)?;
        let state = |state: &NamedTensor| Tensor::from_slice(&state.values, state.shape.as_slice(), &device);
        let states = from.states.iter().map(state).collect::<candle_core::Result<_>>()?;
        let (champion, kept, counters) = (from.champion.clone(), from.best.clone(), from.counters.clone());
        Ok(Self { model, optimiser, champion, kept, states, order, counters })
    }

    /// Runs the network over the next chunk of `k1` steps, which reaches back `k2` steps.
    pub fn next_chunk(&mut self, spec: &TrainSpec, batch: &Batch<'_>) -> Result<(Chunk, StackOutput), TrainError> {
        let (k1, rows, step) = (spec.k1, batch.row_count(), self.counters.step);
        let begin = |step: usize| (step + k1).saturating_sub(spec.k2);
        if self.states.is_empty() {
            self.states = self.model.fresh(rows)?;
        }
        self.counters.step += k1;
        let chunk = batch.chunk(begin(step), step, step + k1);
        let stack = self.model.forward(&chunk, rows, &self.states)?;
        // The next chunk begins within this one: its initial states are carried over, gradients are not.
        let ahead = begin(step + k1) - begin(step);
        if ahead > 0 {
            self.states = stack.states_after(ahead - 1)?;
        }
        Ok((chunk, stack))
    }

    /// Clips the gradients of a chunk of `rows` rows, and updates the weights. Where loss or gradients are not finite
    /// the weights stay as they are, and all rows restart.
    pub fn update(
        &mut self,
        spec: &TrainSpec,
        rows: usize,
        rate: f64,
        LossAndGradients { loss, mut gradients }: LossAndGradients,
    ) -> Result<(), TrainError> {
        let norm = global_norm(&gradients)?;
        let counters = &mut self.counters;
        counters.updates += 1;
        counters.series_steps += (spec.k1 * rows) as u64;
        if !(loss.is_finite() && norm.is_finite()) {
            counters.skipped += 1;
            // States that are not finite must not be carried over.
            self.states = self.model.fresh(rows)?;
            return Ok(());
        }
        counters.clipped += usize::from(clip(&mut gradients, norm, spec.clip)?);
        (counters.loss, counters.norm, counters.clipped_norm) = (loss, norm, norm.min(spec.clip));
        self.optimiser.update(self.model.variables(), &gradients, rate)?;
        Ok(())
    }

    /// Goes to the start of the next pass.
    pub fn next_pass(&mut self) {
        (self.counters.epoch, self.counters.step) = (self.counters.epoch + 1, 0);
        self.states.clear();
    }

    /// The checkpoint of now.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            champion: self.champion.clone(),
            weights: self.model.weights()?,
            best: self.kept.clone(),
            moments: self.optimiser.moments()?,
            states: self.states.iter().map(named).collect::<candle_core::Result<_>>()?,
            order: self.order,
            counters: self.counters.clone(),
        })
    }

    /// The progress of now.
    pub fn progress(&self, spec: &TrainSpec, checkpoint: Option<Arc<Checkpoint>>) -> Progress {
        let counters = &self.counters;
        Progress {
            update: counters.updates,
            max_updates: spec.max_updates,
            loss: counters.loss,
            gradient_norm: counters.norm,
            clipped_gradient_norm: counters.clipped_norm,
            clipped: counters.clipped,
            skipped_non_finite: counters.skipped,
            best_loss: counters.best_loss,
            series_steps: counters.series_steps,
            checkpoint,
        }
    }
}
