//! The pinball loss of many quantiles over many steps ahead (Koenker, Bassett, Econometrica 46(1), 1978):
//! `max(level * (target - quantile), (level - 1) * (target - quantile))`, averaged over what has matured.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

/// Targets `[rows, horizon]`, NaN where there is none, and the quantile levels.
#[derive(Debug, Clone)]
pub(super) struct Pinball {
    targets: Arc<[f32]>,
    levels: Arc<[f32]>,
    matured: u64,
}

impl Pinball {
    pub(super) fn new(targets: Vec<f32>, levels: &[f32]) -> Self {
        let matured = targets.iter().filter(|target| !target.is_nan()).count() as u64;
        Self { targets: targets.into(), levels: levels.into(), matured }
    }

    /// How many targets there are.
    pub(super) fn matured(&self) -> u64 {
        self.matured
    }

    /// The mean loss of `quantiles` `[rows, horizon * levels]`, a scalar that can be differentiated; there must be a
    /// target.
    pub(super) fn mean(&self, quantiles: &Tensor) -> Result<Tensor> {
        let (rows, outputs) = quantiles.dims2()?;
        if self.matured == 0 || self.targets.len() * self.levels.len() != rows * outputs {
            candle_core::bail!("{} targets, {} matured, for {rows} x {outputs}", self.targets.len(), self.matured);
        }
        if quantiles.device().is_cpu() {
            quantiles.contiguous()?.apply_op1(self.clone())
        } else {
            self.plain(quantiles)
        }
    }

    /// The same in candle's operations.
    fn plain(&self, quantiles: &Tensor) -> Result<Tensor> {
        let (device, targets, levels) = (quantiles.device(), self.targets.len(), self.levels.len());
        let known: Vec<f32> = self.targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
        let safe: Vec<f32> = self.targets.iter().map(|target| if target.is_nan() { 0.0 } else { *target }).collect();
        let known = Tensor::from_vec(known, (targets, 1), device)?;
        let safe = Tensor::from_vec(safe, (targets, 1), device)?;
        let level = Tensor::from_slice(&self.levels, (1, levels), device)?;
        let over = safe.broadcast_sub(&quantiles.reshape((targets, levels))?)?;
        let loss = over.broadcast_mul(&level)?.maximum(&over.broadcast_mul(&(level - 1.0)?)?)?;
        loss.broadcast_mul(&known)?.sum_all()? * self.weight()
    }

    /// What one target and level weighs in the mean.
    fn weight(&self) -> f64 {
        1.0 / (self.matured as f64 * self.levels.len() as f64)
    }

    /// Visits every quantile of every target that has matured: its place, its level and how far the target lies above.
    fn visit(&self, quantiles: &[f32], mut each: impl FnMut(usize, f32, f32)) {
        let levels = self.levels.len();
        for (index, (target, quantiles)) in self.targets.iter().zip(quantiles.chunks_exact(levels)).enumerate() {
            if !target.is_nan() {
                for (at, (level, quantile)) in self.levels.iter().zip(quantiles).enumerate() {
                    each(index * levels + at, *level, target - quantile);
                }
            }
        }
    }
}

/// The loss of one quantile of which the target lies `over` above.
pub(super) fn loss(level: f32, over: f32) -> f32 {
    if over >= 0.0 { level * over } else { (level - 1.0) * over }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("the pinball loss needs contiguous tensors"),
    }
}

impl CustomOp1 for Pinball {
    fn name(&self) -> &'static str {
        "pinball"
    }

    fn cpu_fwd(&self, quantiles: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut sum = 0.0_f64;
        self.visit(slice(quantiles, layout)?, |_, level, over| sum += f64::from(loss(level, over)));
        Ok((CpuStorage::F32(vec![(sum * self.weight()) as f32]), ().into()))
    }

    fn bwd(&self, quantiles: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(quantiles.apply_op2_no_bwd(gradient, &Slope(self))?))
    }
}

/// The gradient of [`Pinball`] by the quantiles.
struct Slope<'a>(&'a Pinball);

impl CustomOp2 for Slope<'_> {
    fn name(&self) -> &'static str {
        "pinball-slope"
    }

    fn cpu_fwd(
        &self,
        quantiles: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let quantiles = slice(quantiles, layout)?;
        let gradient = slice(gradient, gradient_layout)?.first().copied().unwrap_or(0.0);
        let weight = gradient * self.0.weight() as f32;
        let mut slopes = vec![0.0; quantiles.len()];
        self.0.visit(quantiles, |at, level, over| {
            slopes[at] = weight * if over >= 0.0 { -level } else { 1.0 - level };
        });
        Ok((CpuStorage::F32(slopes), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_mean_leaves_out_what_has_not_matured() {
        let pinball = Pinball::new(vec![1.0, f32::NAN, 0.0, f32::NAN], &[0.1, 0.5]);
        assert_eq!(pinball.matured(), 2);
        let quantiles =
            Tensor::from_slice(&[0.0_f32, 3.0, 9.0, 9.0, -1.0, 0.5, 9.0, 9.0], (2, 4), &Device::Cpu).unwrap();
        let expected = (0.1 * 1.0 + 0.5 * 2.0 + 0.1 * 1.0 + 0.5 * 0.5) / 4.0;
        let mean = pinball.mean(&quantiles).unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - expected).abs() < 1e-6, "{mean} {expected}");
        assert!(Pinball::new(vec![f32::NAN; 4], &[0.1, 0.5]).mean(&quantiles).is_err(), "nothing to average");
        assert!(Pinball::new(vec![1.0; 3], &[0.1, 0.5]).mean(&quantiles).is_err(), "sizes");
    }

    #[test]
    fn loss_and_gradient_are_those_of_candles_own_operations() {
        let targets: Vec<f32> =
            (0..60).map(|at| if at % 7 == 3 { f32::NAN } else { (at as f32 * 0.37).sin() }).collect();
        let pinball = Pinball::new(targets, &[0.05, 0.5, 0.95]);
        let values: Vec<f32> = (0..180).map(|at| (at as f32 * 0.61).cos()).collect();
        let quantiles = Var::from_vec(values, (12, 15), &Device::Cpu).unwrap();
        let (fused, plain) = (pinball.mean(&quantiles).unwrap(), pinball.plain(&quantiles).unwrap());
        let difference = fused.to_scalar::<f32>().unwrap() - plain.to_scalar::<f32>().unwrap();
        assert!(difference.abs() < 1e-6);
        let gradient = |loss: Tensor| {
            let gradients = (loss * 3.0).unwrap().backward().unwrap();
            gradients.get(&quantiles).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let (fused, plain) = (gradient(fused), gradient(plain));
        assert!(fused.iter().any(|slope| *slope != 0.0) && fused[3 * 3..4 * 3] == [0.0; 3]);
        for (left, right) in fused.iter().zip(&plain) {
            assert!((left - right).abs() < 1e-7, "{left} {right}");
        }
    }
}
