//! Training from the first chunk to the verdict.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};

use candle_core::Tensor;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use super::bptt::Model;
use super::device;
use super::evaluate::{Part, choosing, compare, score};
use super::lanes::Lane;
use super::optimiser::{AdamW, Moments, clip, global_norm, learning_rate};
use super::spec::{Outcome, Progress, TrainError, TrainSpec};
use super::tracks::{Cut, Sizes, Tracks, steps};
use crate::nn::{NetworkSpec, Weights};

/// The most steps of a window: what is kept for the backward pass grows with it, and so does, elsewhere than on the
/// processor, the stack that the backward pass needs.
const MOST_STEPS: usize = 4096;
/// Stack of the training thread: candle's backward pass recurses once per operation.
const STACK: usize = 256 << 20;

/// Trains a challenger from the champion's weights and judges the two.
///
/// Training runs on threads of its own, at most `spec.threads`; `observe` is called on this one after every update and
/// ends training with `Break`: the best weights so far are then judged. On the processor the same arguments give the
/// same outcome.
///
/// # Errors
/// Where settings, lanes, weights or device do not allow it.
pub fn train(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    lanes: &[Lane],
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    resume(spec, network, champion, None, lanes, observe)
}

/// The same with the optimiser's moments of earlier training.
///
/// # Errors
/// As [`train`].
pub fn resume(
    spec: &TrainSpec,
    network: &NetworkSpec,
    champion: &Weights,
    moments: Option<&Moments>,
    lanes: &[Lane],
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
                pool.install(|| {
                    let watch = Watch { told, answers };
                    Run::new(spec, network, champion, moments, lanes, watch)?.whole(champion)
                })
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
    if spec.lanes == 0 || spec.threads == 0 || spec.evaluate_every == 0 {
        return invalid("lanes, threads and evaluate_every must be at least 1".to_owned());
    }
    if !(spec.held_out > 0.0 && spec.held_out < 1.0) {
        return invalid(format!("held_out is {}, expected a part between 0 and 1", spec.held_out));
    }
    if !(spec.learning_rate > 0.0 && spec.learning_rate.is_finite() && spec.clip > 0.0 && spec.weight_decay >= 0.0) {
        return invalid("learning_rate and clip must be positive, weight_decay not negative".to_owned());
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
    lanes: &'a [Lane],
    cuts: Vec<Cut>,
    model: Model,
    optimiser: AdamW,
    watch: Watch,
    choosing: Vec<Part<'a>>,
    best: Weights,
    best_loss: f64,
    told: Told,
}

/// What the outcome tells of the way.
#[derive(Debug, Default)]
struct Told {
    steps: usize,
    epoch: usize,
    clipped: usize,
    skipped: usize,
    norm: f64,
    loss: f64,
    series_steps: u64,
    interrupted: bool,
}

impl<'a> Run<'a> {
    fn new(
        spec: &'a TrainSpec,
        network: &'a NetworkSpec,
        champion: &Weights,
        moments: Option<&Moments>,
        lanes: &'a [Lane],
        watch: Watch,
    ) -> Result<Self, TrainError> {
        network.check().map_err(crate::nn::NetworkError::from)?;
        champion.check(network).map_err(crate::nn::NetworkError::from)?;
        let cuts: Vec<Cut> = steps(lanes, network)?.into_iter().map(|steps| Cut::new(steps, spec.held_out)).collect();
        let learnt: usize = cuts.iter().map(|cut| cut.trained.saturating_sub(1)).sum();
        if learnt == 0 {
            let steps: usize = cuts.iter().map(|cut| cut.steps).sum();
            return Err(TrainError::TooLittle(format!(
                "{} series with {steps} steps in all leave nothing to learn from once a part of {} is held out",
                lanes.len(),
                spec.held_out
            )));
        }
        let device = device::open(spec.device)?;
        let model = Model::new(network, champion, &device)?;
        let optimiser = AdamW::new(model.variables(), spec.weight_decay, moments)?;
        let choosing = choosing(lanes, &cuts, spec);
        let best_loss = score(spec, network, champion, &choosing)?.mean(network.levels);
        let told = Told { loss: f64::NAN, ..Told::default() };
        let best = champion.clone();
        Ok(Self { spec, network, lanes, cuts, model, optimiser, watch, choosing, best, best_loss, told })
    }

    /// All passes, then the verdict.
    fn whole(mut self, champion: &Weights) -> Result<Outcome, TrainError> {
        let mut random = Pcg64::seed_from_u64(self.spec.seed);
        for epoch in 0..self.spec.epochs {
            self.told.epoch = epoch;
            if self.pass(&mut random)?.is_break() {
                break;
            }
        }
        self.choose()?;
        let (spec, network, told) = (self.spec, self.network, self.told);
        let compared = compare(spec, network, champion, &self.best, self.lanes)?;
        Ok(Outcome {
            challenger: self.best,
            moments: self.optimiser.moments()?,
            champion_loss: compared.champion_loss,
            challenger_loss: compared.challenger_loss,
            judged: compared.judged,
            verdict: compared.verdict,
            steps: told.steps,
            clipped: told.clipped,
            skipped_non_finite: told.skipped,
            gradient_norm: told.norm,
            training_loss: told.loss,
            interrupted: told.interrupted,
        })
    }

    /// One pass over all lanes, in chunks of `k1` steps with windows that reach `k2` steps back.
    fn pass(&mut self, random: &mut Pcg64) -> Result<ControlFlow<()>, TrainError> {
        let sizes = Sizes { inputs: self.network.inputs, targets: self.network.targets() };
        let cuts = self.cuts.clone();
        let tracks = Tracks::new(self.lanes, &cuts, sizes, self.spec, random);
        let (k1, k2, rows) = (self.spec.k1, self.spec.k2, tracks.rows());
        let begin = |chunk: usize| (chunk + k1).saturating_sub(k2);
        let mut states = self.model.fresh(rows)?;
        for chunk in (0..tracks.steps()).step_by(k1) {
            if self.told.steps >= self.spec.max_steps {
                return Ok(ControlFlow::Break(()));
            }
            let window = tracks.window(begin(chunk), chunk, chunk + k1);
            let stack = self.model.forward(&window, rows, &states)?;
            // The next window begins in this one: what its states were there goes on, the gradient does not.
            let ahead = begin(chunk + k1) - begin(chunk);
            let next = (ahead > 0).then(|| stack.states_after(ahead - 1)).transpose()?;
            let Some(learnt) = self.model.learn(&stack, k1, window.targets, &self.spec.levels)? else {
                states = next.unwrap_or(states);
                continue;
            };
            let finite = self.update(learnt.loss, learnt.gradients)?;
            // What is not finite must not be carried on either: the rows begin anew.
            states = if finite { next.unwrap_or(states) } else { self.model.fresh(rows)? };
            self.told.series_steps += (k1 * rows) as u64;
            if self.told.steps.is_multiple_of(self.spec.evaluate_every) {
                self.choose()?;
            }
            if self.watch.stop(self.progress()) {
                self.told.interrupted = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn rate(&self) -> f64 {
        learning_rate(self.spec.learning_rate, self.told.steps, self.spec.warm_up, self.spec.max_steps)
    }

    /// Clips and updates; whether loss and gradient were finite. Where they were not, nothing changes.
    fn update(&mut self, loss: f64, mut gradients: super::optimiser::Tensors<Tensor>) -> Result<bool, TrainError> {
        let norm = global_norm(&gradients)?;
        let rate = self.rate();
        self.told.steps += 1;
        if !(loss.is_finite() && norm.is_finite()) {
            self.told.skipped += 1;
            return Ok(false);
        }
        self.told.clipped += usize::from(clip(&mut gradients, norm, self.spec.clip)?);
        self.optimiser.update(self.model.variables(), &gradients, rate)?;
        (self.told.loss, self.told.norm) = (loss, norm);
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
        if self.best_loss.is_nan() || loss < self.best_loss {
            (self.best, self.best_loss) = (weights, loss);
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        Progress {
            step: self.told.steps,
            max_steps: self.spec.max_steps,
            epoch: self.told.epoch,
            loss: self.told.loss,
            gradient_norm: self.told.norm,
            learning_rate: self.rate(),
            best_loss: self.best_loss,
            series_steps: self.told.series_steps,
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
