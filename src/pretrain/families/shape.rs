//! Parts that several families share: seasonal shapes, noise, and moments.

use std::f64::consts::TAU;

use crate::pretrain::frame::Frame;
use crate::pretrain::random::Random;

/// A seasonal shape with mean zero: harmonics whose amplitudes fall about as one over their number.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Steps of the season.
    pub season: f64,
    /// Sine and cosine amplitude of each harmonic.
    harmonics: Vec<(f64, f64)>,
}

impl Shape {
    /// A random shape of a season in steps, of standard deviation one.
    pub fn draw(random: &mut Random, season: f64) -> Self {
        let most = (season / 2.0).floor().clamp(1.0, 10.0) as usize;
        let decay = random.uniform(0.7, 1.8);
        let mut harmonic = |number: usize| {
            let size = random.normal() / (number as f64).powf(decay);
            let angle = TAU * random.unit();
            (size * angle.cos(), size * angle.sin())
        };
        let mut harmonics: Vec<(f64, f64)> = (1..=most).map(&mut harmonic).collect();
        harmonics.truncate(random.integer(1, most));
        let power: f64 = harmonics.iter().map(|(sine, cosine)| 0.5 * (sine * sine + cosine * cosine)).sum();
        let size = power.sqrt().max(1e-9);
        harmonics.iter_mut().for_each(|(sine, cosine)| (*sine, *cosine) = (*sine / size, *cosine / size));
        Self { season, harmonics }
    }

    /// The value at a phase in turns.
    pub fn at(&self, phase: f64) -> f64 {
        let (sine, cosine) = (TAU * phase).sin_cos();
        let (mut s, mut c, mut sum) = (sine, cosine, 0.0);
        for (by_sine, by_cosine) in &self.harmonics {
            sum += by_sine * s + by_cosine * c;
            (s, c) = (s * cosine + c * sine, c * cosine - s * sine);
        }
        sum
    }

    /// The values at all steps of a frame.
    pub fn over(&self, frame: &Frame) -> Vec<f64> {
        (0..frame.length).map(|step| self.at(frame.phase(step, self.season))).collect()
    }
}

/// A week's pattern of days: a factor for each weekday, with a common one on two of them.
pub(super) fn weekday_factors(random: &mut Random) -> [f64; 7] {
    let (first, weekend) = (random.integer(0, 6), random.log_uniform(0.05, 1.5));
    let spread = random.uniform(0.0, 0.15);
    let mut factors = [0.0; 7];
    for (day, factor) in factors.iter_mut().enumerate() {
        let base = if day == first || day == (first + 1) % 7 { weekend } else { 1.0 };
        *factor = base * (spread * random.normal()).exp();
    }
    factors
}

/// Stationary noise of unit variance whose correlation falls by `keep` a step.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    keep: f64,
    state: f64,
}

impl Noise {
    /// Noise in its stationary distribution. `keep` is within -1 to 1, exclusive.
    pub fn new(random: &mut Random, keep: f64) -> Self {
        Self { keep, state: random.normal() }
    }

    /// Noise of a random memory: white, or correlated over up to some hundred steps.
    pub fn draw(random: &mut Random) -> Self {
        let keep = if random.chance(0.4) { 0.0 } else { 1.0 - random.log_uniform(0.003, 0.8) };
        Self::new(random, keep)
    }

    /// The next value.
    pub fn next(&mut self, random: &mut Random) -> f64 {
        self.state = self.keep * self.state + (1.0 - self.keep * self.keep).sqrt() * random.normal();
        self.state
    }
}

/// Mean and standard deviation; the latter at least a billionth of the largest value, and positive.
pub(in crate::pretrain) fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    (mean, variance.sqrt().max(1e-9 * largest).max(1e-12))
}

/// The values less their mean, in standard deviations.
pub(in crate::pretrain) fn standardised(values: &[f64]) -> Vec<f64> {
    let (mean, deviation) = moments(values);
    values.iter().map(|value| (value - mean) / deviation).collect()
}
