//! The recurrent network's point forecast.

use super::contract::{ForecastInput, PointForecaster};
use crate::forecast::numeric::clamp_network_output;
use crate::forecast::pending_forecasts::PendingPoints;

/// Forecasts the mean of the network's output distribution; its median where it forecasts alone or is pre-trained: the
/// mean of skewed quantiles is worse for young series.
pub(in crate::forecast) struct Network;

impl PointForecaster for Network {
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]) {
        let spec = input.spec;
        for (output, quantiles) in outputs.iter_mut().zip(input.network.chunks_exact(spec.levels.len())) {
            let point = if spec.network_alone || spec.pretrained {
                quantiles[spec.median()]
            } else {
                spec.mean_of_quantiles(quantiles)
            };
            *output = f64::from(clamp_network_output(point));
        }
    }

    fn due(&self, stored: &PendingPoints) -> f32 {
        stored.network
    }
}
