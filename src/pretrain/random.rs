//! Random numbers of the generators, from a seed.

use std::f64::consts::TAU;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use crate::nn::mixed_seed;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(Pcg64);

impl Random {
    /// The numbers of the item `index` under a seed. Neighbouring seeds and indices give unrelated numbers.
    pub fn new(seed: u64, index: u64) -> Self {
        Self(Pcg64::seed_from_u64(mixed_seed(seed ^ mixed_seed(index))))
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in its logarithm, in `low..high`, both positive.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// A whole number of `low..=high`.
    pub fn integer(&mut self, low: usize, high: usize) -> usize {
        low + (self.unit() * (high - low + 1) as f64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.integer(0, items.len() - 1)]
    }

    /// Standard normal (Box and Muller, Annals of Mathematical Statistics 29(2), 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// Standard exponential.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Gamma with this shape and mean (Marsaglia, Tsang, ACM TOMS 26(3), 2000).
    pub fn gamma(&mut self, shape: f64, mean: f64) -> f64 {
        if shape < 1.0 {
            // A gamma of shape + 1 times a power of a uniform.
            let power = (1.0 - self.unit()).powf(1.0 / shape);
            return self.gamma(shape + 1.0, mean * (shape + 1.0) / shape) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d * v * mean / shape;
            }
        }
    }

    /// Student's t with these degrees of freedom.
    pub fn student(&mut self, degrees: f64) -> f64 {
        self.normal() / self.gamma(degrees / 2.0, 1.0).max(1e-12).sqrt()
    }

    /// Poisson with this mean: by multiplication for small means (Knuth), a rounded normal for large ones.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 40.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean.max(0.0)).exp(), self.unit(), 0.0);
        while product > limit {
            product *= self.unit();
            count += 1.0;
        }
        count
    }

    /// Negative binomial with this mean: a Poisson whose mean is gamma of this shape.
    pub fn negative_binomial(&mut self, mean: f64, shape: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        let rate = self.gamma(shape, mean);
        self.poisson(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws.
    fn moments(mut draw: impl FnMut(&mut Random) -> f64) -> (f64, f64) {
        let mut random = Random::new(1, 2);
        let values: Vec<f64> = (0..40_000).map(|_| draw(&mut random)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let near = |(mean, variance): (f64, f64), expected: (f64, f64)| {
            let close = |found: f64, expected: f64| (found - expected).abs() < 0.03 * (1.0 + expected);
            assert!(close(mean, expected.0) && close(variance, expected.1), "{mean} {variance} {expected:?}");
        };
        near(moments(Random::unit), (0.5, 1.0 / 12.0));
        near(moments(Random::normal), (0.0, 1.0));
        near(moments(Random::exponential), (1.0, 1.0));
        near(moments(|random| random.gamma(2.5, 5.0)), (5.0, 10.0));
        near(moments(|random| random.gamma(0.5, 1.0)), (1.0, 2.0));
        near(moments(|random| random.student(12.0)), (0.0, 1.2));
        near(moments(|random| random.poisson(3.0)), (3.0, 3.0));
        near(moments(|random| random.poisson(90.0)), (90.0, 90.0));
        near(moments(|random| random.negative_binomial(4.0, 2.0)), (4.0, 12.0));
        near(moments(|random| random.integer(1, 3) as f64), (2.0, 2.0 / 3.0));
    }

    #[test]
    fn seed_and_index_determine_the_numbers() {
        let draw = |seed, index| Random::new(seed, index).unit().to_bits();
        assert_eq!(draw(3, 4), draw(3, 4));
        assert!(draw(3, 4) != draw(3, 5) && draw(3, 4) != draw(4, 3) && draw(3, 4) != draw(4, 4));
    }
}
