//! Reads a CSV file into a [`Table`].

use std::io::Read;
use std::path::Path;

use csv::ByteRecord;

use super::assemble::assemble;
use super::cells::{CellRule, quoted};
use super::columns::Columns;
use super::dialect::{Dialect, find_dialect};
use super::encoding::decode;
use super::header::find_header;
use super::location::{Location, decompressed, open};
use super::number_style::{NumberStyle, StyleEvidence, UnknownStyle};
use super::profile::{Sample, any_stamp};
use super::rows::Rows;
use super::sample::{csv_reader, sample_rows};
use super::spec::ReadSpec;
use crate::backtest::error::DataError;
use crate::backtest::findings::Findings;
use crate::backtest::table::Table;

/// Reads a file, plain or gzipped.
///
/// # Errors
/// If it cannot be opened, or its content does not match `spec`.
pub fn read_file(path: &Path, spec: &ReadSpec) -> Result<Table, DataError> {
    read(open(path)?, &path.display().to_string(), spec)
}

/// Reads the content of the file called `name`.
///
/// # Errors
/// If the content does not match `spec`.
pub fn read(source: impl Read, name: &str, spec: &ReadSpec) -> Result<Table, DataError> {
    let location = Location { file: name };
    let mut bytes = Vec::new();
    decompressed(source, name)?.read_to_end(&mut bytes).map_err(|error| {
        location.file_error(&format!("it cannot be read to its end ({error})"), "complete CSV, plain or gzipped")
    })?;
    let mut findings = Findings::default();
    let decoded = decode(bytes);
    if let Some((encoding, why)) = decoded.other {
        findings.say(format!("encoding {encoding}"), why.into());
    }
    let Dialect { delimiter, start, lines_before } = find_dialect(&decoded.text, spec.delimiter, &mut findings);
    let body = &decoded.text[start..];
    let mut sample = sample_rows(body, delimiter).map_err(|error| location.csv_error(&error))?;
    let style = number_style(location, &sample, spec, &mut findings)?;
    let rule = CellRule { style, missing: &spec.missing, missing_words: &spec.missing_words };
    let header = find_header(location, &sample, spec.header, &rule, &mut findings)?;
    if header.in_file {
        sample.remove(0);
    }
    if sample.is_empty() {
        let expected = "a CSV file with a header and at least one row of numbers";
        return Err(location.file_error("it holds no rows", expected));
    }
    let of_rows = Sample { rows: &sample, rule: rule.clone(), names: &header.names };
    let columns = Columns::new(location, &of_rows, spec, &mut findings)?;
    drop(sample);
    let mut rows = Rows::new(location, rule, columns, lines_before);
    let mut reader = csv_reader(body, delimiter);
    let mut record = ByteRecord::new();
    let mut is_header = header.in_file;
    while reader.read_byte_record(&mut record).map_err(|error| location.csv_error(&error))? {
        if !std::mem::take(&mut is_header) {
            rows.add(&record)?;
        }
    }
    assemble(rows, spec, findings)
}

/// How the numbers are written, by all cells of the sample that are no timestamps.
fn number_style(
    location: Location<'_>,
    sample: &[ByteRecord],
    spec: &ReadSpec,
    findings: &mut Findings,
) -> Result<NumberStyle, DataError> {
    if let Some(decimal) = spec.decimal {
        return Ok(NumberStyle::Marked { decimal });
    }
    let mut evidence = StyleEvidence::default();
    let cells = sample.iter().flat_map(ByteRecord::iter);
    // Digits with one point are numbers: months such as 01.2024 say nothing else.
    let is_stamp = |cell: &[u8]| {
        let marks = cell.iter().any(|byte| matches!(byte, b':' | b'-' | b'/')) || cell.len() > 7;
        marks && std::str::from_utf8(cell).is_ok_and(|text| any_stamp(text).is_some())
    };
    cells.filter(|cell| cell.iter().any(|byte| !byte.is_ascii_digit())).for_each(|cell| {
        if !is_stamp(cell) {
            evidence.add(cell);
        }
    });
    match evidence.style() {
        Ok(style) => {
            if style != NumberStyle::Plain {
                findings.say(format!("numbers with {}", style.name()), "every cell is a number so".into());
            }
            Ok(style)
        }
        Err(UnknownStyle::Ambiguous(cell)) => {
            let (as_decimal, as_thousands) = (cell.replace(',', "."), cell.replace(',', ""));
            let found = format!("{} may be {as_decimal} or {as_thousands}", quoted(&cell));
            Err(location
                .file_error(&found, "--decimal , for a decimal comma, or --decimal . for commas between thousands"))
        }
    }
}
