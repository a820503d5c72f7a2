//! The step of each cell from its gates' sums to its new state, and the hand-written backward pass. The modules of
//! [`crate::nn::cells`] document the formulas.
#![expect(unsafe_op_in_unsafe_fn, reason = "the contract of each function covers its whole body")]

use super::activation::{exponential, logistic, positive, sigmoid, tanh};
use super::lanes::Lanes;

/// Largest number of gates, and of state vectors, of any cell.
pub(super) const MAX_VECTORS: usize = 4;

/// Pointers to one block of one row: its gates' sums and its vectors of state. A cell dereferences only those it has.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// In: the gates' sums. Out: what the backward pass needs.
    pub gates: [*mut f32; MAX_VECTORS],
    /// The states, the output first.
    pub states: [*mut f32; MAX_VECTORS],
}

/// Pointers to one block of one row in the backward pass.
#[derive(Clone, Copy)]
pub(super) struct BackwardBlock {
    /// What the forward step saved of its gates.
    pub saved: [*const f32; MAX_VECTORS],
    /// The states before the step.
    pub before: [*const f32; MAX_VECTORS],
    /// The states after it.
    pub after: [*const f32; MAX_VECTORS],
    /// In: gradient by the states after the step. Out: gradient by the states before it, without the part through the
    /// gates.
    pub states: [*mut f32; MAX_VECTORS],
    /// Out: gradient by the gates' sums.
    pub sums: [*mut f32; MAX_VECTORS],
}

// SAFETY, for every function of this file: the caller guarantees that the CPU supports the instructions of `L` and that
// the pointers to the cell's gates and states are valid for sixteen values.

#[inline(always)]
pub(super) unsafe fn elman<L: Lanes, const RELU: bool>(at: Block) {
    let sum = L::load(at.gates[0]);
    let output = if RELU { L::splat(0.0).max(sum) } else { tanh(sum) };
    output.store(at.states[0]);
}

#[inline(always)]
pub(super) unsafe fn elman_backward<L: Lanes, const RELU: bool>(at: BackwardBlock) {
    let (after, gradient) = (L::load(at.after[0]), L::load(at.states[0]));
    let derivative = if RELU { step_of(after) } else { tanh_derivative(after) };
    gradient.multiply(derivative).store(at.sums[0]);
    L::splat(0.0).store(at.states[0]);
}

#[inline(always)]
pub(super) unsafe fn gru<L: Lanes, const SAVE: bool>(at: Block) {
    let reset = sigmoid(L::load(at.gates[1]));
    let update = sigmoid(L::load(at.gates[2]));
    let candidate = tanh(reset.multiply_add(L::load(at.gates[3]), L::load(at.gates[0])));
    let change = L::load(at.states[0]).subtract(candidate);
    update.multiply_add(change, candidate).store(at.states[0]);
    if SAVE {
        candidate.store(at.gates[0]);
        reset.store(at.gates[1]);
        update.store(at.gates[2]);
    }
}

#[inline(always)]
pub(super) unsafe fn gru_backward<L: Lanes>(at: BackwardBlock) {
    let one = L::splat(1.0);
    let (candidate, reset, update) = (L::load(at.saved[0]), L::load(at.saved[1]), L::load(at.saved[2]));
    let output = L::load(at.states[0]);
    let d_candidate = output.multiply(one.subtract(update)).multiply(tanh_derivative(candidate));
    d_candidate.store(at.sums[0]);
    d_candidate.multiply(L::load(at.saved[3])).multiply(sigmoid_derivative(reset)).store(at.sums[1]);
    output.multiply(L::load(at.before[0]).subtract(candidate)).multiply(sigmoid_derivative(update)).store(at.sums[2]);
    d_candidate.multiply(reset).store(at.sums[3]);
    output.multiply(update).store(at.states[0]);
}

/// The outputs that the reset gate passes, `r * h`, into the scratch vector after the last gate.
#[inline(always)]
pub(super) unsafe fn reset_outputs<L: Lanes>(at: Block) {
    sigmoid(L::load(at.gates[0])).multiply(L::load(at.states[0])).store(at.gates[3])
}

#[inline(always)]
pub(super) unsafe fn gru_reset_before<L: Lanes>(at: Block) {
    let update = sigmoid(L::load(at.gates[1]));
    let candidate = tanh(L::load(at.gates[2]));
    let change = L::load(at.states[0]).subtract(candidate);
    update.multiply_add(change, candidate).store(at.states[0]);
}

