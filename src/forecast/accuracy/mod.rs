//! How accurate forecasts are: measures for reports, sums for metrics, and a test for drift.

pub(super) mod drift;
pub(super) mod measures;
pub(super) mod sums;
