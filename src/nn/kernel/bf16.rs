//! A step of a recurrent layer with weights and inputs rounded to bfloat16 (eight bits of mantissa), two multiply-adds
//! per lane and instruction: for processors that have AVX-512's dot product of such pairs. Sums, gates and states stay
//! `f32`.
//!
//! The rounding is part of the numbers: they differ from those of the other instructions in the third digit (a step's
//! outputs by at most some 1e-2, held by a test), and are the same in any batch.

use std::arch::x86_64::*;

use super::dense::{Panel, Rows};
use super::gates::{Phase, States, combine};
use super::lanes::{LANES, Line, flat, flat_mut};
use super::x86::Avx512;
use super::{CHUNK, Input, Layer};

/// Rows that share each load of the weights: with four vectors per row they fill 24 of the 32 registers.
const ROWS: usize = 6;
/// Pairs in half a line: what sixteen numbers are rounded to.
const PAIRS: usize = LANES / 2;

/// Sixteen outputs' weights of two inputs next to each other, each pair in one lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Pair([u32; LANES]);

/// A [`Panel`] with rounded weights: for each sixteen outputs the pairs of inputs in order. An odd
/// last input has a zero beside it.
#[derive(Debug, Clone)]
pub(super) struct Halved {
    /// Pairs of inputs from the first and from the second place.
    pairs: (usize, usize),
    weights: Vec<Pair>,
}

impl Halved {
    pub(super) fn new(panel: &Panel) -> Self {
        let (first, second) = panel.sides();
        let pairs = (first.div_ceil(2), second.div_ceil(2));
        let mut weights = Vec::with_capacity(panel.blocks() * (pairs.0 + pairs.1));
        for block in 0..panel.blocks() {
            let line = |input: usize| panel.line(block, input);
            for (from, count, pairs) in [(0, first, pairs.0), (first, second, pairs.1)] {
                for pair in 0..pairs {
                    let half = |at: usize| if at < count { line(from + at) } else { Line::ZERO };
                    let (low, high) = (half(2 * pair), half(2 * pair + 1));
                    weights.push(Pair(std::array::from_fn(|lane| rounded(low.0[lane]) | rounded(high.0[lane]) << 16)));
                }
            }
        }
        Self { pairs, weights }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
    }
}

/// The upper half of a finite number's bits, rounded to the nearest, ties to even.
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// One step of a layer whose gates are all early: as [`super::layer_step`], with rounded weights and inputs.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn step(
    layer: &Layer,
    halved: &[Halved],
    rows: usize,
    input: Input<'_>,
    states: States<'_>,
    scratch: &mut Vec<Line>,
) {
    let States { data, stride, offset } = states;
    let (blocks, combination) = (layer.blocks(), layer.combination);
    let hidden = layer.panels[0].outputs();
    let inputs = layer.panels.iter().map(|panel| panel.sides().0).max().unwrap_or(0);
    let sixteens = inputs.div_ceil(LANES) + blocks;
    let gates = combination.planes() * rows.min(CHUNK) * blocks;
    // Behind the gates the rows' inputs and outputs, rounded: half a line for each sixteen.
    let size = gates + (rows.min(CHUNK) * sixteens).div_ceil(2);
    if scratch.len() < size {
        scratch.resize(size, Line::ZERO);
    }
    let mut row = 0;
    while row < rows {
        let count = CHUNK.min(rows - row);
        let outputs = Rows { data: &*data, stride, offset: offset + row * stride };
        let from = match input {
            Input::Rows(rows) => Rows { offset: rows.offset + row * rows.stride, ..rows },
            Input::Below { offset } => Rows { offset: offset + row * stride, ..outputs },
        };
        from.hold(count, inputs);
        outputs.hold(count, hidden);
        let (sums, pairs) = scratch.split_at_mut(gates);
        let pairs = flat_mut(pairs);
        for (row, pairs) in pairs.chunks_exact_mut(sixteens * PAIRS).take(count).enumerate() {
            let (first, second) = pairs.split_at_mut((sixteens - blocks) * PAIRS);
            round(&from.data[from.offset + row * from.stride..][..inputs], first);
            round(&outputs.data[outputs.offset + row * stride..][..hidden], second);
        }
        for (gate, (panel, halved)) in layer.panels.iter().zip(halved).enumerate() {
            let sums = &mut flat_mut(sums)[gate * count * blocks * LANES..][..count * blocks * LANES];
            dense(panel, halved, count, pairs, (sixteens * PAIRS, (sixteens - blocks) * PAIRS), sums);
        }
        let mut states = States { data: &mut *data, stride, offset: offset + row * stride };
        // SAFETY: this function has AVX-512 switched on, all that `Avx512` asks for.
        unsafe { combine::<Avx512, false>(combination, Phase::Whole, sums, count, hidden, &mut states) };
        row += count;
    }
}

