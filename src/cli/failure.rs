//! Errors of a command, and their exit codes.

use crate::{
    backtest::{BacktestError, DataError},
    train::TrainError,
};

// Exit codes of sysexits.h.
/// Arguments that cannot be used, or not together.
pub(super) const USAGE: u8 = 64;
/// The input is malformed, or too little.
pub(super) const BAD_DATA: u8 = 65;
/// An input file cannot be read.
pub(super) const NO_INPUT: u8 = 66;
/// The cluster is unreachable or lacks a topic or a permission, or a device is missing.
pub(super) const UNAVAILABLE: u8 = 69;
/// Any other error.
pub(super) const SOFTWARE: u8 = 70;
/// The output cannot be written.
pub(super) const CANNOT_WRITE: u8 = 74;
/// The configuration is invalid.
pub(super) const WRONG_CONFIGURATION: u8 = 78;

/// An exit code and the message for the user.
#[derive(Debug)]
pub(super) struct Failure(pub(super) u8, pub(super) String);

impl From<BacktestError> for Failure {
    fn from(error: BacktestError) -> Self {
        let code = match &error {
            BacktestError::InvalidSpec(_) | BacktestError::Network(_) => USAGE,
            BacktestError::Write(_) => CANNOT_WRITE,
            BacktestError::Train(_) => SOFTWARE,
        };
        Self(code, error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self(if matches!(error, DataError::Unreadable { .. }) { NO_INPUT } else { BAD_DATA }, error.to_string())
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        let code = match &error {
            TrainError::Invalid(_) => USAGE,
            TrainError::TooLittle(_) | TrainError::Network(_) => BAD_DATA,
            TrainError::Device(_) => UNAVAILABLE,
            TrainError::Candle(_) | TrainError::Thread(_) => SOFTWARE,
        };
        Self(code, error.to_string())
    }
}
