//! Whole sequences of cells whose gates depend on the inputs only: the gates of many steps at once, then a scan over
//! the steps.

use super::cell_steps::{self, BackwardBlock, Block, MAX_VECTORS};
use super::dense::{OutputMode, dense};
use super::lanes::{LANES, Lanes, Line, flat, flat_mut};
use super::layer::{CHUNK_ROWS, Layer};
use super::recurrence::Recurrence;
use super::rows::{Rows, RowsMut};

/// A sequence of `steps` steps of `rows` rows.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Number of steps.
    pub steps: usize,
    /// Number of rows.
    pub rows: usize,
    /// Which rows are reset before which steps, `[step][row]`.
    pub resets: &'a [bool],
    /// The states before the first step `[row][block]`.
    pub first: &'a [f32],
}

impl Scan<'_> {
    fn assert_fits(&self, blocks: usize) {
        let (all, vector) = (self.steps * self.rows, blocks * LANES);
        let fits = self.resets.len() == all && self.first.len() == self.rows * vector;
        assert!(fits, "kernel: a scan of {} steps of {} rows does not fit", self.steps, self.rows);
    }
}

/// Writes the states after every step to `after` `[step][row][block]`. `saved` `[gate][step][row][block]` receives what
/// [`backward`] needs.
#[inline(always)]
pub(super) unsafe fn forward<L: Lanes>(
    layer: &Layer,
    scan: Scan<'_>,
    input: Rows<'_>,
    saved: &mut [Line],
    after: &mut [f32],
) {
    let Scan { steps, rows, resets, first } = scan;
    let (blocks, all) = (layer.blocks(), steps * rows);
    let vector = blocks * LANES;
    scan.assert_fits(blocks);
    let fits = saved.len() == layer.panels.len() * all * blocks && after.len() == all * vector;
    assert!(fits, "kernel: the buffers of a scan have the wrong size");
    // As many steps at a time as keep their gates in the L1 cache.
    let tile = (4 * CHUNK_ROWS).div_ceil(rows);
    for begin in (0..steps).step_by(tile) {
        let count = tile.min(steps - begin);
        for (gate, panel) in layer.panels.iter().enumerate() {
            let sums = &mut saved[gate * all * blocks + begin * rows * blocks..][..count * rows * blocks];
            let input = Rows { offset: input.offset + begin * rows * input.stride, ..input };
            let out = RowsMut { data: flat_mut(sums), stride: vector, offset: 0 };
            unsafe { dense::<L>(panel, count * rows, [input, Rows::NONE], out, OutputMode::Padded) };
        }
        let gates = flat_mut(saved).as_mut_ptr();
        for row in 0..rows {
            for block in 0..blocks {
                for step in begin..begin + count {
                    let index = step * rows + row;
                    let at = index * vector + block * LANES;
                    // SAFETY: `at + LANES` is at most `all * vector`, the length of `after` and of every gate of
                    // `saved`; `first` contains the row's block.
                    unsafe {
                        let state = after.as_mut_ptr().add(at);
                        let before = if resets[index] {
                            L::splat(0.0)
                        } else if step == 0 {
                            L::load(first.as_ptr().add(row * vector + block * LANES))
                        } else {
                            L::load(state.sub(rows * vector))
                        };
                        before.store(state);
                        let block = Block {
                            gates: std::array::from_fn(|gate| gates.wrapping_add(gate * all * vector + at)),
                            states: [state; MAX_VECTORS],
                        };
                        match layer.recurrence {
                            Recurrence::MinGru => cell_steps::min_gru::<L, true>(block),
                            Recurrence::MinLstm => cell_steps::min_lstm::<L, true>(block),
                            _ => panic!("kernel: a scan needs gates that depend on the inputs only"),
                        }
                    }
                }
            }
        }
    }
    let hidden = layer.panels[0].outputs();
    if hidden < vector {
        after.chunks_exact_mut(vector).for_each(|state| state[hidden..].fill(0.0));
    }
}

/// A scan whose backward pass is computed.
#[derive(Debug, Clone, Copy)]
pub struct ScanBackward<'a> {
    /// The sequence.
    pub scan: Scan<'a>,
    /// Units of the layer.
    pub hidden: usize,
    /// What [`forward`] saved of the gates, `[gate][step][row][block]`.
    pub saved: &'a [Line],
    /// The states after every step, `[step][row][block]`.
    pub after: &'a [f32],
    /// Gradient by the outputs `[step][row][unit]`.
    pub gradient: &'a [f32],
    /// Values from the beginning of one step of `gradient` to that of the next.
    pub step_stride: usize,
}

/// The backward pass of [`forward`]: computes the gradient by the gates' sums `[step][row][gate][block]` and adds the
/// gradient by the first states to `carried`.
#[inline(always)]
pub(super) unsafe fn backward<L: Lanes>(
    recurrence: Recurrence,
    pass: ScanBackward<'_>,
    sums: &mut [f32],
    carried: &mut [f32],
) {
    let ScanBackward { scan, hidden, saved, after, gradient, step_stride } = pass;
    let Scan { steps, rows, resets, first } = scan;
    let (count, blocks, all) = (recurrence.gate_count(), hidden.div_ceil(LANES), steps * rows);
    let vector = blocks * LANES;
    scan.assert_fits(blocks);
    let fits = saved.len() == count * all * blocks
        && after.len() == all * vector
        && gradient.len() >= (steps - 1) * step_stride + rows * hidden
        && sums.len() == count * all * vector
        && carried.len() == rows * vector;
    assert!(fits, "kernel: the buffers of a scan have the wrong size");
    let zero = Line::ZERO;
    let saved = flat(saved).as_ptr();
    for row in 0..rows {
        for block in 0..blocks {
            let state = carried[row * vector + block * LANES..].as_mut_ptr();
            let units = LANES.min(hidden - block * LANES);
            for step in (0..steps).rev() {
                let index = step * rows + row;
                let at = index * vector + block * LANES;
                let before = match (resets[index], step) {
                    (true, _) => zero.0.as_ptr(),
                    (false, 0) => first[row * vector + block * LANES..].as_ptr(),
                    (false, _) => after[at - rows * vector..].as_ptr(),
                };
                let mut d_output = Line::ZERO;
                let from = step * step_stride + row * hidden + block * LANES;
                d_output.0[..units].copy_from_slice(&gradient[from..][..units]);
                // SAFETY: as in `forward`; `sums` has a block for each gate of each row of each step.
                unsafe {
                    L::load(d_output.0.as_ptr()).multiply_add(L::splat(1.0), L::load(state)).store(state);
                    let sums = sums.as_mut_ptr().add(index * count * vector + block * LANES);
                    let block = BackwardBlock {
                        saved: std::array::from_fn(|gate| saved.wrapping_add(gate * all * vector + at)),
                        before: [before; MAX_VECTORS],
                        after: [after.as_ptr().add(at); MAX_VECTORS],
                        states: [state; MAX_VECTORS],
                        sums: std::array::from_fn(|gate| sums.wrapping_add(gate * vector)),
                    };
                    match recurrence {
                        Recurrence::MinGru => cell_steps::min_gru_backward::<L>(block),
                        Recurrence::MinLstm => cell_steps::min_lstm_backward::<L>(block),
                        _ => panic!("kernel: a scan needs gates that depend on the inputs only"),
                    }
                    if resets[index] {
                        L::splat(0.0).store(state);
                    }
                }
            }
        }
    }
}
