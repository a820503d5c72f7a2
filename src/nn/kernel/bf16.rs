//! A step of a recurrent layer with weights and inputs in bfloat16 (eight bits of mantissa): two multiply-adds per lane
//! and instruction, on CPUs with the AVX-512 BF16 dot product. Sums, gates and states stay `f32`.
//!
//! The outputs of a step differ from those of the other instruction sets in the third digit (by about 1e-2 at most, as
//! a test asserts) and have the same bits in any batch.

use std::arch::x86_64::*;

use super::lanes::{LANES, Line, flat, flat_mut};
use super::layer::{CHUNK_ROWS, Input, Layer};
use super::recurrence::{Phase, apply};
use super::rows::{Rows, RowsMut};
use super::{bf16_panel::Bf16Panel, dense::Panel, x86::Avx512};

/// Rows that share each load of the weights. With four vectors per row they fill 24 of the 32 registers.
const ROWS: usize = 6;
/// Pairs of bfloat16 values in half a line, which is what sixteen `f32` values round to.
const PAIRS: usize = LANES / 2;

/// One step of a layer without [`gate_after_reset`](super::recurrence::Recurrence::gate_after_reset), in bfloat16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn step(layer: &Layer, rows: usize, input: Input<'_>, states: RowsMut<'_>, scratch: &mut Vec<Line>) {
    let bf16_panels = layer.bf16_panels.get_or_init(|| layer.panels.iter().map(Bf16Panel::new).collect());
    let RowsMut { data, stride, offset } = states;
    let (blocks, recurrence) = (layer.blocks(), layer.recurrence);
    let hidden = layer.panels[0].outputs();
    let inputs = layer.panels.iter().map(|panel| panel.sides().0).max().unwrap_or(0);
    let sixteens = inputs.div_ceil(LANES) + blocks;
    let gates = recurrence.gate_vectors() * rows.min(CHUNK_ROWS) * blocks;
    // After the gates come the rows' inputs and outputs in bfloat16: half a line for each sixteen values.
    let size = gates + (rows.min(CHUNK_ROWS) * sixteens).div_ceil(2);
    if scratch.len() < size {
        scratch.resize(size, Line::ZERO);
    }
    let mut row = 0;
    while row < rows {
        let count = CHUNK_ROWS.min(rows - row);
        let outputs = Rows { data: &*data, stride, offset: offset + row * stride };
        let from = match input {
            Input::Rows(rows) => Rows { offset: rows.offset + row * rows.stride, ..rows },
            Input::LayerBelow { offset } => Rows { offset: offset + row * stride, ..outputs },
        };
        from.assert_within(count, inputs);
        outputs.assert_within(count, hidden);
        let (sums, pairs) = scratch.split_at_mut(gates);
        let pairs = flat_mut(pairs);
        for (row, pairs) in pairs.chunks_exact_mut(sixteens * PAIRS).take(count).enumerate() {
            let (first, second) = pairs.split_at_mut((sixteens - blocks) * PAIRS);
            convert(&from.data[from.offset + row * from.stride..][..inputs], first);
            convert(&outputs.data[outputs.offset + row * stride..][..hidden], second);
        }
        let (stride_of_pairs, second) = (sixteens * PAIRS, (sixteens - blocks) * PAIRS);
        for (gate, (panel, bf16)) in layer.panels.iter().zip(bf16_panels).enumerate() {
            let sums = &mut flat_mut(sums)[gate * count * blocks * LANES..][..count * blocks * LANES];
            dense(panel, bf16, count, PairRows { data: pairs, stride: stride_of_pairs, second }, sums);
        }
        let mut states = RowsMut { data: &mut *data, stride, offset: offset + row * stride };
        // SAFETY: this function enables AVX-512, which is all that `Avx512` needs.
        unsafe { apply::<Avx512, false>(recurrence, Phase::Update, sums, count, hidden, &mut states) };
        row += count;
    }
}

/// Converts values to pairs of bfloat16, padded with zeros.
#[target_feature(enable = "avx512f,avx512bf16")]
fn convert(values: &[f32], pairs: &mut [f32]) {
    for (values, pairs) in values.chunks(LANES).zip(pairs.as_chunks_mut::<PAIRS>().0) {
        let mask = ((1_u32 << values.len()) - 1) as u16;
        // SAFETY: the mask limits the load to the slice, and eight 32-bit pairs are 256 bits; neither instruction needs
        // an alignment.
        unsafe {
            let converted = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, values.as_ptr()));
            pairs.as_mut_ptr().cast::<__m256bh>().write_unaligned(converted);
        }
    }
}

/// Rows of pairs of bfloat16 values, each pair in the place of an `f32`.
struct PairRows<'a> {
    data: &'a [f32],
    /// Pairs from the beginning of one row to that of the next.
    stride: usize,
    /// Offset in a row of the inputs from the second place.
    second: usize,
}

/// Computes the panel for `rows` rows of pairs into `out` `[row][block]`.
#[target_feature(enable = "avx512f,avx512bf16")]
fn dense(panel: &Panel, bf16: &Bf16Panel, rows: usize, pairs: PairRows<'_>, out: &mut [f32]) {
    let vector = panel.blocks() * LANES;
    let PairRows { data, stride, second } = pairs;
    let inside = bf16.pairs.0 <= second && second + bf16.pairs.1 <= stride;
    let fits = out.len() == rows * vector && data.len() >= rows * stride && inside;
    assert!(fits, "kernel: {rows} rows of pairs do not fit");
    let job = Job { panel, bf16, pairs: data.as_ptr(), stride, second, out: out.as_mut_ptr(), vector };
    let mut row = 0;
    // SAFETY: all rows lie in both buffers, as asserted.
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
    bf16: &'a Bf16Panel,
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
        // SAFETY: blocks stay below the panel's; the caller guarantees the rows.
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

    /// `C` vectors of outputs of `R` rows: for each row one chain over the pairs in order that starts at the bias.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn block<const R: usize, const C: usize>(&self, row: usize, block: usize) {
        let (first, second) = self.bf16.pairs;
        let block_stride = first + second;
        let bias = flat(self.panel.biases()).as_ptr();
        // SAFETY: blocks `block..block + C` exist in bias and weights; `dense` has asserted that the rows' pairs and
        // sums lie in their buffers.
        unsafe {
            let mut starts = [_mm512_setzero_ps(); C];
            for (column, start) in starts.iter_mut().enumerate() {
                *start = _mm512_loadu_ps(bias.add((block + column) * LANES));
            }
            let mut sums = [starts; R];
            let mut weights = self.bf16.weights.as_ptr().add(block * block_stride);
            for (from, count) in [(0, first), (self.second, second)] {
                for pair in 0..count {
                    let mut line = [_mm512_setzero_si512(); C];
                    for (column, weight) in line.iter_mut().enumerate() {
                        *weight = _mm512_loadu_si512(weights.add(column * block_stride).cast());
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
