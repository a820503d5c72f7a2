//! The training loop, from the first chunk to the verdict.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::Tensor;

use super::batch::{Batch, Split, step_counts};
use super::checkpoint::{Checkpoint, Counters};
use super::device;
use super::evaluation::{Part, compare, evaluate, selection_parts, training_parts};
use super::optimiser::{AdamW, clip, global_norm, learning_rate, named};
use super::pinball_loss::Pinball;
use super::spec::{Fit, Outcome, Progress, TrainError, TrainSpec};
use super::training_sequence::TrainingSequence;
use super::training_thread::{Observer, train_on_thread};
use super::truncated_bptt::{LossAndGradients, Model};
use crate::nn::{NamedTensor, NetworkError, NetworkSpec, Weights, fnv_1a};

/// The most steps of a chunk: bounds what the backward pass keeps in memory and, off the CPU, its recursion depth.
pub(super) const MAX_CHUNK_STEPS: usize = 4096;

/// Trains a challenger, starting from the champion's weights, and compares the two.
///
/// The loss is the pinball loss, or with `spec.huber` the quantile Huber loss (Dabney, Ostrovski, Silver, Munos, ICML
/// 2018, arXiv:1806.06923), which is quadratic for smaller errors. Training runs on threads of its own, at most
/// `spec.threads`. `observe` is called on this thread after every update; `Break` ends the training, and the best
/// weights so far become the challenger. On the CPU, equal arguments give equal outcomes.
///
/// # Errors
/// Where settings, sequences, weights or device are invalid.
pub fn train(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    sequences: &[TrainingSequence],
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    resume(spec, network, &Checkpoint::new(champion), sequences, observe)
}

/// Continues from a checkpoint. With the settings and sequences of the checkpoint, the outcome on the CPU is that of an
/// uninterrupted training. `spec.max_updates` includes the updates before the checkpoint.
///
/// # Errors
/// As [`train`], and where the checkpoint belongs to other sequences, or to another order or split of them.
pub fn resume(
    spec: &TrainSpec,
    network: &NetworkSpec,
    checkpoint: &Checkpoint,
    sequences: &[TrainingSequence],
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    check(spec, network)?;
    if network.decoder > 0 {
        return Err(TrainError::Invalid("a network that answers queries is only pre-trained".to_owned()));
    }
    let run = |observer| Trainer::new(spec, network, checkpoint, sequences, observer)?.run();
    train_on_thread(spec.threads, observe, run)
}

/// Checks the settings of a training against the network.
pub(super) fn check(spec: &TrainSpec, network: &NetworkSpec) -> Result<(), TrainError> {
    let invalid = |what: String| Err(TrainError::Invalid(what));
    if spec.k1 == 0 || spec.k2 < spec.k1 || spec.k2 > MAX_CHUNK_STEPS {
        return invalid(format!("k1 is {} and k2 {}, expected 1 <= k1 <= k2 <= {MAX_CHUNK_STEPS}", spec.k1, spec.k2));
    }
    if spec.batch_size == 0 || spec.threads == 0 || spec.evaluate_every == 0 {
        return invalid("batch_size, threads and evaluate_every must be at least 1".to_owned());
    }
    if !(spec.validation_share > 0.0 && spec.validation_share < 1.0) {
        return invalid(format!("validation_share is {}, expected 0 < validation_share < 1", spec.validation_share));
    }
    if !(spec.learning_rate > 0.0 && spec.learning_rate.is_finite() && spec.clip > 0.0 && spec.weight_decay >= 0.0) {
        return invalid("learning_rate and clip must be positive, weight_decay not negative".to_owned());
    }
    if !(spec.huber >= 0.0 && spec.huber.is_finite() && spec.target_clip > 0.0) || spec.burn_in > spec.k2 {
        return invalid(format!(
            "huber is {}, target_clip {} and burn_in {}, expected huber >= 0, target_clip > 0 and burn_in <= k2, {}",
            spec.huber, spec.target_clip, spec.burn_in, spec.k2
        ));
    }
    if !(spec.margin >= 0.0 && spec.margin < 1.0) {
        return invalid(format!("margin is {}, expected 0 <= margin < 1", spec.margin));
    }
    if spec.levels.len() != network.levels || spec.levels.iter().any(|level| !(*level > 0.0 && *level < 1.0)) {
        return invalid(format!(
            "levels are {:?}, expected the {} of the network, between 0 and 1",
            spec.levels, network.levels
        ));
    }
    Ok(())
}

