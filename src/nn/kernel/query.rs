//! The elementwise parts of a query decoder: its units, its monotone quantiles and, in training, their loss.
//!
//! Sums and raw outputs come in whole vectors.
#![expect(unsafe_op_in_unsafe_fn, reason = "the contract of each function covers its whole body")]

use super::activation::{sigmoid, softplus};
use super::lanes::{LANES, Lanes};
use crate::nn::quantile_grid::{MEDIAN, QUANTILE_GRID};

/// Quantiles of a lead.
const LEVELS: usize = QUANTILE_GRID.len();

/// Which quantiles an increment moves, and the median as the first of the sum: `[increment][quantile]`.
const MOVES: [[f32; LANES]; LEVELS] = {
    let mut moves = [[0.0; LANES]; LEVELS];
    let mut increment = 0;
    while increment < LEVELS {
        let mut quantile = 0;
        while quantile < LEVELS {
            if increment > MEDIAN && quantile >= increment {
                moves[increment][quantile] = 1.0;
            } else if increment < MEDIAN && quantile <= increment {
                moves[increment][quantile] = -1.0;
            }
            quantile += 1;
        }
        increment += 1;
    }
    moves
};

/// Replaces sums by `silu(x) = x / (1 + e^-x)` of them (Elfwing, Uchibe, Doya, Neural Networks 107, 2018).
#[inline(always)]
pub(super) unsafe fn silu<L: Lanes>(sums: &mut [f32]) {
    for sums in sums.as_chunks_mut::<LANES>().0 {
        let sum = L::load(sums.as_ptr());
        sum.multiply(sigmoid(sum)).store(sums.as_mut_ptr());
    }
}

/// The same in training. Writes the derivatives, too.
#[inline(always)]
pub(super) unsafe fn silu_with_slopes<L: Lanes>(sums: &mut [f32], slopes: &mut [f32]) {
    for (sums, slopes) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(slopes.as_chunks_mut::<LANES>().0) {
        let sum = L::load(sums.as_ptr());
        let share = sigmoid(sum);
        let rest = L::splat(1.0).subtract(share);
        sum.multiply(share).multiply_add(rest, share).store(slopes.as_mut_ptr());
        sum.multiply(share).store(sums.as_mut_ptr());
    }
}

/// Replaces raw outputs `[row][16]`, of which the first 13 count, by quantiles in ascending order: the median as it is,
/// every other one by an increment, `softplus` of its output, from its neighbour nearer to the median.
#[inline(always)]
pub(super) unsafe fn quantiles<L: Lanes>(raw: &mut [f32]) {
    for raw in raw.as_chunks_mut::<LANES>().0 {
        *raw = ascending::<L>(raw);
    }
}

/// Replaces raw outputs `[row][16]` by the gradients of the pinball losses of their quantiles for `targets` `[row]`,
/// summed over the levels. Gradients are zero where the target is NaN. Adds the loss of row `r` to
/// `sums[r % sums.len()]`.
#[inline(always)]
pub(super) unsafe fn gradients<L: Lanes>(targets: &[f32], raw: &mut [f32], sums: &mut [f64]) {
    let count = sums.len();
    let rows = raw.as_chunks_mut::<LANES>().0.iter_mut().zip(targets);
    for (row, (raw, target)) in rows.enumerate() {
        let quantiles = ascending::<L>(raw);
        let known = !target.is_nan();
        let (mut losses, mut by) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        for lane in 0..LEVELS {
            let (error, level) = (target - quantiles[lane], QUANTILE_GRID[lane]);
            let weight = if error >= 0.0 { level } else { level - 1.0 };
            losses[lane] = if known { weight * error } else { 0.0 };
            by[lane] = if known { -weight } else { 0.0 };
        }
        sums[row % count] += f64::from(losses.iter().sum::<f32>());
        // An increment moves all quantiles from its own outwards, and the median moves all.
        let mut slopes = [0.0; LANES];
        sigmoid(L::load(raw.as_ptr())).store(slopes.as_mut_ptr());
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

/// The quantiles of a row of raw outputs.
#[inline(always)]
unsafe fn ascending<L: Lanes>(raw: &[f32; LANES]) -> [f32; LANES] {
    let mut increments = [0.0; LANES];
    softplus(L::load(raw.as_ptr())).store(increments.as_mut_ptr());
    let mut sums = L::splat(raw[MEDIAN]);
    for at in (MEDIAN + 1..LEVELS).chain((0..MEDIAN).rev()) {
        sums = L::splat(increments[at]).multiply_add(L::load(MOVES[at].as_ptr()), sums);
    }
    let mut quantiles = [0.0; LANES];
    sums.store(quantiles.as_mut_ptr());
    quantiles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::{InstructionSet, query_gradients, query_quantiles, query_units, query_units_with_slopes};

    fn wave(count: usize, rate: f32, size: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * rate).sin() * size).collect()
    }

    #[test]
    fn units_and_quantiles_match_the_formulas_on_every_instruction_set_with_the_same_bits() {
        let (sums, raw) = (wave(48, 1.7, 30.0), wave(3 * LANES, 1.3, 20.0));
        let mut seen = Vec::new();
        for on in InstructionSet::available() {
            let (mut units, mut trained, mut slopes) = (sums.clone(), sums.clone(), vec![0.0; 48]);
            query_units(on, &mut units);
            query_units_with_slopes(on, &mut trained, &mut slopes);
            assert_eq!(units, trained);
            for ((sum, unit), slope) in sums.iter().zip(&units).zip(&slopes) {
                let exact = |x: f64| x / (1.0 + (-x).exp());
                let x = f64::from(*sum);
                assert!((f64::from(*unit) - exact(x)).abs() < 1e-4, "{x}");
                let difference = (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5;
                assert!((f64::from(*slope) - difference).abs() < 1e-4, "{x}: {slope} {difference}");
            }
            let mut quantiles = raw.clone();
            query_quantiles(on, &mut quantiles);
            for (raw, quantiles) in raw.chunks(LANES).zip(quantiles.chunks(LANES)) {
                assert_eq!(quantiles[MEDIAN], raw[MEDIAN]);
                for at in (0..LEVELS).filter(|at| *at != MEDIAN) {
                    let inner = if at > MEDIAN { at - 1 } else { at + 1 };
                    let x = f64::from(raw[at]);
                    let step = f64::from((quantiles[at] - quantiles[inner]).abs());
                    assert!((step - (1.0 + x.exp()).ln()).abs() < 1e-4, "{at}: {step} {x}");
                }
            }
            let (mut by, mut losses) = (raw.clone(), [0.0; 3]);
            query_gradients(on, &[0.3, f32::NAN, -8.0], &mut by, &mut losses);
            assert!(by[LANES..2 * LANES].iter().all(|gradient| *gradient == 0.0) && losses[1] == 0.0);
            seen.push((units, slopes, quantiles, by, losses.map(f64::to_bits)));
        }
        assert!(seen.iter().all(|other| *other == seen[0]));
    }
}
