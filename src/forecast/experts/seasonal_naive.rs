//! The value one season before the target as its forecast.

use super::contract::{DueInput, ForecastInput, PointForecaster};
use crate::forecast::numeric::scaled_by;
use crate::forecast::spec::ForecastSpec;
use crate::series::{SeriesState, Target};

/// Forecasts the value whole seasons before the target; the last value where that one is unknown.
pub(in crate::forecast) struct SeasonalNaive;

impl PointForecaster for SeasonalNaive {
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]) {
        let (spec, series, last_value) = (input.spec, input.series, input.series.last_value());
        if spec.season < 2 {
            outputs.fill(0.0);
            return;
        }
        if let Some(target) = spec.target {
            outputs.fill(aggregate(spec, series, target, 0).map_or(0.0, |value| value - last_value));
            return;
        }
        for season in outputs.chunks_mut(spec.season) {
            series.copy_back(spec.season - 1, season);
            for output in season {
                *output = if output.is_nan() { 0.0 } else { *output - last_value };
            }
        }
    }

    fn due(&self, input: &DueInput<'_>) -> f32 {
        let DueInput { spec, series, lead, last_value, scale, .. } = *input;
        let value = match spec.target {
            Some(target) => aggregate(spec, series, target, lead - 1),
            None => spec.seasonal_lag(lead).and_then(|lag| series.value_back(lag - 1)),
        };
        scaled_by(value.map_or(0.0, |value| value - last_value), scale)
    }
}

/// The aggregate of the seasonal naive forecasts over a horizon that began `steps_back` steps before the newest step.
fn aggregate(spec: &ForecastSpec, series: &SeriesState, target: Target, steps_back: usize) -> Option<f64> {
    let at = |lead: usize| Some(steps_back + spec.seasonal_lag(lead)? - lead);
    target.of((1..=spec.horizon).map(|lead| at(lead).and_then(|at| series.value_back(at)).unwrap_or(f64::NAN)))
}
