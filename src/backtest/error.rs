//! What keeps a backtest from its end.

use std::io;

use crate::{nn::NetworkError, train::TrainError};

/// A file that cannot be read, or does not hold what was expected.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be opened.
    #[error("{file}: {source}; expected a readable CSV file, plain or gzipped")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A place in it is wrong.
    #[error("{file}, line {line}{column}: {found}; expected {expected}", column = column_of(column))]
    Place {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column's name, where it is one column's fault.
        column: Option<String>,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// The whole of it is wrong.
    #[error("{file}: {found}; expected {expected}")]
    Whole {
        /// The file.
        file: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

fn column_of(column: &Option<String>) -> String {
    column.as_ref().map(|name| format!(", column \"{name}\"")).unwrap_or_default()
}

/// Why a backtest could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Training failed for another reason than too little history.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// What was asked for does not fit the file.
    #[error("{0}")]
    InvalidSpec(String),
    /// What is written out on the way cannot be.
    #[error("cannot write the forecasts: {0}")]
    Write(#[from] io::Error),
}
