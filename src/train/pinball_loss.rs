//! The quantile head of all leads and its pinball loss (Koenker, Bassett, Econometrica 46(1), 1978), `max(level *
//! (target - quantile), (level - 1) * (target - quantile))`, averaged over matured targets. Alternatively the quantile
//! Huber loss (Dabney, Ostrovski, Silver, Munos, ICML 2018, arXiv:1806.06923), which is quadratic near zero: with
//! `error = target - quantile`, `abs(level - [error < 0])` times `error^2 / (2 huber)` where `abs(error) <= huber`, and
//! times `abs(error) - huber / 2` elsewhere.
//!
//! On the CPU, head and loss are one operation that computes the gradients along with the loss. It works on a few rows
//! at a time, so that quantiles and their gradients stay in the cache. Sections of rows run on several threads; their
//! results are added in order, so that the sum does not depend on the number of threads.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};

use rayon::prelude::*;

use super::optimiser::contiguous_values;
use crate::nn::kernel::{
    InstructionSet, LANES, OuterProduct, OutputMode, Panel, QuantileLoss, Rows, RowsMut, dense_rows, loss_gradients,
    outer_rows, padded,
};

/// Rows whose quantiles are in the cache at a time.
const ROWS: usize = 48;
/// Rows of one section, whose gradients one thread adds up.
const SECTION: usize = 32 * ROWS;

/// The loss of given targets.
#[derive(Debug, Clone)]
pub(super) struct Pinball {
    /// `[rows, horizon]`; NaN where a target has not matured.
    targets: Arc<[f32]>,
    levels: Arc<[f32]>,
    /// Threshold of the quantile Huber loss; 0 for the pinball loss.
    huber: f32,
    matured: u64,
}

impl Pinball {
    pub(super) fn new(targets: Vec<f32>, levels: &[f32], huber: f32) -> Self {
        let matured = targets.iter().filter(|target| !target.is_nan()).count() as u64;
        Self { targets: targets.into(), levels: levels.into(), huber, matured }
    }
    pub(super) fn matured(&self) -> u64 {
        self.matured
    }

    /// The mean loss of the head `weight` `[horizon * levels, hidden]` and `bias` `[horizon * levels]` on the network's
    /// outputs `[.., hidden]`: a scalar, differentiable with respect to all three.
    pub(super) fn mean(&self, outputs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (rows, size) = (outputs.elem_count() / weight.dim(1)?, bias.dim(0)?);
        if self.matured == 0 || self.targets.len() * self.levels.len() != rows * size {
            candle_core::bail!("{} targets, {} matured, for {rows} x {size}", self.targets.len(), self.matured);
        }
        if outputs.device().is_cpu() {
            let head = HeadLoss { pinball: self.clone(), gradients: OnceLock::new() };
            outputs.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, head)
        } else {
            self.unfused(outputs, weight, bias)
        }
    }

    /// The same in candle's own operations.
    fn unfused(&self, outputs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (device, targets, levels) = (outputs.device(), self.targets.len(), self.levels.len());
        let outputs = outputs.reshape(((), weight.dim(1)?))?;
        let quantiles = outputs.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape((targets, levels))?;
        let known: Vec<f32> = self.targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
        let safe: Vec<f32> = self.targets.iter().map(|target| if target.is_nan() { 0.0 } else { *target }).collect();
        let known = Tensor::from_vec(known, (targets, 1), device)?;
        let safe = Tensor::from_vec(safe, (targets, 1), device)?;
        let level = Tensor::from_slice(&self.levels, (1, levels), device)?;
        let over = safe.broadcast_sub(&quantiles)?;
        let loss = if self.huber > 0.0 {
            // The part of an error up to the threshold, and the rest.
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

    /// The weight of one target and level in the mean.
    fn share(&self) -> f64 {
        1.0 / (self.matured as f64 * self.levels.len() as f64)
    }

    /// The parameters for the kernels, with `horizon` targets in a row.
    fn kernel_loss(&self, horizon: usize) -> QuantileLoss<'_> {
        QuantileLoss { horizon, levels: &self.levels, huber: self.huber, share: self.share() as f32 }
    }
}

