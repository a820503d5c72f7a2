//! A dense layer over many rows. Every output of every row is one chain of fused multiply-adds that starts at the bias
//! and runs over the inputs in order, so its bits do not depend on the other rows.

use super::lanes::{LANES, Lanes, Line, flat};
use super::rows::{Rows, RowsMut};

/// Rows that share each load of the weights. With four vectors per row they fill 24 of the 32 registers of AVX-512;
/// with one vector (two registers) per row they fill 12 of the 16 registers of AVX2.
const ROWS: usize = 6;

/// A weight matrix packed for the kernels: for each block of 16 outputs the inputs in order, each with its 16 weights.
#[derive(Debug, Clone)]
pub struct Panel {
    outputs: usize,
    first: usize,
    second: usize,
    bias: Vec<Line>,
    weights: Vec<Line>,
}

impl Panel {
    /// Packs a matrix of `outputs` rows over `first + second` inputs, which come from two places (such as the features
    /// and the state); one of the two may be empty. The padding of the outputs to a multiple of 16 is zero.
    pub fn new(
        outputs: usize,
        (first, second): (usize, usize),
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let (blocks, inputs) = (outputs.div_ceil(LANES), first + second);
        let mut panel =
            Self { outputs, first, second, bias: vec![Line::ZERO; blocks], weights: vec![Line::ZERO; blocks * inputs] };
        for block in 0..blocks {
            let from = block * LANES;
            let count = LANES.min(outputs - from);
            for (lane, value) in panel.bias[block].0[..count].iter_mut().enumerate() {
                *value = bias(from + lane);
            }
            for (input, line) in panel.weights[block * inputs..][..inputs].iter_mut().enumerate() {
                for (lane, value) in line.0[..count].iter_mut().enumerate() {
                    *value = weight(from + lane, input);
                }
            }
        }
        panel
    }

    /// Packs a row-major matrix `[outputs, inputs]` and a bias `[outputs]`, with all inputs in the first place.
    pub fn of_matrix(inputs: usize, matrix: &[f32], bias: &[f32]) -> Self {
        Self::new(bias.len(), (inputs, 0), |output, input| matrix[output * inputs + input], |output| bias[output])
    }

    /// Outputs, without the padding.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs in vectors of 16.
    pub fn blocks(&self) -> usize {
        self.bias.len()
    }

    /// Number of inputs from the first and from the second place.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn sides(&self) -> (usize, usize) {
        (self.first, self.second)
    }

    /// The weights of one input for a block of 16 outputs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn line(&self, block: usize, input: usize) -> Line {
        self.weights[block * (self.first + self.second) + input]
    }

    /// The biases in vectors of 16.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn biases(&self) -> &[Line] {
        &self.bias
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + (self.bias.len() + self.weights.len()) * size_of::<Line>()
    }
}

/// What an output row receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// Exactly [`Panel::outputs`] values.
    Exact,
    /// The outputs, padded to a multiple of 16.
    Padded,
    /// The padded outputs, added to the row's values instead of the bias.
    Accumulated,
}

/// [`dense`] with inputs from the first place only.
#[inline(always)]
pub(super) unsafe fn dense_rows<L: Lanes>(
    panel: &Panel,
    rows: usize,
    input: Rows<'_>,
    out: RowsMut<'_>,
    mode: OutputMode,
) {
    unsafe { dense::<L>(panel, rows, [input, Rows::NONE], out, mode) }
}

/// Computes the panel for rows `0..rows` of the inputs from both places into `out`.
#[inline(always)]
pub(super) unsafe fn dense<L: Lanes>(
    panel: &Panel,
    rows: usize,
    [first, second]: [Rows<'_>; 2],
    out: RowsMut<'_>,
    mode: OutputMode,
) {
    first.assert_within(rows, panel.first);
    second.assert_within(rows, panel.second);
    let width = if mode == OutputMode::Exact { panel.outputs } else { panel.blocks() * LANES };
    out.as_rows().assert_within(rows, width);
    let RowsMut { data, stride, offset } = out;
    let accumulate = mode == OutputMode::Accumulated;
    let mut job = Job { panel, first, second, out: data.as_mut_ptr().wrapping_add(offset), stride, width, accumulate };
    let mut row = 0;
    while row + ROWS <= rows {
        // SAFETY: the assertions above show that `row + ROWS` rows lie in all buffers.
        unsafe { job.columns::<L, ROWS>(row) };
        row += ROWS;
    }
    // SAFETY: the remaining rows lie in all buffers too.
    unsafe {
        match rows - row {
            1 => job.columns::<L, 1>(row),
            2 => job.columns::<L, 2>(row),
            3 => job.columns::<L, 3>(row),
            4 => job.columns::<L, 4>(row),
            5 => job.columns::<L, 5>(row),
            _ => {}
        }
    }
}

struct Job<'a> {
    panel: &'a Panel,
    first: Rows<'a>,
    second: Rows<'a>,
    out: *mut f32,
    stride: usize,
    width: usize,
    accumulate: bool,
}

