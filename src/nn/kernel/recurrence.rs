//! The recurrence of a cell: how a step combines the sums of the gates into the new state, and its backward pass. Both
//! work on a block of 16 units of a row at a time.

use super::cell_steps::{self, BackwardBlock, Block, MAX_VECTORS};
use super::lanes::{LANES, Lanes, Line, flat_mut};
use super::rows::RowsMut;

/// The recurrences that the kernels compute. The state of a row is the cell's vectors one after the other, the output
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurrence {
    /// Gate: the sum under tanh. State: output.
    Elman,
    /// Gate: the sum under the rectifier. State: output.
    ElmanRelu,
    /// Gates: input, forget, candidate, output. State: output, cell state.
    Lstm,
    /// Gates: candidate's input part, reset, update, candidate's recurrent part. State: output.
    Gru,
    /// Gates: reset, update, candidate; the candidate reads the outputs that the reset gate passes. State: output.
    GruResetBefore,
    /// Gates: candidate, update. State: output.
    MinGru,
    /// Gates: forget, input, candidate. State: output.
    MinLstm,
    /// Gates: input, forget, candidate, output. State: output, cell state, normaliser, stabiliser.
    Slstm,
}

impl Recurrence {
    /// Number of gates: linear functions of the inputs, of the previous outputs, or of both.
    pub fn gate_count(self) -> usize {
        match self {
            Self::Elman | Self::ElmanRelu => 1,
            Self::MinGru => 2,
            Self::GruResetBefore | Self::MinLstm => 3,
            Self::Lstm | Self::Gru | Self::Slstm => 4,
        }
    }

    /// Vectors of scratch that a step needs per row: one per gate, and one for the outputs that the reset gate passes.
    pub fn gate_vectors(self) -> usize {
        if self.gate_after_reset().is_some() { self.gate_count() + 1 } else { self.gate_count() }
    }

    /// The gate whose recurrent product reads the outputs that the reset gate passes (GRU with the reset before the
    /// recurrent product). It is the last gate, and those outputs are in the scratch vector after it.
    pub fn gate_after_reset(self) -> Option<usize> {
        (self == Self::GruResetBefore).then_some(2)
    }

    /// Whether [`backward`] supports it.
    pub fn has_backward(self) -> bool {
        self.gate_after_reset().is_none()
    }

    /// Whether sums of zero give a state other than zero, so that the padding must be cleared.
    pub fn fills_padding(self) -> bool {
        matches!(self, Self::MinGru | Self::MinLstm | Self::Slstm)
    }

    /// Number of vectors of state.
    pub fn states(self) -> usize {
        match self {
            Self::Slstm => 4,
            Self::Lstm => 2,
            _ => 1,
        }
    }
}

/// The part of a step that is applied to a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The outputs that the reset gate passes, for [`Recurrence::gate_after_reset`].
    Reset,
    /// The update of the state.
    Update,
}

/// Applies a phase to the gates' sums `[gate][row][block]` and updates the states in place. The padding after `hidden`
/// units stays zero. With `SAVE` the gates' buffer receives what [`backward`] needs.
#[inline(always)]
pub(super) unsafe fn apply<L: Lanes, const SAVE: bool>(
    recurrence: Recurrence,
    phase: Phase,
    gates: &mut [Line],
    rows: usize,
    hidden: usize,
    states: &mut RowsMut<'_>,
) {
    let blocks = hidden.div_ceil(LANES);
    let (gate_len, vector) = (rows * blocks * LANES, blocks * LANES);
    let gates = &mut flat_mut(gates)[..recurrence.gate_vectors() * gate_len];
    for row in 0..rows {
        let state = states.row(row, recurrence.states() * vector);
        for block in 0..blocks {
            let at = (row * blocks + block) * LANES;
            // Pointers beyond the gates and states of the cell are computed but never dereferenced.
            let block = Block {
                gates: std::array::from_fn(|index| gates.as_mut_ptr().wrapping_add(index * gate_len + at)),
                states: std::array::from_fn(|index| state.as_mut_ptr().wrapping_add(index * vector + block * LANES)),
            };
            // SAFETY: `at + LANES` is at most `gate_len`, and the buffer has `gate_len` values for each scratch vector;
            // the row's state has every vector of the cell.
            unsafe {
                match (recurrence, phase) {
                    (Recurrence::GruResetBefore, Phase::Reset) => cell_steps::reset_outputs::<L>(block),
                    (_, Phase::Reset) => {}
                    (Recurrence::Elman, _) => cell_steps::elman::<L, false>(block),
                    (Recurrence::ElmanRelu, _) => cell_steps::elman::<L, true>(block),
                    (Recurrence::Lstm, _) => cell_steps::lstm::<L, SAVE>(block),
                    (Recurrence::Gru, _) => cell_steps::gru::<L, SAVE>(block),
                    (Recurrence::GruResetBefore, _) => cell_steps::gru_reset_before::<L>(block),
                    (Recurrence::MinGru, _) => cell_steps::min_gru::<L, SAVE>(block),
                    (Recurrence::MinLstm, _) => cell_steps::min_lstm::<L, SAVE>(block),
                    (Recurrence::Slstm, _) => cell_steps::slstm::<L, SAVE>(block),
                }
            }
        }
        if hidden < vector && recurrence.fills_padding() {
            state.chunks_exact_mut(vector).for_each(|vector| vector[hidden..].fill(0.0));
        }
    }
}

