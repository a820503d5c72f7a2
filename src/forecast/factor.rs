//! The covariance of recursive least squares, in a form that rounding cannot break.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::all_finite;
use super::planes;

/// Numbers that a linear forecast is made of, where there are no covariates.
pub(super) const REGRESSORS: usize = 16;

/// What a weight may vary by before anything is known, and again where nothing has been learnt for long: a ridge towards 0.
const DIFFUSE: f32 = 1.0;

/// `P = U D Uᵀ`, `U` upper triangular with ones on its diagonal, `D` diagonal and positive (Bierman, Factorization Methods for
/// Discrete Sequential Estimation, 1977): `P` stays symmetric and positive whatever is rounded, so that 32 bits are enough.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Factor {
    /// Columns of `U` above its diagonal, one after the other.
    #[serde(with = "planes")]
    upper: Vec<f32>,
    diagonal: Vec<f32>,
}

clone_in_place!(Factor { upper, diagonal });

impl Factor {
    /// Nothing is known of so many numbers.
    pub fn new(regressors: usize) -> Self {
        Self { upper: vec![0.0; regressors * (regressors - 1) / 2], diagonal: vec![DIFFUSE; regressors] }
    }

    /// Whether this is of so many numbers.
    pub fn fits(&self, regressors: usize) -> bool {
        self.upper.len() == regressors * (regressors - 1) / 2 && self.diagonal.len() == regressors
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        all_finite(&self.upper) && all_finite(&self.diagonal)
    }

    /// The gain `P x / (1 + xᵀ P x)`: how far each weight moves with an error of one.
    pub fn gain<const R: usize>(&self, regressors: &[f32; R]) -> [f32; R] {
        let across = self.across(regressors);
        let mut gain = [0.0; R];
        let mut spread = 1.0;
        for (j, (from, across)) in columns::<R>().zip(across).enumerate() {
            let own = self.diagonal[j] * across;
            spread += own * across;
            for (gain, upper) in gain[..j].iter_mut().zip(&self.upper[from..]) {
                *gain += upper * own;
            }
            gain[j] = own;
        }
        gain.map(|gain| gain / spread)
    }

    /// One more step is known; what was known before counts `forgetting` times as much.
    pub fn update<const R: usize>(&mut self, regressors: &[f32; R], forgetting: f32) {
        let across = self.across(regressors);
        let mut gain = [0.0; R];
        let mut spread = forgetting;
        for (j, (from, across)) in columns::<R>().zip(across).enumerate() {
            let own = self.diagonal[j] * across;
            let before = spread;
            spread += own * across;
            let diagonal = self.diagonal[j] * before / (spread * forgetting);
            self.diagonal[j] = diagonal.min(DIFFUSE);
            let back = -across / before;
            for (gain, upper) in gain[..j].iter_mut().zip(&mut self.upper[from..]) {
                let old = *upper;
                *upper += *gain * back;
                *gain += old * own;
            }
            gain[j] = own;
        }
    }

    /// `Uᵀ x`.
    fn across<const R: usize>(&self, regressors: &[f32; R]) -> [f32; R] {
        let mut across = *regressors;
        for (j, from) in columns::<R>().enumerate() {
            let above = self.upper[from..from + j].iter().zip(regressors);
            across[j] += above.map(|(upper, regressor)| upper * regressor).sum::<f32>();
        }
        across
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        (self.upper.capacity() + self.diagonal.capacity()) * size_of::<f32>()
    }
}

/// Where each column begins.
fn columns<const R: usize>() -> impl Iterator<Item = usize> {
    (0..R).map(|column| column * column.saturating_sub(1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    type Regressors = [f32; REGRESSORS];

    /// `P` in f64 by the textbook's recursion.
    fn plain(steps: &[Regressors], forgetting: f64) -> Vec<Vec<f64>> {
        let unit = |i: usize, j: usize| if i == j { f64::from(DIFFUSE) } else { 0.0 };
        let mut p: Vec<Vec<f64>> = (0..REGRESSORS).map(|i| (0..REGRESSORS).map(|j| unit(i, j)).collect()).collect();
        for step in steps {
            let x: Vec<f64> = step.iter().map(|x| f64::from(*x)).collect();
            let px: Vec<f64> = p.iter().map(|row| row.iter().zip(&x).map(|(p, x)| p * x).sum()).collect();
            let spread = forgetting + px.iter().zip(&x).map(|(px, x)| px * x).sum::<f64>();
            for (i, row) in p.iter_mut().enumerate() {
                for (j, p) in row.iter_mut().enumerate() {
                    *p = (*p - px[i] * px[j] / spread) / forgetting;
                }
            }
        }
        p
    }

    fn noise(random: &mut Pcg64Mcg) -> Regressors {
        std::array::from_fn(|_| random.random_range(-2.0..2.0))
    }

    #[test]
    fn the_gain_is_that_of_the_plain_recursion() {
        let mut random = Pcg64Mcg::seed_from_u64(1);
        let (forgetting, mut steps, mut factor) = (0.995_f32, Vec::new(), Factor::new(REGRESSORS));
        for _ in 0..300 {
            let step = noise(&mut random);
            factor.update(&step, forgetting);
            steps.push(step);
        }
        let (p, x) = (plain(&steps, f64::from(forgetting)), noise(&mut random));
        let px: Vec<f64> = p.iter().map(|row| row.iter().zip(&x).map(|(p, x)| p * f64::from(*x)).sum()).collect();
        let spread = 1.0 + px.iter().zip(&x).map(|(px, x)| px * f64::from(*x)).sum::<f64>();
        let largest = px.iter().fold(0.0, |most: f64, px| most.max(px.abs())) / spread;
        for (gain, px) in factor.gain(&x).into_iter().zip(px) {
            assert!((f64::from(gain) - px / spread).abs() < 1e-4 * largest, "{gain} {}", px / spread);
        }
    }

    #[test]
    fn nothing_breaks_it() {
        let mut random = Pcg64Mcg::seed_from_u64(2);
        let mut factor = Factor::new(REGRESSORS);
        for step in 0..200_000 {
            // The same again and again, nearly the same, nothing, and what is large.
            let base = random.random_range(-10.0..10.0_f32);
            let step: Regressors = match step / 1000 % 4 {
                0 => [base; REGRESSORS],
                1 => std::array::from_fn(|at| base + 1e-6 * at as f32),
                2 => [0.0; REGRESSORS],
                _ => std::array::from_fn(|_| 10.0 * random.random_range(-1.0..1.0_f32)),
            };
            factor.update(&step, 0.999);
            assert!(factor.diagonal.iter().all(|d| *d > 0.0 && *d <= DIFFUSE), "{:?}", factor.diagonal);
        }
        assert!(factor.upper.iter().chain(&factor.gain(&noise(&mut random))).all(|number| number.is_finite()));
    }
}
