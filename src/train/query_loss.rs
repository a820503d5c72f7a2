//! The pinball loss of a query decoder. Leads are drawn by strata (see [`super::lead_sample`]). The loss is the
//! geometric mean over the strata of their mean losses: its gradient divides each stratum by its own difficulty, so
//! that long leads do not drown short ones.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::lead_sample::LEADS;
use crate::nn::{QUANTILE_GRID, query_decoder};
use crate::series::QUERY_FEATURES;

/// Added to the mean loss of a stratum, in scales: series that are forecast exactly do not dominate.
const FLOOR: f64 = 1e-3;

/// Queries and their targets.
#[derive(Debug, Clone)]
pub(super) struct QueryLoss {
    /// `[rows, LEADS, QUERY_FEATURES]`
    queries: Arc<[f32]>,
    /// `[rows, LEADS]`; NaN where a target has not matured.
    targets: Arc<[f32]>,
}

/// The loss and how it depends on the strata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strata {
    /// The geometric mean of the mean losses.
    pub loss: f64,
    /// Derivative of the loss by the sum of the losses of each stratum.
    pub factors: [f32; LEADS],
}

impl Strata {
    /// From the losses of each stratum, summed over levels and targets, and its number of matured targets. Strata
    /// without a matured target do not count.
    pub fn new(losses: &[f64; LEADS], matured: &[usize; LEADS]) -> Self {
        let counts = matured.map(|count| (count * QUANTILE_GRID.len()) as f64);
        let means: [f64; LEADS] = std::array::from_fn(|stratum| losses[stratum] / counts[stratum].max(1.0) + FLOOR);
        let known = |stratum: &usize| matured[*stratum] > 0;
        let strata = (0..LEADS).filter(known).count().max(1) as f64;
        let loss = ((0..LEADS).filter(known).map(|stratum| means[stratum].ln()).sum::<f64>() / strata).exp();
        let factor = |stratum: usize| loss / (strata * means[stratum] * counts[stratum].max(1.0));
        Self { loss, factors: std::array::from_fn(|stratum| factor(stratum) as f32) }
    }
}

impl QueryLoss {
    pub fn new(queries: Vec<f32>, targets: Vec<f32>) -> Self {
        Self { queries: queries.into(), targets: targets.into() }
    }

    /// `[rows, LEADS, QUERY_FEATURES]`
    pub fn queries(&self) -> &[f32] {
        &self.queries
    }

    /// `[rows, LEADS]`; NaN where a target has not matured.
    pub fn targets(&self) -> &[f32] {
        &self.targets
    }

    /// Targets that have matured.
    pub fn matured(&self) -> usize {
        self.matured_by_stratum().iter().sum()
    }

    /// Targets of each stratum that have matured.
    pub fn matured_by_stratum(&self) -> [usize; LEADS] {
        let mut matured = [0; LEADS];
        self.targets.iter().enumerate().for_each(|(at, target)| matured[at % LEADS] += usize::from(!target.is_nan()));
        matured
    }

    /// The loss on the network's outputs `[.., hidden]`, a scalar, in candle's operations. `tensor` finds the decoder's
    /// tensors.
    pub fn unfused(&self, outputs: &Tensor, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
        let (device, count, levels) = (outputs.device(), self.targets.len(), QUANTILE_GRID.len());
        let rows = count / LEADS;
        let queries = Tensor::from_slice(&self.queries, (count, QUERY_FEATURES), device)?;
        let quantiles = query_decoder::quantiles(outputs, &queries, tensor)?;
        let known: Vec<f32> = self.targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
        let safe: Vec<f32> = self.targets.iter().map(|target| if target.is_nan() { 0.0 } else { *target }).collect();
        let matured = self.matured_by_stratum().map(|count| count as f32);
        let level = Tensor::from_slice(&QUANTILE_GRID, (1, levels), device)?;
        let error = Tensor::from_vec(safe, (count, 1), device)?.broadcast_sub(&quantiles)?;
        let loss = error.broadcast_mul(&level)?.maximum(&error.broadcast_mul(&(level - 1.0)?)?)?.sum(1)?;
        let sums = (loss * Tensor::from_vec(known, count, device)?)?.reshape((rows, LEADS))?.sum(0)?;
        let shares = matured.map(|count| 1.0 / (count.max(1.0) * levels as f32));
        let means = (sums * Tensor::from_slice(&shares, LEADS, device)?)?;
        // Strata without a matured target do not count.
        let counts = matured.map(|count| f32::from(u8::from(count > 0.0)));
        let strata = counts.iter().sum::<f32>().max(1.0);
        let logarithms = ((means + FLOOR)?.log()? * Tensor::from_slice(&counts, LEADS, device)?)?;
        (logarithms.sum_all()? / f64::from(strata))?.to_dtype(DType::F32)?.exp()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::{NetworkSpec, Weights};

    #[test]
    fn the_loss_is_the_geometric_mean_of_the_strata() {
        let spec = NetworkSpec { hidden: 4, decoder: 4, levels: 13, ..NetworkSpec::default() };
        let weights = Weights::initial(&spec);
        let device = Device::Cpu;
        let tensor = |name: &str| {
            let tensor = &weights.tensors()[&format!("head.{name}")];
            Tensor::from_slice(&tensor.values, tensor.shape.as_slice(), &device)
        };
        // Untrained, quantiles lie 0.693 from each other around 0.
        let rows = 3;
        let targets: Vec<f32> = (0..rows * LEADS)
            .map(|at| match at % LEADS {
                2 => f32::NAN,
                stratum => {
                    if at == 3 {
                        f32::NAN
                    } else {
                        stratum as f32 * 2.0 - 5.0
                    }
                }
            })
            .collect();
        let loss = QueryLoss::new(vec![0.3; rows * LEADS * QUERY_FEATURES], targets.clone());
        assert_eq!(loss.matured(), rows * LEADS - 4);
        let outputs = Tensor::zeros((rows, 4), DType::F32, &device).unwrap();
        let found = loss.unfused(&outputs, &tensor).unwrap().to_scalar::<f32>().unwrap();
        let pinball = |target: f64| {
            let each = QUANTILE_GRID.iter().enumerate().map(|(at, level)| {
                let error = target - (at as f64 - 6.0) * 2.0_f64.ln();
                (f64::from(*level) * error).max((f64::from(*level) - 1.0) * error)
            });
            each.sum::<f64>() / 13.0
        };
        let strata = (0..LEADS).filter(|stratum| *stratum != 2);
        let logarithms: f64 = strata.map(|stratum| (pinball(stratum as f64 * 2.0 - 5.0) + FLOOR).ln()).sum();
        let expected = (logarithms / 7.0).exp();
        assert!((f64::from(found) - expected).abs() < 1e-4, "{found} {expected}");
    }
}
