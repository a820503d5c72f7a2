//! The predictive distribution: quantiles and their calibration.

pub(super) mod conformal_calibration;
pub(super) mod quantile_blocks;
