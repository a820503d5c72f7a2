//! The newest values of a series, wherever they are stored.

/// The newest values of a series.
pub(super) trait RecentValues {
    /// The value `steps_back` before the newest step (0); NaN for an empty slot and where nothing is known.
    fn back(&self, steps_back: usize) -> f64;
    /// The event time `steps_back` before the newest step (0), on an irregular grid.
    fn time_back(&self, steps_back: usize) -> Option<i64>;
}