/// The pinball loss of one quantile, with `error = target - quantile`.
pub(super) fn pinball_loss(level: f32, error: f32) -> f32 {
    if error >= 0.0 { level * error } else { (level - 1.0) * error }
}
struct HeadLoss {
    pinball: Pinball,
    /// The gradients of the mean loss by outputs, weight and bias.
    gradients: OnceLock<[Tensor; 3]>,
}

/// One forward and backward pass of the head over all rows.
struct HeadPass<'a> {
    pinball: &'a Pinball,
    /// `[hidden][quantile]`
    forward: Panel,
    /// `[quantile][hidden]`
    back: Panel,
    /// `[row][hidden]`
    outputs: &'a [f32],
    hidden: usize,
    /// Quantiles of a row, padded.
    width: usize,
    horizon: usize,
}

impl HeadPass<'_> {
    /// Processes the rows of a section, from row `from` on. Writes the gradient by their outputs, adds theirs by weight
    /// and bias to `products` `[hidden or bias][quantile]`, and returns the sum of their losses.
    fn section(&self, from: usize, by_outputs: &mut [f32], products: &mut [f32]) -> f64 {
        let Self { hidden, width, horizon, .. } = *self;
        let on = InstructionSet::best();
        // Holds the quantiles of each row, which the loss replaces by their gradients.
        let mut buffer = vec![0.0; ROWS * width];
        let (into, into_bias) = products.split_at_mut(hidden * width);
        let mut losses = 0.0;
        for (chunk, by_outputs) in by_outputs.chunks_mut(ROWS * hidden).enumerate() {
            let (from, count) = (from + chunk * ROWS, by_outputs.len() / hidden);
            let outputs = Rows { data: self.outputs, stride: hidden, offset: from * hidden };
            let by_quantiles = &mut buffer[..count * width];
            let out = RowsMut { data: &mut *by_quantiles, stride: width, offset: 0 };
            dense_rows(on, &self.forward, count, outputs, out, OutputMode::Padded);
            let targets = &self.pinball.targets[from * horizon..][..count * horizon];
            loss_gradients(on, self.pinball.kernel_loss(horizon), targets, by_quantiles, &mut losses);
            let by_quantiles = Rows { data: by_quantiles, stride: width, offset: 0 };
            let one = Rows { data: &[1.0], stride: 0, offset: 0 };
            let (left, right, blocks) = (outputs, by_quantiles, width / LANES);
            let product = OuterProduct { rows: count, left, inputs: hidden, right, blocks };
            outer_rows(on, product, into, width);
            outer_rows(on, OuterProduct { left: one, inputs: 1, ..product }, into_bias, width);
            let by_outputs = RowsMut { data: by_outputs, stride: hidden, offset: 0 };
            dense_rows(on, &self.back, count, by_quantiles, by_outputs, OutputMode::Exact);
        }
        losses
    }
}