/// A step whose backward pass is computed. Rows are contiguous.
#[derive(Debug, Clone, Copy)]
pub struct SavedStep<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Units in vectors of 16.
    pub blocks: usize,
    /// What the forward step saved of its gates, `[gate][row][block]`.
    pub gates: &'a [f32],
    /// The states before the step, `[row][state]`.
    pub before: &'a [f32],
    /// The states after the step, `[row][state]`.
    pub after: &'a [f32],
}

/// The backward pass of a step. `states` `[row][state]` contains the gradient by the states after the step and receives
/// the gradient by the states before it, except for the part that passes through the gates. `sums`
/// `[row][gate][block]` receives the gradient by the gates' sums.
///
/// # Panics
/// Where the cell has no backward pass, or a buffer is too small.
#[inline(always)]
pub(super) unsafe fn backward<L: Lanes>(
    recurrence: Recurrence,
    step: SavedStep<'_>,
    states: &mut [f32],
    sums: &mut [f32],
) {
    let SavedStep { rows, blocks, .. } = step;
    let (gates, vector) = (recurrence.gate_count(), blocks * LANES);
    let (gate_len, width) = (rows * vector, recurrence.states() * vector);
    let fits = step.gates.len() >= gates * gate_len
        && sums.len() >= gates * gate_len
        && [step.before.len(), step.after.len(), states.len()].into_iter().all(|length| length >= rows * width);
    assert!(fits, "kernel: the backward pass of a step has too little room for {rows} rows of {blocks} blocks");
    for row in 0..rows {
        for block in 0..blocks {
            let at = block * LANES;
            let state = |base: *const f32| -> [*const f32; MAX_VECTORS] {
                std::array::from_fn(|index| base.wrapping_add(row * width + index * vector + at))
            };
            let gate_at = row * vector + at;
            let block = BackwardBlock {
                saved: std::array::from_fn(|index| step.gates.as_ptr().wrapping_add(index * gate_len + gate_at)),
                before: state(step.before.as_ptr()),
                after: state(step.after.as_ptr()),
                states: std::array::from_fn(|index| {
                    states.as_mut_ptr().wrapping_add(row * width + index * vector + at)
                }),
                sums: std::array::from_fn(|index| sums.as_mut_ptr().wrapping_add((row * gates + index) * vector + at)),
            };
            // SAFETY: the offsets of the cell's gates and states are those of one block of one row, in buffers that
            // contain them as asserted.
            unsafe {
                match recurrence {
                    Recurrence::Elman => cell_steps::elman_backward::<L, false>(block),
                    Recurrence::ElmanRelu => cell_steps::elman_backward::<L, true>(block),
                    Recurrence::Lstm => cell_steps::lstm_backward::<L>(block),
                    Recurrence::Gru => cell_steps::gru_backward::<L>(block),
                    Recurrence::MinGru => cell_steps::min_gru_backward::<L>(block),
                    Recurrence::MinLstm => cell_steps::min_lstm_backward::<L>(block),
                    Recurrence::Slstm => cell_steps::slstm_backward::<L>(block),
                    Recurrence::GruResetBefore => panic!("kernel: gru_reset_before has no backward pass here"),
                }
            }
        }
    }
}
