//! Anomaly scores: how rare a value is, given its forecasts and the errors of earlier ones.

pub(super) mod absence;
pub(super) mod detector;
pub(super) mod error_window;
pub(super) mod forecast_tail;
pub(super) mod peaks_over_threshold;
pub(super) mod spike;
pub(super) mod thresholds;
