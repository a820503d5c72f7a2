//! Random small networks over other series: lagged, bent, mixed, and fed back.

use super::shape::standardised;
use crate::pretrain::random::Random;

/// Units of the network.
const UNITS: usize = 6;
/// The longest lag of an input, in steps.
const LONGEST_LAG: f64 = 100.0;

/// A unit: an input at a lag, another one, its own past, and how it bends their sum.
struct Unit {
    input: usize,
    lag: usize,
    by_input: f64,
    other: usize,
    by_other: f64,
    feedback: f64,
    bias: f64,
    weight: f64,
    bends: bool,
}

impl Unit {
    fn draw(random: &mut Random, inputs: usize) -> Self {
        Self {
            input: random.integer(0, inputs - 1),
            lag: if random.chance(0.5) { 0 } else { random.log_uniform(1.0, LONGEST_LAG) as usize },
            by_input: random.normal(),
            other: random.integer(0, inputs - 1),
            by_other: if random.chance(0.5) { random.normal() } else { 0.0 },
            feedback: if random.chance(0.5) { random.uniform(0.0, 0.97) } else { 0.0 },
            bias: 0.5 * random.normal(),
            weight: random.normal(),
            bends: random.chance(0.7),
        }
    }
}

/// The output of a random network over inputs of equal length.
pub(super) fn generate(random: &mut Random, inputs: &[Vec<f64>]) -> Vec<f64> {
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|input| standardised(input)).collect();
    let units: Vec<Unit> = (0..random.integer(2, UNITS)).map(|_| Unit::draw(random, inputs.len())).collect();
    let noise = if random.chance(0.4) { 0.0 } else { random.log_uniform(0.005, 0.3) };
    let mut states = vec![0.0; units.len()];
    let length = inputs[0].len();
    let step = |at: usize| {
        let mut sum = noise * random.normal();
        for (unit, state) in units.iter().zip(&mut states) {
            let lagged = inputs[unit.input][at.saturating_sub(unit.lag)];
            let total = unit.bias + unit.by_input * lagged + unit.by_other * inputs[unit.other][at];
            let bent = if unit.bends { total.tanh() } else { total.clamp(-20.0, 20.0) };
            *state = unit.feedback * *state + (1.0 - unit.feedback) * bent;
            sum += unit.weight * *state;
        }
        sum
    };
    (0..length).map(step).collect()
}
