//! What each cell makes of its gates' sums, and the hand-written reverse of it. The formulas are those of the cells' own
//! pages in [`crate::nn`].

use super::activation::{exponential, logistic, positive, sigmoid, tanh};
use super::lanes::Lanes;

/// The most vectors of gates, and of state, that a cell has.
pub const MOST: usize = 4;

/// One block of one row: where its gates' sums and its vectors of state stand. A cell only touches those that it has.
#[derive(Clone, Copy)]
pub struct Block {
    /// The gates' sums before, what the reverse needs after.
    pub gates: [*mut f32; MOST],
    /// The states, the output first.
    pub states: [*mut f32; MOST],
}

/// One block of one row in reverse.
#[derive(Clone, Copy)]
pub struct Reverse {
    /// What the step kept.
    pub kept: [*const f32; MOST],
    /// The states before the step.
    pub before: [*const f32; MOST],
    /// The states after it.
    pub after: [*const f32; MOST],
    /// In: gradient by the states after the step. Out: by those before, as far as it does not pass through the gates.
    pub states: [*mut f32; MOST],
    /// Out: gradient by the gates' sums.
    pub sums: [*mut f32; MOST],
}

// SAFETY, for every function of this file: the caller promises the instructions of `L`, and that the pointers of every
// gate and state that the cell has are good for sixteen numbers.

#[inline(always)]
pub unsafe fn elman<L: Lanes, const RELU: bool>(at: Block) {
    unsafe {
        let sum = L::load(at.gates[0]);
        let output = if RELU { L::splat(0.0).most(sum) } else { tanh(sum) };
        output.store(at.states[0]);
    }
}

#[inline(always)]
pub unsafe fn elman_reverse<L: Lanes, const RELU: bool>(at: Reverse) {
    unsafe {
        let (after, gradient) = (L::load(at.after[0]), L::load(at.states[0]));
        let slope = if RELU { step_of(after) } else { tanh_slope(after) };
        gradient.multiply(slope).store(at.sums[0]);
        L::splat(0.0).store(at.states[0]);
    }
}

#[inline(always)]
pub unsafe fn gru<L: Lanes, const KEEP: bool>(at: Block) {
    unsafe {
        let reset = sigmoid(L::load(at.gates[1]));
        let update = sigmoid(L::load(at.gates[2]));
        let candidate = tanh(reset.multiply_add(L::load(at.gates[3]), L::load(at.gates[0])));
        let change = L::load(at.states[0]).subtract(candidate);
        update.multiply_add(change, candidate).store(at.states[0]);
        if KEEP {
            candidate.store(at.gates[0]);
            reset.store(at.gates[1]);
            update.store(at.gates[2]);
        }
    }
}

#[inline(always)]
pub unsafe fn gru_reverse<L: Lanes>(at: Reverse) {
    unsafe {
        let one = L::splat(1.0);
        let (candidate, reset, update) = (L::load(at.kept[0]), L::load(at.kept[1]), L::load(at.kept[2]));
        let output = L::load(at.states[0]);
        let by_candidate = output.multiply(one.subtract(update)).multiply(tanh_slope(candidate));
        by_candidate.store(at.sums[0]);
        by_candidate.multiply(L::load(at.kept[3])).multiply(sigmoid_slope(reset)).store(at.sums[1]);
        output.multiply(L::load(at.before[0]).subtract(candidate)).multiply(sigmoid_slope(update)).store(at.sums[2]);
        by_candidate.multiply(reset).store(at.sums[3]);
        output.multiply(update).store(at.states[0]);
    }
}

/// Before the late gate: the outputs that the reset gate lets through, into the fourth plane.
#[inline(always)]
pub unsafe fn reset_outputs<L: Lanes>(at: Block) {
    unsafe { sigmoid(L::load(at.gates[0])).multiply(L::load(at.states[0])).store(at.gates[3]) }
}

#[inline(always)]
pub unsafe fn gru_reset_before<L: Lanes>(at: Block) {
    unsafe {
        let update = sigmoid(L::load(at.gates[1]));
        let candidate = tanh(L::load(at.gates[2]));
        let change = L::load(at.states[0]).subtract(candidate);
        update.multiply_add(change, candidate).store(at.states[0]);
    }
}

