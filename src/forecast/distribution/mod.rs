//! The predictive distribution: quantiles and their calibration.

pub(super) mod calibration;
pub(super) mod quantile_blocks;
