//! A tile of rows through all steps of a sequence, forward and in reverse: few enough rows that what a step leaves is
//! still in the nearer caches when the next one needs it.
//!
//! In reverse the gradient by the states after a step passes through the gates' combination and then through the
//! recurrent matrix. What the gates' sums receive is multiplied with what went into them as soon as there are
//! [`GROUP`] rows of it, and never stored.

use std::ops::Range;

use super::buffer::Buffer;
use super::kernel::{
    Input, InstructionSet, LANES, Layer, Line, Panel, Results, Rows, Scan, States, Step, dense_rows, dense_vectors,
    flat, flat_mut, layer_reverse, layer_step_kept, outer_rows, padded, scan_forward, scan_reverse,
};
use super::recurrent::Gates;
use super::sequence::Starts;

/// The most rows that go through the steps together.
pub(super) const MOST_ROWS: usize = 48;
/// Rows, of as many steps as it takes, whose part in the gradient by the weights is added at a time.
const GROUP: usize = 96;
/// Rows that share a kernel's loads.
const SHARED: usize = 6;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub steps: usize,
    pub rows: usize,
    pub inputs: usize,
    pub hidden: usize,
    pub gates: usize,
    pub vectors: usize,
}

impl Sizes {
    /// Numbers of one vector of a row.
    pub fn padded(&self) -> usize {
        padded(self.hidden)
    }

    /// Numbers of a row's state.
    pub fn width(&self) -> usize {
        self.vectors * self.padded()
    }

    /// Numbers of a row's gates.
    pub fn gate_width(&self) -> usize {
        self.gates * self.padded()
    }

    /// Numbers of the gradient by the weights, `[input, output before or bias][gate][unit]`.
    pub fn products(&self) -> usize {
        (self.inputs + self.hidden + 1) * self.gate_width()
    }

    /// Where the input matrix, the recurrent matrix and the bias lie in the flat tensor.
    pub fn weights(&self, gates: &dyn Gates) -> (Range<usize>, Range<usize>, Range<usize>) {
        let input = gates.input_gates().len() * self.hidden * self.inputs;
        let recurrent = input + gates.recurrent_gates().len() * self.hidden * self.hidden;
        (0..input, input..recurrent, recurrent..recurrent + self.gates * self.hidden)
    }

    /// Rows of a tile: all tiles but the last are of the same size, and it does not depend on the number of threads.
    pub fn tile(&self) -> usize {
        self.rows.div_ceil(self.rows.div_ceil(MOST_ROWS)).next_multiple_of(SHARED)
    }

    /// How many tiles there are.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile())
    }

    /// The steps in groups of about [`GROUP`] rows, where a tile has `count`.
    fn groups(self, count: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let group = GROUP.div_ceil(count);
        (0..self.steps.div_ceil(group)).map(move |at| at * group..((at + 1) * group).min(self.steps))
    }
}

/// `data` `[step][row][width]` dealt out to the tiles: for each the parts of its rows, step after step.
pub(super) fn parts<'a>(sizes: &Sizes, data: &'a mut [f32], width: usize) -> Vec<Vec<&'a mut [f32]>> {
    let mut parts: Vec<Vec<&mut [f32]>> = (0..sizes.tiles()).map(|_| Vec::new()).collect();
    for step in data.chunks_exact_mut((sizes.rows * width).max(1)) {
        step.chunks_mut(sizes.tile() * width).zip(&mut parts).for_each(|(part, parts)| parts.push(part));
    }
    parts
}

/// The whole of a sequence that a tile is a part of.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub sizes: Sizes,
    pub gates: &'static dyn Gates,
    /// Whether the gates of a group of steps are computed at once.
    pub scanned: bool,
    pub starts: &'a Starts,
    /// `[step][row][input]`.
    pub inputs: &'a [f32],
}

