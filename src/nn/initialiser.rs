//! Initialisers: the weights of an untrained network.
//!
//! Recurrent matrices are orthogonal (Saxe, McClelland, Ganguli, 2014, arXiv:1312.6120). Input matrices are uniform
//! (Glorot, Bengio, AISTATS 2010). Forget gates start open with a bias of one (Jozefowicz, Zaremba, Sutskever, ICML
//! 2015) or spread over a range of time constants. The last layer is zero: an untrained network forecasts the last
//! value.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds the same everywhere. The
//! logarithms and cosines of common normal generators differ between C libraries in their last bits, and replicas
//! that draw different weights would forecast different values.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::RngCore;

use crate::series::logarithm;

/// How the initial values of a tensor are drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Initialiser {
    /// All zero.
    Zero,
    /// All one.
    One,
    /// Uniform in plus and minus `sqrt(6 / (fan_in + fan_out))`; `fan_in` is the tensor's last size.
    Uniform {
        /// Outputs that one input feeds.
        fan_out: usize,
    },
    /// One orthogonal matrix per gate, stacked.
    Orthogonal,
    /// Zero except for the gates that control how long the state is kept.
    RetentionBias {
        /// Units per gate.
        hidden: usize,
        /// The gates that control retention, the most important first.
        gates: &'static [RetentionGate],
        /// Longest time constant in steps. 0: the bias of the first gate is its sign, all others are zero.
        chrono: usize,
    },
}

/// A gate whose bias decides how long the state is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetentionGate {
    /// Index of the gate in the bias.
    pub gate: usize,
    /// 1 where an open gate keeps the state, -1 where it overwrites it.
    pub sign: f32,
}

impl Initialiser {
    /// Draws the values of a tensor of the given shape.
    pub(super) fn draw(&self, random: &mut Pcg64, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        match *self {
            Self::Zero => vec![0.0; count],
            Self::One => vec![1.0; count],
            Self::Uniform { fan_out } => uniform(random, shape, fan_out),
            Self::Orthogonal => orthogonal(random, shape),
            Self::RetentionBias { hidden, gates, chrono } => retention_bias(random, count, hidden, gates, chrono),
        }
    }
}

/// A number in `[0, 1)` with 53 random bits.
fn unit(random: &mut Pcg64) -> f64 {
    (random.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A nearly standard normal number: the sum of twelve uniform numbers minus six (Irwin-Hall distribution).
fn normal(random: &mut Pcg64) -> f64 {
    (0..12).map(|_| unit(random)).sum::<f64>() - 6.0
}

/// Uniform in plus and minus `sqrt(6 / (fan_in + fan_out))`.
fn uniform(random: &mut Pcg64, shape: &[usize], fan_out: usize) -> Vec<f32> {
    let fan_in = shape.last().copied().unwrap_or(1);
    let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
    (0..shape.iter().product()).map(|_| ((2.0 * unit(random) - 1.0) * bound) as f32).collect()
}

/// Biases of the gates that control retention. With `chrono` 0 the first gate's bias is its sign. Otherwise every
/// gate's bias is its sign times `log(u)`, with `u` uniform in `[1, chrono - 1)` and shared by a unit's gates (Tallec,
/// Ollivier, ICLR 2018, arXiv:1804.11188).
fn retention_bias(
    random: &mut Pcg64,
    length: usize,
    hidden: usize,
    gates: &[RetentionGate],
    chrono: usize,
) -> Vec<f32> {
    let mut values = vec![0.0; length];
    if chrono == 0 {
        if let Some(RetentionGate { gate, sign }) = gates.first() {
            values[gate * hidden..(gate + 1) * hidden].fill(*sign);
        }
        return values;
    }
    for unit in 0..hidden {
        let steps = 1.0 + self::unit(random) * (chrono as f64 - 2.0).max(0.0);
        for RetentionGate { gate, sign } in gates {
            values[gate * hidden + unit] = sign * logarithm(steps as f32);
        }
    }
    values
}

/// One orthogonal `[size, size]` matrix per gate, stacked: random rows, orthonormalised in order by the modified
/// Gram-Schmidt process, which runs twice to remove rounding errors.
fn orthogonal(random: &mut Pcg64, shape: &[usize]) -> Vec<f32> {
    let size = shape.last().copied().unwrap_or(0);
    let gates = if size == 0 { 0 } else { shape.iter().product::<usize>() / (size * size) };
    let mut values = Vec::with_capacity(gates * size * size);
    for _ in 0..gates {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
        while rows.len() < size {
            let mut row: Vec<f64> = (0..size).map(|_| normal(random)).collect();
            for _ in 0..2 {
                for earlier in &rows {
                    let projection = dot(&row, earlier);
                    row.iter_mut().zip(earlier).for_each(|(value, other)| *value -= projection * other);
                }
            }
            let length = dot(&row, &row).sqrt();
            // A row in the span of the earlier rows has no direction of its own; another one is drawn.
            if length > 1e-6 {
                rows.push(row.iter().map(|value| value / length).collect());
            }
        }
        values.extend(rows.iter().flatten().map(|value| *value as f32));
    }
    values
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}
