//! The specification of a stream.

use std::sync::Arc;

use super::field_bounds::FieldBounds;
use crate::{
    forecast::ForecastSpec,
    nn::{NetworkSpec, QUANTILE_GRID},
    series::SeriesSpec,
};

/// What the engine needs to know about a stream.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: Arc<str>,
    /// The grid, the scale and the features.
    pub series: SeriesSpec,
    /// Horizon, quantile levels, experts.
    pub forecast: ForecastSpec,
    /// What the values of each field can be. It bounds forecasts, and no state depends on it.
    pub bounds: FieldBounds,
    /// The network that all series of the stream share.
    pub network: NetworkSpec,
    /// The most series that a task of this stream holds.
    pub max_series: usize,
    /// What happens where a series begins beyond them.
    pub when_full: WhenFull,
    /// A series ends once the event time of its task is so many milliseconds beyond that of its last observation; none:
    /// never.
    pub series_ttl: Option<i64>,
}

impl StreamSpec {
    /// The same stream with the builtin network.
    #[must_use]
    pub fn with_builtin_weights(mut self) -> Self {
        self.network = self.network.with_builtin_weights();
        (self.series.queries, self.forecast.pretrained) = (true, true);
        self
    }

    /// The levels of the network's quantiles.
    pub fn network_levels(&self) -> &[f32] {
        if self.network.decoder > 0 { &QUANTILE_GRID } else { &self.forecast.levels }
    }

    /// The same stream with a network that answers queries, with so many units of its decoder.
    #[must_use]
    pub fn with_decoder(mut self, units: usize) -> Self {
        (self.network.decoder, self.network.levels) = (units, QUANTILE_GRID.len());
        (self.series.queries, self.forecast.pretrained) = (true, true);
        self
    }
}

/// What a task does that holds as many series as it may, where another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It ends the series that has been silent longest.
    Evict,
    /// It rejects the observations of the other one.
    Refuse,
}
