//! What ends a verb early, and with which exit code.

use crate::{
    backtest::{BacktestError, DataError},
    train::TrainError,
};

/// Exit codes of sysexits.h: wrong usage, bad data, no input, a cluster that is not there or not as it must be, anything
/// else, output that cannot be written, and a wrong configuration.
pub(super) const USAGE: u8 = 64;
pub(super) const BAD_DATA: u8 = 65;
pub(super) const NO_INPUT: u8 = 66;
pub(super) const UNAVAILABLE: u8 = 69;
pub(super) const SOFTWARE: u8 = 70;
pub(super) const CANNOT_WRITE: u8 = 74;
pub(super) const WRONG_CONFIGURATION: u8 = 78;

/// What went wrong, and with which exit code it ends.
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
