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

/// What a forecast of the current observation was made of, when it was made.
#[derive(Clone, Copy)]
pub(in crate::forecast) struct DueInput<'a> {
    pub spec: &'a ForecastSpec,
    /// The series, which does not hold the observation yet.
    pub series: &'a SeriesState,
    /// Steps ago at which it was made.
    pub lead: usize,
    /// Last value and scale of that time.
    pub last_value: f64,
    pub scale: f64,
    /// Forecasts that were stored then.
    pub stored: PendingPoints,
}

/// An expert: a point forecast of every output.
pub(in crate::forecast) trait PointForecaster {
    /// Writes the forecast of each output relative to the last value: in the unit of the values, that of the network in
    /// the series' scale.
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]);

    /// The forecast that was made for the current observation, relative to the last value of that time, in its scale.
    fn due(&self, input: &DueInput<'_>) -> f32;
}
