//! The backward pass of a tile of rows, from the last step to the first.
//!
//! The gradient by the states after a step passes through the recurrence and then through the recurrent matrix. The
//! gradient by the gates' sums is multiplied with the gates' inputs as soon as there are [`GROUP_ROWS`] rows of it, and
//! is not stored.

use super::buffer::Buffer;
use super::sizes::{GROUP_ROWS, Sizes, WeightRanges};
use super::tile::{TileActivations, TiledSequence, clear_reset_rows};
use crate::nn::kernel::{
    InstructionSet, LANES, Line, OuterProduct, OutputMode, Panel, Rows, RowsMut, SavedStep, Scan, ScanBackward,
    dense_rows, flat, flat_mut, layer_backward, outer_rows, scan_backward,
};

/// The gradients that a tile's backward pass adds to. `products` and `first` are zero initially.
pub(super) struct TileGradients<'a> {
    /// By the weights, `[input, previous output or bias][gate][unit]`.
    pub products: &'a mut [f32],
    /// By the first states, `[row][state]`.
    pub first: &'a mut [f32],
    /// By the inputs of each step, where that is asked for.
    pub by_inputs: Vec<&'a mut [f32]>,
}

/// The backward pass of all tiles.
pub(super) struct TiledBackward<'a> {
    sequence: TiledSequence<'a>,
    /// Gradient by the outputs `[step][row][unit]`.
    gradient: &'a [f32],
    /// The transposed recurrent matrix: from the gates' sums to the previous outputs.
    to_outputs: Option<Panel>,
    /// The transposed input matrix: from the gates' sums to the inputs.
    to_inputs: Option<Panel>,
}

impl<'a> TiledBackward<'a> {
    /// Prepares the pass from the flat `weights` and the gradient by the outputs; `by_inputs` asks for the gradient by
    /// the inputs.
    pub fn new(sequence: TiledSequence<'a>, weights: &[f32], gradient: &'a [f32], by_inputs: bool) -> Self {
        let WeightRanges { input, recurrent, .. } = sequence.sizes.weights(sequence.cell);
        let Sizes { inputs, hidden, .. } = sequence.sizes;
        let gate = sequence.sizes.padded();
        let panel = |matrix: &[f32], outputs: usize| {
            // The row of the matrix for each padded sum.
            let (mut rows, padding) = (Vec::new(), vec![0.0; outputs]);
            for gate_rows in matrix.chunks_exact(hidden * outputs) {
                rows.extend(gate_rows.chunks_exact(outputs));
                rows.resize(rows.len().next_multiple_of(gate), &padding);
            }
            let weight = |output: usize, at: usize| rows[at][output];
            (!rows.is_empty()).then(|| Panel::new(outputs, (rows.len(), 0), weight, |_| 0.0))
        };
        let to_outputs = panel(&weights[recurrent], hidden);
        let to_inputs = by_inputs.then(|| panel(&weights[input], inputs)).flatten();
        Self { sequence, gradient, to_outputs, to_inputs }
    }

