//! The head in training: quantiles of every step ahead and their pinball loss (Koenker, Bassett, Econometrica 46(1),
//! 1978), `max(level * (target - quantile), (level - 1) * (target - quantile))`, averaged over what has matured; or the
//! quantile Huber loss (Dabney, Ostrovski, Silver, Munos, ICML 2018, arXiv:1806.06923), which replaces its kink by a
//! parabola: with `over = target - quantile`, `abs(level - [over < 0])` times `over^2 / (2 huber)` where `over` is within
//! plus and minus `huber`, and times `abs(over) - huber / 2` beyond.
//!
//! On the processor both are one operation: the quantiles of a few rows at a time become slopes of the loss where they
//! stand, so that of all the quantiles nothing but the slopes is ever written. The gradients by outputs and weights are
//! then one matrix product each.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};

use crate::nn::kernel::{Instructions, Panel, Rows, dense_rows};

/// Rows whose quantiles are at work at a time.
const ROWS: usize = 48;

/// Targets `[rows, horizon]`, NaN where there is none, the quantile levels, and how far the parabola reaches (0: none).
#[derive(Debug, Clone)]
pub(super) struct Pinball {
    targets: Arc<[f32]>,
    levels: Arc<[f32]>,
    huber: f32,
    matured: u64,
}

impl Pinball {
    pub(super) fn new(targets: Vec<f32>, levels: &[f32], huber: f32) -> Self {
        let matured = targets.iter().filter(|target| !target.is_nan()).count() as u64;
        Self { targets: targets.into(), levels: levels.into(), huber, matured }
    }

    /// How many targets there are.
    pub(super) fn matured(&self) -> u64 {
        self.matured
    }

    /// The mean loss of the head `weight` `[horizon * levels, hidden]` and `bias` `[horizon * levels]` on the network's
    /// outputs `[rows, hidden]`: a scalar that can be differentiated by all three. There must be a target.
    pub(super) fn mean(&self, outputs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (rows, size) = (outputs.dim(0)?, bias.dim(0)?);
        if self.matured == 0 || self.targets.len() * self.levels.len() != rows * size {
            candle_core::bail!("{} targets, {} matured, for {rows} x {size}", self.targets.len(), self.matured);
        }
        if outputs.device().is_cpu() {
            let head = Head { pinball: self.clone(), slopes: OnceLock::new() };
            outputs.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, head)
        } else {
            self.plain(outputs, weight, bias)
        }
    }

    /// The same in candle's operations.
    fn plain(&self, outputs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (device, targets, levels) = (outputs.device(), self.targets.len(), self.levels.len());
        let quantiles = outputs.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape((targets, levels))?;
        let known: Vec<f32> = self.targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
        let safe: Vec<f32> = self.targets.iter().map(|target| if target.is_nan() { 0.0 } else { *target }).collect();
        let known = Tensor::from_vec(known, (targets, 1), device)?;
        let safe = Tensor::from_vec(safe, (targets, 1), device)?;
        let level = Tensor::from_slice(&self.levels, (1, levels), device)?;
        let over = safe.broadcast_sub(&quantiles)?;
        let loss = if self.huber > 0.0 {
            // The part of an error within the parabola, and what goes beyond it.
            let size = over.abs()?;
            let within = size.minimum(f64::from(self.huber))?;
            let smooth = ((within.sqr()? * (0.5 / f64::from(self.huber)))? + (size - within)?)?;
            let above = over.ge(0.0)?.to_dtype(DType::F32)?;
            let below = above.affine(-1.0, 1.0)?;
            (smooth * (above.broadcast_mul(&level)? + below.broadcast_mul(&level.affine(-1.0, 1.0)?)?)?)?
        } else {
            over.broadcast_mul(&level)?.maximum(&over.broadcast_mul(&(level - 1.0)?)?)?
        };
        loss.broadcast_mul(&known)?.sum_all()? * self.share()
    }

    /// What one target and level weighs in the mean.
    fn share(&self) -> f64 {
        1.0 / (self.matured as f64 * self.levels.len() as f64)
    }

    /// Turns the quantiles of `targets` into the slopes of the mean loss by them; the sum of their losses.
    fn slopes(&self, targets: &[f32], quantiles: &mut [f32]) -> f64 {
        let share = self.share() as f32;
        let mut sum = 0.0;
        for (target, quantiles) in targets.iter().zip(quantiles.chunks_exact_mut(self.levels.len())) {
            if target.is_nan() {
                quantiles.fill(0.0);
                continue;
            }
            let mut losses = 0.0;
            for (level, quantile) in self.levels.iter().zip(quantiles) {
                let over = target - *quantile;
                let weight = if over >= 0.0 { *level } else { 1.0 - level };
                if over.abs() < self.huber {
                    losses += weight * over * over / (2.0 * self.huber);
                    *quantile = -share * weight * over / self.huber;
                } else {
                    losses += weight * (over.abs() - 0.5 * self.huber);
                    *quantile = if over >= 0.0 { -share * weight } else { share * weight };
                }
            }
            sum += f64::from(losses);
        }
        sum
    }
}

