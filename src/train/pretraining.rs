//! Pre-training: the training loop over an endless source of series. Every round trains once on sequences that no round
//! before has seen, so that the loss of a chunk is one of unseen series.
//!
//! The learning rate rises over `warm_up` updates, stays, and falls in a straight line to nothing over the last fifth
//! (warm-up, stable, decay: Hu and others 2024, arXiv:2404.06395). A training may thus go on for longer than was
//! planned: resume from a checkpoint of the stable part with more updates. The outcome is the mean of the weights over
//! the last tenth of the updates (stochastic weight averaging: Izmailov and others, UAI 2018, arXiv:1803.05407).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::{Batch, Split, step_counts};
use super::checkpoint::Checkpoint;
use super::spec::{Progress, TrainError, TrainSpec};
use super::trainer::check;
use super::training_sequence::TrainingSequence;
use super::training_state::{TrainingState, check_weights};
use super::training_thread::{Observer, train_on_thread};
use crate::nn::{NamedTensor, NetworkSpec, Weights, fnv_1a};

/// Share of the updates over which the learning rate falls to nothing.
const DECAY: f64 = 0.2;
/// Share of the updates over which the weights are averaged.
const AVERAGE: f64 = 0.1;

/// An endless source of training sequences.
pub trait SequenceSource: Sync {
    /// The sequences of a round: a pure function of its number. They have the network's features and targets.
    fn round(&self, round: u64) -> Vec<TrainingSequence>;
}

/// The outcome of a pre-training.
#[derive(Debug, Clone, PartialEq)]
pub struct Pretrained {
    /// The averaged weights; before the last tenth of the updates the newest ones.
    pub weights: Weights,
    /// Where the training ended. [`pretrain`] goes on from here.
    pub checkpoint: Checkpoint,
}

/// Trains from a checkpoint until `spec.max_updates` updates, those before the checkpoint included. Of `spec` the
/// fields for validation and for epochs have no effect, but that a checkpoint is made every `evaluate_every` updates.
/// Equal arguments give equal outcomes on the CPU, resumed or not.
///
/// # Errors
/// Where settings, sequences, weights or device are invalid, or the checkpoint is one of other settings.
pub fn pretrain(
    spec: &TrainSpec,
    network: &NetworkSpec,
    checkpoint: &Checkpoint,
    source: &dyn SequenceSource,
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Pretrained, TrainError> {
    check(spec, network)?;
    let run = |observer| Pretraining::new(spec, network, checkpoint, observer)?.run(source);
    train_on_thread(spec.threads, observe, run)
}

struct Pretraining<'a> {
    spec: &'a TrainSpec,
    network: &'a NetworkSpec,
    observer: Observer,
    /// It keeps the mean of the last weights.
    state: TrainingState,
}

impl<'a> Pretraining<'a> {
    fn new(
        spec: &'a TrainSpec,
        network: &'a NetworkSpec,
        from: &Checkpoint,
        observer: Observer,
    ) -> Result<Self, TrainError> {
        check_weights(network, from)?;
        let other_order = "the checkpoint was made with another seed, k1, k2 or batch_size: resume with the same";
        let state = TrainingState::resume(spec, network, from, order(spec), other_order)?;
        Ok(Self { spec, network, observer, state })
    }

    fn run(mut self, source: &dyn SequenceSource) -> Result<Pretrained, TrainError> {
        while self.state.counters.updates < self.spec.max_updates && self.round(source)?.is_continue() {}
        let checkpoint = self.state.checkpoint()?;
        let averaged = self.averaged(checkpoint.updates()) > 0;
        let weights = if averaged { self.state.kept } else { checkpoint.weights.clone() };
        Ok(Pretrained { weights, checkpoint })
    }

