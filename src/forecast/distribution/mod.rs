//! The predictive distribution: quantiles and their calibration.

pub(super) mod conformal_calibration;
mod phase_spread;
pub(super) mod quantile_blocks;
