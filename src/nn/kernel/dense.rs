//! A dense layer over many rows: every output of every row is one chain of fused multiply-adds, from the bias over the
//! inputs in order, so that its bits depend on nothing else in the batch.

use super::lanes::{LANES, Lanes, Line, flat};

/// Rows that share each load of the weights: with four vectors per row they fill 24 of AVX-512's 32 registers, with
/// one vector of two registers 12 of AVX2's 16.
const ROWS: usize = 6;

/// A weight matrix packed for serving: for each sixteen outputs, the inputs in order, each with its sixteen weights.
#[derive(Debug, Clone)]
pub struct Panel {
    outputs: usize,
    first: usize,
    second: usize,
    bias: Vec<Line>,
    weights: Vec<Line>,
}

impl Panel {
    /// Packs a matrix of `outputs` rows over `first + second` inputs; the inputs come from two places, the step's
    /// features and the state, say, and one of them may be empty. Outputs beyond the last, up to a multiple of 16, are
    /// zero.
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

    /// Packs a row-major matrix `[outputs, inputs]` with a bias for each output; one input place.
    pub fn of_matrix(inputs: usize, matrix: &[f32], bias: &[f32]) -> Self {
        Self::new(bias.len(), (inputs, 0), |output, input| matrix[output * inputs + input], |output| bias[output])
    }

    /// Outputs, without the padding.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs in vectors of sixteen.
    pub fn blocks(&self) -> usize {
        self.bias.len()
    }

    /// Inputs from the first place and from the second.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn sides(&self) -> (usize, usize) {
        (self.first, self.second)
    }

    /// The weights of sixteen outputs by one input.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn line(&self, block: usize, input: usize) -> Line {
        self.weights[block * (self.first + self.second) + input]
    }

    /// The biases, sixteen at a time.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn biases(&self) -> &[Line] {
        &self.bias
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + (self.bias.len() + self.weights.len()) * size_of::<Line>()
    }
}

/// Rows in a buffer: row `r` begins at `offset + r * stride`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The buffer.
    pub data: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Where the first row begins.
    pub offset: usize,
}

impl Rows<'_> {
    /// No rows at all: for a panel that has no inputs there.
    pub const NONE: Rows<'static> = Rows { data: &[], stride: 0, offset: 0 };

    /// Panics unless `rows` rows of `width` numbers lie in the buffer: what the raw pointers below rely on.
    #[inline(always)]
    pub(super) fn hold(&self, rows: usize, width: usize) {
        let needed = if width == 0 || rows == 0 { 0 } else { self.offset + (rows - 1) * self.stride + width };
        assert!(needed <= self.data.len(), "kernel: {rows} rows of {width} need {needed} numbers");
    }

    /// Where a row begins.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> *const f32 {
        self.data.as_ptr().wrapping_add(self.offset + row * self.stride)
    }
}

/// What a row's results are made of, and how much room there is for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Results {
    /// Exactly [`Panel::outputs`] numbers.
    Exact,
    /// The same, padded to a multiple of 16.
    Padded,
    /// Padded, and on top of what stands there instead of the bias.
    Added,
}

/// Computes the panel for rows `0..rows` into `out`, where row `r` begins at `r * stride`.
///
/// # Safety
/// The processor must have the instructions of `L`.
#[inline(always)]
pub unsafe fn dense<L: Lanes>(
    panel: &Panel,
    rows: usize,
    first: Rows<'_>,
    second: Rows<'_>,
    out: &mut [f32],
    stride: usize,
    results: Results,
) {
    first.hold(rows, panel.first);
    second.hold(rows, panel.second);
    let width = if results == Results::Exact { panel.outputs } else { panel.blocks() * LANES };
    Rows { data: out, stride, offset: 0 }.hold(rows, width);
    let mut job = Job { panel, first, second, out: out.as_mut_ptr(), stride, width, added: results == Results::Added };
    let mut row = 0;
    while row + ROWS <= rows {
        // SAFETY: `row + ROWS` rows lie in all three buffers, as just asserted; the instructions are the caller's word.
        unsafe { job.columns::<L, ROWS>(row) };
        row += ROWS;
    }
    // SAFETY: the rows that are left lie in all three buffers too.
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
    added: bool,
}

impl Job<'_> {
    /// All outputs of `R` rows from `row`.
    #[inline(always)]
    unsafe fn columns<L: Lanes, const R: usize>(&mut self, row: usize) {
        let blocks = self.panel.blocks();
        let mut block = 0;
        // SAFETY: blocks stay below `blocks`; rows and instructions are the caller's word.
        unsafe {
            if L::WIDEST >= 4 {
                while block + 4 <= blocks {
                    self.block::<L, R, 4>(row, block);
                    block += 4;
                }
            }
            if L::WIDEST >= 2 {
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

    /// `C` vectors of outputs, from the block `block` on, of `R` rows from `row`.
    #[inline(always)]
    unsafe fn block<L: Lanes, const R: usize, const C: usize>(&mut self, row: usize, block: usize) {
        let inputs = self.panel.first + self.panel.second;
        let apart = inputs * LANES;
        let (bias, weights) = (flat(&self.panel.bias).as_ptr(), flat(&self.panel.weights).as_ptr());
        // SAFETY: blocks `block..block + C` exist, so the bias has `C` vectors there and the weights `C * inputs`;
        // `dense` has asserted that the rows lie in their buffers; the instructions are the caller's word.
        unsafe {
            // Plain loops over arrays of a fixed size: they unroll, and what they hold stays in registers.
            let mut starts = [L::splat(0.0); C];
            for (column, start) in starts.iter_mut().enumerate() {
                *start = L::load(bias.add((block + column) * LANES));
            }
            let mut sums = [starts; R];
            if self.added {
                for (index, sums) in sums.iter_mut().enumerate() {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(self.out.add((row + index) * self.stride + (block + column) * LANES));
                    }
                }
            }
            let mut line = starts;
            let mut weights = weights.add(block * apart);
            for (rows, count) in [(self.first, self.panel.first), (self.second, self.panel.second)] {
                let mut from = [rows.at(row); R];
                for (index, from) in from.iter_mut().enumerate() {
                    *from = rows.at(row + index);
                }
                for input in 0..count {
                    for (column, weight) in line.iter_mut().enumerate() {
                        *weight = L::load(weights.add(column * apart));
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

    /// Stores one vector, cut short where the row ends within it.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&mut self, sum: L, row: usize, column: usize) {
        let room = self.width - column;
        // SAFETY: `dense` has asserted `width` numbers from the beginning of each row, `column` is less than it.
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