    /// The rest of a round.
    fn round(&mut self, source: &dyn SequenceSource) -> Result<ControlFlow<()>, TrainError> {
        let round = self.state.counters.epoch;
        let sequences = source.round(round as u64);
        let all = |steps| Split { train_end: steps, selection_end: steps, steps };
        let splits: Vec<Split> = step_counts(&sequences, self.network)?.into_iter().map(all).collect();
        let batch = Batch::new(&sequences, &splits, self.network, self.spec, round);
        if batch.steps() == 0 {
            return Err(TrainError::TooLittle("a round of pre-training has no steps".to_owned()));
        }
        while self.state.counters.step < batch.steps() {
            let (spec, updates) = (self.spec, self.state.counters.updates);
            if updates >= spec.max_updates {
                return Ok(ControlFlow::Break(()));
            }
            let (chunk, stack) = self.state.next_chunk(spec, &batch)?;
            let Some(result) = self.state.model.backward_chunk(spec, chunk, &stack)? else { continue };
            self.state.update(spec, batch.row_count(), learning_rate(spec, updates), result)?;
            self.average()?;
            let due = self.state.counters.updates.is_multiple_of(spec.evaluate_every);
            let checkpoint = if due { Some(Arc::new(self.state.checkpoint()?)) } else { None };
            if self.observer.stops(self.state.progress(spec, checkpoint)) {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.state.next_pass();
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the weights of the newest update into the mean, where they are due.
    fn average(&mut self) -> Result<(), TrainError> {
        let updates = self.state.counters.updates;
        let averaged = self.averaged(updates);
        if averaged > self.averaged(updates - 1) {
            self.state.kept = mean(&self.state.kept, &self.state.model.weights()?, averaged);
        }
        Ok(())
    }

    /// How many sets of weights the average holds after so many updates.
    fn averaged(&self, updates: usize) -> usize {
        let (every, last) = (self.spec.evaluate_every, self.spec.max_updates);
        let first = last - (last as f64 * AVERAGE) as usize;
        (updates / every).saturating_sub((first - 1) / every)
    }
}

/// The mean of `count` sets of weights, of which `mean` is that of all but `newest`.
fn mean(mean: &Weights, newest: &Weights, count: usize) -> Weights {
    let share = 1.0 / count as f32;
    let mixed = |(name, tensor): (&String, &NamedTensor)| {
        let newest = newest.values(name).iter();
        let values = tensor.values.iter().zip(newest).map(|(mean, newest)| mean + share * (newest - mean)).collect();
        (name.clone(), NamedTensor { shape: tensor.shape.clone(), values })
    };
    Weights::from_tensors(mean.tensors().iter().map(mixed).collect())
}

/// The learning rate of update `update`, from 0.
fn learning_rate(spec: &TrainSpec, update: usize) -> f64 {
    let left = spec.max_updates.saturating_sub(update) as f64;
    let decay = (left / (spec.max_updates as f64 * DECAY).max(1.0)).min(1.0);
    let rise = ((update + 1) as f64 / (spec.warm_up + 1) as f64).min(1.0);
    spec.learning_rate * rise * decay
}

/// A hash of all that determines the layout of a round. More updates may be asked for when a training is resumed.
fn order(spec: &TrainSpec) -> u64 {
    let settings = [spec.seed, spec.k1 as u64, spec.k2 as u64, spec.batch_size as u64];
    fnv_1a(settings.into_iter().flat_map(u64::to_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::DeviceChoice;

    /// Two alternating values under noise that depends on round and sequence: the next difference is the negative of
    /// the last one.
    struct Alternating;

    impl SequenceSource for Alternating {
        fn round(&self, round: u64) -> Vec<TrainingSequence> {
            let sequence = |index: usize| {
                let size = |at: usize| 1.0 + 0.1 * ((at * 7 + index * 3 + round as usize) as f32).sin();
                let value = |at: usize| if at.is_multiple_of(2) { size(at) } else { -size(at) };
                let features: Vec<f32> = (0..40).map(value).collect();
                let targets = (0..40).map(|at| if at < 39 { value(at + 1) - value(at) } else { f32::NAN }).collect();
                TrainingSequence::given([1, 1], features, targets, vec![0])
            };
            (0..6).map(sequence).collect()
        }
    }

    fn network() -> NetworkSpec {
        NetworkSpec { hidden: 8, inputs: 1, horizon: 1, levels: 3, ..NetworkSpec::default() }
    }

    fn spec(max_updates: usize) -> TrainSpec {
        let (k1, k2, batch_size, warm_up, evaluate_every) = (8, 8, 6, 5, 7);
        let base = TrainSpec { k1, k2, batch_size, warm_up, evaluate_every, max_updates, ..TrainSpec::default() };
        TrainSpec { device: DeviceChoice::Cpu, learning_rate: 1e-2, ..base }
    }

    fn run(spec: &TrainSpec, from: &Checkpoint, stop_after: usize) -> (Pretrained, Vec<f64>) {
        let mut losses = Vec::new();
        let mut observe = |progress: &Progress| {
            losses.push(progress.loss);
            if progress.update >= stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = pretrain(spec, &network(), from, &Alternating, &mut observe).unwrap();
        (outcome, losses)
    }

    fn fresh() -> Checkpoint {
        Checkpoint::new(&Weights::initial(&network()))
    }

    #[test]
    fn unseen_rounds_are_learnt_and_a_resumed_training_ends_in_the_same_bits() {
        let (outcome, losses) = run(&spec(120), &fresh(), usize::MAX);
        assert_eq!((losses.len(), outcome.checkpoint.updates()), (120, 120));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(mean(&losses[100..]) < 0.2 * mean(&losses[..10]), "{losses:?}");
        // In the stable part, amid a round, and in the averaged part.
        for stop in [13, 114] {
            let (half, _) = run(&spec(120), &fresh(), stop);
            let bytes = half.checkpoint.to_bytes().unwrap();
            let (resumed, _) = run(&spec(120), &Checkpoint::from_bytes(&bytes).unwrap(), usize::MAX);
            let same = resumed.checkpoint.to_bytes() == outcome.checkpoint.to_bytes();
            assert!(resumed.weights == outcome.weights && same, "resumed after {stop} updates");
        }
    }

    #[test]
    fn the_outcome_is_the_mean_of_the_last_weights() {
        let spec = spec(120);
        let mut sets = Vec::new();
        let mut observe = |progress: &Progress| {
            sets.extend(progress.checkpoint.iter().map(|checkpoint| checkpoint.weights.clone()));
            ControlFlow::Continue(())
        };
        let outcome = pretrain(&spec, &network(), &fresh(), &Alternating, &mut observe).unwrap();
        // Checkpoints every 7 updates, averaged from update 108 on: 112 and 119.
        let [.., one, other] = &sets[..] else { panic!("two sets of weights") };
        for (name, tensor) in outcome.weights.tensors() {
            for (at, value) in tensor.values.iter().enumerate() {
                let expected = (one.values(name)[at] + other.values(name)[at]) / 2.0;
                assert!((value - expected).abs() < 1e-6, "{name} {at}");
            }
        }
        let (early, _) = run(&spec, &fresh(), 50);
        assert_eq!(early.weights, early.checkpoint.weights);
    }

    #[test]
    fn the_learning_rate_rises_stays_and_falls_to_nothing() {
        let spec = TrainSpec { warm_up: 9, max_updates: 1000, learning_rate: 2.0, ..TrainSpec::default() };
        let rate = |update| learning_rate(&spec, update);
        assert!((rate(0) - 0.2).abs() < 1e-12 && rate(9) == 2.0 && rate(800) == 2.0);
        assert!((rate(900) - 1.0).abs() < 1e-12 && rate(999) > 0.0 && rate(1000) == 0.0);
    }

    #[test]
    fn a_checkpoint_of_another_seed_is_refused() {
        let (half, _) = run(&spec(50), &fresh(), 9);
        let other = TrainSpec { seed: 2, ..spec(50) };
        let result = pretrain(&other, &network(), &half.checkpoint, &Alternating, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(result, Err(TrainError::Invalid(what)) if what.contains("another seed")));
    }
}
