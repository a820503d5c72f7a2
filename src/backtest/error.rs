//! Errors of reading a file and of running a backtest.

use std::io;

use crate::{nn::NetworkError, train::TrainError};

/// A file that cannot be read, or whose content is invalid.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("{file}: {source}; expected a readable CSV file, plain or gzipped")]
    Unreadable {
        /// File name.
        file: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// One line is invalid.
    #[error("{file}, line {line}{column}: {found}; expected {expected}", column = column_suffix(column))]
    Line {
        /// File name.
        file: String,
        /// Line number, from 1.
        line: u64,
        /// Column name, if one column is invalid.
        column: Option<String>,
        /// What the file holds there.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// The file as a whole is invalid.
    #[error("{file}: {found}; expected {expected}")]
    File {
        /// File name.
        file: String,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
}

fn column_suffix(column: &Option<String>) -> String {
    column.as_ref().map(|name| format!(", column \"{name}\"")).unwrap_or_default()
}

/// A backtest that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The network specification is invalid.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Training failed for another reason than a short history.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The specification does not fit the file.
    #[error("{0}")]
    InvalidSpec(String),
    /// The forecasts cannot be written.
    #[error("cannot write the forecasts: {0}")]
    Write(#[from] io::Error),
}