struct Trainer<'a> {
    spec: &'a TrainSpec,
    network: &'a NetworkSpec,
    sequences: &'a [TrainingSequence],
    splits: Vec<Split>,
    model: Model,
    optimiser: AdamW,
    observer: Observer,
    selection: Vec<Part<'a>>,
    champion: Weights,
    best: Weights,
    /// Hidden states at the start of the next chunk, one tensor per layer; empty at the start of an epoch.
    states: Vec<Tensor>,
    order: u64,
    counters: Counters,
    interrupted: bool,
}

impl<'a> Trainer<'a> {
    fn new(
        spec: &'a TrainSpec,
        network: &'a NetworkSpec,
        from: &Checkpoint,
        sequences: &'a [TrainingSequence],
        observer: Observer,
    ) -> Result<Self, TrainError> {
        network.check().map_err(NetworkError::from)?;
        for weights in [&from.champion, &from.weights, &from.best] {
            weights.check(network).map_err(NetworkError::from)?;
        }
        let splits: Vec<Split> =
            step_counts(sequences, network)?.into_iter().map(|steps| Split::new(steps, spec)).collect();
        let trained: usize = splits.iter().map(|split| split.train_end.saturating_sub(1 + spec.burn_in)).sum();
        if trained == 0 {
            let steps: usize = splits.iter().map(|split| split.steps).sum();
            return Err(TrainError::TooLittle(format!(
                "{} series with {steps} steps in all leave nothing to train on after a validation share of {}",
                sequences.len(),
                spec.validation_share
            )));
        }
        let order = order(spec, &splits);
        if from.counters.updates > 0 && from.order != order {
            return Err(TrainError::Invalid(
                "the checkpoint was made with other data, or another seed, k1, k2, batch_size or validation_share: \
                 resume with the same, or start from its weights instead"
                    .to_owned(),
            ));
        }
        let device = device::open(spec.device)?;
        let model = Model::new(network, &from.weights, &device)?;
        let optimiser = AdamW::new(model.variables(), spec.weight_decay, &from.moments)?;
        let state = |state: &NamedTensor| Tensor::from_slice(&state.values, state.shape.as_slice(), &device);
        let states = from.states.iter().map(state).collect::<candle_core::Result<_>>()?;
        let selection = selection_parts(sequences, &splits, spec);
        let (champion, best, mut counters) = (from.champion.clone(), from.best.clone(), from.counters.clone());
        if counters.updates == 0 {
            counters.best_loss = evaluate(spec, network, &best, &selection)?.mean(network.levels);
        }
        Ok(Self {
            spec,
            network,
            sequences,
            splits,
            model,
            optimiser,
            observer,
            selection,
            champion,
            best,
            states,
            order,
            counters,
            interrupted: false,
        })
    }
    fn run(mut self) -> Result<Outcome, TrainError> {
        while self.counters.epoch < self.spec.epochs && self.epoch()?.is_continue() {}
        let checkpoint = self.checkpoint()?;
        self.select_best()?;
        let (spec, network, counters) = (self.spec, self.network, self.counters);
        let comparison = compare(spec, network, &self.champion, &self.best, self.sequences)?;
        let training = training_parts(self.sequences, &self.splits, spec);
        let fit = |weights: &Weights| match weights.check(network) {
            Ok(()) => evaluate(spec, network, weights, &training).map(|loss| loss.mean(network.levels)),
            Err(_) => Ok(f64::NAN),
        };
        let fit =
            Fit { champion: fit(&self.champion)?, challenger: fit(&self.best)?, newest: fit(&checkpoint.weights)? };
        Ok(Outcome {
            challenger: self.best,
            checkpoint,
            champion_loss: comparison.champion_loss,
            challenger_loss: comparison.challenger_loss,
            judged: comparison.judged,
            verdict: comparison.verdict.explained(fit.champion, fit.challenger.min(fit.newest)),
            updates: counters.updates,
            clipped: counters.clipped,
            skipped_non_finite: counters.skipped,
            gradient_norm: counters.norm,
            clipped_gradient_norm: counters.clipped_norm,
            training_loss: counters.loss,
            fit,
            series_steps: counters.series_steps,
            interrupted: self.interrupted,
        })
    }