#[inline(always)]
pub unsafe fn lstm<L: Lanes, const KEEP: bool>(at: Block) {
    unsafe {
        let input = sigmoid(L::load(at.gates[0]));
        let forget = sigmoid(L::load(at.gates[1]));
        let candidate = tanh(L::load(at.gates[2]));
        let open = sigmoid(L::load(at.gates[3]));
        let memory = forget.multiply_add(L::load(at.states[1]), input.multiply(candidate));
        memory.store(at.states[1]);
        open.multiply(tanh(memory)).store(at.states[0]);
        if KEEP {
            input.store(at.gates[0]);
            forget.store(at.gates[1]);
            candidate.store(at.gates[2]);
            open.store(at.gates[3]);
        }
    }
}

#[inline(always)]
pub unsafe fn lstm_reverse<L: Lanes>(at: Reverse) {
    unsafe {
        let (input, forget) = (L::load(at.kept[0]), L::load(at.kept[1]));
        let (candidate, open) = (L::load(at.kept[2]), L::load(at.kept[3]));
        let by_output = L::load(at.states[0]);
        let squashed = tanh(L::load(at.after[1]));
        let by_memory = by_output.multiply(open).multiply_add(tanh_slope(squashed), L::load(at.states[1]));
        by_memory.multiply(candidate).multiply(sigmoid_slope(input)).store(at.sums[0]);
        by_memory.multiply(L::load(at.before[1])).multiply(sigmoid_slope(forget)).store(at.sums[1]);
        by_memory.multiply(input).multiply(tanh_slope(candidate)).store(at.sums[2]);
        by_output.multiply(squashed).multiply(sigmoid_slope(open)).store(at.sums[3]);
        by_memory.multiply(forget).store(at.states[1]);
        L::splat(0.0).store(at.states[0]);
    }
}

#[inline(always)]
pub unsafe fn min_gru<L: Lanes, const KEEP: bool>(at: Block) {
    unsafe {
        let candidate = positive(L::load(at.gates[0]));
        let update = sigmoid(L::load(at.gates[1]));
        let before = L::load(at.states[0]);
        update.multiply_add(candidate.subtract(before), before).store(at.states[0]);
        if KEEP {
            candidate.store(at.gates[0]);
            update.store(at.gates[1]);
        }
    }
}

#[inline(always)]
pub unsafe fn min_gru_reverse<L: Lanes>(at: Reverse) {
    unsafe {
        let (candidate, update) = (L::load(at.kept[0]), L::load(at.kept[1]));
        let output = L::load(at.states[0]);
        output.multiply(update).multiply(positive_slope(candidate)).store(at.sums[0]);
        output.multiply(candidate.subtract(L::load(at.before[0]))).multiply(sigmoid_slope(update)).store(at.sums[1]);
        output.multiply(L::splat(1.0).subtract(update)).store(at.states[0]);
    }
}

/// The share of the new is `i / (f + i)`: a quotient of two numbers that may both be small, each exact to its last places.
#[inline(always)]
pub unsafe fn min_lstm<L: Lanes, const KEEP: bool>(at: Block) {
    unsafe {
        let forget = logistic(L::load(at.gates[0]));
        let input = logistic(L::load(at.gates[1]));
        let candidate = positive(L::load(at.gates[2]));
        let update = input.divide(add(forget, input));
        let before = L::load(at.states[0]);
        update.multiply_add(candidate.subtract(before), before).store(at.states[0]);
        if KEEP {
            forget.store(at.gates[0]);
            input.store(at.gates[1]);
            candidate.store(at.gates[2]);
        }
    }
}

#[inline(always)]
pub unsafe fn min_lstm_reverse<L: Lanes>(at: Reverse) {
    unsafe {
        let one = L::splat(1.0);
        let (forget, input, candidate) = (L::load(at.kept[0]), L::load(at.kept[1]), L::load(at.kept[2]));
        let update = input.divide(add(forget, input));
        let kept = one.subtract(update);
        let output = L::load(at.states[0]);
        let by_update = output.multiply(candidate.subtract(L::load(at.before[0])));
        // With u = i / (f + i): du/di~ = u (1 - u) (1 - i) and du/df~ = -u (1 - u) (1 - f).
        let slope = by_update.multiply(update).multiply(kept);
        slope.multiply(forget.subtract(one)).store(at.sums[0]);
        slope.multiply(one.subtract(input)).store(at.sums[1]);
        output.multiply(update).multiply(positive_slope(candidate)).store(at.sums[2]);
        output.multiply(kept).store(at.states[0]);
    }
}

