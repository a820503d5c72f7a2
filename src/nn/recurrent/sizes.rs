//! The sizes of a layer's run over a sequence, and how its rows are cut into tiles.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::cell::RecurrentCell;
use crate::nn::{kernel::padded, sequence::Sequence};

/// Most rows of a tile. More would not fit into the nearer caches.
pub(super) const MAX_TILE_ROWS: usize = 48;
/// Rows, over as many steps as it takes, whose contribution to the weights' gradient is added at a time.
pub(super) const GROUP_ROWS: usize = 96;
/// Rows that share a kernel's loads of the weights; tiles are multiples of it.
const SHARED_ROWS: usize = 6;

/// The sizes of a layer's run over a sequence.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Sizes {
    pub steps: usize,
    pub rows: usize,
    pub inputs: usize,
    pub hidden: usize,
    pub gates: usize,
    /// Vectors of state.
    pub vectors: usize,
}

/// Where a layer's matrices lie in the flat tensor of its weights.
pub(in crate::nn) struct WeightRanges {
    pub input: Range<usize>,
    pub recurrent: Range<usize>,
    pub bias: Range<usize>,
}

impl Sizes {
    /// The sizes of a sequence, and the layer's weights as one flat tensor: a custom operation of candle takes at most
    /// three tensors.
    pub fn of(cell: &dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<(Self, Tensor)> {
        let (steps, rows, inputs) = sequence.inputs.dims3()?;
        let mut weights = vec![sequence.tensor("input")?.flatten_all()?];
        if !cell.gates().recurrent.is_empty() {
            weights.push(sequence.tensor("recurrent")?.flatten_all()?);
        }
        weights.push(sequence.tensor("bias")?.clone());
        let flat = Tensor::cat(&weights, 0)?;
        let (recurrence, all) = (cell.gates().recurrence, sequence.tensor("bias")?.dim(0)?);
        let hidden = all / recurrence.gate_count();
        let sizes = Self { steps, rows, inputs, hidden, gates: recurrence.gate_count(), vectors: recurrence.states() };
        let WeightRanges { input, bias, .. } = sizes.weights(cell);
        let expected = [flat.elem_count() == bias.end, sequence.states.dims() == [rows, sizes.width()]];
        if steps == 0 || rows == 0 || expected.contains(&false) || input.is_empty() {
            candle_core::bail!("{recurrence:?}: weights or states {:?} do not fit {sizes:?}", sequence.states.dims());
        }
        Ok((sizes, flat))
    }

    /// Values in one padded vector of a row.
    pub fn padded(&self) -> usize {
        padded(self.hidden)
    }

    /// Values in a row's state.
    pub fn width(&self) -> usize {
        self.vectors * self.padded()
    }

    /// Values in a row's gates.
    pub fn gate_width(&self) -> usize {
        self.gates * self.padded()
    }

    /// Values in the gradient by the weights, `[input, previous output or bias][gate][unit]`.
    pub fn products(&self) -> usize {
        (self.inputs + self.hidden + 1) * self.gate_width()
    }

    /// Where the matrices lie in the flat weights.
    pub fn weights(&self, cell: &dyn RecurrentCell) -> WeightRanges {
        let input = cell.gates().input.len() * self.hidden * self.inputs;
        let recurrent = input + cell.gates().recurrent.len() * self.hidden * self.hidden;
        WeightRanges {
            input: 0..input,
            recurrent: input..recurrent,
            bias: recurrent..recurrent + self.gates * self.hidden,
        }
    }

    /// Rows of a tile. All tiles but the last have the same size, which does not depend on the number of threads.
    pub fn tile(&self) -> usize {
        self.rows.div_ceil(self.rows.div_ceil(MAX_TILE_ROWS)).next_multiple_of(SHARED_ROWS)
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile())
    }

    /// The steps in groups of about [`GROUP_ROWS`] rows, for a tile of `count` rows.
    pub(super) fn groups(self, count: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let group = GROUP_ROWS.div_ceil(count);
        (0..self.steps.div_ceil(group)).map(move |at| at * group..((at + 1) * group).min(self.steps))
    }
}

/// Splits `data` `[step][row][width]` among the tiles: for each tile the parts of its rows, step after step.
pub(super) fn split_by_tile<'a>(sizes: &Sizes, data: &'a mut [f32], width: usize) -> Vec<Vec<&'a mut [f32]>> {
    let mut parts: Vec<Vec<&mut [f32]>> = (0..sizes.tiles()).map(|_| Vec::new()).collect();
    for step in data.chunks_exact_mut((sizes.rows * width).max(1)) {
        step.chunks_mut(sizes.tile() * width).zip(&mut parts).for_each(|(part, parts)| parts.push(part));
    }
    parts
}
