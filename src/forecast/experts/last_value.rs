//! The last value as the forecast of all leads.

use super::contract::{ForecastInput, PointForecaster};
use crate::forecast::pending_forecasts::PendingPoints;

/// Forecasts the last value; all forecasts are relative to it.
pub(in crate::forecast) struct LastValue;

impl PointForecaster for LastValue {
    fn forecast(&self, _: &ForecastInput<'_>, outputs: &mut [f64]) {
        outputs.fill(0.0);
    }

    fn due(&self, _: &PendingPoints) -> f32 {
        0.0
    }
}
