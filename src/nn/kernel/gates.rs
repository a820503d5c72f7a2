//! What a cell does with its gates once the dense part is done: forward for serving and training, and the hand-written
//! reverse for training. The formulas are those of [`crate::nn::gru`] and [`crate::nn::lstm`].

use super::activation::{sigmoid, tanh};
use super::lanes::{LANES, Lanes, Line, flat_mut};

/// How a cell combines its gates. The state of a row is the cell's vectors one after the other, the output first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Gates: candidate's input part, reset, update, candidate's recurrent part. State: output.
    Gru,
    /// Gates: input, forget, candidate, output. State: output, memory.
    Lstm,
}

impl Combination {
    /// Gates of every combination so far.
    pub const GATES: usize = 4;

    /// Vectors of state.
    pub fn states(self) -> usize {
        match self {
            Self::Gru => 1,
            Self::Lstm => 2,
        }
    }
}

/// Rows of states in a buffer: row `r` begins at `offset + r * stride`.
#[derive(Debug)]
pub struct States<'a> {
    /// The buffer.
    pub data: &'a mut [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Where the first row begins.
    pub offset: usize,
}

impl States<'_> {
    /// The state of one row; `width` numbers.
    #[inline(always)]
    fn row(&mut self, row: usize, width: usize) -> &mut [f32] {
        let from = self.offset + row * self.stride;
        &mut self.data[from..from + width]
    }
}

