//! The slopes of the quantile loss, where the quantiles stand.

use super::lanes::{LANES, Lanes};
use super::padded;

/// The loss of a quantile of which the target lies `over` above: `size = abs(over)` less half of `huber`, or
/// `over^2 / (2 huber)` where `size` is below `huber`; times the quantile's level where `over` is not negative, one less
/// that elsewhere; times `share`.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// Targets of a row.
    pub horizon: usize,
    /// Levels of each target's quantiles.
    pub levels: &'a [f32],
    /// How far the parabola reaches, 0: none.
    pub huber: f32,
    /// What a loss weighs in its slope; it does not weigh it in the sum.
    pub share: f32,
}

/// Turns quantiles `[row][target][level]`, rows padded to whole vectors, into the slopes of their losses by `targets`
/// `[row][target]`, zero for the padding and where a target is NaN; adds the losses to `sum`.
///
/// The compiler makes vectors of the inner loop, of whatever width the instructions of `L` have: there are no branches
/// in it, and each operation rounds by itself. (Of training a GRU of 64 with 24 quantiles it takes 1.4 % on AVX-512, 3.8 %
/// on the 128-bit vectors of the build's default.)
///
/// # Safety
/// None of its own; as all that is generic over [`Lanes`].
#[inline(always)]
pub unsafe fn slopes<L: Lanes>(loss: Loss<'_>, targets: &[f32], quantiles: &mut [f32], sum: &mut f64) {
    let Loss { horizon, levels, huber, share } = loss;
    let width = padded(horizon * levels.len());
    let inverse = if huber > 0.0 { 1.0 / huber } else { 0.0 };
    let each: Vec<f32> = levels.iter().copied().cycle().take(width).collect();
    // Each quantile's target; none for the padding.
    let mut spread = vec![f32::NAN; width];
    let mut sums = [0.0; LANES];
    for (targets, quantiles) in targets.chunks_exact(horizon).zip(quantiles.chunks_exact_mut(width)) {
        spread.chunks_exact_mut(levels.len()).zip(targets).for_each(|(spread, target)| spread.fill(*target));
        let (quantiles, _) = quantiles.as_chunks_mut::<LANES>();
        let (spread, each) = (spread.as_chunks::<LANES>().0, each.as_chunks::<LANES>().0);
        for ((quantiles, targets), levels) in quantiles.iter_mut().zip(spread).zip(each) {
            for lane in 0..LANES {
                let (target, level) = (targets[lane], levels[lane]);
                let over = target - quantiles[lane];
                let size = over.abs();
                let (weight, sign) = if over >= 0.0 { (level, -1.0) } else { (1.0 - level, 1.0) };
                let within = if size < huber { size } else { huber };
                let slope = if size < huber { -over * inverse } else { sign };
                let loss = weight * (0.5 * within * within * inverse + (size - within));
                let known = !target.is_nan();
                quantiles[lane] = if known { share * weight * slope } else { 0.0 };
                sums[lane] += if known { loss } else { 0.0 };
            }
        }
    }
    *sum += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
}