    /// One pass over all sequences, or the rest of it, in chunks of `k1` steps that reach back `k2` steps.
    fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let splits = self.splits.clone();
        let batch = Batch::new(self.sequences, &splits, self.network, self.spec, self.counters.epoch);
        let (k1, k2, rows) = (self.spec.k1, self.spec.k2, batch.row_count());
        let begin = |step: usize| (step + k1).saturating_sub(k2);
        let (complete, updates_before) = (self.counters.step == 0, self.counters.updates);
        if self.states.is_empty() {
            self.states = self.model.fresh(rows)?;
        }
        while self.counters.step < batch.steps() {
            if self.counters.updates >= self.spec.max_updates {
                return Ok(ControlFlow::Break(()));
            }
            let step = self.counters.step;
            self.counters.step += k1;
            let chunk = batch.chunk(begin(step), step, step + k1);
            let stack = self.model.forward(&chunk, rows, &self.states)?;
            // The next chunk begins within this one: its initial states are carried over, gradients are not.
            let ahead = begin(step + k1) - begin(step);
            if ahead > 0 {
                self.states = stack.states_after(ahead - 1)?;
            }
            let pinball = Pinball::new(chunk.targets, &self.spec.levels, self.spec.huber as f32);
            let Some(result) = self.model.backward(&stack, k1, &pinball)? else { continue };
            if !self.update(result)? {
                // States that are not finite must not be carried over: all rows restart.
                self.states = self.model.fresh(rows)?;
            }
            self.counters.series_steps += (k1 * rows) as u64;
            let mut checkpoint = None;
            if self.counters.updates.is_multiple_of(self.spec.evaluate_every) {
                self.select_best()?;
                checkpoint = Some(Arc::new(self.checkpoint()?));
            }
            if self.observer.stops(self.progress(checkpoint)) {
                self.interrupted = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        (self.counters.epoch, self.counters.step) = (self.counters.epoch + 1, 0);
        self.states.clear();
        // Epochs without a single matured target would repeat for ever.
        let fruitless = complete && self.counters.updates == updates_before;
        Ok(if fruitless { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Clips the gradients and updates the weights. Returns whether loss and gradients are finite; otherwise the
    /// weights stay as they are.
    fn update(&mut self, LossAndGradients { loss, mut gradients }: LossAndGradients) -> Result<bool, TrainError> {
        let norm = global_norm(&gradients)?;
        let spec = self.spec;
        let rate = learning_rate(spec.learning_rate, self.counters.updates, spec.warm_up, spec.max_updates);
        self.counters.updates += 1;
        if !(loss.is_finite() && norm.is_finite()) {
            self.counters.skipped += 1;
            return Ok(false);
        }
        self.counters.clipped += usize::from(clip(&mut gradients, norm, spec.clip)?);
        self.optimiser.update(self.model.variables(), &gradients, rate)?;
        let counters = &mut self.counters;
        (counters.loss, counters.norm, counters.clipped_norm) = (loss, norm, norm.min(spec.clip));
        Ok(true)
    }

    /// Keeps the current weights if they are the best so far.
    fn select_best(&mut self) -> Result<(), TrainError> {
        let weights = self.model.weights()?;
        if weights.check(self.network).is_err() {
            return Ok(());
        }
        let loss = evaluate(self.spec, self.network, &weights, &self.selection)?.mean(self.network.levels);
        // Without a best loss (no target has matured, or the champion is broken) the newest weights are kept.
        if self.counters.best_loss.is_nan() || loss < self.counters.best_loss {
            (self.best, self.counters.best_loss) = (weights, loss);
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            champion: self.champion.clone(),
            weights: self.model.weights()?,
            best: self.best.clone(),
            moments: self.optimiser.moments()?,
            states: self.states.iter().map(named).collect::<candle_core::Result<_>>()?,
            order: self.order,
            counters: self.counters.clone(),
        })
    }

    fn progress(&self, checkpoint: Option<Arc<Checkpoint>>) -> Progress {
        Progress {
            update: self.counters.updates,
            max_updates: self.spec.max_updates,
            loss: self.counters.loss,
            gradient_norm: self.counters.norm,
            clipped_gradient_norm: self.counters.clipped_norm,
            clipped: self.counters.clipped,
            skipped_non_finite: self.counters.skipped,
            best_loss: self.counters.best_loss,
            series_steps: self.counters.series_steps,
            checkpoint,
        }
    }
}

/// A hash of all that determines the order and the layout of the sequences.
fn order(spec: &TrainSpec, splits: &[Split]) -> u64 {
    let settings = [spec.seed, spec.k1 as u64, spec.k2 as u64, spec.batch_size as u64];
    let sequences = splits.iter().flat_map(|split| [split.train_end as u64, split.steps as u64]);
    fnv_1a(settings.into_iter().chain(sequences).flat_map(u64::to_le_bytes))
}

#[cfg(test)]
mod tests;
