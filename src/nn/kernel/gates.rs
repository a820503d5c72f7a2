//! What a cell does with its gates once the dense part is done: forward for serving and training, in reverse for
//! training, a block of sixteen units of a row at a time.

use super::lanes::{LANES, Lanes, Line, flat_mut};
use super::recurrences::{self, Block, MOST, Reverse};

/// How a cell combines its gates. The state of a row is the cell's vectors one after the other, the output first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Gate: the sum that tanh squashes. State: output.
    Elman,
    /// Gate: the sum that is cut at zero. State: output.
    ElmanRelu,
    /// Gates: input, forget, candidate, output. State: output, memory.
    Lstm,
    /// Gates: candidate's input part, reset, update, candidate's recurrent part. State: output.
    Gru,
    /// Gates: reset, update, candidate; the last one is late. State: output.
    GruResetBefore,
    /// Gates: candidate, update. State: output.
    MinGru,
    /// Gates: forget, input, candidate. State: output.
    MinLstm,
    /// Gates: input, forget, candidate, output. State: output, memory, normaliser, stabiliser.
    Slstm,
}

impl Combination {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Elman,
        Self::ElmanRelu,
        Self::Lstm,
        Self::Gru,
        Self::GruResetBefore,
        Self::MinGru,
        Self::MinLstm,
        Self::Slstm,
    ];

    /// Gates: linear functions of the inputs, of the outputs before, or of both.
    pub fn gates(self) -> usize {
        match self {
            Self::Elman | Self::ElmanRelu => 1,
            Self::MinGru => 2,
            Self::GruResetBefore | Self::MinLstm => 3,
            Self::Lstm | Self::Gru | Self::Slstm => 4,
        }
    }

    /// Vectors that a step needs room for per row, at least one per gate.
    pub fn planes(self) -> usize {
        if self.late().is_some() { self.gates() + 1 } else { self.gates() }
    }

    /// The gate, the last one, whose recurrent part looks at the outputs that a gate before it lets through. Those stand
    /// in the last plane.
    pub fn late(self) -> Option<usize> {
        (self == Self::GruResetBefore).then_some(2)
    }

    /// Whether [`reverse`] knows it.
    pub fn has_reverse(self) -> bool {
        self.late().is_none()
    }

    /// Whether sums of zero do not leave a state of zero.
    pub fn fills_padding(self) -> bool {
        matches!(self, Self::MinGru | Self::MinLstm | Self::Slstm)
    }

    /// Vectors of state.
    pub fn states(self) -> usize {
        match self {
            Self::Slstm => 4,
            Self::Lstm => 2,
            _ => 1,
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

/// What is done with a row's block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What the late gate needs of the others.
    Early,
    /// The whole combination.
    Whole,
}

/// Turns the gates' sums `[plane][row][block]` and the states before the step into the states after it, in place; the
/// padding behind `hidden` units stays zero. With
/// `KEEP` the gates' buffer then holds what [`reverse`] needs.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn combine<L: Lanes, const KEEP: bool>(
    combination: Combination,
    phase: Phase,
    gates: &mut [Line],
    rows: usize,
    hidden: usize,
    states: &mut States<'_>,
) {
    let blocks = hidden.div_ceil(LANES);
    let (plane, vector) = (rows * blocks * LANES, blocks * LANES);
    let gates = &mut flat_mut(gates)[..combination.planes() * plane];
    for row in 0..rows {
        let state = states.row(row, combination.states() * vector);
        for block in 0..blocks {
            let at = (row * blocks + block) * LANES;
            // Pointers beyond the planes and states that the cell has are made, never followed.
            let block = Block {
                gates: std::array::from_fn(|index| gates.as_mut_ptr().wrapping_add(index * plane + at)),
                states: std::array::from_fn(|index| state.as_mut_ptr().wrapping_add(index * vector + block * LANES)),
            };
            // SAFETY: `at + LANES` is at most `plane`, and the buffer holds a plane for each that the cell has; the row's
            // state holds a vector for each; the instructions are the caller's word.
            unsafe {
                match (combination, phase) {
                    (Combination::GruResetBefore, Phase::Early) => recurrences::reset_outputs::<L>(block),
                    (_, Phase::Early) => {}
                    (Combination::Elman, _) => recurrences::elman::<L, false>(block),
                    (Combination::ElmanRelu, _) => recurrences::elman::<L, true>(block),
                    (Combination::Lstm, _) => recurrences::lstm::<L, KEEP>(block),
                    (Combination::Gru, _) => recurrences::gru::<L, KEEP>(block),
                    (Combination::GruResetBefore, _) => recurrences::gru_reset_before::<L>(block),
                    (Combination::MinGru, _) => recurrences::min_gru::<L, KEEP>(block),
                    (Combination::MinLstm, _) => recurrences::min_lstm::<L, KEEP>(block),
                    (Combination::Slstm, _) => recurrences::slstm::<L, KEEP>(block),
                }
            }
        }
        if hidden < vector && combination.fills_padding() {
            state.chunks_exact_mut(vector).for_each(|vector| vector[hidden..].fill(0.0));
        }
    }
}

/// What the reverse of one step reads: rows lie densely one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What [`combine`] kept, `[plane][row][block]`.
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
///
/// # Panics
/// Where the cell has no reverse, or a buffer is too small.
#[inline(always)]
pub unsafe fn reverse<L: Lanes>(
    combination: Combination,
    rows: usize,
    blocks: usize,
    step: Step<'_>,
    states: &mut [f32],
    sums: &mut [f32],
) {
    let (gates, vector) = (combination.gates(), blocks * LANES);
    let (plane, width) = (rows * vector, combination.states() * vector);
    let fits = step.gates.len() >= gates * plane
        && sums.len() >= gates * plane
        && [step.before.len(), step.after.len(), states.len()].into_iter().all(|length| length >= rows * width);
    assert!(fits, "kernel: the reverse of a step has too little room for {rows} rows of {blocks} blocks");
    for row in 0..rows {
        for block in 0..blocks {
            let at = block * LANES;
            let state = |base: *const f32| -> [*const f32; MOST] {
                std::array::from_fn(|index| base.wrapping_add(row * width + index * vector + at))
            };
            let block = Reverse {
                kept: std::array::from_fn(|index| step.gates.as_ptr().wrapping_add(index * plane + row * vector + at)),
                before: state(step.before.as_ptr()),
                after: state(step.after.as_ptr()),
                states: std::array::from_fn(|index| {
                    states.as_mut_ptr().wrapping_add(row * width + index * vector + at)
                }),
                sums: std::array::from_fn(|index| sums.as_mut_ptr().wrapping_add((row * gates + index) * vector + at)),
            };
            // SAFETY: the offsets of the gates and states that the cell has are those of one block of one row, in
            // buffers that hold them all as just asserted; the instructions are the caller's word.
            unsafe {
                match combination {
                    Combination::Elman => recurrences::elman_reverse::<L, false>(block),
                    Combination::ElmanRelu => recurrences::elman_reverse::<L, true>(block),
                    Combination::Lstm => recurrences::lstm_reverse::<L>(block),
                    Combination::Gru => recurrences::gru_reverse::<L>(block),
                    Combination::MinGru => recurrences::min_gru_reverse::<L>(block),
                    Combination::MinLstm => recurrences::min_lstm_reverse::<L>(block),
                    Combination::Slstm => recurrences::slstm_reverse::<L>(block),
                    Combination::GruResetBefore => panic!("kernel: a late gate has no reverse here"),
                }
            }
        }
    }
}