impl Whole<'_> {
    /// Which of a tile's rows begin anew before which of the steps, `[step][row]`.
    fn begins(&self, steps: Range<usize>, rows: &Range<usize>) -> Vec<bool> {
        let of = |step| rows.clone().map(move |row| self.starts.at(step).get(row).copied().unwrap_or(false));
        steps.flat_map(of).collect()
    }

    /// The rows of a tile that begins at `from`.
    fn rows(&self, from: usize) -> Range<usize> {
        from..self.sizes.rows.min(from + self.sizes.tile())
    }

    /// A tile's inputs of the steps, `[step][row][input]`.
    fn gather(&self, steps: Range<usize>, rows: &Range<usize>, into: &mut Vec<f32>) {
        let width = self.sizes.inputs;
        into.clear();
        for step in steps {
            into.extend_from_slice(&self.inputs[(step * self.sizes.rows + rows.start) * width..][..rows.len() * width]);
        }
    }

    /// A tile forward: `gates` receives what the reverse needs, `states` the states before the first step (from
    /// `first` `[row][state]` of all rows) and after each, `outputs` the outputs of each step.
    pub fn forward(
        &self,
        layer: &Layer,
        first: &[f32],
        from: usize,
        (gates, states): (&mut [Line], &mut [f32]),
        mut outputs: Vec<&mut [f32]>,
    ) {
        let Sizes { inputs: wide, hidden, .. } = self.sizes;
        let (rows, width, on) = (self.rows(from), self.sizes.width(), InstructionSet::best());
        let (count, state) = (rows.len(), rows.len() * width);
        let kept = count * self.sizes.gate_width() / LANES;
        let mut inputs = Vec::new();
        states[..state].copy_from_slice(&first[from * width..][..state]);
        for group in self.sizes.groups(count) {
            let begins = self.begins(group.clone(), &rows);
            let gates = &mut gates[group.start * kept..group.end * kept];
            let (before, after) = states[group.start * state..][..(group.len() + 1) * state].split_at_mut(state);
            if self.scanned {
                self.gather(group.clone(), &rows, &mut inputs);
                let scan = Scan { steps: group.len(), rows: count, begins: &begins, first: before };
                let inputs = Rows { data: &inputs, stride: wide, offset: 0 };
                scan_forward(on, layer, scan, inputs, gates, after);
            } else {
                let mut before = &*before;
                let steps = after.chunks_exact_mut(state).zip(gates.chunks_exact_mut(kept));
                for ((step, (now, kept)), begins) in group.clone().zip(steps).zip(begins.chunks_exact(count)) {
                    now.copy_from_slice(before);
                    clear(begins, width, now);
                    let offset = (step * self.sizes.rows + from) * wide;
                    let inputs = Input::Rows(Rows { data: self.inputs, stride: wide, offset });
                    let states = States { data: &mut *now, stride: width, offset: 0 };
                    layer_step_kept(on, layer, count, inputs, states, kept);
                    before = now;
                }
            }
            for (outputs, after) in outputs[group].iter_mut().zip(after.chunks_exact(state)) {
                for (output, state) in outputs.chunks_exact_mut(hidden).zip(after.chunks_exact(width)) {
                    output.copy_from_slice(&state[..hidden]);
                }
            }
        }
    }
}

/// Sets the states of the rows that begin anew to zero.
pub(super) fn clear(begins: &[bool], width: usize, states: &mut [f32]) {
    for (state, _) in states.chunks_exact_mut(width).zip(begins).filter(|(_, begins)| **begins) {
        state.fill(0.0);
    }
}

/// The way back of all tiles.
pub(super) struct Reverse<'a> {
    whole: Whole<'a>,
    /// Gradient by the outputs `[step][row][unit]`.
    gradient: &'a [f32],
    /// The recurrent matrix the other way round: from the gates' sums to the outputs before.
    to_outputs: Option<Panel>,
    /// The input matrix the other way round.
    to_inputs: Option<Panel>,
}

