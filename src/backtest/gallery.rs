//! The last part of one series and the forecasts made in it, for the plot.

use std::collections::VecDeque;

use crate::{forecast::ForecastSpec, time::Grid};

/// A forecast as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The slot of its origin.
    pub slot: i64,
    /// The value there.
    pub value: f64,
    /// `[output]`
    pub point: Vec<f64>,
    /// `[output][level]`
    pub quantiles: Vec<f64>,
}

/// The newest values of a series, and the forecast from each.
#[derive(Debug, Clone, PartialEq)]
pub struct Gallery {
    /// The series' name.
    pub name: String,
    /// Its index.
    pub(super) series: usize,
    /// The grid that slots count.
    pub grid: Grid,
    /// What is forecast.
    pub spec: ForecastSpec,
    /// Oldest first.
    pub forecasts: VecDeque<Shown>,
    most: usize,
}

impl Gallery {
    pub(super) fn new(name: &str, series: usize, grid: Grid, spec: &ForecastSpec) -> Self {
        let most = (5 * spec.horizon).max(2 * spec.season).max(60);
        Self { name: name.to_owned(), series, grid, spec: spec.clone(), forecasts: VecDeque::new(), most }
    }

    pub(super) fn take(&mut self, slot: i64, value: f64, point: &[f64], quantiles: &[f64]) {
        if self.forecasts.len() == self.most {
            self.forecasts.pop_front();
        }
        let (point, quantiles) = (point.to_vec(), quantiles.to_vec());
        self.forecasts.push_back(Shown { slot, value, point, quantiles });
    }
}
