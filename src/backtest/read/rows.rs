//! Files of one series a row, as those of the M4 competition: its name, and then its values, without time stamps.

use std::{fs::File, path::Path};

use super::{DataError, Place, number, plain, text};

/// One series: a value for each step, `None` for a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The first column.
    pub name: String,
    /// The others, without what is empty at the row's end.
    pub values: Vec<Option<f64>>,
}

/// Reads a file, plain or gzipped, with a header and then one series a row, each of its own length.
///
/// # Errors
/// When it cannot be opened, or does not hold that.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| DataError::Unreadable { file: name.clone(), source })?;
    let place = Place { file: &name };
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(plain(file, &name)?);
    let mut rows = Vec::new();
    for record in csv.byte_records() {
        let record = record.map_err(|error| place.csv(&error))?;
        let value = |(at, cell): (usize, &[u8])| {
            let wrong = |_| place.no_number(&record, &format!("{}", at + 1), cell);
            number(cell, &[]).map_err(wrong)
        };
        let mut values = record.iter().enumerate().skip(1).map(value).collect::<Result<Vec<_>, _>>()?;
        values.truncate(values.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        rows.push(Row { name: text(record.get(0).unwrap_or_default()), values });
    }
    if rows.is_empty() {
        return Err(place.whole("it holds no rows", "a header, and then one series a row: its name and its values"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rows_are_as_long_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            read_rows(&file)
        };
        let row = |name: &str, values: &[Option<f64>]| Row { name: name.to_owned(), values: values.to_vec() };
        let rows = read("\"V1\",\"V2\",\"V3\",\"V4\"\n\"a\",\"1\",\"\",\"3.5\"\nb,2,,\nc,4\nd\n").unwrap();
        let expected =
            [row("a", &[Some(1.0), None, Some(3.5)]), row("b", &[Some(2.0)]), row("c", &[Some(4.0)]), row("d", &[])];
        assert_eq!(rows, expected);
        let error = read("V1,V2\na,1\nb,one\n").unwrap_err().to_string();
        assert!(error.contains("line 3, column \"2\": \"one\"; expected a number"), "{error}");
        assert!(read("V1,V2\n").unwrap_err().to_string().contains("it holds no rows"));
    }
}
