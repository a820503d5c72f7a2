//! The elementwise parts of a query decoder in training: its units, and the loss of its quantiles.
//!
//! The loops have no branches, and each of their operations rounds by itself, so the compiler vectorises them for the
//! instruction set of `L` and all instruction sets give the same bits.

use super::lanes::{LANES, Lanes};
use crate::nn::quantile_grid::{MEDIAN, QUANTILE_GRID};
use crate::series::{exponential, logarithm};

/// Quantiles of a lead.
const LEVELS: usize = QUANTILE_GRID.len();

/// Replaces sums by `silu` of them, and writes its derivatives.
#[inline(always)]
pub(super) unsafe fn silu<L: Lanes>(sums: &mut [f32], slopes: &mut [f32]) {
    for (sum, slope) in sums.iter_mut().zip(slopes) {
        let share = logistic(*sum);
        *slope = share + *sum * share * (1.0 - share);
        *sum *= share;
    }
}

/// Replaces the raw outputs `[row][16]` of a query decoder, of which the first 13 count, by the gradients of the
/// pinball losses of its quantiles for `targets` `[row]`, summed over the levels. Gradients are zero where the target
/// is NaN. Adds the loss of row `r` to `sums[r % sums.len()]`.
#[inline(always)]
pub(super) unsafe fn gradients<L: Lanes>(targets: &[f32], raw: &mut [f32], sums: &mut [f64]) {
    let mut levels = [0.0; LANES];
    levels[..LEVELS].copy_from_slice(&QUANTILE_GRID);
    let rows = raw.as_chunks_mut::<LANES>().0.iter_mut().zip(targets);
    let count = sums.len();
    for (row, (raw, target)) in rows.enumerate() {
        // The increments and their derivatives.
        let (mut quantiles, mut slopes) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let small = exponential(-raw[lane].abs());
            quantiles[lane] = raw[lane].max(0.0) + logarithm(1.0 + small);
            slopes[lane] = (if raw[lane] >= 0.0 { 1.0 } else { small }) / (1.0 + small);
        }
        (quantiles[MEDIAN], slopes[MEDIAN]) = (raw[MEDIAN], 1.0);
        for at in MEDIAN + 1..LEVELS {
            quantiles[at] += quantiles[at - 1];
        }
        for at in (0..MEDIAN).rev() {
            quantiles[at] = quantiles[at + 1] - quantiles[at];
        }
        // The losses of the quantiles and their gradients.
        let known = !target.is_nan();
        let (mut losses, mut by) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for lane in 0..LEVELS {
            let error = target - quantiles[lane];
            let weight = if error >= 0.0 { levels[lane] } else { levels[lane] - 1.0 };
            losses[lane] = if known { weight * error } else { 0.0 };
            by[lane] = if known { -weight } else { 0.0 };
        }
        sums[row % count] += f64::from(losses.iter().sum::<f32>());
        // An increment moves all quantiles from its own outwards, and the median all.
        let (mut above, mut below) = (0.0, 0.0);
        for at in (MEDIAN + 1..LEVELS).rev() {
            above += by[at];
            raw[at] = above * slopes[at];
        }
        for at in 0..MEDIAN {
            below += by[at];
            raw[at] = -below * slopes[at];
        }
        raw[MEDIAN] = above + below + by[MEDIAN];
        raw[LEVELS..].fill(0.0);
    }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
fn logistic(x: f32) -> f32 {
    let small = exponential(-x.abs());
    (if x >= 0.0 { 1.0 } else { small }) / (1.0 + small)
}