/// The loss of one quantile of which the target lies `over` above.
pub(super) fn loss(level: f32, over: f32) -> f32 {
    if over >= 0.0 { level * over } else { (level - 1.0) * over }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("the head's loss needs contiguous tensors"),
    }
}

struct Head {
    pinball: Pinball,
    slopes: OnceLock<Slopes>,
}

/// The gradient of the mean loss by the quantiles `[rows, horizon * levels]` and its sum over the rows.
struct Slopes {
    all: Tensor,
    sum: Tensor,
}

impl CustomOp3 for Head {
    fn name(&self) -> &'static str {
        "head-loss"
    }

    fn cpu_fwd(
        &self,
        outputs: &CpuStorage,
        outputs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, hidden) = outputs_layout.shape().dims2()?;
        let (size, horizon) = (bias_layout.shape().elem_count(), self.pinball.targets.len() / rows);
        let data = slice(outputs, outputs_layout)?;
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let panel =
            Panel::new(size, (hidden, 0), |output, input| weight[output * hidden + input], |output| bias[output]);
        let mut all = vec![0.0; rows * size];
        let mut sum = vec![0.0; size];
        let mut losses = 0.0;
        for (chunk, slopes) in all.chunks_mut(ROWS * size).enumerate() {
            let (from, count) = (chunk * ROWS, slopes.len() / size);
            let input = Rows { data, stride: hidden, offset: from * hidden };
            dense_rows(Instructions::best(), &panel, count, input, slopes, size);
            losses += self.pinball.slopes(&self.pinball.targets[from * horizon..][..count * horizon], slopes);
            for row in slopes.chunks_exact(size) {
                sum.iter_mut().zip(row).for_each(|(sum, slope)| *sum += slope);
            }
        }
        let all = Tensor::from_vec(all, (rows, size), &Device::Cpu)?;
        let sum = Tensor::from_vec(sum, size, &Device::Cpu)?;
        self.slopes.get_or_init(|| Slopes { all, sum });
        Ok((CpuStorage::F32(vec![(losses * self.pinball.share()) as f32]), ().into()))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(Slopes { all, sum }) = self.slopes.get() else { candle_core::bail!("the head has not run forward") };
        // The slopes are those of the mean loss; what the loss itself weighs scales the small results.
        let by = |tensor: Tensor| Ok::<_, candle_core::Error>(Some(tensor.broadcast_mul(gradient)?));
        Ok((by(all.matmul(weight)?)?, by(all.t()?.matmul(outputs)?)?, by(sum.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn wave(count: usize, frequency: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * frequency).sin()).collect()
    }

    #[test]
    fn the_mean_leaves_out_what_has_not_matured() {
        let pinball = Pinball::new(vec![1.0, f32::NAN, 0.0, f32::NAN], &[0.1, 0.5], 0.0);
        assert_eq!(pinball.matured(), 2);
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        // One hidden number per row, so that the quantiles are 0, 3 in the first row and -1, 0.5 in the second.
        let outputs = tensor(&[1.0, 2.0], &[2, 1]);
        let (weight, bias) = (tensor(&[-1.0, -2.5, 7.0, 7.0], &[4, 1]), tensor(&[1.0, 5.5, 9.0, 9.0], &[4]));
        let expected = (0.1 * 1.0 + 0.5 * 2.0 + 0.1 * 1.0 + 0.5 * 0.5) / 4.0;
        let mean = pinball.mean(&outputs, &weight, &bias).unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - expected).abs() < 1e-6, "{mean} {expected}");
        let none = Pinball::new(vec![f32::NAN; 4], &[0.1, 0.5], 0.0);
        assert!(none.mean(&outputs, &weight, &bias).is_err(), "nothing to average");
        assert!(Pinball::new(vec![1.0; 3], &[0.1, 0.5], 0.0).mean(&outputs, &weight, &bias).is_err(), "sizes");
    }

    /// Targets with gaps, and outputs, weight and bias of a head that gives quantiles around them.
    fn case(huber: f32) -> (Pinball, [Var; 3]) {
        let (rows, hidden, horizon, levels) = (101, 20, 5, [0.05, 0.5, 0.95]);
        let mut targets = wave(rows * horizon, 0.37);
        targets.iter_mut().step_by(7).for_each(|target| *target = f32::NAN);
        let variable = |shape: &[usize], frequency| {
            Var::from_vec(wave(shape.iter().product(), frequency), shape, &Device::Cpu).unwrap()
        };
        let variables = [
            variable(&[rows, hidden], 0.61),
            variable(&[horizon * levels.len(), hidden], 0.83),
            variable(&[horizon * levels.len()], 0.29),
        ];
        (Pinball::new(targets, &levels, huber), variables)
    }

    #[test]
    fn loss_and_gradients_are_those_of_candles_own_operations() {
        for huber in [0.0, 0.4, 100.0] {
            let (pinball, variables) = case(huber);
            let [outputs, weight, bias] = &variables;
            let fused = pinball.mean(outputs, weight, bias).unwrap();
            let plain = pinball.plain(outputs, weight, bias).unwrap();
            let difference = fused.to_scalar::<f32>().unwrap() - plain.to_scalar::<f32>().unwrap();
            assert!(difference.abs() < 1e-6, "{huber}: {difference}");
            let [fused, plain] = [fused, plain].map(|loss| (loss * 3.0).unwrap().backward().unwrap());
            for variable in &variables {
                let [fused, plain] = [&fused, &plain]
                    .map(|store| store.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
                assert!(fused.iter().any(|slope| slope.abs() > 1e-4), "{huber}");
                for (left, right) in fused.iter().zip(&plain) {
                    assert!((left - right).abs() < 1e-6, "{huber}: {left} {right}");
                }
            }
        }
    }

    #[test]
    fn the_smoothed_loss_is_that_of_the_paper_and_its_slopes_are_its_differences() {
        let (huber, level) = (0.5_f64, 0.1_f32);
        let expected = |over: f64| {
            let weight = if over < 0.0 { 1.0 - f64::from(level) } else { f64::from(level) };
            let size = over.abs();
            weight * if size <= huber { 0.5 * size * size } else { huber * (size - 0.5 * huber) } / huber
        };
        let pinball = Pinball::new(vec![1.0], &[level], huber as f32);
        let mut beyond = 0;
        for at in -40..=40 {
            let over = f64::from(at) * 0.037;
            let mut quantile = [(1.0 - over) as f32];
            let loss = pinball.slopes(&[1.0], &mut quantile);
            assert!((loss - expected(over)).abs() < 1e-6, "{over}: {loss}");
            let difference = (expected(over - 1e-6) - expected(over + 1e-6)) / 2e-6;
            assert!((f64::from(quantile[0]) - difference).abs() < 1e-5, "{over}: {} {difference}", quantile[0]);
            beyond += usize::from(over.abs() > huber);
        }
        assert!((20..60).contains(&beyond), "both sides of the parabola's edge: {beyond}");
    }
}