#[inline(always)]
pub(super) unsafe fn lstm<L: Lanes, const SAVE: bool>(at: Block) {
    let input = sigmoid(L::load(at.gates[0]));
    let forget = sigmoid(L::load(at.gates[1]));
    let candidate = tanh(L::load(at.gates[2]));
    let output_gate = sigmoid(L::load(at.gates[3]));
    let cell = forget.multiply_add(L::load(at.states[1]), input.multiply(candidate));
    cell.store(at.states[1]);
    output_gate.multiply(tanh(cell)).store(at.states[0]);
    if SAVE {
        input.store(at.gates[0]);
        forget.store(at.gates[1]);
        candidate.store(at.gates[2]);
        output_gate.store(at.gates[3]);
    }
}

#[inline(always)]
pub(super) unsafe fn lstm_backward<L: Lanes>(at: BackwardBlock) {
    let (input, forget) = (L::load(at.saved[0]), L::load(at.saved[1]));
    let (candidate, output_gate) = (L::load(at.saved[2]), L::load(at.saved[3]));
    let d_output = L::load(at.states[0]);
    let squashed = tanh(L::load(at.after[1]));
    let d_cell = d_output.multiply(output_gate).multiply_add(tanh_derivative(squashed), L::load(at.states[1]));
    d_cell.multiply(candidate).multiply(sigmoid_derivative(input)).store(at.sums[0]);
    d_cell.multiply(L::load(at.before[1])).multiply(sigmoid_derivative(forget)).store(at.sums[1]);
    d_cell.multiply(input).multiply(tanh_derivative(candidate)).store(at.sums[2]);
    d_output.multiply(squashed).multiply(sigmoid_derivative(output_gate)).store(at.sums[3]);
    d_cell.multiply(forget).store(at.states[1]);
    L::splat(0.0).store(at.states[0]);
}

#[inline(always)]
pub(super) unsafe fn min_gru<L: Lanes, const SAVE: bool>(at: Block) {
    let candidate = positive(L::load(at.gates[0]));
    let update = sigmoid(L::load(at.gates[1]));
    let before = L::load(at.states[0]);
    update.multiply_add(candidate.subtract(before), before).store(at.states[0]);
    if SAVE {
        candidate.store(at.gates[0]);
        update.store(at.gates[1]);
    }
}

#[inline(always)]
pub(super) unsafe fn min_gru_backward<L: Lanes>(at: BackwardBlock) {
    let (candidate, update) = (L::load(at.saved[0]), L::load(at.saved[1]));
    let output = L::load(at.states[0]);
    output.multiply(update).multiply(positive_derivative(candidate)).store(at.sums[0]);
    output.multiply(candidate.subtract(L::load(at.before[0]))).multiply(sigmoid_derivative(update)).store(at.sums[1]);
    output.multiply(L::splat(1.0).subtract(update)).store(at.states[0]);
}

/// The update weight is `i / (f + i)`. Both gates may be small, so they need the logistic function with a small
/// relative error.
#[inline(always)]
pub(super) unsafe fn min_lstm<L: Lanes, const SAVE: bool>(at: Block) {
    let forget = logistic(L::load(at.gates[0]));
    let input = logistic(L::load(at.gates[1]));
    let candidate = positive(L::load(at.gates[2]));
    let update = input.divide(add(forget, input));
    let before = L::load(at.states[0]);
    update.multiply_add(candidate.subtract(before), before).store(at.states[0]);
    if SAVE {
        forget.store(at.gates[0]);
        input.store(at.gates[1]);
        candidate.store(at.gates[2]);
    }
}

#[inline(always)]
pub(super) unsafe fn min_lstm_backward<L: Lanes>(at: BackwardBlock) {
    let one = L::splat(1.0);
    let (forget, input, candidate) = (L::load(at.saved[0]), L::load(at.saved[1]), L::load(at.saved[2]));
    let update = input.divide(add(forget, input));
    let retained = one.subtract(update);
    let output = L::load(at.states[0]);
    let d_update = output.multiply(candidate.subtract(L::load(at.before[0])));
    // With u = i / (f + i): du/di~ = u (1 - u) (1 - i) and du/df~ = -u (1 - u) (1 - f).
    let through_update = d_update.multiply(update).multiply(retained);
    through_update.multiply(forget.subtract(one)).store(at.sums[0]);
    through_update.multiply(one.subtract(input)).store(at.sums[1]);
    output.multiply(update).multiply(positive_derivative(candidate)).store(at.sums[2]);
    output.multiply(retained).store(at.states[0]);
}