impl CustomOp3 for HeadLoss {
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
        let (size, hidden) = weight_layout.shape().dims2()?;
        let outputs = contiguous_values(outputs, outputs_layout)?;
        let (weight, bias) = (contiguous_values(weight, weight_layout)?, contiguous_values(bias, bias_layout)?);
        let (rows, width) = (outputs.len() / hidden, padded(size));
        let pass = HeadPass {
            pinball: &self.pinball,
            forward: Panel::of_matrix(hidden, weight, bias),
            back: Panel::new(hidden, (size, 0), |to, from| weight[from * hidden + to], |_| 0.0),
            outputs,
            hidden,
            width,
            horizon: self.pinball.targets.len() / rows,
        };
        let mut by_outputs = vec![0.0; rows * hidden];
        let each = (hidden + 1) * width;
        let mut products = vec![0.0; rows.div_ceil(SECTION) * each];
        let sections = by_outputs.par_chunks_mut(SECTION * hidden).zip(products.par_chunks_mut(each));
        let losses: Vec<f64> = sections
            .enumerate()
            .map(|(section, (by_outputs, products))| pass.section(section * SECTION, by_outputs, products))
            .collect();
        let mut sum = vec![0.0; each];
        for section in products.chunks_exact(each) {
            sum.iter_mut().zip(section).for_each(|(sum, section)| *sum += section);
        }
        let by_weight = (0..size).flat_map(|to| (0..hidden).map(move |from| (to, from)));
        let by_weight: Vec<f32> = by_weight.map(|(to, from)| sum[from * width + to]).collect();
        let gradients = [
            Tensor::from_vec(by_outputs, outputs_layout.shape(), &Device::Cpu)?,
            Tensor::from_vec(by_weight, (size, hidden), &Device::Cpu)?,
            Tensor::from_slice(&sum[hidden * width..][..size], size, &Device::Cpu)?,
        ];
        self.gradients.get_or_init(|| gradients);
        let loss = losses.iter().sum::<f64>() * self.pinball.share();
        Ok((CpuStorage::F32(vec![loss as f32]), ().into()))
    }

    fn bwd(
        &self,
        _outputs: &Tensor,
        _weight: &Tensor,
        _bias: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some([by_outputs, by_weight, by_bias]) = self.gradients.get() else {
            candle_core::bail!("backward pass of the head without a forward pass")
        };
        // The loss is usually the root of the graph, with gradient one.
        let factor = f64::from(gradient.to_scalar::<f32>()?);
        let by = |tensor: &Tensor| if factor == 1.0 { Ok(tensor.clone()) } else { tensor * factor };
        Ok((Some(by(by_outputs)?), Some(by(by_weight)?), Some(by(by_bias)?)))
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
    fn the_mean_ignores_targets_that_have_not_matured() {
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

    /// Targets with gaps, and outputs, weight and bias of a head whose quantiles lie around them.
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
    fn fused_loss_and_gradients_equal_those_of_candles_operations() {
        for huber in [0.0, 0.4, 100.0] {
            let (pinball, variables) = case(huber);
            let [outputs, weight, bias] = &variables;
            let fused = pinball.mean(outputs, weight, bias).unwrap();
            let plain = pinball.unfused(outputs, weight, bias).unwrap();
            let difference = fused.to_scalar::<f32>().unwrap() - plain.to_scalar::<f32>().unwrap();
            assert!(difference.abs() < 1e-6, "{huber}: {difference}");
            let [fused, plain] = [fused, plain].map(|loss| (loss * 3.0).unwrap().backward().unwrap());
            for variable in &variables {
                let [fused, plain] = [&fused, &plain]
                    .map(|store| store.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
                assert!(fused.iter().any(|gradient| gradient.abs() > 1e-4), "{huber}");
                for (left, right) in fused.iter().zip(&plain) {
                    assert!((left - right).abs() < 1e-6, "{huber}: {left} {right}");
                }
            }
        }
    }

    #[test]
    fn the_huber_loss_is_that_of_the_paper_and_gradients_match_finite_differences() {
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
            let mut quantile = [(1.0 - over) as f32; LANES];
            let mut loss = 0.0;
            loss_gradients(InstructionSet::best(), pinball.kernel_loss(1), &[1.0], &mut quantile, &mut loss);
            assert_eq!(quantile[1..], [0.0; LANES - 1], "the padding");
            assert!((loss - expected(over)).abs() < 1e-6, "{over}: {loss}");
            let difference = (expected(over - 1e-6) - expected(over + 1e-6)) / 2e-6;
            assert!((f64::from(quantile[0]) - difference).abs() < 1e-5, "{over}: {} {difference}", quantile[0]);
            beyond += usize::from(over.abs() > huber);
        }
        assert!((20..60).contains(&beyond), "both sides of the threshold: {beyond}");
    }
}
