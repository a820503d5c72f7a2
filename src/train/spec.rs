//! What training is told, and what it tells.

use std::sync::Arc;

use candle_core::Error as CandleError;

use super::checkpoint::Checkpoint;
use super::device::{DeviceChoice, DeviceError};
use super::gate::Verdict;
use crate::nn::{NetworkError, Weights};

/// The learning rate of a small training, as a part of that of a whole one.
const REFRESHING_RATE: f64 = 0.3;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSpec {
    /// Steps between two updates of the weights: the chunk of truncated backpropagation through time.
    pub k1: usize,
    /// Steps that the gradient flows back, at least `k1`: what is longer ago is taken as given.
    pub k2: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Updates over which the learning rate climbs to its largest value.
    pub warm_up: usize,
    /// Decoupled weight decay of matrices; biases have none.
    pub weight_decay: f64,
    /// The largest global norm of a gradient; a longer one is scaled down to it.
    pub clip: f64,
    /// Where a quantile's error is smaller than this, its training loss is a parabola (see [`train`](super::train)); 0
    /// for the pinball loss itself, which always judges.
    pub huber: f64,
    /// The first steps of a piece of a lane that give no loss, since the state is still settling; at most `k2`.
    pub burn_in: usize,
    /// Targets are cut to plus and minus so many of their series' scales: after a series that stood still has moved, a
    /// few of them would otherwise outweigh all others. Infinity for none.
    pub target_clip: f32,
    /// Lanes that run side by side in one batch.
    pub batch_size: usize,
    /// The most updates; a cosine takes the learning rate from its largest value to a tenth of it on the way there.
    pub max_updates: usize,
    /// The most passes over all lanes.
    pub epochs: usize,
    /// Learn from what is newest and a sample of the rest; `None`: from all alike.
    pub replay: Option<Replay>,
    /// The part of each lane, its newest, that training never sees: its older half chooses among the weights on the
    /// way, its newer half judges challenger and champion.
    pub validation_share: f64,
    /// At most so many steps of a lane are held out.
    pub max_validation_steps: usize,
    /// Updates between two looks at the held-out part.
    pub evaluate_every: usize,
    /// Seed of the order of the lanes.
    pub seed: u64,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads of the processor; serving shares it.
    pub threads: usize,
    /// The quantile levels, as many as the network has.
    pub levels: Vec<f32>,
    /// How much less than the champion's, as a part of it, the challenger's loss must be.
    pub margin: f64,
    /// The least matured targets that a judgement needs.
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

/// Learning from the newest window of each lane, and in each pass from some older ones, drawn anew, lest they be
/// forgotten (experience replay: Lin, Machine Learning 1992; of time series Pham and others, ICLR 2023, arXiv:2202.11672).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// Steps of a window.
    pub window: usize,
    /// Older windows for each newest one.
    pub old: usize,
}

impl TrainSpec {
    /// The same for a small training of so many updates that keeps up with what is new: a window is four stretches of `k2`
    /// steps, three old ones stand beside each newest one, and half a window is held out.
    #[must_use]
    pub fn incremental(&self, updates: usize) -> Self {
        let window = 4 * self.k2;
        Self {
            learning_rate: self.learning_rate * REFRESHING_RATE,
            warm_up: 0,
            max_updates: updates,
            epochs: usize::MAX,
            replay: Some(Replay { window, old: 3 }),
            max_validation_steps: window / 2,
            evaluate_every: updates.div_ceil(2).max(1),
            margin: 0.0,
            ..self.clone()
        }
    }
}

/// How far training is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Updates so far.
    pub update: usize,
    /// Updates at most.
    pub max_updates: usize,
    /// Passes over all lanes that are complete.
    pub epoch: usize,
    /// Mean loss of the newest finite chunk.
    pub loss: f64,
    /// Global norm of its gradient, before clipping.
    pub gradient_norm: f64,
    /// The same after clipping.
    pub clipped_gradient_norm: f64,
    /// Updates so far whose gradient was scaled down.
    pub clipped: usize,
    /// Updates so far that were left out because loss or gradient was not finite.
    pub skipped_non_finite: usize,
    /// The learning rate of the update.
    pub learning_rate: f64,
    /// The least loss on the choosing half of the held-out part so far; NaN before the first look.
    pub best_loss: f64,
    /// Series steps learnt from so far, over all lanes.
    pub series_steps: u64,
    /// Where training stands, after each look at the held-out part.
    pub checkpoint: Option<Arc<Checkpoint>>,
}

/// What came of training.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The best weights found.
    pub challenger: Weights,
    /// Where training ended, to go on from: what it holds knows nothing of the last look that chose the challenger, so
    /// that training goes on as if it had not been interrupted.
    pub checkpoint: Checkpoint,
    /// Mean pinball loss of the champion on the judging half of the held-out part; NaN where nothing matured there.
    pub champion_loss: f64,
    /// The challenger's.
    pub challenger_loss: f64,
    /// Matured targets that both were judged on.
    pub judged: u64,
    /// Whether to promote, and why not.
    pub verdict: Verdict,
    /// Updates of the weights.
    pub updates: usize,
    /// Updates whose gradient was scaled down.
    pub clipped: usize,
    /// Updates that were left out because loss or gradient was not finite.
    pub skipped_non_finite: usize,
    /// Global norm of the last finite gradient, before clipping; zero where there was none.
    pub gradient_norm: f64,
    /// The same after clipping.
    pub clipped_gradient_norm: f64,
    /// Mean loss of the last finite chunk; NaN where there was none.
    pub training_loss: f64,
    /// Mean pinball losses on a sample of what was learnt from.
    pub fit: Fit,
    /// Series steps learnt from, over all lanes.
    pub series_steps: u64,
    /// Whether [`train`](super::train) was asked to stop early.
    pub interrupted: bool,
}

/// Mean pinball losses on the newest stretch of the trained part of some lanes; NaN where nothing matured there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The champion's.
    pub champion: f64,
    /// The challenger's.
    pub challenger: f64,
    /// That of the weights with which training ended, which the held-out part may have passed over.
    pub newest: f64,
}

/// Training that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting makes no sense.
    #[error("training: {0}")]
    Invalid(String),
    /// There is nothing to learn from.
    #[error("training: {0}")]
    TooLittle(String),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tensor library failed.
    #[error("training: {0}")]
    Candle(#[from] CandleError),
    /// The training thread could not start, or ended without a result.
    #[error("training thread: {0}")]
    Thread(String),
}
