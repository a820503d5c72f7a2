//! The forecast of one step.

use super::experts::expert::{EXPERTS, Weights};
use super::spec::ForecastSpec;

/// A forecast of each step of the horizon, or of an aggregate of it, with quantiles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// `[output]`: the mean of the predictive distribution, which minimises the squared error.
    pub point: Vec<f64>,
    /// `[output][level]`: quantiles, ascending in each output. That of 0.5, the median, minimises the absolute error.
    pub quantiles: Vec<f64>,
    /// The probability that the aggregate crosses the threshold, where there is one.
    pub crossing: Option<f32>,
    /// `[expert][output]`: the experts' forecasts relative to the last value; that of the network in the series' scale.
    pub(super) experts: [Vec<f64>; EXPERTS],
    /// `[objective][bucket]`: the experts' weights.
    pub(super) weights: [Vec<Weights>; 2],
}

impl Forecast {
    /// An empty forecast of the shape of `spec`, for [`ForecastState::forecast`](super::ForecastState::forecast).
    pub fn new(spec: &ForecastSpec) -> Self {
        let outputs = spec.outputs();
        Self {
            point: vec![0.0; outputs],
            quantiles: vec![0.0; outputs * spec.levels.len()],
            crossing: None,
            experts: std::array::from_fn(|_| vec![0.0; outputs]),
            weights: Default::default(),
        }
    }
}
