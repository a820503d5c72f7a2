//! The covariance of recursive least squares, in a form that stays positive definite under rounding.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use crate::forecast::byte_shuffle;
use crate::forecast::numeric::{all_finite, dot};

/// Initial variance of a weight, and its largest one after long without information: a ridge towards 0.
const MAX_VARIANCE: f32 = 1.0;
/// Steps that what is known spans.
const MEMORY: u32 = 5000;
/// What is known counts for this much after one more step.
const FORGETTING: f32 = 1.0 - 1.0 / MEMORY as f32;

/// `P = U D Uᵀ`, with `U` unit upper triangular and `D` diagonal and positive (Bierman, Factorization Methods for
/// Discrete Sequential Estimation, 1977). `P` stays symmetric and positive definite whatever is rounded, so that `f32`
/// suffices.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::forecast) struct Covariance {
    /// The columns of `U` above its diagonal, one after the other.
    #[serde(with = "byte_shuffle")]
    upper: Vec<f32>,
    diagonal: Vec<f32>,
}

clone_in_place!(Covariance { upper, diagonal });

impl Covariance {
    /// The initial covariance of this many weights.
    pub fn new(regressors: usize) -> Self {
        Self { upper: vec![0.0; regressors * (regressors - 1) / 2], diagonal: vec![MAX_VARIANCE; regressors] }
    }

    /// Whether it is that of this many weights, with finite values; a snapshot comes from outside.
    pub fn is_sound(&self, regressors: usize) -> bool {
        self.upper.len() == regressors * (regressors - 1) / 2
            && self.diagonal.len() == regressors
            && all_finite(&self.upper)
            && all_finite(&self.diagonal)
    }

    /// The gain `P x / (1 + xᵀ P x)`: how far each weight moves per unit of error.
    pub fn gain<const R: usize>(&self, regressors: &[f32; R]) -> [f32; R] {
        self.grown_gain(regressors, 1.0)
    }

    /// The gain of regressors that are older than the newest `lead` of all `steps`, by the covariance before these.
    ///
    /// That one is not kept: `P` is scaled up by how much more is known now, at most to the initial variance. By `P`
    /// itself the weights of long leads would stay too small for many horizons.
    pub fn gain_of_lead<const R: usize>(&self, regressors: &[f32; R], steps: u32, lead: u32) -> [f32; R] {
        let known = |steps: u32| steps.clamp(1, MEMORY) as f32;
        self.grown_gain(regressors, known(steps) / known(steps.saturating_sub(lead)))
    }

    fn grown_gain<const R: usize>(&self, regressors: &[f32; R], growth: f32) -> [f32; R] {
        let projection = self.project(regressors);
        let mut gain = [0.0; R];
        let mut variance = 0.0;
        for (j, (from, projection)) in column_starts::<R>().zip(projection).enumerate() {
            let own = self.diagonal[j] * projection;
            variance += own * projection;
            for (gain, upper) in gain[..j].iter_mut().zip(&self.upper[from..]) {
                *gain += upper * own;
            }
            gain[j] = own;
        }
        let initial = MAX_VARIANCE * dot(regressors, regressors);
        let growth = growth.min(initial / variance).max(1.0);
        gain.map(|gain| growth * gain / (1.0 + growth * variance))
    }

    /// Adds the information of one more step, and forgets a little of what is known.
    pub fn update<const R: usize>(&mut self, regressors: &[f32; R]) {
        self.update_with(regressors, FORGETTING);
    }

    fn update_with<const R: usize>(&mut self, regressors: &[f32; R], forgetting: f32) {
        let projection = self.project(regressors);
        let mut gain = [0.0; R];
        let mut innovation = forgetting;
        for (j, (from, projection)) in column_starts::<R>().zip(projection).enumerate() {
            let own = self.diagonal[j] * projection;
            let before = innovation;
            innovation += own * projection;
            let diagonal = self.diagonal[j] * before / (innovation * forgetting);
            self.diagonal[j] = diagonal.min(MAX_VARIANCE);
            let factor = -projection / before;
            for (gain, upper) in gain[..j].iter_mut().zip(&mut self.upper[from..]) {
                let old = *upper;
                *upper += *gain * factor;
                *gain += old * own;
            }
            gain[j] = own;
        }
    }

    /// `Uᵀ x`.
    fn project<const R: usize>(&self, regressors: &[f32; R]) -> [f32; R] {
        let mut projection = *regressors;
        for (j, from) in column_starts::<R>().enumerate() {
            let above = self.upper[from..from + j].iter().zip(regressors);
            projection[j] += above.map(|(upper, regressor)| upper * regressor).sum::<f32>();
        }
        projection
    }

