//! A sample of the rows of a table.

use csv::{ByteRecord, Reader, ReaderBuilder};

/// At most so many cells are sampled from the beginning.
const SAMPLE_CELLS: usize = 50_000;
/// So many rows are sampled from the beginning at least and at most.
const SAMPLE_ROWS: [usize; 2] = [200, 5000];
/// Where further rows are sampled, as shares of the table.
const FURTHER: [f64; 2] = [0.5, 0.9];

/// A reader of the cells of a table. Lines that begin with # are comments.
pub(super) fn csv_reader(table: &[u8], delimiter: u8) -> Reader<&[u8]> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).comment(Some(b'#')).delimiter(delimiter).from_reader(table)
}

/// Reads rows from the beginning of a table, and of a long table fewer ones from its middle and near its end.
pub(super) fn sample_rows(table: &[u8], delimiter: u8) -> Result<Vec<ByteRecord>, csv::Error> {
    let mut rows = Vec::new();
    let mut reader = csv_reader(table, delimiter);
    let mut records = reader.byte_records();
    let Some(first) = records.next().transpose()? else { return Ok(rows) };
    let [least, most] = SAMPLE_ROWS;
    let count = (SAMPLE_CELLS / first.len().max(1)).clamp(least, most);
    rows.push(first);
    for record in records.by_ref().take(count) {
        rows.push(record?);
    }
    let read = reader.position().byte() as usize;
    for share in FURTHER {
        let from = (table.len() as f64 * share) as usize;
        let line = table[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at + 1);
        let Some(start) = line.filter(|_| from > read) else { continue };
        for record in csv_reader(&table[start..], delimiter).byte_records().take(count / 4) {
            rows.push(record?);
        }
    }
    Ok(rows)
}
