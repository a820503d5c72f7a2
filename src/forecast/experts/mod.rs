//! The experts: each makes a point forecast of every output, and the mixture weights them.
//!
//! [`contract`] says what an expert looks at and gives; every other forecaster has a file of its own.

pub(super) mod contract;
pub(super) mod covariance;
pub(super) mod expert;
pub(super) mod last_value;
pub(super) mod network;
pub(super) mod recursive_least_squares;
pub(super) mod regressors;
pub(super) mod seasonal_naive;
