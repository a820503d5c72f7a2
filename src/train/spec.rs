//! The settings of a training, its progress and its outcome.

use std::sync::Arc;

use candle_core::Error as CandleError;

use super::champion_challenger::Verdict;
use super::checkpoint::Checkpoint;
use super::device::{DeviceChoice, DeviceError};
use crate::nn::{NetworkError, Weights};

/// Learning rate of an incremental training, relative to that of a full one: it starts from good weights.
const INCREMENTAL_RATE: f64 = 0.3;

/// The settings of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSpec {
    /// Steps between two updates of the weights: the chunk of truncated backpropagation through time.
    pub k1: usize,
    /// Steps that the gradient flows back, at least `k1`.
    pub k2: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Updates over which the learning rate rises to its largest value.
    pub warm_up: usize,
    /// Decoupled weight decay of matrices; biases do not decay.
    pub weight_decay: f64,
    /// The largest global norm of a gradient; a larger gradient is scaled down to it.
    pub clip: f64,
    /// Threshold of the quantile Huber loss, in scales: smaller errors have a quadratic loss (see
    /// [`train`](super::train)). 0 for the pinball loss, which evaluation always uses.
    pub huber: f64,
    /// The first steps of a segment, while the state settles, give no loss; at most `k2`.
    pub burn_in: usize,
    /// Targets are clamped to plus and minus this many scales of their series: when a constant series starts to move, a
    /// few of its targets would outweigh all others. Infinity for no clamping.
    pub target_clip: f32,
    /// Rows that run side by side.
    pub batch_size: usize,
    /// The most updates. A cosine schedule lowers the learning rate to a tenth of its largest value over them.
    pub max_updates: usize,
    /// The most passes over all sequences.
    pub epochs: usize,
    /// Train on the newest steps and a sample of older ones; `None`: on all steps alike.
    pub replay: Option<ExperienceReplay>,
    /// Share of each sequence's newest steps that never updates the weights. Its older half selects the best weights,
    /// its newer half compares challenger and champion.
    pub validation_share: f64,
    /// The most steps of a sequence that are for validation.
    pub max_validation_steps: usize,
    /// Updates between two evaluations that select the best weights.
    pub evaluate_every: usize,
    /// Seed of the order of the sequences.
    pub seed: u64,
    /// Where to compute.
    pub device: DeviceChoice,
    /// CPU threads.
    pub threads: usize,
    /// The quantile levels, as many as the network has.
    pub levels: Vec<f32>,
    /// How far the challenger's loss must lie below the champion's, relative to it.
    pub margin: f64,
    /// The least matured targets that a verdict needs.
    pub min_judged: usize,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            k1: 64,
            k2: 64,
            learning_rate: 3e-3,
            warm_up: 20,
            weight_decay: 1e-4,
            clip: 1.0,
            huber: 0.0,
            burn_in: 0,
            target_clip: 50.0,
            batch_size: 64,
            max_updates: 1000,
            epochs: 20,
            replay: None,
            validation_share: 0.2,
            max_validation_steps: usize::MAX,
            evaluate_every: 50,
            seed: 1,
            device: DeviceChoice::Auto,
            threads: 1,
            levels: vec![0.1, 0.5, 0.9],
            margin: 0.005,
            min_judged: 1000,
        }
    }
}

/// Experience replay: each epoch trains on the newest window of every sequence and on random older ones, so that old
/// patterns are not forgotten (Lin, Machine Learning 8, 1992; for time series Pham and others, ICLR 2023,
/// arXiv:2202.11672).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperienceReplay {
    /// Steps of a window.
    pub window: usize,
    /// Older windows for each newest one.
    pub old_windows: usize,
}

impl TrainSpec {
    /// The settings of an incremental training of `updates` updates, which adapts the weights to new data. A window is
    /// four chunks of `k2` steps, three old windows accompany each newest one, and at most half a window is for
    /// validation.
    #[must_use]
    pub fn incremental(&self, updates: usize) -> Self {
        let window = 4 * self.k2;
        Self {
            learning_rate: self.learning_rate * INCREMENTAL_RATE,
            warm_up: 0,
            max_updates: updates,
            epochs: usize::MAX,
            replay: Some(ExperienceReplay { window, old_windows: 3 }),
            max_validation_steps: window / 2,
            evaluate_every: updates.div_ceil(2).max(1),
            margin: 0.0,
            ..self.clone()
        }
    }
}

/// The progress of a training after an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Updates so far.
    pub update: usize,
    /// The most updates.
    pub max_updates: usize,
    /// Mean loss of the newest chunk whose loss is finite.
    pub loss: f64,
    /// Global norm of its gradient, before clipping.
    pub gradient_norm: f64,
    /// The same after clipping.
    pub clipped_gradient_norm: f64,
    /// Updates so far whose gradient was clipped.
    pub clipped: usize,
    /// Updates so far that were skipped because loss or gradient was not finite.
    pub skipped_non_finite: usize,
    /// The least loss on the selection half of the validation part; NaN before the first evaluation.
    pub best_loss: f64,
    /// Series steps trained on so far, over all sequences.
    pub series_steps: u64,
    /// The checkpoint of this update, if it ended with an evaluation.
    pub checkpoint: Option<Arc<Checkpoint>>,
}

/// The outcome of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The best weights found.
    pub challenger: Weights,
    /// The end of the training, from which [`resume`](super::resume) continues. It precedes the final evaluation, so
    /// that a resumed training equals an uninterrupted one.
    pub checkpoint: Checkpoint,
    /// Mean pinball loss of the champion on the comparison half of the validation part; NaN where no target matured
    /// there.
    pub champion_loss: f64,
    /// The same of the challenger.
    pub challenger_loss: f64,
    /// Matured targets in that comparison.
    pub judged: u64,
    /// Whether to promote the challenger, and why not.
    pub verdict: Verdict,
    /// Updates of the weights.
    pub updates: usize,
    /// Updates whose gradient was clipped.
    pub clipped: usize,
    /// Updates that were skipped because loss or gradient was not finite.
    pub skipped_non_finite: usize,
    /// Global norm of the last finite gradient, before clipping; zero where there was none.
    pub gradient_norm: f64,
    /// The same after clipping.
    pub clipped_gradient_norm: f64,
    /// Mean loss of the last chunk whose loss is finite; NaN where there was none.
    pub training_loss: f64,
    /// Mean pinball losses on a sample of the training part.
    pub fit: Fit,
    /// Series steps trained on, over all sequences.
    pub series_steps: u64,
    /// Whether the observer ended the training early.
    pub interrupted: bool,
}

/// Mean pinball losses on the newest steps of the training part of some sequences; NaN where no target matured there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The champion's.
    pub champion: f64,
    /// The challenger's.
    pub challenger: f64,
    /// That of the newest weights, which evaluation may not have selected.
    pub newest: f64,
}

/// A training that failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting is invalid.
    #[error("training: {0}")]
    Invalid(String),
    /// The history is too short.
    #[error("training: {0}")]
    TooLittle(String),
    /// The device is not available.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network or its weights are invalid.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tensor library failed.
    #[error("training: {0}")]
    Candle(#[from] CandleError),
    /// The training thread could not start, or panicked.
    #[error("training thread: {0}")]
    Thread(String),
}
