//! Files of the M4 competition: one series per row, its name and then its values, without timestamps.

use std::path::Path;

use super::cells::{CellRule, text};
use super::location::{Location, decompressed, open};
use crate::backtest::error::DataError;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backtest) struct M4Row {
    /// The first column.
    pub name: String,
    /// The value of each step, `None` for a gap, without empty cells at the end of the row.
    pub values: Vec<Option<f64>>,
}

/// Reads a file, plain or gzipped, with a header and one series of any length per row.
///
/// # Errors
/// If it cannot be opened or is invalid.
pub(in crate::backtest) fn read_m4_rows(path: &Path) -> Result<Vec<M4Row>, DataError> {
    let name = path.display().to_string();
    let location = Location { file: &name };
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(decompressed(open(path)?, &name)?);
    let mut rows = Vec::new();
    for record in csv.byte_records() {
        let record = record.map_err(|error| location.csv_error(&error))?;
        let value = |(column, cell): (usize, &[u8])| {
            let line = record.position().map_or(0, csv::Position::line);
            let invalid = |_| location.number_error(line, &format!("{}", column + 1), cell);
            CellRule::default().number(cell).map_err(invalid)
        };
        let mut values = record.iter().enumerate().skip(1).map(value).collect::<Result<Vec<_>, _>>()?;
        values.truncate(values.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        rows.push(M4Row { name: text(record.get(0).unwrap_or_default()), values });
    }
    if rows.is_empty() {
        return Err(
            location.file_error("it holds no rows", "a header, and one series per row: its name and its values")
        );
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rows_may_have_different_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            read_m4_rows(&file)
        };
        let row = |name: &str, values: &[Option<f64>]| M4Row { name: name.to_owned(), values: values.to_vec() };
        let rows = read("\"V1\",\"V2\",\"V3\",\"V4\"\n\"a\",\"1\",\"\",\"3.5\"\nb,2,,\nc,4\nd\n").unwrap();
        let expected =
            [row("a", &[Some(1.0), None, Some(3.5)]), row("b", &[Some(2.0)]), row("c", &[Some(4.0)]), row("d", &[])];
        assert_eq!(rows, expected);
        let error = read("V1,V2\na,1\nb,one\n").unwrap_err().to_string();
        assert!(error.contains("line 3, column \"2\": \"one\"; expected a number"), "{error}");
        assert!(read("V1,V2\n").unwrap_err().to_string().contains("it holds no rows"));
    }
}