impl Job<'_> {
    /// All outputs of `R` rows, from `row` on.
    #[inline(always)]
    unsafe fn columns<L: Lanes, const R: usize>(&mut self, row: usize) {
        let blocks = self.panel.blocks();
        let mut block = 0;
        // SAFETY: blocks stay below `blocks`; the caller guarantees the rows.
        unsafe {
            if L::MAX_COLUMNS >= 4 {
                while block + 4 <= blocks {
                    self.block::<L, R, 4>(row, block);
                    block += 4;
                }
            }
            if L::MAX_COLUMNS >= 2 {
                while block + 2 <= blocks {
                    self.block::<L, R, 2>(row, block);
                    block += 2;
                }
            }
            while block < blocks {
                self.block::<L, R, 1>(row, block);
                block += 1;
            }
        }
    }

    /// `C` vectors of outputs, from `block` on, of `R` rows, from `row` on.
    #[inline(always)]
    unsafe fn block<L: Lanes, const R: usize, const C: usize>(&mut self, row: usize, block: usize) {
        let inputs = self.panel.first + self.panel.second;
        let block_stride = inputs * LANES;
        let (bias, weights) = (flat(&self.panel.bias).as_ptr(), flat(&self.panel.weights).as_ptr());
        // SAFETY: blocks `block..block + C` exist, so the bias has `C` vectors there and the weights `C * inputs`;
        // `dense` has asserted that the rows lie in their buffers.
        unsafe {
            // Plain loops over arrays of constant size: the compiler unrolls them and keeps the arrays in registers.
            let mut starts = [L::splat(0.0); C];
            for (column, start) in starts.iter_mut().enumerate() {
                *start = L::load(bias.add((block + column) * LANES));
            }
            let mut sums = [starts; R];
            if self.accumulate {
                for (index, sums) in sums.iter_mut().enumerate() {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(self.out.add((row + index) * self.stride + (block + column) * LANES));
                    }
                }
            }
            let mut line = starts;
            let mut weights = weights.add(block * block_stride);
            for (rows, count) in [(self.first, self.panel.first), (self.second, self.panel.second)] {
                let mut from = [rows.at(row); R];
                for (index, from) in from.iter_mut().enumerate() {
                    *from = rows.at(row + index);
                }
                for input in 0..count {
                    for (column, weight) in line.iter_mut().enumerate() {
                        *weight = L::load(weights.add(column * block_stride));
                    }
                    for (sums, from) in sums.iter_mut().zip(&from) {
                        let value = L::splat(*from.add(input));
                        for (sum, weight) in sums.iter_mut().zip(&line) {
                            *sum = weight.multiply_add(value, *sum);
                        }
                    }
                    weights = weights.add(LANES);
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                for (column, sum) in sums.iter().enumerate() {
                    self.write(*sum, row + index, (block + column) * LANES);
                }
            }
        }
    }

    /// Stores one vector, truncated where the row ends within it.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&mut self, sum: L, row: usize, column: usize) {
        let room = self.width - column;
        // SAFETY: `dense` has asserted that each row has `width` values, and `column` is less than `width`.
        unsafe {
            let to = self.out.add(row * self.stride + column);
            if room >= LANES {
                sum.store(to);
            } else {
                let mut last = Line::ZERO;
                sum.store(last.0.as_mut_ptr());
                std::ptr::copy_nonoverlapping(last.0.as_ptr(), to, room);
            }
        }
    }
}
