//! A tile of rows through all steps of a sequence, forward. A tile has few enough rows that what one step writes is
//! still in the nearer caches when the next step reads it.

use std::ops::Range;

use super::{cell::RecurrentCell, sizes::Sizes};
use crate::nn::kernel::{
    Input, InstructionSet, LANES, Layer, Line, Rows, RowsMut, Scan, layer_step_saving, scan_forward,
};
use crate::nn::sequence::ResetMask;

/// The sequence whose rows are cut into tiles.
#[derive(Clone, Copy)]
pub(super) struct TiledSequence<'a> {
    pub sizes: Sizes,
    pub cell: &'static dyn RecurrentCell,
    /// Whether the gates of a group of steps are computed together, before a scan.
    pub scanned: bool,
    pub resets: &'a ResetMask,
    /// `[step][row][input]`.
    pub inputs: &'a [f32],
}

/// What the forward pass of a tile writes and its backward pass reads.
pub(super) struct TileActivations<G, S> {
    /// The gates as the kernels save them.
    pub gates: G,
    /// The states before the first step and after each step, `[step][row][state]`.
    pub states: S,
}

impl TiledSequence<'_> {
    /// Which of a tile's rows are reset before which of the steps, `[step][row]`.
    pub fn resets(&self, steps: Range<usize>, rows: &Range<usize>) -> Vec<bool> {
        steps.flat_map(|step| rows.clone().map(move |row| self.resets.is_reset(step, row))).collect()
    }

    /// The rows of the tile that begins at the row `from`.
    pub fn rows(&self, from: usize) -> Range<usize> {
        from..self.sizes.rows.min(from + self.sizes.tile())
    }

    /// Copies a tile's inputs of the steps to `into`, `[step][row][input]`.
    pub fn gather(&self, steps: Range<usize>, rows: &Range<usize>, into: &mut Vec<f32>) {
        let width = self.sizes.inputs;
        into.clear();
        for step in steps {
            into.extend_from_slice(&self.inputs[(step * self.sizes.rows + rows.start) * width..][..rows.len() * width]);
        }
    }

    /// Runs the tile that begins at the row `from` forward. `first` `[row][state]` contains the first states of all
    /// rows; `outputs` receives the outputs of each step.
    pub fn forward(
        &self,
        layer: &Layer,
        first: &[f32],
        from: usize,
        activations: TileActivations<&mut [Line], &mut [f32]>,
        mut outputs: Vec<&mut [f32]>,
    ) {
        let TileActivations { gates, states } = activations;
        let Sizes { inputs: input_width, hidden, .. } = self.sizes;
        let (rows, width, isa) = (self.rows(from), self.sizes.width(), InstructionSet::best());
        let (count, state) = (rows.len(), rows.len() * width);
        let gate_lines = count * self.sizes.gate_width() / LANES;
        let mut inputs = Vec::new();
        states[..state].copy_from_slice(&first[from * width..][..state]);
        for group in self.sizes.groups(count) {
            let resets = self.resets(group.clone(), &rows);
            let gates = &mut gates[group.start * gate_lines..group.end * gate_lines];
            let (before, after) = states[group.start * state..][..(group.len() + 1) * state].split_at_mut(state);
            if self.scanned {
                self.gather(group.clone(), &rows, &mut inputs);
                let scan = Scan { steps: group.len(), rows: count, resets: &resets, first: before };
                let inputs = Rows { data: &inputs, stride: input_width, offset: 0 };
                scan_forward(isa, layer, scan, inputs, gates, after);
            } else {
                let mut before = &*before;
                let steps = after.chunks_exact_mut(state).zip(gates.chunks_exact_mut(gate_lines));
                for ((step, (now, saved)), resets) in group.clone().zip(steps).zip(resets.chunks_exact(count)) {
                    now.copy_from_slice(before);
                    clear_reset_rows(resets, width, now);
                    let offset = (step * self.sizes.rows + from) * input_width;
                    let inputs = Input::Rows(Rows { data: self.inputs, stride: input_width, offset });
                    let states = RowsMut { data: &mut *now, stride: width, offset: 0 };
                    layer_step_saving(isa, layer, count, inputs, states, saved);
                    before = now;
                }
            }
            for (outputs, after) in outputs[group].iter_mut().zip(after.chunks_exact(state)) {
                for (output, state) in outputs.chunks_exact_mut(hidden).zip(after.chunks_exact(width)) {
                    output.copy_from_slice(&state[..hidden]);
                }
            }
        }
    }
}

/// Sets the states of the rows that are reset to zero.
pub(super) fn clear_reset_rows(resets: &[bool], width: usize, states: &mut [f32]) {
    for (state, _) in states.chunks_exact_mut(width).zip(resets).filter(|(_, reset)| **reset) {
        state.fill(0.0);
    }
}
