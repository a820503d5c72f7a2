//! What an expert looks at, and what it gives.

use crate::forecast::history::series_history::History;
use crate::forecast::pending_forecasts::PendingPoints;
use crate::forecast::spec::ForecastSpec;
use crate::series::SeriesState;

/// Everything that a forecast of one series is made of; lent to all experts.
#[derive(Clone, Copy)]
pub(in crate::forecast) struct ForecastInput<'a> {
    pub spec: &'a ForecastSpec,
    pub series: &'a SeriesState,
    pub history: &'a History,
    /// `[output][level]`: the network's quantiles relative to the last value, in the series' scale.
    pub network: &'a [f32],
}

/// An expert: a point forecast of every output.
pub(in crate::forecast) trait PointForecaster {
    /// Writes the forecast of each output relative to the last value: in the unit of the values, that of the network in
    /// the series' scale.
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]);

    /// Its forecast among those that were stored for the current observation.
    fn due(&self, stored: &PendingPoints) -> f32;
}
