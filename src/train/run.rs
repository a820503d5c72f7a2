//! Training from the first chunk to the verdict.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use candle_core::Tensor;

use super::bptt::Model;
use super::checkpoint::{Checkpoint, Tally};
use super::device;
use super::evaluate::{Part, choosing, compare, learnt, score};
use super::head::Pinball;
use super::lanes::TrainingSequence;
use super::optimiser::{AdamW, clip, global_norm, learning_rate, named};
use super::spec::{Fit, Outcome, Progress, TrainError, TrainSpec};
use super::tracks::{Cut, Sizes, Tracks, steps};
use crate::nn::{NamedTensor, NetworkSpec, Weights, fnv_1a};

/// The most steps of a window: what is kept for the backward pass grows with it, and so does, elsewhere than on the
/// processor, the stack that the backward pass needs.
pub(super) const MOST_STEPS: usize = 4096;
/// Stack of the training thread: candle's backward pass recurses once per operation.
pub(super) const STACK: usize = 256 << 20;

/// Trains a challenger from the champion's weights and judges the two.
///
/// The loss is the pinball loss, or with `spec.huber` the quantile Huber loss (Dabney, Ostrovski, Silver, Munos, ICML
/// 2018, arXiv:1806.06923), a parabola where errors are smaller than that. Training runs on threads of its own, at most
/// `spec.threads`; `observe` is called on this one after every update and ends training with `Break`: the best weights
/// so far are then judged. On the processor the same arguments give the same outcome.
///
/// # Errors
/// Where settings, lanes, weights or device do not allow it.
pub fn train(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    lanes: &[TrainingSequence],
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    resume(spec, network, &Checkpoint::new(champion), lanes, observe)
}

/// Goes on from a checkpoint. With the settings and lanes that it was made with the outcome on the processor is that of
/// training that was never interrupted; `spec.max_steps` counts the updates before it.
///
/// # Errors
/// As [`train`], and where the checkpoint belongs to other lanes, or to another order or cut of them.
pub fn resume(
    spec: &TrainSpec,
    network: &NetworkSpec,
    checkpoint: &Checkpoint,
    lanes: &[TrainingSequence],
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    check(spec, network)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(spec.threads)
        .stack_size(STACK)
        .thread_name(|thread| format!("train-{thread}"))
        .build()
        .map_err(|error| TrainError::Thread(error.to_string()))?;
    let (told, progress) = channel();
    let (answer, answers) = channel();
    std::thread::scope(|scope| {
        let trainer = std::thread::Builder::new()
            .name("train".to_owned())
            .spawn_scoped(scope, || {
                // The pool bounds what candle's matrix products spread over; they use the pool that they are called in.
                pool.install(|| Run::new(spec, network, checkpoint, lanes, Watch { told, answers })?.whole())
            })
            .map_err(|error| TrainError::Thread(error.to_string()))?;
        while let Ok(progress) = progress.recv() {
            // A trainer that has ended asks no more, and its result says why.
            _ = answer.send(observe(&progress).is_break());
        }
        trainer.join().unwrap_or_else(|_| Err(TrainError::Thread("it panicked".to_owned())))
    })
}

