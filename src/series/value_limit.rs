//! The range of values that the arithmetic of a series can bear.

/// Values are clamped to `-VALUE_LIMIT..=VALUE_LIMIT`, so that differences, squares and their sums stay finite. No
/// measurement of anything real comes near it.
pub const VALUE_LIMIT: f64 = 1e150;

/// Whether a number can result from values within [`VALUE_LIMIT`]: a value, a difference or a mean, with rounding.
pub(crate) fn is_within_limit(number: f64) -> bool {
    number.abs() <= 4.0 * VALUE_LIMIT
}