#[inline(always)]
pub(super) unsafe fn slstm<L: Lanes, const SAVE: bool>(at: Block) {
    let (input, forget) = (L::load(at.gates[0]), add(L::load(at.gates[1]), L::load(at.states[3])));
    let candidate = tanh(L::load(at.gates[2]));
    let output_gate = sigmoid(L::load(at.gates[3]));
    let stabiliser = forget.max(input);
    let (input, forget) = (exponential(input.subtract(stabiliser)), exponential(forget.subtract(stabiliser)));
    let cell = forget.multiply_add(L::load(at.states[1]), input.multiply(candidate));
    let normaliser = forget.multiply_add(L::load(at.states[2]), input);
    output_gate.multiply(cell.divide(normaliser)).store(at.states[0]);
    cell.store(at.states[1]);
    normaliser.store(at.states[2]);
    stabiliser.store(at.states[3]);
    if SAVE {
        input.store(at.gates[0]);
        forget.store(at.gates[1]);
        candidate.store(at.gates[2]);
        output_gate.store(at.gates[3]);
    }
}

/// The output does not depend on the stabiliser, so the stabiliser counts as a constant.
#[inline(always)]
pub(super) unsafe fn slstm_backward<L: Lanes>(at: BackwardBlock) {
    let (input, forget) = (L::load(at.saved[0]), L::load(at.saved[1]));
    let (candidate, output_gate) = (L::load(at.saved[2]), L::load(at.saved[3]));
    // The normaliser of the padding is zero.
    let (cell, normaliser) = (L::load(at.after[1]), L::splat(f32::MIN_POSITIVE).max(L::load(at.after[2])));
    let d_output = L::load(at.states[0]);
    let ratio = cell.divide(normaliser);
    let d_ratio = d_output.multiply(output_gate).divide(normaliser);
    let d_cell = add(d_ratio, L::load(at.states[1]));
    let d_normaliser = L::load(at.states[2]).subtract(d_ratio.multiply(ratio));
    d_cell.multiply_add(candidate, d_normaliser).multiply(input).store(at.sums[0]);
    let through = d_normaliser.multiply(L::load(at.before[2]));
    let d_forget = d_cell.multiply_add(L::load(at.before[1]), through).multiply(forget);
    d_forget.store(at.sums[1]);
    d_cell.multiply(input).multiply(tanh_derivative(candidate)).store(at.sums[2]);
    d_output.multiply(ratio).multiply(sigmoid_derivative(output_gate)).store(at.sums[3]);
    L::splat(0.0).store(at.states[0]);
    d_cell.multiply(forget).store(at.states[1]);
    d_normaliser.multiply(forget).store(at.states[2]);
    d_forget.store(at.states[3]);
}

#[inline(always)]
unsafe fn add<L: Lanes>(left: L, right: L) -> L {
    left.multiply_add(L::splat(1.0), right)
}

/// The derivative of tanh as a function of its value: `1 - y^2`.
#[inline(always)]
unsafe fn tanh_derivative<L: Lanes>(value: L) -> L {
    L::splat(1.0).subtract(value.multiply(value))
}

/// The derivative of the logistic function as a function of its value: `y (1 - y)`.
#[inline(always)]
unsafe fn sigmoid_derivative<L: Lanes>(value: L) -> L {
    value.multiply(L::splat(1.0).subtract(value))
}

/// The derivative of [`positive`] as a function of its value: one from a half on, that of the logistic function below.
#[inline(always)]
unsafe fn positive_derivative<L: Lanes>(value: L) -> L {
    let half = L::splat(0.5);
    let (below, above) = (sigmoid_derivative(half.min(value)), step_of(value.subtract(half)));
    // Above a half, `below` is one quarter; three quarters more make one.
    above.multiply_add(L::splat(0.75), below)
}

/// One where the value is above zero, zero elsewhere.
#[inline(always)]
unsafe fn step_of<L: Lanes>(value: L) -> L {
    L::splat(1.0).min(value.multiply(L::splat(f32::MAX)).multiply(L::splat(f32::MAX))).max(L::splat(0.0))
}
