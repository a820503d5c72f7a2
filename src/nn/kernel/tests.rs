//! The kernels against the formulas in `f64`, against each other, and against themselves in other batches.

use proptest::prelude::*;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{RngCore, SeedableRng};

use super::activation::{exponential, logistic, sigmoid, tanh};
use super::lanes::{Lanes, Portable};
use super::*;

const ALL: [Recurrence; 8] = {
    use Recurrence::*;
    [Elman, ElmanRelu, Lstm, Gru, GruResetBefore, MinGru, MinLstm, Slstm]
};

fn random_values(random: &mut Pcg64, count: usize, size: f32) -> Vec<f32> {
    (0..count).map(|_| (random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * size).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A layer whose matrices are readable, as the reference.
struct ReferenceLayer {
    recurrence: Recurrence,
    inputs: usize,
    hidden: usize,
    /// Per gate: weights `[hidden][inputs + hidden]`, zero for inputs that the gate does not read, and biases.
    gates: Vec<(Vec<f32>, Vec<f32>)>,
}

impl ReferenceLayer {
    fn new(recurrence: Recurrence, inputs: usize, hidden: usize, seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed);
        let gates = (0..recurrence.gate_count()).map(|gate| {
            let (from_input, from_recurrent) = reads(recurrence, gate);
            let mut weights = random_values(&mut random, hidden * (inputs + hidden), 2.0 / (hidden as f32).sqrt());
            for (at, weight) in weights.iter_mut().enumerate() {
                let seen = if at % (inputs + hidden) < inputs { from_input } else { from_recurrent };
                *weight *= f32::from(u8::from(seen));
            }
            (weights, random_values(&mut random, hidden, 0.5))
        });
        Self { recurrence, inputs, hidden, gates: gates.collect() }
    }

    fn packed(&self) -> Layer {
        let width = self.inputs + self.hidden;
        let panels = (0..self.recurrence.gate_count()).map(|gate| {
            let (from_input, from_recurrent) = reads(self.recurrence, gate);
            let first = if from_input { self.inputs } else { 0 };
            let second = if from_recurrent { self.hidden } else { 0 };
            let (weights, bias) = &self.gates[gate];
            let skipped = self.inputs - first;
            Panel::new(
                self.hidden,
                (first, second),
                |output, input| weights[output * width + input + skipped],
                |output| bias[output],
            )
        });
        Layer::new(self.recurrence, panels.collect())
    }

    /// One step of one row in `f64`; `state` without padding.
    fn step(&self, x: &[f32], state: &mut [f64]) {
        let logistic = |value: f64| 1.0 / (1.0 + (-value).exp());
        let positive = |value: f64| if value >= 0.0 { value + 0.5 } else { logistic(value) };
        let before = state[..self.hidden].to_vec();
        let sums = |outputs: &[f64]| -> Vec<Vec<f64>> {
            let h: Vec<f64> = x.iter().map(|value| f64::from(*value)).chain(outputs.iter().copied()).collect();
            let dot = |row: &[f32]| row.iter().zip(&h).map(|(weight, value)| f64::from(*weight) * value).sum::<f64>();
            let gate = |(weights, bias): &(Vec<f32>, Vec<f32>)| {
                let rows = weights.chunks_exact(self.inputs + self.hidden).zip(bias);
                rows.map(|(row, bias)| f64::from(*bias) + dot(row)).collect()
            };
            self.gates.iter().map(gate).collect()
        };
        let mut all = sums(&before);
        if self.recurrence == Recurrence::GruResetBefore {
            let reset: Vec<f64> = before.iter().zip(&all[0]).map(|(before, sum)| before * logistic(*sum)).collect();
            all[2] = sums(&reset).swap_remove(2);
        }
        for unit in 0..self.hidden {
            let gate = |index: usize| all[index][unit];
            let old = before[unit];
            let others = |state: &[f64], vector: usize| state[vector * self.hidden + unit];
            state[unit] = match self.recurrence {
                Recurrence::Elman => gate(0).tanh(),
                Recurrence::ElmanRelu => gate(0).max(0.0),
                Recurrence::Gru => {
                    let (candidate, update) = ((gate(0) + logistic(gate(1)) * gate(3)).tanh(), logistic(gate(2)));
                    (1.0 - update) * candidate + update * old
                }
                Recurrence::GruResetBefore => {
                    let update = logistic(gate(1));
                    (1.0 - update) * gate(2).tanh() + update * old
                }
                Recurrence::Lstm => {
                    let cell = logistic(gate(1)) * others(state, 1) + logistic(gate(0)) * gate(2).tanh();
                    state[self.hidden + unit] = cell;
                    logistic(gate(3)) * cell.tanh()
                }
                Recurrence::MinGru => {
                    let update = logistic(gate(1));
                    (1.0 - update) * old + update * positive(gate(0))
                }
                Recurrence::MinLstm => {
                    let (forget, input) = (logistic(gate(0)), logistic(gate(1)));
                    (forget * old + input * positive(gate(2))) / (forget + input)
                }
                Recurrence::Slstm => {
                    let forget = gate(1) + others(state, 3);
                    let most = forget.max(gate(0));
                    let (input, forget) = ((gate(0) - most).exp(), (forget - most).exp());
                    let cell = forget * others(state, 1) + input * gate(2).tanh();
                    let normaliser = forget * others(state, 2) + input;
                    for (vector, value) in [(1, cell), (2, normaliser), (3, most)] {
                        state[vector * self.hidden + unit] = value;
                    }
                    logistic(gate(3)) * cell / normaliser
                }
            };
        }
    }
}

fn reads(recurrence: Recurrence, gate: usize) -> (bool, bool) {
    match (recurrence, gate) {
        (Recurrence::Gru, 0) => (true, false),
        (Recurrence::Gru, 3) => (false, true),
        (Recurrence::MinGru | Recurrence::MinLstm, _) => (true, false),
        _ => (true, true),
    }
}

/// Runs `steps` steps of `rows` rows and returns the states `[rows, states * padded(hidden)]` after the last one.
fn run(instructions: InstructionSet, layer: &Layer, inputs: usize, rows: usize, steps: usize, seed: u64) -> Vec<f32> {
    let mut random = Pcg64::seed_from_u64(seed);
    let stride = layer.recurrence.states() * layer.blocks() * LANES;
    let mut states = vec![0.0; rows * stride];
    let mut scratch = Vec::new();
    for _ in 0..steps {
        let x = random_values(&mut random, rows * inputs, 2.0);
        let input = Input::Rows(Rows { data: &x, stride: inputs, offset: 0 });
        layer_step(instructions, layer, rows, input, RowsMut { data: &mut states, stride, offset: 0 }, &mut scratch);
    }
    states
}

#[test]
fn the_instruction_sets_of_this_cpu_are_detected() {
    let names: Vec<_> = InstructionSet::available().into_iter().map(InstructionSet::name).collect();
    println!("instructions here: {names:?}");
    assert_eq!(names[0], "portable");
    assert_eq!(InstructionSet::best().name(), names[names.len() - 1]);
}

/// The value of a function in the last lane.
fn each(function: &dyn Fn(Portable) -> Portable, value: f32) -> f32 {
    let mut out = Line::ZERO;
    // SAFETY: `Portable` needs no special instructions, and a line has room for sixteen values.
    unsafe { function(Portable::splat(value)).store(out.0.as_mut_ptr()) };
    out.0[LANES - 1]
}

#[test]
fn activations_are_close_to_the_exact_functions_and_propagate_nan() {
    // SAFETY: `Portable` needs no special instructions.
    let (tanh_of, sigmoid_of) = (|value| unsafe { tanh(value) }, |value| unsafe { sigmoid(value) });
    for index in -40_000..=40_000_i32 {
        let value = index as f32 / 1000.0;
        let exact = f64::from(value).tanh();
        let error = (f64::from(each(&tanh_of, value)) - exact).abs();
        assert!(error < 3e-7 * exact.abs() + 1e-9, "tanh {value}: {error}");
        let exact = 1.0 / (1.0 + (-f64::from(value)).exp());
        let error = (f64::from(each(&sigmoid_of, value)) - exact).abs();
        assert!(error < 2.5e-7, "sigmoid {value}: {error}");
    }
    assert_eq!(each(&tanh_of, 0.0), 0.0);
    assert!(each(&tanh_of, f32::NAN).is_nan() && each(&sigmoid_of, f32::NAN).is_nan());
    for (value, limit) in [(f32::INFINITY, 1.0), (f32::NEG_INFINITY, 0.0)] {
        assert!((each(&tanh_of, value) - f32::signum(value)).abs() < 1e-6, "tanh {value}");
        assert!((each(&sigmoid_of, value) - limit).abs() < 1e-6);
    }
}

#[test]
fn exponentials_have_a_small_relative_error() {
    // SAFETY: `Portable` needs no special instructions.
    let (exponential_of, logistic_of) = (|value| unsafe { exponential(value) }, |value| unsafe { logistic(value) });
    for index in -87_000..=0_i32 {
        let value = index as f32 / 1000.0;
        let exact = f64::from(value).exp();
        assert!((f64::from(each(&exponential_of, value)) - exact).abs() < 3e-7 * exact, "exp {value}");
        let exact = 1.0 / (1.0 + (-f64::from(value)).exp());
        assert!((f64::from(each(&logistic_of, value)) - exact).abs() < 5e-7 * exact, "logistic {value}");
        assert!((f64::from(each(&logistic_of, -value)) - (1.0 - exact)).abs() < 3e-7, "logistic {}", -value);
    }
    assert_eq!(each(&exponential_of, 0.0), 1.0);
    assert!(each(&exponential_of, f32::NEG_INFINITY) > 0.0 && each(&exponential_of, f32::NAN).is_nan());
}

#[test]
fn the_padding_of_states_stays_zero() {
    for recurrence in ALL {
        let layer = ReferenceLayer::new(recurrence, 3, 21, 4).packed();
        let states = run(InstructionSet::best(), &layer, 3, 5, 20, 1);
        for vector in states.chunks_exact(32) {
            assert!(vector[..21].iter().any(|value| *value != 0.0));
            assert_eq!(vector[21..], [0.0; 11], "{recurrence:?}");
        }
    }
}

#[test]
fn bf16_results_are_close_to_f32_and_the_same_in_any_batch() {
    let Some(bf16) = InstructionSet::bf16() else {
        println!("skipped: this CPU has no bfloat16 dot product");
        return;
    };
    for recurrence in ALL {
        for (inputs, hidden) in [(8, 64), (3, 21), (17, 80)] {
            let layer = ReferenceLayer::new(recurrence, inputs, hidden, 5).packed();
            let [exact, bf16_states] =
                [InstructionSet::best(), bf16].map(|instructions| run(instructions, &layer, inputs, 31, 1, 3));
            let mean = |of: &dyn Fn(usize) -> f32| (0..exact.len()).map(of).sum::<f32>() / exact.len() as f32;
            let worst =
                exact.iter().zip(&bf16_states).fold(0.0_f32, |max, (exact, bf16)| max.max((exact - bf16).abs()));
            let (error, size) = (mean(&|at| (exact[at] - bf16_states[at]).abs()), mean(&|at| exact[at].abs()));
            assert!(worst < 6e-2 && error < 5e-3 * size.max(0.1), "{recurrence:?}: {worst}, {error} of {size}");
            assert_eq!(
                bf16_states != exact,
                recurrence.gate_after_reset().is_none(),
                "{recurrence:?} runs in bfloat16"
            );
            let alone = run(bf16, &layer, inputs, 1, 1, 3);
            assert_eq!(bits(&alone), bits(&bf16_states[..alone.len()]), "{recurrence:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn steps_are_close_to_the_formulas_in_f64(
        inputs in 1_usize..12, hidden in 1_usize..90, rows in 1_usize..9, seed in any::<u64>(), which in 0_usize..8,
    ) {
        let reference = ReferenceLayer::new(ALL[which], inputs, hidden, seed);
        let states = run(InstructionSet::best(), &reference.packed(), inputs, rows, 4, seed);
        let vectors = reference.recurrence.states();
        let mut exact = vec![vec![0.0_f64; vectors * hidden]; rows];
        let mut random = Pcg64::seed_from_u64(seed);
        for _ in 0..4 {
            let x = random_values(&mut random, rows * inputs, 2.0);
            exact.iter_mut().zip(x.chunks_exact(inputs)).for_each(|(state, x)| reference.step(x, state));
        }
        for (row, exact) in states.chunks_exact(vectors * padded(hidden)).zip(&exact) {
            for (vector, exact) in row.chunks_exact(padded(hidden)).zip(exact.chunks_exact(hidden)) {
                for (value, exact) in vector.iter().zip(exact) {
                    let error = (f64::from(*value) - exact).abs() / exact.abs().max(0.1);
                    // Exponential gates multiply the rounding of what they are applied to.
                    prop_assert!(error < 3e-5, "{value} against {exact}");
                }
            }
        }
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits(
        inputs in 1_usize..10, hidden in 1_usize..150, rows in 1_usize..16, seed in any::<u64>(), which in 0_usize..8,
    ) {
        let layer = ReferenceLayer::new(ALL[which], inputs, hidden, seed).packed();
        let mut kinds = InstructionSet::available().into_iter();
        let portable = run(kinds.next().unwrap(), &layer, inputs, rows, 3, seed);
        prop_assert!(portable.iter().any(|value| *value != 0.0));
        for kind in kinds {
            prop_assert_eq!(bits(&run(kind, &layer, inputs, rows, 3, seed)), bits(&portable), "{}", kind.name());
        }
    }

    #[test]
    fn dense_rows_have_the_same_bits_everywhere_and_stay_within_their_rows(
        inputs in 1_usize..40, outputs in 1_usize..90, rows in 1_usize..16, seed in any::<u64>(),
    ) {
        let mut random = Pcg64::seed_from_u64(seed);
        let weights = random_values(&mut random, inputs * outputs, 1.0);
        let bias = random_values(&mut random, outputs, 1.0);
        let panel = Panel::new(outputs, (inputs, 0), |output, input| weights[output * inputs + input], |at| bias[at]);
        let x = random_values(&mut random, rows * (inputs + 3), 1.0);
        let stride = outputs + 2;
        let mut first = None;
        for kind in InstructionSet::available() {
            let mut out = vec![7.0; rows * stride];
            let input = Rows { data: &x, stride: inputs + 3, offset: 1 };
            dense_rows(kind, &panel, rows, input, RowsMut { data: &mut out, stride, offset: 0 }, OutputMode::Exact);
            for (row, out) in out.chunks_exact(stride).enumerate() {
                prop_assert_eq!(&out[outputs..], &[7.0, 7.0]);
                for (output, value) in out[..outputs].iter().enumerate() {
                    let from = &x[row * (inputs + 3) + 1..][..inputs];
                    let chain = from.iter().zip(&weights[output * inputs..]);
                    let chain = chain.fold(bias[output], |sum, (value, weight)| weight.mul_add(*value, sum));
                    prop_assert_eq!(value.to_bits(), chain.to_bits());
                }
            }
            let out = bits(&out);
            prop_assert_eq!(first.get_or_insert_with(|| out.clone()), &out);
        }
    }

    #[test]
    fn dense_vectors_start_at_the_bias_or_at_the_value_in_the_buffer(
        inputs in 1_usize..40, outputs in 1_usize..90, rows in 1_usize..16, seed in any::<u64>(),
    ) {
        let mut random = Pcg64::seed_from_u64(seed);
        let weights = random_values(&mut random, inputs * outputs, 1.0);
        let bias = random_values(&mut random, outputs, 1.0);
        let panel = Panel::new(outputs, (inputs, 0), |output, input| weights[output * inputs + input], |at| bias[at]);
        let x = random_values(&mut random, rows * inputs, 1.0);
        let width = padded(outputs);
        let initial = random_values(&mut random, rows * width, 1.0);
        for kind in InstructionSet::available() {
            for mode in [OutputMode::Padded, OutputMode::Accumulated] {
                let mut out = initial.clone();
                let x = Rows { data: &x, stride: inputs, offset: 0 };
                let to = RowsMut { data: &mut out, stride: width, offset: 0 };
                dense_rows(kind, &panel, rows, x, to, mode);
                for (at, value) in out.iter().enumerate() {
                    let (row, output) = (at / width, at % width);
                    let accumulated = mode == OutputMode::Accumulated;
                    let first = if accumulated { initial[at] } else { bias.get(output).copied().unwrap_or(0.0) };
                    let weight = |input: usize| if output < outputs { weights[output * inputs + input] } else { 0.0 };
                    let chain = (0..inputs).fold(first, |sum, at| weight(at).mul_add(x.data[row * inputs + at], sum));
                    prop_assert_eq!(value.to_bits(), chain.to_bits(), "{}", kind.name());
                }
            }
        }
    }

    #[test]
    fn products_are_summed_over_the_rows_in_order_on_all_instruction_sets(
        inputs in 1_usize..20, blocks in 1_usize..8, rows in 0_usize..60, seed in any::<u64>(),
    ) {
        let mut random = Pcg64::seed_from_u64(seed);
        let outputs = blocks * LANES;
        let left = random_values(&mut random, rows * (inputs + 2), 1.0);
        let right = random_values(&mut random, rows * (outputs + 5), 1.0);
        let stride = outputs + 3;
        let initial = random_values(&mut random, inputs * stride, 1.0);
        for kind in InstructionSet::available() {
            let mut into = initial.clone();
            let left = Rows { data: &left, stride: inputs + 2, offset: 1 };
            let right = Rows { data: &right, stride: outputs + 5, offset: 4 };
            outer_rows(kind, OuterProduct { rows, left, inputs, right, blocks }, &mut into, stride);
            for (at, value) in into.iter().enumerate() {
                let (input, output) = (at / stride, at % stride);
                let rows = if output < outputs { 0..rows } else { 0..0 };
                let pair = |row: usize| {
                    (left.data[row * left.stride + 1 + input], right.data[row * right.stride + 4 + output])
                };
                let pairs = rows.map(pair);
                let chain = pairs.clone().fold(initial[at], |sum, (left, right)| right.mul_add(left, sum));
                prop_assert_eq!(value.to_bits(), chain.to_bits(), "{}", kind.name());
                let exact: f64 = pairs.map(|(left, right)| f64::from(left) * f64::from(right)).sum();
                prop_assert!((f64::from(*value) - f64::from(initial[at]) - exact).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch(
        hidden in 1_usize..100, rows in 2_usize..70, row in any::<prop::sample::Index>(), seed in any::<u64>(),
        which in 0_usize..8,
    ) {
        let layer = ReferenceLayer::new(ALL[which], 5, hidden, seed).packed();
        let stride = layer.recurrence.states() * padded(hidden);
        let mut random = Pcg64::seed_from_u64(seed);
        let x = random_values(&mut random, rows * 5, 2.0);
        let mut states = random_values(&mut random, rows * stride, 1.0);
        let row = row.index(rows);
        let mut alone = states[row * stride..][..stride].to_vec();
        let instructions = InstructionSet::best();
        let input = |x| Input::Rows(Rows { data: x, stride: 5, offset: 0 });
        let mut scratch = Vec::new();
        let all = RowsMut { data: &mut states, stride, offset: 0 };
        layer_step(instructions, &layer, rows, input(&x), all, &mut scratch);
        let own = RowsMut { data: &mut alone, stride, offset: 0 };
        layer_step(instructions, &layer, 1, input(&x[row * 5..][..5]), own, &mut scratch);
        prop_assert_eq!(bits(&alone), bits(&states[row * stride..][..stride]));
    }
}
