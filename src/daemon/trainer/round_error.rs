//! Why a training round ends without a verdict.

use crate::{broker::BrokerError, train::TrainError};

/// Why a training round ends without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Weights cannot be read from the models topic, or not be encoded for it.
    #[error("unusable weights: {0}")]
    Weights(String),
    /// No series has enough history yet.
    #[error("the longest series has {steps} steps of history; training begins at {min_steps}")]
    TooLittleHistory {
        /// Steps of the longest series.
        steps: usize,
        /// Steps that a series needs.
        min_steps: usize,
    },
}
