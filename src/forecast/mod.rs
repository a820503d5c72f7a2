//! Experts, mixture, calibration, anomaly score and accuracy measures.
//!
//! Per step of a series: [`ForecastState::mature`] scores what was forecast for it and learns from that, then
//! [`ForecastState::forecast`] makes the next forecast. Nothing is learnt from a target before its slot has closed.

mod anomaly;
mod averages;
mod bounds;
mod calibration;
mod coming;
mod drift;
mod experts;
mod factor;
mod facts;
mod foresight;
mod linear;
pub mod measures;
mod mixture;
mod pending;
mod planes;
mod prior;
mod profile;
mod rarity;
mod ring;
mod spec;
mod state;
mod tail;

pub use anomaly::{Anomaly, AnomalyThresholds};
pub use drift::Drift;
pub use experts::{EXPERTS, Expert};
pub use facts::{AccuracySums, BucketSums};
pub use prior::StreamPrior;
pub use spec::{ForecastSpec, ForecastSpecError, MAX_HORIZON, MAX_LEVELS};
pub use state::{Forecast, ForecastState};

#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod data_tests;