/// Rounds numbers to pairs, filled up with zeros.
#[target_feature(enable = "avx512f,avx512bf16")]
fn round(values: &[f32], pairs: &mut [f32]) {
    for (values, pairs) in values.chunks(LANES).zip(pairs.as_chunks_mut::<PAIRS>().0) {
        let mask = ((1_u32 << values.len()) - 1) as u16;
        // SAFETY: the mask reads as many numbers as there are, and eight 32-bit pairs are 256 bits; neither instruction
        // asks for an alignment.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, values.as_ptr()));
            pairs.as_mut_ptr().cast::<__m256bh>().write_unaligned(rounded);
        }
    }
}

/// The panel for `rows` rows of pairs, a row `stride` from the next and the second part `second` behind the first, into
/// `out` `[row][block]`.
#[target_feature(enable = "avx512f,avx512bf16")]
fn dense(
    panel: &Panel,
    halved: &Halved,
    rows: usize,
    pairs: &[f32],
    (stride, second): (usize, usize),
    out: &mut [f32],
) {
    let vector = panel.blocks() * LANES;
    let inside = halved.pairs.0 <= second && second + halved.pairs.1 <= stride;
    let fits = out.len() == rows * vector && pairs.len() >= rows * stride && inside;
    assert!(fits, "kernel: {rows} rows of pairs do not fit");
    let job = Job { panel, halved, pairs: pairs.as_ptr(), stride, second, out: out.as_mut_ptr(), vector };
    let mut row = 0;
    // SAFETY: all rows lie in both buffers, as just asserted.
    unsafe {
        while row + ROWS <= rows {
            job.columns::<ROWS>(row);
            row += ROWS;
        }
        match rows - row {
            1 => job.columns::<1>(row),
            2 => job.columns::<2>(row),
            3 => job.columns::<3>(row),
            4 => job.columns::<4>(row),
            5 => job.columns::<5>(row),
            _ => {}
        }
    }
}

struct Job<'a> {
    panel: &'a Panel,
    halved: &'a Halved,
    pairs: *const f32,
    stride: usize,
    second: usize,
    out: *mut f32,
    vector: usize,
}

impl Job<'_> {
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn columns<const R: usize>(&self, row: usize) {
        let mut block = 0;
        // SAFETY: blocks stay below the panel's; the rows are the caller's word.
        unsafe {
            while block + 4 <= self.panel.blocks() {
                self.block::<R, 4>(row, block);
                block += 4;
            }
            while block < self.panel.blocks() {
                self.block::<R, 1>(row, block);
                block += 1;
            }
        }
    }

    /// `C` vectors of outputs of `R` rows: for each row one chain over the pairs in order, from the bias on.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn block<const R: usize, const C: usize>(&self, row: usize, block: usize) {
        let (first, second) = self.halved.pairs;
        let apart = first + second;
        let bias = flat(self.panel.biases()).as_ptr();
        // SAFETY: blocks `block..block + C` exist, so bias and weights hold them; `dense` has asserted that the rows'
        // pairs and sums lie in their buffers.
        unsafe {
            let mut starts = [_mm512_setzero_ps(); C];
            for (column, start) in starts.iter_mut().enumerate() {
                *start = _mm512_loadu_ps(bias.add((block + column) * LANES));
            }
            let mut sums = [starts; R];
            let mut weights = self.halved.weights.as_ptr().add(block * apart);
            for (from, count) in [(0, first), (self.second, second)] {
                for pair in 0..count {
                    let mut line = [_mm512_setzero_si512(); C];
                    for (column, weight) in line.iter_mut().enumerate() {
                        *weight = _mm512_loadu_si512(weights.add(column * apart).cast());
                    }
                    for (index, sums) in sums.iter_mut().enumerate() {
                        let at = self.pairs.add((row + index) * self.stride + from + pair);
                        let value = _mm512_set1_epi32(at.cast::<i32>().read());
                        for (sum, weight) in sums.iter_mut().zip(&line) {
                            *sum = _mm512_dpbf16_ps(
                                *sum,
                                std::mem::transmute::<__m512i, __m512bh>(value),
                                std::mem::transmute::<__m512i, __m512bh>(*weight),
                            );
                        }
                    }
                    weights = weights.add(1);
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                for (column, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(self.out.add((row + index) * self.vector + (block + column) * LANES), *sum);
                }
            }
        }
    }
}
