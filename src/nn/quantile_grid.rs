//! The quantile levels that a query decoder has, monotone quantiles, and other levels between them.

use crate::series::{exponential, logarithm};

/// Levels of a query decoder's quantiles, ascending.
pub const QUANTILE_GRID: [f32; 13] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// The index of the median.
pub const MEDIAN: usize = 6;

/// `ln(1 + e^x)`.
pub(super) fn softplus(x: f32) -> f32 {
    x.max(0.0) + logarithm(1.0 + exponential(-x.abs()))
}

/// `x / (1 + e^-x)` (Elfwing, Uchibe, Doya, Neural Networks 107, 2018).
pub(super) fn silu(x: f32) -> f32 {
    let small = exponential(-x.abs());
    x * (if x >= 0.0 { 1.0 } else { small }) / (1.0 + small)
}

/// Replaces raw outputs by quantiles in ascending order: the median as it is, every other one by an increment,
/// `softplus` of its output, from its neighbour nearer to the median.
pub(super) fn to_quantiles(raw: &mut [f32]) {
    for at in MEDIAN + 1..QUANTILE_GRID.len() {
        raw[at] = raw[at - 1] + softplus(raw[at]);
    }
    for at in (0..MEDIAN).rev() {
        raw[at] = raw[at + 1] - softplus(raw[at]);
    }
}

/// Quantiles at any levels from those of the grid: linear in normal scores, which is exact for a normal distribution.
/// Beyond the grid its outermost two quantiles go on.
#[derive(Debug, Clone, PartialEq)]
pub struct GridInterpolation {
    /// For each level the grid's quantile below it, and the share of the next.
    parts: Vec<(usize, f32)>,
}

impl GridInterpolation {
    /// The interpolation to these levels, each between 0 and 1.
    pub fn new(levels: &[f32]) -> Self {
        let scores = QUANTILE_GRID.map(|level| normal_score(f64::from(level)));
        let part = |level: &f32| {
            let above = QUANTILE_GRID.partition_point(|known| known <= level);
            let below = above.clamp(1, QUANTILE_GRID.len() - 1) - 1;
            let (from, to) = (scores[below], scores[below + 1]);
            (below, ((normal_score(f64::from(*level)) - from) / (to - from)) as f32)
        };
        Self { parts: levels.iter().map(part).collect() }
    }

    /// Writes the quantiles `[.., level]` from those of the grid `[.., 13]`.
    pub fn apply(&self, grid: &[f32], out: &mut [f32]) {
        let grids = grid.chunks_exact(QUANTILE_GRID.len());
        for (grid, out) in grids.zip(out.chunks_exact_mut(self.parts.len().max(1))) {
            for (out, (below, share)) in out.iter_mut().zip(&self.parts) {
                *out = grid[*below] + share * (grid[below + 1] - grid[*below]);
            }
        }
    }
}

/// The standard normal quantile of a level, to nine digits (Acklam's rational approximation, 2003).
fn normal_score(level: f64) -> f64 {
    const CENTRE: [f64; 11] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.383_577_518_672_69e2,
        -3.066479806614716e1,
        2.506628277459239,
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const TAIL: [f64; 10] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
    ];
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, next| sum * x + next);
    let tail = |level: f64| {
        let x = (-2.0 * level.ln()).sqrt();
        horner(&TAIL[..6], x) / (horner(&TAIL[6..], x) * x + 1.0)
    };
    match level {
        level if level < 0.02425 => tail(level),
        level if level > 1.0 - 0.02425 => -tail(1.0 - level),
        level => {
            let x = level - 0.5;
            x * horner(&CENTRE[..6], x * x) / (horner(&CENTRE[6..], x * x) * x * x + 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_scores_are_those_of_tables() {
        for (level, score) in [(0.5, 0.0), (0.975, 1.959964), (0.9, 1.281552), (0.01, -2.326348), (0.001, -3.090232)] {
            assert!((normal_score(level) - score).abs() < 1e-6, "{level}");
        }
    }

    #[test]
    fn interpolation_is_exact_for_a_normal_distribution_and_keeps_the_grid() {
        let scores = |levels: &[f32]| levels.iter().map(|l| 3.0 + 2.0 * normal_score(f64::from(*l)) as f32).collect();
        let (levels, grid): (_, Vec<f32>) =
            ([0.003, 0.025, 0.05, 0.37, 0.5, 0.85, 0.975, 0.999], scores(&QUANTILE_GRID));
        let (expected, mut found): (Vec<f32>, _) = (scores(&levels), vec![0.0; 2 * levels.len()]);
        GridInterpolation::new(&levels).apply(&[grid.clone(), grid.clone()].concat(), &mut found);
        for (found, expected) in found.iter().zip(expected.iter().chain(&expected)) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        let mut same = vec![0.0; 13];
        let steps: Vec<f32> = (0..13).map(|at| (at * at) as f32).collect();
        GridInterpolation::new(&QUANTILE_GRID).apply(&steps, &mut same);
        assert!(same.iter().zip(&steps).all(|(one, other)| (one - other).abs() < 1e-3));
    }

    #[test]
    fn quantiles_ascend_and_functions_match_the_standard_library() {
        let mut raw: Vec<f32> = (0..13).map(|at| (at as f32 * 1.7).sin() * 5.0).collect();
        let median = raw[MEDIAN];
        to_quantiles(&mut raw);
        assert!(raw[MEDIAN] == median && raw.windows(2).all(|pair| pair[0] < pair[1]));
        for x in [-90.0_f32, -20.0, -3.0, -0.5, 0.0, 0.7, 4.0, 50.0] {
            let exact = f64::from(x);
            assert!((f64::from(silu(x)) - exact / (1.0 + (-exact).exp())).abs() < 1e-4, "{x}");
            assert!((f64::from(softplus(x)) - (1.0 + exact.exp()).ln().max(exact)).abs() < 1e-4, "{x}");
        }
    }
}
