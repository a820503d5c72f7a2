//! Errors with their location, and access to plain and gzipped files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::cells::{quoted, text};
use crate::{backtest::error::DataError, series::VALUE_LIMIT};

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::Unreadable { file: path.display().to_string(), source })
}

/// The content of a plain or gzipped file. Gzip is detected by the first bytes.
pub(super) fn decompressed<'a>(source: impl Read + 'a, name: &str) -> Result<Box<dyn Read + 'a>, DataError> {
    let mut source = BufReader::new(source);
    let start = source.fill_buf().map_err(|source| DataError::Unreadable { file: name.to_owned(), source })?;
    let gzipped = start.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(source)) } else { Box::new(source) })
}

/// The file in which an error occurs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Location<'a> {
    pub(super) file: &'a str,
}

impl Location<'_> {
    /// An error of the whole file.
    pub(super) fn file_error(self, found: &str, expected: &str) -> DataError {
        DataError::File { file: self.file.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }

    /// An error of one line.
    pub(super) fn line_error(self, line: u64, column: Option<&str>, found: String, expected: &str) -> DataError {
        let (file, column) = (self.file.to_owned(), column.map(str::to_owned));
        DataError::Line { file, line, column, found, expected: expected.to_owned() }
    }

    /// The error of a cell without a number.
    pub(super) fn number_error(self, line: u64, column: &str, cell: &[u8]) -> DataError {
        let expected = format!("a number between -{VALUE_LIMIT:e} and {VALUE_LIMIT:e}, or nothing for a gap");
        self.line_error(line, Some(column), quoted(&text(cell)), &expected)
    }

    /// An error of the CSV parser.
    pub(super) fn csv_error(self, error: &csv::Error) -> DataError {
        match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => DataError::Line {
                file: self.file.to_owned(),
                line: pos.as_ref().map_or(0, csv::Position::line),
                column: None,
                found: format!("{len} columns"),
                expected: format!("{expected_len}, as in earlier rows"),
            },
            csv::ErrorKind::Io(error) => {
                self.file_error(&format!("it cannot be read to its end ({error})"), "complete CSV, plain or gzipped")
            }
            _ => self.file_error(&error.to_string(), "CSV"),
        }
    }
}
