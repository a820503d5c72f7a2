//! Parses and prints cells.

use super::number_style::NumberStyle;
use crate::series::VALUE_LIMIT;

/// Words for a missing value, in lower case.
const GAPS: [&str; 27] = [
    "",
    "nan",
    "na",
    "n/a",
    "#n/a",
    "#na",
    "n.a.",
    "null",
    "none",
    "nil",
    "-",
    "--",
    "---",
    ".",
    "?",
    "unavailable",
    "unknown",
    "missing",
    "undefined",
    "no data",
    "nodata",
    "#value!",
    "#ref!",
    "#div/0!",
    "#num!",
    "#null!",
    "#name?",
];

/// A cell that holds neither a number nor a gap.
pub(super) struct NotANumber;

/// How cells become numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CellRule<'a> {
    pub style: NumberStyle,
    /// Numbers that stand for a missing value.
    pub missing: &'a [f64],
    /// Words that do.
    pub missing_words: &'a [String],
}

impl CellRule<'_> {
    /// The number in a cell; `None` for a gap.
    pub fn number(&self, cell: &[u8]) -> Result<Option<f64>, NotANumber> {
        let cell = cell.trim_ascii();
        match self.style.parse(cell) {
            Some(number) if number.is_nan() || self.missing.contains(&number) => Ok(None),
            Some(number) if number.abs() <= VALUE_LIMIT => Ok(Some(number)),
            None if self.is_gap(cell) => Ok(None),
            _ => Err(NotANumber),
        }
    }

    /// Whether a cell is empty or a word for a missing value.
    pub fn is_gap(&self, cell: &[u8]) -> bool {
        let cell = cell.trim_ascii();
        GAPS.iter().any(|gap| cell.eq_ignore_ascii_case(gap.as_bytes()))
            || self.missing_words.iter().any(|word| cell.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// A cell as text. Invalid UTF-8 becomes U+FFFD.
pub(super) fn text(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell.trim_ascii()).into_owned()
}

/// A cell in quotes, cut to 60 characters.
pub(super) fn quoted(found: &str) -> String {
    let short: String = found.chars().take(60).collect();
    format!("\"{short}{}\"", if short.len() < found.len() { "…" } else { "" })
}

/// Up to 20 names, separated by commas.
pub(super) fn listed(names: &[String]) -> String {
    let mut shown: Vec<&str> = names.iter().take(20).map(String::as_str).collect();
    if names.len() > shown.len() {
        shown.push("…");
    }
    shown.join(", ")
}
