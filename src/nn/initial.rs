//! The weights of a network that has learnt nothing.
//!
//! Recurrent matrices are orthogonal (Saxe, McClelland, Ganguli, 2014, arXiv:1312.6120), input matrices uniform after
//! Glorot and Bengio (AISTATS 2010), forget gates start open with a bias of one (Jozefowicz, Zaremba, Sutskever, ICML
//! 2015) or spread over a range of memories, and the last layer is zero: an untrained network forecasts the last value.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds the same everywhere: the
//! logarithms and cosines of the usual normal generators differ between C libraries in their last bits, and with them
//! the forecasts of two replicas would.

use std::collections::BTreeMap;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::cell::{Parameter, Start};
use super::spec::NetworkSpec;
use super::weights::{NamedTensor, Weights, parameters};
use crate::series::logarithm;

/// Draws every tensor of the network in the order from the lowest layer to the head.
pub(super) fn weights(spec: &NetworkSpec) -> Weights {
    Weights::from_tensors(draw(spec.seed, parameters(spec)))
}

/// Draws tensors in order.
pub(super) fn draw(seed: u64, parameters: Vec<(String, Parameter)>) -> BTreeMap<String, NamedTensor> {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    for (name, parameter) in parameters {
        let values = match parameter.start {
            Start::Zero => vec![0.0; parameter.shape.iter().product()],
            Start::Uniform { fan_out } => uniform(&mut random, &parameter.shape, fan_out),
            Start::Orthogonal => orthogonal(&mut random, &parameter.shape),
            Start::One => vec![1.0; parameter.shape.iter().product()],
            Start::Biases { hidden, gates, chrono } => {
                biases(&mut random, parameter.shape.iter().product(), hidden, gates, chrono)
            }
        };
        tensors.insert(name, NamedTensor { shape: parameter.shape, values });
    }
    tensors
}

/// A number in `[0, 1)` with 53 random bits.
fn unit(random: &mut Pcg64) -> f64 {
    (random.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// Close to a standard normal number: the sum of twelve uniform ones less six (Irwin and Hall).
fn normal(random: &mut Pcg64) -> f64 {
    (0..12).map(|_| unit(random)).sum::<f64>() - 6.0
}

/// Uniform in plus and minus `sqrt(6 / (inputs + fan_out))`.
fn uniform(random: &mut Pcg64, shape: &[usize], fan_out: usize) -> Vec<f32> {
    let inputs = shape.last().copied().unwrap_or(1);
    let bound = (6.0 / (inputs + fan_out) as f64).sqrt();
    (0..shape.iter().product()).map(|_| ((2.0 * unit(random) - 1.0) * bound) as f32).collect()
}

/// Biases that say how long is remembered: one for the first of `gates`, or, spread over memories of up to `chrono`
/// steps, `log(u)` with `u` uniform in 1 to `chrono - 1` for all of them (Tallec, Ollivier, ICLR 2018,
/// arXiv:1804.11188), the same `u` for a unit's gates.
fn biases(random: &mut Pcg64, length: usize, hidden: usize, gates: &[(usize, f32)], chrono: usize) -> Vec<f32> {
    let mut values = vec![0.0; length];
    if chrono == 0 {
        if let Some((gate, sign)) = gates.first() {
            values[gate * hidden..(gate + 1) * hidden].fill(*sign);
        }
        return values;
    }
    for unit in 0..hidden {
        let memory = 1.0 + self::unit(random) * (chrono as f64 - 2.0).max(0.0);
        for (gate, sign) in gates {
            values[gate * hidden + unit] = sign * logarithm(memory as f32);
        }
    }
    values
}

/// One orthogonal `[size, size]` matrix per gate, under each other: random rows made orthonormal one after the other
/// (modified Gram-Schmidt, twice over against rounding).
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
                    let along = dot(&row, earlier);
                    row.iter_mut().zip(earlier).for_each(|(value, other)| *value -= along * other);
                }
            }
            let length = dot(&row, &row).sqrt();
            // A row that lies in the span of the others has no direction of its own: draw again.
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

#[cfg(test)]
mod tests {
    use super::super::spec::CellKind;
    use super::*;

    fn spec(cell: CellKind) -> NetworkSpec {
        NetworkSpec { cell, layers: 2, hidden: 24, inputs: 7, horizon: 4, levels: 3, seed: 5, ..NetworkSpec::default() }
    }

    #[test]
    fn recurrent_matrices_are_orthogonal_gate_by_gate() {
        for cell in CellKind::ALL {
            let weights = Weights::initial(&spec(cell));
            let (size, values) = (24, weights.values("layer1.recurrent"));
            for gate in values.chunks_exact(size * size) {
                for left in 0..size {
                    for right in 0..size {
                        let product: f64 = (0..size)
                            .map(|at| f64::from(gate[left * size + at]) * f64::from(gate[right * size + at]))
                            .sum();
                        let expected = f64::from(u8::from(left == right));
                        assert!((product - expected).abs() < 1e-6, "{cell} {left} {right}: {product}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_forget_gate_starts_open_and_the_head_at_zero() {
        let weights = Weights::initial(&spec(CellKind::Lstm));
        let bias = weights.values("layer0.bias");
        let expected: Vec<f32> = (0..4 * 24).map(|at| f32::from(u8::from((24..48).contains(&at)))).collect();
        assert_eq!(bias, expected, "input, forget, cell, output");
        assert!(weights.values("head.weight").iter().chain(weights.values("head.bias")).all(|value| *value == 0.0));
        assert!(weights.values("layer0.input").iter().any(|value| *value != 0.0));
    }

    #[test]
    fn the_seed_decides() {
        let spec = spec(CellKind::Gru);
        assert_eq!(Weights::initial(&spec), Weights::initial(&spec));
        assert_ne!(Weights::initial(&spec), Weights::initial(&NetworkSpec { seed: 6, ..spec.clone() }));
        // Written down, so that another machine, library or release that drew other numbers is noticed.
        let first = Weights::initial(&spec).values("layer0.input")[0];
        assert_eq!(first.to_bits(), 0xbdd7_c8f0, "{first}");
    }
}
