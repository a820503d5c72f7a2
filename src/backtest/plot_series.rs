//! The data of a fan chart: the newest values of one series with their forecasts.

use std::collections::VecDeque;

use crate::{forecast::ForecastSpec, time::Grid};

/// A forecast in a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotForecast {
    /// Slot of the origin.
    pub slot: i64,
    /// Value at the origin.
    pub value: f64,
    /// Point forecasts, `[output]`.
    pub point: Vec<f64>,
    /// Quantiles, `[output][level]`.
    pub quantiles: Vec<f64>,
}

/// The newest values of a series and the forecast from each.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotSeries {
    /// Name of the series.
    pub name: String,
    /// Index of the series in the table.
    pub(super) series: usize,
    /// The grid of the slots.
    pub grid: Grid,
    /// The forecast specification.
    pub spec: ForecastSpec,
    /// The forecasts, oldest first.
    pub forecasts: VecDeque<PlotForecast>,
    /// Slots and values of the whole series.
    pub values: Vec<(i64, f64)>,
    /// Those of its anomalies.
    pub anomalies: Vec<(i64, f64)>,
    max_forecasts: usize,
}

impl PlotSeries {
    pub(super) fn new(name: &str, series: usize, grid: Grid, spec: &ForecastSpec) -> Self {
        let max_forecasts = (5 * spec.horizon).max(2 * spec.season).max(60);
        Self {
            name: name.to_owned(),
            series,
            grid,
            spec: spec.clone(),
            forecasts: VecDeque::new(),
            values: Vec::new(),
            anomalies: Vec::new(),
            max_forecasts,
        }
    }

    /// Adds a forecast and drops the oldest one if there are too many. `anomalous` says whether its value is.
    pub(super) fn push(&mut self, forecast: PlotForecast, anomalous: bool) {
        self.values.push((forecast.slot, forecast.value));
        if anomalous {
            self.anomalies.push((forecast.slot, forecast.value));
        }
        if self.forecasts.len() == self.max_forecasts {
            self.forecasts.pop_front();
        }
        self.forecasts.push_back(forecast);
    }
}