impl<'a> Reverse<'a> {
    /// Of the flat `weights`, the gradient by the outputs, and whether that by the inputs is asked for.
    pub fn new(whole: Whole<'a>, weights: &[f32], gradient: &'a [f32], by_inputs: bool) -> Self {
        let (input, recurrent, _) = whole.sizes.weights(whole.gates);
        let Sizes { inputs, hidden, .. } = whole.sizes;
        let gate = whole.sizes.padded();
        let panel = |matrix: &[f32], outputs: usize| {
            // The row of the matrix behind each padded sum.
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
        Self { whole, gradient, to_outputs, to_inputs }
    }

    /// A tile from the last step to the first, with what it left on the way forward: `products` `[input, output before
    /// or bias][gate][unit]` receives what it adds to the gradient by the weights, `first` that by the first states, and
    /// `by_inputs`, where it is asked for, that by the inputs of each step. The first two come as zeros.
    pub fn tile(
        &self,
        from: usize,
        (gates, states): (&[Line], &[f32]),
        products: &mut [f32],
        first: &mut [f32],
        mut by_inputs: Vec<&mut [f32]>,
    ) {
        let sizes = self.whole.sizes;
        let (rows, width, gate_width, wide) = (self.whole.rows(from), sizes.width(), sizes.gate_width(), sizes.inputs);
        let (count, state, on) = (rows.len(), rows.len() * width, InstructionSet::best());
        let most = count * GROUP.div_ceil(count);
        let mut sums = Buffer::stale(most * gate_width / LANES);
        let sums = flat_mut(&mut sums);
        let mut cleared = Buffer::stale(most * width / LANES);
        let cleared = flat_mut(&mut cleared);
        let mut inputs = Vec::new();
        for group in sizes.groups(count).rev() {
            let all = group.len() * count;
            let begins = self.whole.begins(group.clone(), &rows);
            self.whole.gather(group.clone(), &rows, &mut inputs);
            let mut before = &states[group.start * state..group.end * state];
            if begins.contains(&true) {
                cleared[..all * width].copy_from_slice(before);
                clear(&begins, width, &mut cleared[..all * width]);
                before = &cleared[..all * width];
            }
            let gradient = |step: usize| &self.gradient[(step * sizes.rows + from) * sizes.hidden..];
            let (sums, per_step) = (&mut sums[..all * gate_width], count * gate_width);
            let kept = &gates[group.start * per_step / LANES..group.end * per_step / LANES];
            let after = &states[(group.start + 1) * state..(group.end + 1) * state];
            let combination = self.whole.gates.combination();
            if self.whole.scanned {
                let earlier = &states[group.start * state..][..state];
                let scan = Scan { steps: group.len(), rows: count, begins: &begins, first: earlier };
                let gradient = (gradient(group.start), sizes.rows * sizes.hidden);
                scan_reverse(on, combination, scan, sizes.hidden, kept, after, gradient, sums, first);
            } else {
                for step in (0..group.len()).rev() {
                    let of = |size: usize| step * size..(step + 1) * size;
                    let gradient = gradient(group.start + step).chunks_exact(sizes.hidden);
                    for (carried, gradient) in first.chunks_exact_mut(width).zip(gradient) {
                        carried.iter_mut().zip(gradient).for_each(|(carried, gradient)| *carried += gradient);
                    }
                    let kept =
                        Step { gates: &flat(kept)[of(per_step)], before: &before[of(state)], after: &after[of(state)] };
                    let sums = &mut sums[of(per_step)];
                    layer_reverse(on, combination, count, sizes.padded() / LANES, kept, first, sums);
                    if let Some(panel) = &self.to_outputs {
                        let offset = self.whole.gates.recurrent_gates().start * sizes.padded();
                        let sums = Rows { data: sums, stride: gate_width, offset };
                        dense_vectors(on, panel, count, sums, first, width, Results::Added);
                    }
                    clear(&begins[of(count)], width, first);
                }
            }
            self.add(all, &inputs, before, sums, products);
            if let Some(panel) = &self.to_inputs {
                let offset = self.whole.gates.input_gates().start * sizes.padded();
                for (step, by_inputs) in by_inputs[group.clone()].iter_mut().enumerate() {
                    let sums = Rows { data: sums, stride: gate_width, offset: offset + step * per_step };
                    dense_rows(on, panel, count, sums, by_inputs, wide);
                }
            }
        }
    }

    /// Adds the products of what went into the sums of `all` rows and the gradient by these sums.
    fn add(&self, all: usize, inputs: &[f32], before: &[f32], sums: &[f32], products: &mut [f32]) {
        let Whole { sizes, gates, .. } = self.whole;
        let (gate, stride, on) = (sizes.padded(), sizes.gate_width(), InstructionSet::best());
        let one = Rows { data: &[1.0], stride: 0, offset: 0 };
        let inputs = Rows { data: inputs, stride: sizes.inputs, offset: 0 };
        let before = Rows { data: before, stride: sizes.width(), offset: 0 };
        let mut from = 0;
        for (left, width, gates) in [
            (inputs, sizes.inputs, gates.input_gates()),
            (before, sizes.hidden, gates.recurrent_gates()),
            (one, 1, 0..sizes.gates),
        ] {
            let right = Rows { data: sums, stride, offset: gates.start * gate };
            let into = &mut products[from * stride + gates.start * gate..];
            outer_rows(on, all, left, width, right, gates.len() * gate / LANES, into, stride);
            from += width;
        }
    }

    /// The gradient by the flat weights, from the products of all tiles one after the other.
    pub fn by_weights(&self, products: &[f32]) -> Vec<f32> {
        let Whole { sizes, gates, .. } = self.whole;
        let mut sum = vec![0.0; sizes.products()];
        for tile in products.chunks_exact(sizes.products()) {
            sum.iter_mut().zip(tile).for_each(|(sum, tile)| *sum += tile);
        }
        let mut flat = Vec::with_capacity(sizes.weights(gates).2.end);
        let mut from = 0;
        for (width, gates) in
            [(sizes.inputs, gates.input_gates()), (sizes.hidden, gates.recurrent_gates()), (1, 0..sizes.gates)]
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