/// Turns the gates' sums `[gate][row][block]` and the states before the step into the states after it, in place. With
/// `KEEP` the gates' buffer then holds what [`reverse`] needs.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn combine<L: Lanes, const KEEP: bool>(
    combination: Combination,
    gates: &mut [Line],
    rows: usize,
    blocks: usize,
    states: &mut States<'_>,
) {
    let gate = rows * blocks * LANES;
    let gates = &mut flat_mut(gates)[..Combination::GATES * gate];
    let vector = blocks * LANES;
    for row in 0..rows {
        let state = states.row(row, combination.states() * vector);
        for block in 0..blocks {
            let at = (row * blocks + block) * LANES;
            // SAFETY: `at + LANES` is at most `gate`, and there are four gates; the state has a vector per
            // `combination.states()`, of which `block` is one block; the instructions are the caller's word.
            unsafe {
                let sums: [*mut f32; 4] = [0, 1, 2, 3].map(|index| gates.as_mut_ptr().add(index * gate + at));
                let output = state.as_mut_ptr().add(block * LANES);
                match combination {
                    Combination::Gru => gru::<L, KEEP>(sums, output),
                    Combination::Lstm => lstm::<L, KEEP>(sums, output, output.add(vector)),
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gru<L: Lanes, const KEEP: bool>(sums: [*mut f32; 4], output: *mut f32) {
    // SAFETY: `combine` gives pointers to sixteen numbers each.
    unsafe {
        let reset = sigmoid(L::load(sums[1]));
        let update = sigmoid(L::load(sums[2]));
        let candidate = tanh(reset.multiply_add(L::load(sums[3]), L::load(sums[0])));
        let change = L::load(output).subtract(candidate);
        update.multiply_add(change, candidate).store(output);
        if KEEP {
            candidate.store(sums[0]);
            reset.store(sums[1]);
            update.store(sums[2]);
        }
    }
}

#[inline(always)]
unsafe fn lstm<L: Lanes, const KEEP: bool>(sums: [*mut f32; 4], output: *mut f32, memory: *mut f32) {
    // SAFETY: `combine` gives pointers to sixteen numbers each.
    unsafe {
        let input = sigmoid(L::load(sums[0]));
        let forget = sigmoid(L::load(sums[1]));
        let candidate = tanh(L::load(sums[2]));
        let open = sigmoid(L::load(sums[3]));
        let new = forget.multiply_add(L::load(memory), input.multiply(candidate));
        new.store(memory);
        open.multiply(tanh(new)).store(output);
        if KEEP {
            input.store(sums[0]);
            forget.store(sums[1]);
            candidate.store(sums[2]);
            open.store(sums[3]);
        }
    }
}

/// What the reverse of one step reads: rows lie densely one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What [`combine`] kept, `[gate][row][block]`.
    pub gates: &'a [f32],
    /// The states before the step, `[row][state]`.
    pub before: &'a [f32],
    /// The states after the step, `[row][state]`.
    pub after: &'a [f32],
}

/// The reverse of [`combine`]: `states` comes with the gradient by the states after the step, `[row][state]`, and
/// leaves with that by the states before it as far as it does not pass through the gates; `sums`,
/// `[row][gate][block]`, becomes the gradient by the gates' sums.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn reverse<L: Lanes>(
    combination: Combination,
    rows: usize,
    blocks: usize,
    step: Step<'_>,
    states: &mut [f32],
    sums: &mut [f32],
) {
    let vector = blocks * LANES;
    let (gate, width) = (rows * vector, combination.states() * vector);
    let fits = step.gates.len() >= Combination::GATES * gate
        && sums.len() >= Combination::GATES * gate
        && [step.before.len(), step.after.len(), states.len()].into_iter().all(|length| length >= rows * width);
    assert!(fits, "kernel: the reverse of a step has too little room for {rows} rows of {blocks} blocks");
    for row in 0..rows {
        for block in 0..blocks {
            let at = block * LANES;
            // SAFETY: all offsets are those of one block of one row of one gate or vector of state, in buffers that
            // hold them all as just asserted; the instructions are the caller's word.
            unsafe {
                let kept = [0, 1, 2, 3].map(|index| step.gates.as_ptr().add(index * gate + row * vector + at));
                let sums =
                    [0, 1, 2, 3].map(|index| sums.as_mut_ptr().add((row * Combination::GATES + index) * vector + at));
                let state = row * width + at;
                let (before, after) = (step.before.as_ptr().add(state), step.after.as_ptr().add(state));
                let gradient = states.as_mut_ptr().add(state);
                match combination {
                    Combination::Gru => gru_reverse::<L>(kept, before, gradient, sums),
                    Combination::Lstm => {
                        let memory = (before.add(vector), after.add(vector));
                        lstm_reverse::<L>(kept, memory, (gradient, gradient.add(vector)), sums);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gru_reverse<L: Lanes>(kept: [*const f32; 4], before: *const f32, gradient: *mut f32, sums: [*mut f32; 4]) {
    // SAFETY: `reverse` gives pointers to sixteen numbers each.
    unsafe {
        let one = L::splat(1.0);
        let (candidate, reset, update) = (L::load(kept[0]), L::load(kept[1]), L::load(kept[2]));
        let output = L::load(gradient);
        let by_candidate = output.multiply(one.subtract(update)).multiply(tanh_slope(candidate));
        by_candidate.store(sums[0]);
        by_candidate.multiply(L::load(kept[3])).multiply(sigmoid_slope(reset)).store(sums[1]);
        output.multiply(L::load(before).subtract(candidate)).multiply(sigmoid_slope(update)).store(sums[2]);
        by_candidate.multiply(reset).store(sums[3]);
        output.multiply(update).store(gradient);
    }
}

#[inline(always)]
unsafe fn lstm_reverse<L: Lanes>(
    kept: [*const f32; 4],
    (before, after): (*const f32, *const f32),
    (output, memory): (*mut f32, *mut f32),
    sums: [*mut f32; 4],
) {
    // SAFETY: `reverse` gives pointers to sixteen numbers each.
    unsafe {
        let (input, forget) = (L::load(kept[0]), L::load(kept[1]));
        let (candidate, open) = (L::load(kept[2]), L::load(kept[3]));
        let by_output = L::load(output);
        let squashed = tanh(L::load(after));
        let by_memory = by_output.multiply(open).multiply_add(tanh_slope(squashed), L::load(memory));
        by_memory.multiply(candidate).multiply(sigmoid_slope(input)).store(sums[0]);
        by_memory.multiply(L::load(before)).multiply(sigmoid_slope(forget)).store(sums[1]);
        by_memory.multiply(input).multiply(tanh_slope(candidate)).store(sums[2]);
        by_output.multiply(squashed).multiply(sigmoid_slope(open)).store(sums[3]);
        by_memory.multiply(forget).store(memory);
        L::splat(0.0).store(output);
    }
}

/// The slope of tanh by its value: `1 - y^2`.
#[inline(always)]
unsafe fn tanh_slope<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe { L::splat(1.0).subtract(value.multiply(value)) }
}

/// The slope of the logistic function by its value: `y (1 - y)`.
#[inline(always)]
unsafe fn sigmoid_slope<L: Lanes>(value: L) -> L {
    // SAFETY: the instructions are the caller's word.
    unsafe { value.multiply(L::splat(1.0).subtract(value)) }
}