    pub fn heap_bytes(&self) -> usize {
        (self.upper.capacity() + self.diagonal.capacity()) * size_of::<f32>()
    }
}

/// Where each column begins in the packed triangle.
fn column_starts<const R: usize>() -> impl Iterator<Item = usize> {
    (0..R).map(|column| column * column.saturating_sub(1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    const REGRESSORS: usize = 16;

    type Regressors = [f32; REGRESSORS];

    /// `P` in `f64` by the textbook's recursion.
    fn textbook(steps: &[Regressors], forgetting: f64) -> Vec<Vec<f64>> {
        let unit = |i: usize, j: usize| if i == j { f64::from(MAX_VARIANCE) } else { 0.0 };
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
    fn the_gain_matches_the_textbook_recursion() {
        let mut random = Pcg64Mcg::seed_from_u64(1);
        let (forgetting, mut steps, mut covariance) = (0.995_f32, Vec::new(), Covariance::new(REGRESSORS));
        for _ in 0..300 {
            let step = noise(&mut random);
            covariance.update_with(&step, forgetting);
            steps.push(step);
        }
        let (p, x) = (textbook(&steps, f64::from(forgetting)), noise(&mut random));
        let px: Vec<f64> = p.iter().map(|row| row.iter().zip(&x).map(|(p, x)| p * f64::from(*x)).sum()).collect();
        let spread = 1.0 + px.iter().zip(&x).map(|(px, x)| px * f64::from(*x)).sum::<f64>();
        let largest = px.iter().fold(0.0, |most: f64, px| most.max(px.abs())) / spread;
        for (gain, px) in covariance.gain(&x).into_iter().zip(px) {
            assert!((f64::from(gain) - px / spread).abs() < 1e-4 * largest, "{gain} {}", px / spread);
        }
    }

    /// Recursive least squares for a long lead: each weight learns when its target comes, `lead` steps after the
    /// covariance has seen the regressors. Returns the weight after two horizons of targets that is 1 in truth.
    fn learnt_weight(gain_of: impl Fn(&Covariance, &Regressors, u32, u32) -> Regressors) -> f32 {
        const LEAD: usize = 24;
        let mut random = Pcg64Mcg::seed_from_u64(3);
        let mut steps: Vec<Regressors> = Vec::new();
        let (mut covariance, mut weights) = (Covariance::new(REGRESSORS), [0.0; REGRESSORS]);
        for step in 0..3 * LEAD {
            if let Some(regressors) = steps.get(step.wrapping_sub(LEAD)) {
                let error = regressors[3] - dot(&weights, regressors);
                let gain = gain_of(&covariance, regressors, step as u32, LEAD as u32);
                weights.iter_mut().zip(gain).for_each(|(weight, gain)| *weight += error * gain);
            }
            let regressors = noise(&mut random);
            covariance.update(&regressors);
            steps.push(regressors);
        }
        weights[3]
    }

    #[test]
    fn weights_of_long_leads_are_learnt_by_what_was_known_when_they_forecast() {
        let by_then =
            learnt_weight(|covariance, regressors, steps, lead| covariance.gain_of_lead(regressors, steps, lead));
        let by_now = learnt_weight(|covariance, regressors, _, _| covariance.gain(regressors));
        assert!((by_then - 1.0).abs() < 0.2 && by_now < 0.7, "{by_then} {by_now}");
    }

    #[test]
    fn the_covariance_stays_positive_under_degenerate_regressors() {
        let mut random = Pcg64Mcg::seed_from_u64(2);
        let mut covariance = Covariance::new(REGRESSORS);
        for step in 0..200_000 {
            // Equal regressors, nearly equal ones, zeros, and large ones.
            let base = random.random_range(-10.0..10.0_f32);
            let step: Regressors = match step / 1000 % 4 {
                0 => [base; REGRESSORS],
                1 => std::array::from_fn(|at| base + 1e-6 * at as f32),
                2 => [0.0; REGRESSORS],
                _ => std::array::from_fn(|_| 10.0 * random.random_range(-1.0..1.0_f32)),
            };
            covariance.update_with(&step, 0.999);
            assert!(covariance.diagonal.iter().all(|d| *d > 0.0 && *d <= MAX_VARIANCE), "{:?}", covariance.diagonal);
        }
        assert!(covariance.upper.iter().chain(&covariance.gain(&noise(&mut random))).all(|number| number.is_finite()));
    }
}
