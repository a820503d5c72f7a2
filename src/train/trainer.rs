//! The training loop, from the first chunk to the verdict.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::{Batch, Split, step_counts};
use super::checkpoint::Checkpoint;
use super::evaluation::{Part, compare, evaluate, selection_parts, training_parts};
use super::optimiser::learning_rate;
use super::spec::{Fit, Outcome, Progress, TrainError, TrainSpec};
use super::training_sequence::TrainingSequence;
use super::training_state::{TrainingState, check_weights};
use super::training_thread::{Observer, train_on_thread};
use crate::nn::{NetworkSpec, Weights, fnv_1a};

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
    observer: Observer,
    selection: Vec<Part<'a>>,
    /// It keeps the best weights so far.
    state: TrainingState,
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
        check_weights(network, from)?;
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
        let other_order = "the checkpoint was made with other data, or another seed, k1, k2, batch_size or \
                           validation_share: resume with the same, or start from its weights instead";
        let mut state = TrainingState::resume(spec, network, from, order(spec, &splits), other_order)?;
        let selection = selection_parts(sequences, &splits, spec);
        if state.counters.updates == 0 {
            state.counters.best_loss = evaluate(spec, network, &state.kept, &selection)?.mean(network.levels);
        }
        Ok(Self { spec, network, sequences, splits, observer, selection, state, interrupted: false })
    }

    fn run(mut self) -> Result<Outcome, TrainError> {
        while self.state.counters.epoch < self.spec.epochs && self.epoch()?.is_continue() {}
        let checkpoint = self.state.checkpoint()?;
        self.select_best()?;
        let (spec, network) = (self.spec, self.network);
        let TrainingState { champion, kept: best, counters, .. } = self.state;
        let comparison = compare(spec, network, &champion, &best, self.sequences)?;
        let training = training_parts(self.sequences, &self.splits, spec);
        let fit = |weights: &Weights| match weights.check(network) {
            Ok(()) => evaluate(spec, network, weights, &training).map(|loss| loss.mean(network.levels)),
            Err(_) => Ok(f64::NAN),
        };
        let fit = Fit { champion: fit(&champion)?, challenger: fit(&best)?, newest: fit(&checkpoint.weights)? };
        Ok(Outcome {
            challenger: best,
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
        let epoch = self.state.counters.epoch;
        let batch = Batch::new(self.sequences, &splits, self.network, self.spec, epoch);
        let (complete, updates_before) = (self.state.counters.step == 0, self.state.counters.updates);
        while self.state.counters.step < batch.steps() {
            let (spec, updates) = (self.spec, self.state.counters.updates);
            if updates >= spec.max_updates {
                return Ok(ControlFlow::Break(()));
            }
            let (chunk, stack) = self.state.next_chunk(spec, &batch)?;
            let Some(result) = self.state.model.backward_chunk(spec, chunk, &stack)? else { continue };
            let rate = learning_rate(spec.learning_rate, updates, spec.warm_up, spec.max_updates);
            self.state.update(spec, batch.row_count(), rate, result)?;
            let mut checkpoint = None;
            if self.state.counters.updates.is_multiple_of(spec.evaluate_every) {
                self.select_best()?;
                checkpoint = Some(Arc::new(self.state.checkpoint()?));
            }
            if self.observer.stops(self.state.progress(spec, checkpoint)) {
                self.interrupted = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        self.state.next_pass();
        // Epochs without a single matured target would repeat for ever.
        let fruitless = complete && self.state.counters.updates == updates_before;
        Ok(if fruitless { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Keeps the current weights if they are the best so far.
    fn select_best(&mut self) -> Result<(), TrainError> {
        let weights = self.state.model.weights()?;
        if weights.check(self.network).is_err() {
            return Ok(());
        }
        let loss = evaluate(self.spec, self.network, &weights, &self.selection)?.mean(self.network.levels);
        // Without a best loss (no target has matured, or the champion is broken) the newest weights are kept.
        let best = &mut self.state.counters.best_loss;
        if best.is_nan() || loss < *best {
            (self.state.kept, *best) = (weights, loss);
        }
        Ok(())
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
