//! Numbers from and to text.

/// Reads a decimal number; `None` for anything else, words such as `nan` and `inf` and overflow included.
pub(super) fn parse_finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
