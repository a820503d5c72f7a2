//! The names of a table's columns.

use csv::ByteRecord;

use super::cells::{CellRule, text};
use super::location::Location;
use super::names::is_time;
use super::profile::{Kind, Sample, any_stamp};
use crate::backtest::error::DataError;
use crate::backtest::findings::Findings;

/// The header of a table.
pub(super) struct Header {
    pub names: Vec<String>,
    /// Whether the first record holds them.
    pub in_file: bool,
}

/// Number of cells of most rows.
fn common_width(rows: &[ByteRecord]) -> usize {
    let mut widths: Vec<usize> = rows.iter().map(ByteRecord::len).collect();
    widths.sort_unstable();
    let longest = widths.chunk_by(|one, other| one == other).max_by_key(|run| run.len());
    longest.and_then(|run| run.first().copied()).unwrap_or(0)
}

/// Finds the header. `given` says whether there is one; otherwise the first record is none if it holds what the others
/// do. `rows` begin with the first record.
pub(super) fn find_header(
    location: Location<'_>,
    rows: &[ByteRecord],
    given: Option<bool>,
    rule: &CellRule<'_>,
    findings: &mut Findings,
) -> Result<Header, DataError> {
    let [first, rest @ ..] = rows else { return Ok(Header { names: Vec::new(), in_file: false }) };
    let width = if rest.is_empty() { first.len() } else { common_width(rest) };
    let numbered: Vec<String> = (1..=width).map(|column| column.to_string()).collect();
    let sample = Sample { rows: rest, rule: rule.clone(), names: &numbered };
    let kinds: Vec<Kind> = sample.profiles().iter().map(|profile| profile.kind).collect();
    let in_file = given.unwrap_or_else(|| {
        let is_stamp = |cell: &[u8]| any_stamp(&text(cell)).is_some();
        let stamps = kinds.iter().zip(first).any(|(kind, cell)| *kind == Kind::Stamps && is_stamp(cell));
        let is_number = |cell: &[u8]| matches!(rule.number(cell), Ok(Some(_)));
        let headless = stamps || !kinds.contains(&Kind::Stamps) && !rest.is_empty() && first.iter().all(is_number);
        if headless {
            let why = "the first line holds what the others hold; --header says that it holds names";
            findings.say("no header: the columns are 1, 2, 3 …".into(), why.into());
        }
        !headless
    });
    if !in_file {
        return Ok(Header { names: numbered, in_file });
    }
    let mut names: Vec<String> = first.iter().map(text).collect();
    let empty_from =
        |from: usize| rest.iter().all(|row| row.iter().skip(from).all(|cell| cell.trim_ascii().is_empty()));
    if names.len() < width && empty_from(names.len()) {
        names.resize(width, String::new());
    } else if names.len() + 1 == width {
        if kinds[0] == Kind::Stamps && is_time(&names[0]) {
            let found = format!("its header has {} columns and its rows have {width}", names.len());
            let expected = "numbers with a decimal comma in quotes, or another separator of columns, such as ; \
                            (--delimiter)";
            return Err(location.file_error(&found, expected));
        }
        names.insert(0, String::new());
        findings.note(
            "the first column has no name".into(),
            "the header has one name less than the rows have cells".into(),
        );
    }
    while names.len() > width && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    Ok(Header { names, in_file })
}
