//! The quantile loss and its gradients, computed in place of the quantiles.

use super::lanes::{LANES, Lanes, padded};

/// The quantile Huber loss (Dabney, Ostrovski, Silver, Munos, ICML 2018, arXiv:1806.06923). With
/// `error = target - quantile` it is `abs(error) - huber / 2`, or `error^2 / (2 huber)` where `abs(error) < huber`,
/// times the level where `error >= 0` and times `1 - level` elsewhere. With `huber` 0 it is the pinball loss (Koenker,
/// Bassett, Econometrica 46(1), 1978).
#[derive(Debug, Clone, Copy)]
pub struct QuantileLoss<'a> {
    /// Targets per row.
    pub horizon: usize,
    /// Levels of each target's quantiles.
    pub levels: &'a [f32],
    /// Largest absolute error in the quadratic part; 0: no quadratic part.
    pub huber: f32,
    /// Factor of every gradient: the weight of one loss in the mean. The sum of the losses does not have it.
    pub share: f32,
}

/// Replaces quantiles `[row][target][level]`, rows padded to a multiple of 16, by the gradients of their losses for
/// `targets` `[row][target]`. Gradients are zero in the padding and where a target is NaN. Adds the losses to `sum`.
///
/// The inner loop has no branches, and each of its operations rounds by itself, so the compiler vectorises it for the
/// instruction set of `L`. (In training a GRU of 64 units with 24 quantiles it takes 1.4 % of the time with AVX-512 and
/// 3.8 % with the 128-bit vectors of the default target.)
#[inline(always)]
pub(super) unsafe fn gradients<L: Lanes>(
    loss: QuantileLoss<'_>,
    targets: &[f32],
    quantiles: &mut [f32],
    sum: &mut f64,
) {
    let QuantileLoss { horizon, levels, huber, share } = loss;
    let width = padded(horizon * levels.len());
    let inverse = if huber > 0.0 { 1.0 / huber } else { 0.0 };
    let each: Vec<f32> = levels.iter().copied().cycle().take(width).collect();
    // The target of each quantile; NaN for the padding.
    let mut spread = vec![f32::NAN; width];
    let mut sums = [0.0; LANES];
    for (targets, quantiles) in targets.chunks_exact(horizon).zip(quantiles.chunks_exact_mut(width)) {
        spread.chunks_exact_mut(levels.len()).zip(targets).for_each(|(spread, target)| spread.fill(*target));
        let (quantiles, _) = quantiles.as_chunks_mut::<LANES>();
        let (spread, each) = (spread.as_chunks::<LANES>().0, each.as_chunks::<LANES>().0);
        for ((quantiles, targets), levels) in quantiles.iter_mut().zip(spread).zip(each) {
            for lane in 0..LANES {
                let (target, level) = (targets[lane], levels[lane]);
                let error = target - quantiles[lane];
                let size = error.abs();
                let (weight, sign) = if error >= 0.0 { (level, -1.0) } else { (1.0 - level, 1.0) };
                let within = if size < huber { size } else { huber };
                let derivative = if size < huber { -error * inverse } else { sign };
                let loss = weight * (0.5 * within * within * inverse + (size - within));
                let known = !target.is_nan();
                quantiles[lane] = if known { share * weight * derivative } else { 0.0 };
                sums[lane] += if known { loss } else { 0.0 };
            }
        }
    }
    *sum += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
}