    /// Runs the tile that begins at the row `from` from the last step to the first.
    pub fn tile(&self, from: usize, activations: TileActivations<&[Line], &[f32]>, gradients: TileGradients<'_>) {
        let TileActivations { gates, states } = activations;
        let TileGradients { products, first, mut by_inputs } = gradients;
        let (sequence, sizes) = (self.sequence, self.sequence.sizes);
        let (rows, width, gate_width) = (sequence.rows(from), sizes.width(), sizes.gate_width());
        let (count, state, isa) = (rows.len(), rows.len() * width, InstructionSet::best());
        let group_rows = count * GROUP_ROWS.div_ceil(count);
        let mut sums = Buffer::reused(group_rows * gate_width / LANES);
        let sums = flat_mut(&mut sums);
        let mut cleared = Buffer::reused(group_rows * width / LANES);
        let cleared = flat_mut(&mut cleared);
        let mut inputs = Vec::new();
        for group in sizes.groups(count).rev() {
            let all = group.len() * count;
            let resets = sequence.resets(group.clone(), &rows);
            sequence.gather(group.clone(), &rows, &mut inputs);
            let mut before = &states[group.start * state..group.end * state];
            if resets.contains(&true) {
                cleared[..all * width].copy_from_slice(before);
                clear_reset_rows(&resets, width, &mut cleared[..all * width]);
                before = &cleared[..all * width];
            }
            let gradient = |step: usize| &self.gradient[(step * sizes.rows + from) * sizes.hidden..];
            let (sums, per_step) = (&mut sums[..all * gate_width], count * gate_width);
            let saved = &gates[group.start * per_step / LANES..group.end * per_step / LANES];
            let after = &states[(group.start + 1) * state..(group.end + 1) * state];
            let recurrence = sequence.cell.gates().recurrence;
            if sequence.scanned {
                let earlier = &states[group.start * state..][..state];
                let scan = Scan { steps: group.len(), rows: count, resets: &resets, first: earlier };
                let (gradient, step_stride) = (gradient(group.start), sizes.rows * sizes.hidden);
                let pass = ScanBackward { scan, hidden: sizes.hidden, saved, after, gradient, step_stride };
                scan_backward(isa, recurrence, pass, sums, first);
            } else {
                for step in (0..group.len()).rev() {
                    let of = |size: usize| step * size..(step + 1) * size;
                    let gradient = gradient(group.start + step).chunks_exact(sizes.hidden);
                    for (carried, gradient) in first.chunks_exact_mut(width).zip(gradient) {
                        carried.iter_mut().zip(gradient).for_each(|(carried, gradient)| *carried += gradient);
                    }
                    let saved = SavedStep {
                        rows: count,
                        blocks: sizes.padded() / LANES,
                        gates: &flat(saved)[of(per_step)],
                        before: &before[of(state)],
                        after: &after[of(state)],
                    };
                    let sums = &mut sums[of(per_step)];
                    layer_backward(isa, recurrence, saved, first, sums);
                    if let Some(panel) = &self.to_outputs {
                        let offset = sequence.cell.gates().recurrent.start * sizes.padded();
                        let sums = Rows { data: sums, stride: gate_width, offset };
                        let first = RowsMut { data: &mut *first, stride: width, offset: 0 };
                        dense_rows(isa, panel, count, sums, first, OutputMode::Accumulated);
                    }
                    clear_reset_rows(&resets[of(count)], width, first);
                }
            }
            self.add_products(all, &inputs, before, sums, products);
            if let Some(panel) = &self.to_inputs {
                let offset = sequence.cell.gates().input.start * sizes.padded();
                for (step, by_inputs) in by_inputs[group.clone()].iter_mut().enumerate() {
                    let sums = Rows { data: sums, stride: gate_width, offset: offset + step * per_step };
                    let by_inputs = RowsMut { data: by_inputs, stride: sizes.inputs, offset: 0 };
                    dense_rows(isa, panel, count, sums, by_inputs, OutputMode::Exact);
                }
            }
        }
    }

    /// Adds the products of the gates' inputs and the gradient by the gates' sums, over `all` rows.
    fn add_products(&self, all: usize, inputs: &[f32], before: &[f32], sums: &[f32], products: &mut [f32]) {
        let TiledSequence { sizes, cell, .. } = self.sequence;
        let (gate, stride, isa) = (sizes.padded(), sizes.gate_width(), InstructionSet::best());
        let one = Rows { data: &[1.0], stride: 0, offset: 0 };
        let inputs = Rows { data: inputs, stride: sizes.inputs, offset: 0 };
        let before = Rows { data: before, stride: sizes.width(), offset: 0 };
        let mut from = 0;
        for (left, width, gates) in [
            (inputs, sizes.inputs, cell.gates().input),
            (before, sizes.hidden, cell.gates().recurrent),
            (one, 1, 0..sizes.gates),
        ] {
            let right = Rows { data: sums, stride, offset: gates.start * gate };
            let into = &mut products[from * stride + gates.start * gate..];
            let blocks = gates.len() * gate / LANES;
            outer_rows(isa, OuterProduct { rows: all, left, inputs: width, right, blocks }, into, stride);
            from += width;
        }
    }

    /// The gradient by the flat weights: the sum of the products of all tiles, in the order of the tiles.
    pub fn by_weights(&self, products: &[f32]) -> Vec<f32> {
        let TiledSequence { sizes, cell, .. } = self.sequence;
        let mut sum = vec![0.0; sizes.products()];
        for tile in products.chunks_exact(sizes.products()) {
            sum.iter_mut().zip(tile).for_each(|(sum, tile)| *sum += tile);
        }
        let mut flat = Vec::with_capacity(sizes.weights(cell).bias.end);
        let mut from = 0;
        for (width, gates) in
            [(sizes.inputs, cell.gates().input), (sizes.hidden, cell.gates().recurrent), (1, 0..sizes.gates)]
        {
            for (gate, unit) in gates.flat_map(|gate| (0..sizes.hidden).map(move |unit| (gate, unit))) {
                let column = gate * sizes.padded() + unit;
                flat.extend((from..from + width).map(|row| sum[row * sizes.gate_width() + column]));
            }
            from += width;
        }
        flat
    }
}