#[inline(always)]
pub unsafe fn slstm<L: Lanes, const KEEP: bool>(at: Block) {
    unsafe {
        let (input, forget) = (L::load(at.gates[0]), add(L::load(at.gates[1]), L::load(at.states[3])));
        let candidate = tanh(L::load(at.gates[2]));
        let open = sigmoid(L::load(at.gates[3]));
        let stabiliser = forget.most(input);
        let (input, forget) = (exponential(input.subtract(stabiliser)), exponential(forget.subtract(stabiliser)));
        let memory = forget.multiply_add(L::load(at.states[1]), input.multiply(candidate));
        let normaliser = forget.multiply_add(L::load(at.states[2]), input);
        open.multiply(memory.divide(normaliser)).store(at.states[0]);
        memory.store(at.states[1]);
        normaliser.store(at.states[2]);
        stabiliser.store(at.states[3]);
        if KEEP {
            input.store(at.gates[0]);
            forget.store(at.gates[1]);
            candidate.store(at.gates[2]);
            open.store(at.gates[3]);
        }
    }
}

/// The output does not depend on the stabiliser, so it counts as given.
#[inline(always)]
pub unsafe fn slstm_reverse<L: Lanes>(at: Reverse) {
    unsafe {
        let (input, forget) = (L::load(at.kept[0]), L::load(at.kept[1]));
        let (candidate, open) = (L::load(at.kept[2]), L::load(at.kept[3]));
        // The padding's normaliser is zero.
        let (memory, normaliser) = (L::load(at.after[1]), L::splat(f32::MIN_POSITIVE).most(L::load(at.after[2])));
        let by_output = L::load(at.states[0]);
        let ratio = memory.divide(normaliser);
        let by_ratio = by_output.multiply(open).divide(normaliser);
        let by_memory = add(by_ratio, L::load(at.states[1]));
        let by_normaliser = L::load(at.states[2]).subtract(by_ratio.multiply(ratio));
        by_memory.multiply_add(candidate, by_normaliser).multiply(input).store(at.sums[0]);
        let through = by_normaliser.multiply(L::load(at.before[2]));
        let by_forget = by_memory.multiply_add(L::load(at.before[1]), through).multiply(forget);
        by_forget.store(at.sums[1]);
        by_memory.multiply(input).multiply(tanh_slope(candidate)).store(at.sums[2]);
        by_output.multiply(ratio).multiply(sigmoid_slope(open)).store(at.sums[3]);
        L::splat(0.0).store(at.states[0]);
        by_memory.multiply(forget).store(at.states[1]);
        by_normaliser.multiply(forget).store(at.states[2]);
        by_forget.store(at.states[3]);
    }
}

#[inline(always)]
unsafe fn add<L: Lanes>(left: L, right: L) -> L {
    unsafe { left.multiply_add(L::splat(1.0), right) }
}

/// The slope of tanh by its value: `1 - y^2`.
#[inline(always)]
unsafe fn tanh_slope<L: Lanes>(value: L) -> L {
    unsafe { L::splat(1.0).subtract(value.multiply(value)) }
}

/// The slope of the logistic function by its value: `y (1 - y)`.
#[inline(always)]
unsafe fn sigmoid_slope<L: Lanes>(value: L) -> L {
    unsafe { value.multiply(L::splat(1.0).subtract(value)) }
}

/// The slope of [`positive`] by its value: one from a half on, that of the logistic function below.
#[inline(always)]
unsafe fn positive_slope<L: Lanes>(value: L) -> L {
    unsafe {
        let half = L::splat(0.5);
        let (below, above) = (sigmoid_slope(half.least(value)), step_of(value.subtract(half)));
        // Three quarters above, so that with the quarter that `below` is there it makes one.
        above.multiply_add(L::splat(0.75), below)
    }
}

/// One where the value is above zero, zero elsewhere.
#[inline(always)]
unsafe fn step_of<L: Lanes>(value: L) -> L {
    unsafe { L::splat(1.0).least(value.multiply(L::splat(f32::MAX)).multiply(L::splat(f32::MAX))).most(L::splat(0.0)) }
}
