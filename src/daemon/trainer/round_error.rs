//! Why a training round ends without a verdict.

use crate::{broker::BrokerError, train::TrainError};

/// Why a training round ends without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The broker's.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The training's.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Weights cannot be read from the models topic, or not be encoded for it.
    #[error("unusable weights: {0}")]
    Weights(String),
    /// The group has made another instance the training leader: it goes on from the published weights.
    #[error("another instance became the training leader")]
    LeadershipLost,
    /// The process is to stop.
    #[error("the process is stopping")]
    Stopped,
    /// No series has enough history yet.
    #[error("the longest series has {steps} steps of history; training begins at {min_steps}")]
    TooLittleHistory {
        /// Steps of the longest series.
        steps: usize,
        /// Steps that a series needs.
        min_steps: usize,
    },
}
