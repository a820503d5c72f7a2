//! The recent values of a series and what is derived from them, stored once and lent to all experts.

pub(super) mod exponential_averages;
pub(super) mod observation;
pub(super) mod phase;
mod profile_bins;
pub(super) mod residuals;
pub(super) mod seasonal_profile;
pub(super) mod series_history;
