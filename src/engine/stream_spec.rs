//! The specification of a stream.

use std::sync::Arc;

use crate::{forecast::ForecastSpec, nn::NetworkSpec, series::SeriesSpec};

/// What the engine needs to know about a stream.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: Arc<str>,
    /// The grid, the scale and the features.
    pub series: SeriesSpec,
    /// Horizon, quantile levels, experts.
    pub forecast: ForecastSpec,
    /// The network that all series of the stream share.
    pub network: NetworkSpec,
    /// The most series that a task of this stream holds. Observations of further series are rejected.
    pub max_series: usize,
}