/// Holds the settings against what makes sense.
fn check(spec: &TrainSpec, network: &NetworkSpec) -> Result<(), TrainError> {
    let invalid = |what: String| Err(TrainError::Invalid(what));
    if spec.k1 == 0 || spec.k2 < spec.k1 || spec.k2 > MOST_STEPS {
        return invalid(format!("k1 is {} and k2 {}, expected 1 <= k1 <= k2 <= {MOST_STEPS}", spec.k1, spec.k2));
    }
    if spec.batch_size == 0 || spec.threads == 0 || spec.evaluate_every == 0 {
        return invalid("lanes, threads and evaluate_every must be at least 1".to_owned());
    }
    if !(spec.validation_share > 0.0 && spec.validation_share < 1.0) {
        return invalid(format!("held_out is {}, expected a part between 0 and 1", spec.validation_share));
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

/// The training thread's end of the line to whoever observes it.
struct Watch {
    told: Sender<Progress>,
    answers: Receiver<bool>,
}

impl Watch {
    /// Tells how far it is; whether to stop.
    fn stop(&self, progress: Progress) -> bool {
        self.told.send(progress).is_err() || self.answers.recv().unwrap_or(true)
    }
}

struct Run<'a> {
    spec: &'a TrainSpec,
    network: &'a NetworkSpec,
    lanes: &'a [TrainingSequence],
    cuts: Vec<Cut>,
    model: Model,
    optimiser: AdamW,
    watch: Watch,
    choosing: Vec<Part<'a>>,
    champion: Weights,
    best: Weights,
    /// What is carried to the next chunk; empty where a pass begins.
    states: Vec<Tensor>,
    order: u64,
    tally: Tally,
    interrupted: bool,
}

impl<'a> Run<'a> {
    fn new(
        spec: &'a TrainSpec,
        network: &'a NetworkSpec,
        from: &Checkpoint,
        lanes: &'a [TrainingSequence],
        watch: Watch,
    ) -> Result<Self, TrainError> {
        network.check().map_err(crate::nn::NetworkError::from)?;
        for weights in [&from.champion, &from.weights, &from.best] {
            weights.check(network).map_err(crate::nn::NetworkError::from)?;
        }
        let cuts: Vec<Cut> = steps(lanes, network)?.into_iter().map(|steps| Cut::new(steps, spec)).collect();
        let learnt: usize = cuts.iter().map(|cut| cut.trained.saturating_sub(1 + spec.burn_in)).sum();
        if learnt == 0 {
            let steps: usize = cuts.iter().map(|cut| cut.steps).sum();
            return Err(TrainError::TooLittle(format!(
                "{} series with {steps} steps in all leave nothing to learn from once a part of {} is held out",
                lanes.len(),
                spec.validation_share
            )));
        }
        let order = order(spec, &cuts);
        if from.tally.steps > 0 && from.order != order {
            return Err(TrainError::Invalid(
                "the checkpoint was made with other data, or another seed, k1, k2, lanes or held_out: resume with the \
                 same, or begin with its weights instead"
                    .to_owned(),
            ));
        }
        let device = device::open(spec.device)?;
        let model = Model::new(network, &from.weights, &device)?;
        let optimiser = AdamW::new(model.variables(), spec.weight_decay, &from.moments)?;
        let state = |state: &NamedTensor| Tensor::from_slice(&state.values, state.shape.as_slice(), &device);
        let states = from.states.iter().map(state).collect::<candle_core::Result<_>>()?;
        let choosing = choosing(lanes, &cuts, spec);
        let (champion, best, mut tally) = (from.champion.clone(), from.best.clone(), from.tally.clone());
        if tally.steps == 0 {
            tally.best_loss = score(spec, network, &best, &choosing)?.mean(network.levels);
        }
        Ok(Self {
            spec,
            network,
            lanes,
            cuts,
            model,
            optimiser,
            watch,
            choosing,
            champion,
            best,
            states,
            order,
            tally,
            interrupted: false,
        })
    }

    /// All passes, then the verdict.
    fn whole(mut self) -> Result<Outcome, TrainError> {
        while self.tally.epoch < self.spec.epochs && self.pass()?.is_continue() {}
        let checkpoint = self.checkpoint()?;
        self.choose()?;
        let (spec, network, tally) = (self.spec, self.network, self.tally);
        let compared = compare(spec, network, &self.champion, &self.best, self.lanes)?;
        let learnt = learnt(self.lanes, &self.cuts, spec);
        let fit = |weights: &Weights| match weights.check(network) {
            Ok(()) => score(spec, network, weights, &learnt).map(|score| score.mean(network.levels)),
            Err(_) => Ok(f64::NAN),
        };
        let fit =
            Fit { champion: fit(&self.champion)?, challenger: fit(&self.best)?, newest: fit(&checkpoint.weights)? };
        Ok(Outcome {
            challenger: self.best,
            checkpoint,
            champion_loss: compared.champion_loss,
            challenger_loss: compared.challenger_loss,
            judged: compared.judged,
            verdict: compared.verdict.explained(fit.champion, fit.challenger.min(fit.newest)),
            updates: tally.steps,
            clipped: tally.clipped,
            skipped_non_finite: tally.skipped,
            gradient_norm: tally.norm,
            clipped_gradient_norm: tally.clipped_norm,
            training_loss: tally.loss,
            fit,
            series_steps: tally.series_steps,
            interrupted: self.interrupted,
        })
    }

    /// One pass over all lanes, or what is left of it, in chunks of `k1` steps with windows that reach `k2` steps back.
    fn pass(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let sizes = Sizes { inputs: self.network.inputs, targets: self.network.targets() };
        let cuts = self.cuts.clone();
        let tracks = Tracks::new(self.lanes, &cuts, sizes, self.spec, self.tally.epoch);
        let (k1, k2, rows) = (self.spec.k1, self.spec.k2, tracks.rows());
        let begin = |chunk: usize| (chunk + k1).saturating_sub(k2);
        let (whole, before) = (self.tally.chunk == 0, self.tally.steps);
        if self.states.is_empty() {
            self.states = self.model.fresh(rows)?;
        }
        while self.tally.chunk < tracks.steps() {
            if self.tally.steps >= self.spec.max_updates {
                return Ok(ControlFlow::Break(()));
            }
            let chunk = self.tally.chunk;
            self.tally.chunk += k1;
            let window = tracks.window(begin(chunk), chunk, chunk + k1);
            let stack = self.model.forward(&window, rows, &self.states)?;
            // The next window begins in this one: what its states were there goes on, the gradient does not.
            let ahead = begin(chunk + k1) - begin(chunk);
            if ahead > 0 {
                self.states = stack.states_after(ahead - 1)?;
            }
            let pinball = Pinball::new(window.targets, &self.spec.levels, self.spec.huber as f32);
            let Some(learnt) = self.model.learn(&stack, k1, &pinball)? else { continue };
            if !self.update(learnt.loss, learnt.gradients)? {
                // What is not finite must not be carried on either: the rows begin anew.
                self.states = self.model.fresh(rows)?;
            }
            self.tally.series_steps += (k1 * rows) as u64;
            let mut checkpoint = None;
            if self.tally.steps.is_multiple_of(self.spec.evaluate_every) {
                self.choose()?;
                checkpoint = Some(Arc::new(self.checkpoint()?));
            }
            if self.watch.stop(self.progress(checkpoint)) {
                self.interrupted = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        (self.tally.epoch, self.tally.chunk) = (self.tally.epoch + 1, 0);
        self.states.clear();
        // A whole pass without a matured target would be followed by others like it, for ever.
        let fruitless = whole && self.tally.steps == before;
        Ok(if fruitless { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn rate(&self) -> f64 {
        learning_rate(self.spec.learning_rate, self.tally.steps, self.spec.warm_up, self.spec.max_updates)
    }

    /// Clips and updates; whether loss and gradient were finite. Where they were not, nothing changes.
    fn update(&mut self, loss: f64, mut gradients: super::optimiser::Tensors<Tensor>) -> Result<bool, TrainError> {
        let norm = global_norm(&gradients)?;
        let rate = self.rate();
        self.tally.steps += 1;
        if !(loss.is_finite() && norm.is_finite()) {
            self.tally.skipped += 1;
            return Ok(false);
        }
        self.tally.clipped += usize::from(clip(&mut gradients, norm, self.spec.clip)?);
        self.optimiser.update(self.model.variables(), &gradients, rate)?;
        (self.tally.loss, self.tally.norm, self.tally.clipped_norm) = (loss, norm, norm.min(self.spec.clip));
        Ok(true)
    }

    /// Keeps the weights where they are the best so far.
    fn choose(&mut self) -> Result<(), TrainError> {
        let weights = self.model.weights()?;
        if weights.check(self.network).is_err() {
            return Ok(());
        }
        let loss = score(self.spec, self.network, &weights, &self.choosing)?.mean(self.network.levels);
        // Where nothing can be compared (no target has matured there, or the champion is broken) the newest are kept.
        if self.tally.best_loss.is_nan() || loss < self.tally.best_loss {
            (self.best, self.tally.best_loss) = (weights, loss);
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
            tally: self.tally.clone(),
        })
    }

    fn progress(&self, checkpoint: Option<Arc<Checkpoint>>) -> Progress {
        Progress {
            update: self.tally.steps,
            max_updates: self.spec.max_updates,
            epoch: self.tally.epoch,
            loss: self.tally.loss,
            gradient_norm: self.tally.norm,
            clipped_gradient_norm: self.tally.clipped_norm,
            clipped: self.tally.clipped,
            skipped_non_finite: self.tally.skipped,
            learning_rate: self.rate(),
            best_loss: self.tally.best_loss,
            series_steps: self.tally.series_steps,
            checkpoint,
        }
    }
}

/// A hash of all that the order and the layout of the lanes follow from.
fn order(spec: &TrainSpec, cuts: &[Cut]) -> u64 {
    let settings = [spec.seed, spec.k1 as u64, spec.k2 as u64, spec.batch_size as u64];
    let lanes = cuts.iter().flat_map(|cut| [cut.trained as u64, cut.steps as u64]);
    fnv_1a(settings.into_iter().chain(lanes).flat_map(u64::to_le_bytes))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
