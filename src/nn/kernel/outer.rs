//! The gradient by a weight matrix: over rows, the sum of products of what went in and what came back. Each number is one
//! chain of fused multiply-adds over the rows in order, on top of what stood there.

use super::dense::Rows;
use super::lanes::{LANES, Lanes};

/// Inputs that share each load of what came back: registers as in [`super::dense`].
const INPUTS: usize = 6;

/// Adds to `into`, where input `i` begins at `i * stride`, for each of `blocks` vectors of sixteen outputs:
/// `into[i][o] += sum over rows of left[row][i] * right[row][o]`.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn outer<L: Lanes>(
    rows: usize,
    left: Rows<'_>,
    inputs: usize,
    right: Rows<'_>,
    blocks: usize,
    into: &mut [f32],
    stride: usize,
) {
    left.hold(rows, inputs);
    right.hold(rows, blocks * LANES);
    Rows { data: into, stride, offset: 0 }.hold(inputs, blocks * LANES);
    let mut job = Job { rows, left, inputs, right, into: into.as_mut_ptr(), stride };
    let mut block = 0;
    // SAFETY: blocks stay below `blocks`, which all rows hold as just asserted; the instructions are the caller's word.
    unsafe {
        if L::WIDEST >= 4 {
            while block + 4 <= blocks {
                job.columns::<L, 4>(block);
                block += 4;
            }
        }
        if L::WIDEST >= 2 {
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
        // SAFETY: inputs stay below `inputs`; blocks and instructions are the caller's word.
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
        // SAFETY: `outer` has asserted that `rows` rows hold these inputs and blocks, and `into` their products; the
        // instructions are the caller's word.
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
