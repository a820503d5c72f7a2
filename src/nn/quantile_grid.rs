//! The quantile levels that a query decoder has, and other levels between them.

/// Levels of a query decoder's quantiles, ascending.
pub const QUANTILE_GRID: [f32; 13] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// The index of the median.
pub const MEDIAN: usize = 6;

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
        let scores = QUANTILE_GRID.map(|level| normal_quantile(f64::from(level)));
        let part = |level: &f32| {
            let above = QUANTILE_GRID.partition_point(|known| known <= level);
            let below = above.clamp(1, QUANTILE_GRID.len() - 1) - 1;
            let (from, to) = (scores[below], scores[below + 1]);
            (below, ((normal_quantile(f64::from(*level)) - from) / (to - from)) as f32)
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

/// Quantile of the standard normal distribution, by bisection.
pub(crate) fn normal_quantile(level: f64) -> f64 {
    // Simpson's rule over the density from 0: slow and exact, and run once per configuration.
    let cumulative = |z: f64| {
        let (count, step) = (200, z / 200.0);
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let inner = (1..count).map(|i| density(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 });
        0.5 + step / 3.0 * (density(0.0) + density(z) + inner.sum::<f64>())
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if cumulative(middle) < level { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_match_published_values() {
        for (level, score) in [
            (0.5, 0.0),
            (0.9, 1.281_551_565_5),
            (0.975, 1.959_963_984_5),
            (0.01, -2.326_347_874_0),
            (0.001, -3.090_232_306_2),
        ] {
            assert!((normal_quantile(level) - score).abs() < 1e-6, "{level}");
        }
    }

    #[test]
    fn interpolation_is_exact_for_a_normal_distribution_and_keeps_the_grid() {
        let scores =
            |levels: &[f32]| levels.iter().map(|l| 3.0 + 2.0 * normal_quantile(f64::from(*l)) as f32).collect();
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
}
