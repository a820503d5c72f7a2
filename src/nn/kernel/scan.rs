//! Whole sequences of cells whose gates look at the inputs only: the gates of many steps at once, then a scan over time.

use super::dense::{Results, Rows, dense};
use super::gates::Combination;
use super::lanes::{LANES, Lanes, Line, flat, flat_mut};
use super::recurrences::{self, Block, MOST, Reverse};
use super::{CHUNK, Layer};

/// A sequence of `steps` steps of `rows` rows; where a row of a step is meant, they lie `[step][row]`.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Steps.
    pub steps: usize,
    /// Rows of a step.
    pub rows: usize,
    /// Which rows begin anew before which steps, `[step][row]`.
    pub begins: &'a [bool],
    /// The states before the first step `[row][block]`.
    pub first: &'a [f32],
}

impl Scan<'_> {
    fn check(&self, blocks: usize) {
        let (all, vector) = (self.steps * self.rows, blocks * LANES);
        let fits = self.begins.len() == all && self.first.len() == self.rows * vector;
        assert!(fits, "kernel: a scan of {} steps of {} rows does not fit", self.steps, self.rows);
    }
}

/// The states after every step into `after` `[step][row][block]`; `kept`, `[gate][step][row][block]`, receives what
/// [`reverse`] needs.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn forward<L: Lanes>(layer: &Layer, scan: Scan<'_>, input: Rows<'_>, kept: &mut [Line], after: &mut [f32]) {
    let Scan { steps, rows, begins, first } = scan;
    let (blocks, all) = (layer.blocks(), steps * rows);
    let vector = blocks * LANES;
    scan.check(blocks);
    assert!(kept.len() == layer.panels.len() * all * blocks && after.len() == all * vector, "kernel: a scan's room");
    // As many steps at a time as keep their gates in the nearest cache.
    let tile = (4 * CHUNK).div_ceil(rows);
    for begin in (0..steps).step_by(tile) {
        let count = tile.min(steps - begin);
        for (gate, panel) in layer.panels.iter().enumerate() {
            let sums = &mut kept[gate * all * blocks + begin * rows * blocks..][..count * rows * blocks];
            let input = Rows { offset: input.offset + begin * rows * input.stride, ..input };
            // SAFETY: the instructions are the caller's word.
            unsafe { dense::<L>(panel, count * rows, input, Rows::NONE, flat_mut(sums), vector, Results::Padded) };
        }
        let gates = flat_mut(kept).as_mut_ptr();
        for row in 0..rows {
            for block in 0..blocks {
                for step in begin..begin + count {
                    let index = step * rows + row;
                    let at = index * vector + block * LANES;
                    // SAFETY: `at + LANES` is at most `all * vector`, which `after` and every gate of `kept` hold; `first`
                    // holds the row's block; the instructions are the caller's word.
                    unsafe {
                        let state = after.as_mut_ptr().add(at);
                        let before = if begins[index] {
                            L::splat(0.0)
                        } else if step == 0 {
                            L::load(first.as_ptr().add(row * vector + block * LANES))
                        } else {
                            L::load(state.sub(rows * vector))
                        };
                        before.store(state);
                        let block = Block {
                            gates: std::array::from_fn(|gate| gates.wrapping_add(gate * all * vector + at)),
                            states: [state; MOST],
                        };
                        match layer.combination {
                            Combination::MinGru => recurrences::min_gru::<L, true>(block),
                            Combination::MinLstm => recurrences::min_lstm::<L, true>(block),
                            _ => panic!("kernel: a scan needs gates that look at the inputs only"),
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

/// The reverse of [`forward`]: from the gradient by the outputs `[step][row][unit]`, steps `apart`, to that by the gates' sums
/// `[step][row][gate][block]` and by the first states, `carried`.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[expect(clippy::too_many_arguments, reason = "the buffers of one operation")]
#[inline(always)]
pub unsafe fn reverse<L: Lanes>(
    combination: Combination,
    scan: Scan<'_>,
    hidden: usize,
    kept: &[Line],
    after: &[f32],
    (gradient, apart): (&[f32], usize),
    sums: &mut [f32],
    carried: &mut [f32],
) {
    let Scan { steps, rows, begins, first } = scan;
    let (count, blocks, all) = (combination.gates(), hidden.div_ceil(LANES), steps * rows);
    let vector = blocks * LANES;
    scan.check(blocks);
    let fits = kept.len() == count * all * blocks
        && after.len() == all * vector
        && gradient.len() >= (steps - 1) * apart + rows * hidden
        && sums.len() == count * all * vector
        && carried.len() == rows * vector;
    assert!(fits, "kernel: a scan's room");
    let zero = Line::ZERO;
    let kept = flat(kept).as_ptr();
    for row in 0..rows {
        for block in 0..blocks {
            let state = carried[row * vector + block * LANES..].as_mut_ptr();
            let units = LANES.min(hidden - block * LANES);
            for step in (0..steps).rev() {
                let index = step * rows + row;
                let at = index * vector + block * LANES;
                let before = match (begins[index], step) {
                    (true, _) => zero.0.as_ptr(),
                    (false, 0) => first[row * vector + block * LANES..].as_ptr(),
                    (false, _) => after[at - rows * vector..].as_ptr(),
                };
                let mut by_output = Line::ZERO;
                by_output.0[..units].copy_from_slice(&gradient[step * apart + row * hidden + block * LANES..][..units]);
                // SAFETY: as in `forward`; `sums` holds a block for each gate of the row of the step.
                unsafe {
                    L::load(by_output.0.as_ptr()).multiply_add(L::splat(1.0), L::load(state)).store(state);
                    let sums = sums.as_mut_ptr().add(index * count * vector + block * LANES);
                    let block = Reverse {
                        kept: std::array::from_fn(|gate| kept.wrapping_add(gate * all * vector + at)),
                        before: [before; MOST],
                        after: [after.as_ptr().add(at); MOST],
                        states: [state; MOST],
                        sums: std::array::from_fn(|gate| sums.wrapping_add(gate * vector)),
                    };
                    match combination {
                        Combination::MinGru => recurrences::min_gru_reverse::<L>(block),
                        Combination::MinLstm => recurrences::min_lstm_reverse::<L>(block),
                        _ => panic!("kernel: a scan needs gates that look at the inputs only"),
                    }
                    if begins[index] {
                        L::splat(0.0).store(state);
                    }
                }
            }
        }
    }
}
