//! The gradient by a weight matrix: the products of inputs and output gradients, summed over rows. Each value is one
//! chain of fused multiply-adds over the rows in order, added to the value in the buffer.

use super::lanes::{LANES, Lanes};
use super::rows::Rows;

/// Inputs that share each load of the output gradients; it fills the registers as in [`super::dense`].
const INPUTS: usize = 6;

/// The factors of a sum of outer products over rows.
#[derive(Debug, Clone, Copy)]
pub struct OuterProduct<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Inputs `[rows, inputs]`.
    pub left: Rows<'a>,
    /// Number of inputs.
    pub inputs: usize,
    /// Output gradients `[rows, blocks * 16]`.
    pub right: Rows<'a>,
    /// Outputs in vectors of 16.
    pub blocks: usize,
}

/// Adds to `into`, where input `i` begins at `i * stride`: `into[i][o] += sum over rows of left[row][i] *
/// right[row][o]`.
#[inline(always)]
pub(super) unsafe fn outer<L: Lanes>(product: OuterProduct<'_>, into: &mut [f32], stride: usize) {
    let OuterProduct { rows, left, inputs, right, blocks } = product;
    left.assert_within(rows, inputs);
    right.assert_within(rows, blocks * LANES);
    Rows { data: into, stride, offset: 0 }.assert_within(inputs, blocks * LANES);
    let mut job = Job { rows, left, inputs, right, into: into.as_mut_ptr(), stride };
    let mut block = 0;
    // SAFETY: blocks stay below `blocks`, which all rows contain as asserted.
    unsafe {
        if L::MAX_COLUMNS >= 4 {
            while block + 4 <= blocks {
                job.columns::<L, 4>(block);
                block += 4;
            }
        }
        if L::MAX_COLUMNS >= 2 {
            while block + 2 <= blocks {
                job.columns::<L, 2>(block);
                block += 2;
            }
        }
        while block < blocks {
            job.columns::<L, 1>(block);
            block += 1;
        }
    }
}

struct Job<'a> {
    rows: usize,
    left: Rows<'a>,
    inputs: usize,
    right: Rows<'a>,
    into: *mut f32,
    stride: usize,
}

impl Job<'_> {
    /// All inputs by `C` vectors of outputs.
    #[inline(always)]
    unsafe fn columns<L: Lanes, const C: usize>(&mut self, block: usize) {
        let mut input = 0;
        // SAFETY: inputs stay below `inputs`; the caller guarantees the blocks.
        unsafe {
            while input + INPUTS <= self.inputs {
                self.block::<L, INPUTS, C>(input, block);
                input += INPUTS;
            }
            match self.inputs - input {
                1 => self.block::<L, 1, C>(input, block),
                2 => self.block::<L, 2, C>(input, block),
                3 => self.block::<L, 3, C>(input, block),
                4 => self.block::<L, 4, C>(input, block),
                5 => self.block::<L, 5, C>(input, block),
                _ => {}
            }
        }
    }

    /// `R` inputs by `C` vectors of outputs.
    #[inline(always)]
    unsafe fn block<L: Lanes, const R: usize, const C: usize>(&mut self, input: usize, block: usize) {
        // SAFETY: `outer` has asserted that `rows` rows contain these inputs and blocks, and `into` their products.
        unsafe {
            let into = self.into.add(input * self.stride + block * LANES);
            let mut sums = [[L::splat(0.0); C]; R];
            for (row, sums) in sums.iter_mut().enumerate() {
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(into.add(row * self.stride + column * LANES));
                }
            }
            let mut line = [L::splat(0.0); C];
            let (mut left, mut right) =
                (self.left.at(0).wrapping_add(input), self.right.at(0).wrapping_add(block * LANES));
            for _ in 0..self.rows {
                for (column, value) in line.iter_mut().enumerate() {
                    *value = L::load(right.add(column * LANES));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let value = L::splat(*left.add(row));
                    for (sum, other) in sums.iter_mut().zip(&line) {
                        *sum = other.multiply_add(value, *sum);
                    }
                }
                left = left.wrapping_add(self.left.stride);
                right = right.wrapping_add(self.right.stride);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (column, sum) in sums.iter().enumerate() {
                    sum.store(into.add(row * self.stride + column * LANES));
                }
            }
        }
    }
}
