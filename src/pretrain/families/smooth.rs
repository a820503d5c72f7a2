//! Gaussian processes: Matérn processes as exact autoregressions of their state (Hartikainen, Särkkä, MLSP 2010), and
//! the radial basis function by random Fourier features (Rahimi, Recht, NeurIPS 2007).

use std::f64::consts::TAU;

use super::shape::Noise;
use crate::pretrain::{frame::Frame, random::Random};

/// Cosines of a radial basis function.
const FEATURES: usize = 24;

/// A smooth series, with a little noise.
pub(super) fn generate(random: &mut Random, frame: &Frame) -> Vec<f64> {
    let length = random.log_uniform(2.0, frame.length as f64 / 4.0);
    let mut values = match random.integer(0, 3) {
        0 => {
            let mut noise = Noise::new(random, (-1.0 / length).exp());
            (0..frame.length).map(|_| noise.next(random)).collect()
        }
        1 => matern_once_smooth(random, length, frame.length),
        2 => matern_twice_smooth(random, length, frame.length),
        _ => radial(random, length, frame.length),
    };
    let noise = if random.chance(0.3) { 0.0 } else { random.log_uniform(0.002, 0.5) };
    values.iter_mut().for_each(|value| *value += noise * random.normal());
    values
}

/// A Matérn process of smoothness 3/2 and length scale `length` in steps, of unit variance. Its state is the value and
/// its derivative.
pub(super) fn matern_once_smooth(random: &mut Random, length: f64, steps: usize) -> Vec<f64> {
    let rate = 3.0_f64.sqrt() / length;
    let decay = (-rate).exp();
    let transition = [[decay * (1.0 + rate), decay], [-decay * rate * rate, decay * (1.0 - rate)]];
    markov(random, transition, [[1.0, 0.0], [0.0, rate * rate]], steps)
}

/// A Matérn process of smoothness 5/2. Its state is the value and two derivatives.
pub(super) fn matern_twice_smooth(random: &mut Random, length: f64, steps: usize) -> Vec<f64> {
    let rate = 5.0_f64.sqrt() / length;
    let (decay, square) = ((-rate).exp(), rate * rate);
    let transition = [
        [1.0 + rate + square / 2.0, 1.0 + rate, 0.5],
        [-rate * square / 2.0, 1.0 + rate - square, 1.0 - rate / 2.0],
        [rate * square * (rate / 2.0 - 1.0), square * (rate - 3.0), 1.0 - 2.0 * rate + square / 2.0],
    ]
    .map(|row| row.map(|entry| entry * decay));
    let speed = square / 3.0;
    let stationary = [[1.0, 0.0, -speed], [0.0, speed, 0.0], [-speed, 0.0, square * square]];
    markov(random, transition, stationary, steps)
}

/// The first component of a stationary linear process with this transition and this covariance.
fn markov<const N: usize>(
    random: &mut Random,
    transition: [[f64; N]; N],
    stationary: [[f64; N]; N],
    steps: usize,
) -> Vec<f64> {
    // The noise of a step restores the stationary covariance: P - F P Fᵀ.
    let mut noise = stationary;
    for row in 0..N {
        for column in 0..N {
            for left in 0..N {
                for right in 0..N {
                    let moved = transition[row][left] * stationary[left][right] * transition[column][right];
                    noise[row][column] -= moved;
                }
            }
        }
    }
    let mut draw = |factor: &[[f64; N]; N]| {
        let normal: [f64; N] = std::array::from_fn(|_| random.normal());
        std::array::from_fn::<f64, N, _>(|row| (0..=row).map(|at| factor[row][at] * normal[at]).sum())
    };
    let mut state = draw(&cholesky(stationary));
    let factor = cholesky(noise);
    let step = |state: &mut [f64; N], shock: [f64; N]| {
        let before = *state;
        *state = std::array::from_fn(|row| shock[row] + (0..N).map(|at| transition[row][at] * before[at]).sum::<f64>());
        before[0]
    };
    (0..steps).map(|_| step(&mut state, draw(&factor))).collect()
}

/// The lower triangular factor of a covariance. Rounding below zero counts as zero.
fn cholesky<const N: usize>(covariance: [[f64; N]; N]) -> [[f64; N]; N] {
    let mut factor = [[0.0; N]; N];
    for row in 0..N {
        for column in 0..=row {
            let rest: f64 = (0..column).map(|at| factor[row][at] * factor[column][at]).sum();
            let rest = covariance[row][column] - rest;
            factor[row][column] = match (row == column, factor[column][column]) {
                (true, _) => rest.max(0.0).sqrt(),
                (false, pivot) if pivot > 0.0 => rest / pivot,
                _ => 0.0,
            };
        }
    }
    factor
}

fn radial(random: &mut Random, length: f64, steps: usize) -> Vec<f64> {
    let size = (2.0 / FEATURES as f64).sqrt();
    let waves: Vec<(f64, f64)> = (0..FEATURES).map(|_| (random.normal() / length, TAU * random.unit())).collect();
    (0..steps)
        .map(|step| size * waves.iter().map(|(rate, shift)| (rate * step as f64 + shift).cos()).sum::<f64>())
        .collect()
}
