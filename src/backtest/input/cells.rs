//! Parses and prints cells.

use crate::series::VALUE_LIMIT;

/// Texts of a missing value, in lower case.
const GAPS: [&str; 6] = ["", "nan", "na", "n/a", "null", "none"];

/// A cell that holds neither a number nor a gap.
pub(super) struct NotANumber;

/// The number in a cell; `None` for a gap or one of `missing`.
pub(super) fn number(cell: &[u8], missing: &[f64]) -> Result<Option<f64>, NotANumber> {
    let cell = cell.trim_ascii();
    match std::str::from_utf8(cell).ok().and_then(|cell| cell.parse::<f64>().ok()) {
        Some(number) if number.is_nan() || missing.contains(&number) => Ok(None),
        Some(number) if number.abs() <= VALUE_LIMIT => Ok(Some(number)),
        None if GAPS.iter().any(|gap| cell.eq_ignore_ascii_case(gap.as_bytes())) => Ok(None),
        _ => Err(NotANumber),
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
