//! Fused kernels of the processor: a step of a recurrent layer and a dense layer for many rows at once.
//!
//! Rows are series. A row's numbers are the same bits alone or in any batch, on AVX-512, on AVX2 and in plain Rust:
//! each output is one chain of fused multiply-adds over its inputs in order, and all else is one rounded operation per
//! number. The best instructions that the processor has are chosen once, at run time.
#![allow(unsafe_code)]

mod activation;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod dense;
mod gates;
mod lanes;
mod loss;
mod outer;
mod recurrences;
mod scan;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub use dense::{Panel, Results, Rows};
pub use gates::{Combination, States, Step};
pub use lanes::{LANES, Line, flat, flat_mut};
pub use loss::Loss;
pub use scan::Scan;

/// The next multiple of sixteen: how long a vector of `size` numbers is in a kernel's buffers.
pub const fn padded(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// InstructionSet that this processor has: only [`best`](Self::best) and [`available`](Self::available) make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstructionSet(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Rounded weights and inputs in recurrent layers, all else as with AVX-512.
    #[cfg(target_arch = "x86_64")]
    Bf16,
}

impl InstructionSet {
    /// The fastest that this processor has; found out once.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().last().copied().unwrap_or(Self(Kind::Portable)))
    }

    /// All that this processor has, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Kind::Avx2));
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Kind::Avx512));
            }
        }
        found
    }

    /// Recurrent layers with weights and inputs rounded to bfloat16, where this processor has the instructions: faster,
    /// with other numbers than all of [`available`](Self::available) (see `bf16`).
    pub fn rounding() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            return Some(Self(Kind::Bf16));
        }
        None
    }

    /// Their name, for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Bf16 => "avx512bf16",
        }
    }
}

/// Makes a safe function out of a generic one: one copy per kind of instructions, and the choice between them.
macro_rules! dispatched {
    ($(#[$documentation:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $generic:ident) => {
        $(#[$documentation])*
        #[allow(clippy::too_many_arguments)]
        pub fn $name(instructions: InstructionSet, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($argument: $type),*) {
                // SAFETY: this function has AVX-512 switched on, all that `Avx512` asks for.
                unsafe { $generic::<x86::Avx512>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($argument: $type),*) {
                // SAFETY: this function has AVX2 and FMA switched on, all that `Avx2` asks for.
                unsafe { $generic::<x86::Avx2>($($argument),*) }
            }
            match instructions.0 {
                // SAFETY: `Portable` asks for no instructions.
                Kind::Portable => unsafe { $generic::<lanes::Portable>($($argument),*) },
                // SAFETY: `InstructionSet` with this kind exists only where the processor has them.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 | Kind::Bf16 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

dispatched! {
    /// A dense layer for rows `0..rows`: `out`, where row `r` begins at `r * stride`, receives exactly the panel's
    /// outputs.
    fn dense_rows(panel: &Panel, rows: usize, input: Rows<'_>, out: &mut [f32], stride: usize) = dense_exact
}

dispatched! {
    /// The same with rows of whole vectors: padded, or added to what stands there.
    fn dense_vectors(
        panel: &Panel, rows: usize, input: Rows<'_>, out: &mut [f32], stride: usize, results: Results,
    ) = dense_of
}

dispatched! {
    /// Turns the quantiles of rows into the slopes of a loss, and adds the losses to `sum`: see [`loss::slopes`].
    fn loss_gradients(loss: Loss<'_>, targets: &[f32], quantiles: &mut [f32], sum: &mut f64) = slopes
}

dispatched! {
    /// Adds, for each input and each of `blocks` vectors of outputs, the products of `left` `[rows, inputs]` and `right`
    /// `[rows, blocks]`, summed over the rows in order, to `into`, where input `i` begins at `i * stride`.
    fn outer_rows(
        rows: usize, left: Rows<'_>, inputs: usize, right: Rows<'_>, blocks: usize, into: &mut [f32], stride: usize,
    ) = outer
}

dispatched! {
    /// One step of a layer, without rounding.
    fn layer_step_exact(layer: &Layer, rows: usize, input: Input<'_>, states: States<'_>, scratch: &mut Vec<Line>) = step
}

dispatched! {
    /// One step of a layer in training: as [`layer_step`], to the last bit, and `kept`, `[gate][row][block]`, receives
    /// what [`layer_reverse`] needs.
    fn layer_step_kept(layer: &Layer, rows: usize, input: Input<'_>, states: States<'_>, kept: &mut [Line]) = step_kept
}

dispatched! {
    /// The reverse of a step through the gates' combination, for cells that have one: `states` comes with the gradient by the states after the
    /// step, `[row][state]`, and leaves with that by the states before it as far as it does not pass through the gates;
    /// `sums`, `[row][gate][block]`, becomes the gradient by the gates' sums.
    fn layer_reverse(
        combination: Combination, rows: usize, blocks: usize, step: Step<'_>, states: &mut [f32], sums: &mut [f32],
    ) = reverse
}

dispatched! {
    /// A whole sequence of a layer whose gates look at the inputs only: see [`scan::forward`].
    fn scan_forward(layer: &Layer, scan: Scan<'_>, input: Rows<'_>, kept: &mut [Line], after: &mut [f32])
        = scan_through
}

dispatched! {
    /// Its reverse: see [`scan::reverse`].
    fn scan_reverse(
        combination: Combination, scan: Scan<'_>, hidden: usize, kept: &[Line], after: &[f32],
        gradient: (&[f32], usize), sums: &mut [f32], carried: &mut [f32],
    ) = scan_back
}

/// One step of a layer: the states of rows `0..rows` are moved on by their inputs, in place.
pub fn layer_step(
    instructions: InstructionSet,
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    states: States<'_>,
    scratch: &mut Vec<Line>,
) {
    #[cfg(target_arch = "x86_64")]
    if instructions.0 == Kind::Bf16 && layer.combination.late().is_none() {
        let halved = layer.halved.get_or_init(|| layer.panels.iter().map(bf16::Halved::new).collect());
        // SAFETY: `InstructionSet` of this kind exist only where the processor has them.
        return unsafe { bf16::step(layer, halved, rows, input, states, scratch) };
    }
    layer_step_exact(instructions, layer, rows, input, states, scratch);
}

/// A recurrent layer packed for serving: a panel per gate, over the layer's inputs, its outputs, or both.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What happens to the gates.
    pub combination: Combination,
    /// One panel per gate: the first inputs are the layer's, the second its own outputs of the step before.
    pub panels: Vec<Panel>,
    /// The same rounded, made at the first step that asks for it.
    #[cfg(target_arch = "x86_64")]
    halved: OnceLock<Vec<bf16::Halved>>,
}

impl Layer {
    /// Takes a panel per gate.
    pub fn new(combination: Combination, panels: Vec<Panel>) -> Self {
        Self {
            combination,
            panels,
            #[cfg(target_arch = "x86_64")]
            halved: OnceLock::new(),
        }
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        let panels = self.panels.iter().map(Panel::bytes).sum::<usize>();
        #[cfg(target_arch = "x86_64")]
        let panels = panels + self.halved.get().into_iter().flatten().map(bf16::Halved::bytes).sum::<usize>();
        panels
    }

    /// Vectors of sixteen outputs.
    pub fn blocks(&self) -> usize {
        self.panels[0].blocks()
    }
}

/// Where a layer's inputs come from.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// From a buffer of its own.
    Rows(Rows<'a>),
    /// From the states' buffer: the outputs of the layer below begin at this offset in it.
    Below {
        /// Offset of the first row.
        offset: usize,
    },
}

/// Rows whose gates are in flight at a time, a multiple of the rows that share the weights' loads: enough that a gate's
/// panel is read from the nearest cache for most of them, few enough that the gates stay near as well.
const CHUNK: usize = 24;

use dense::dense;
use gates::{Phase, combine, reverse};
use loss::slopes;
use outer::outer;
use scan::{forward as scan_through, reverse as scan_back};

#[inline(always)]
unsafe fn dense_exact<L: lanes::Lanes>(panel: &Panel, rows: usize, input: Rows<'_>, out: &mut [f32], stride: usize) {
    // SAFETY: the instructions are the caller's word.
    unsafe { dense::<L>(panel, rows, input, Rows::NONE, out, stride, Results::Exact) }
}

#[inline(always)]
unsafe fn dense_of<L: lanes::Lanes>(
    panel: &Panel,
    rows: usize,
    input: Rows<'_>,
    out: &mut [f32],
    stride: usize,
    results: Results,
) {
    // SAFETY: the instructions are the caller's word.
    unsafe { dense::<L>(panel, rows, input, Rows::NONE, out, stride, results) }
}

#[inline(always)]
unsafe fn step<L: lanes::Lanes>(
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    states: States<'_>,
    scratch: &mut Vec<Line>,
) {
    let States { data, stride, offset } = states;
    let size = layer.combination.planes() * rows.min(CHUNK) * layer.blocks();
    if scratch.len() < size {
        scratch.resize(size, Line::ZERO);
    }
    let mut row = 0;
    while row < rows {
        let count = CHUNK.min(rows - row);
        let input = match input {
            Input::Rows(rows) => Input::Rows(Rows { offset: rows.offset + row * rows.stride, ..rows }),
            Input::Below { offset } => Input::Below { offset: offset + row * stride },
        };
        let states = States { data: &mut *data, stride, offset: offset + row * stride };
        // SAFETY: the instructions are the caller's word.
        unsafe { chunk::<L, false>(layer, count, input, states, scratch) };
        row += count;
    }
}

#[inline(always)]
unsafe fn step_kept<L: lanes::Lanes>(
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    states: States<'_>,
    kept: &mut [Line],
) {
    // SAFETY: the instructions are the caller's word.
    unsafe { chunk::<L, true>(layer, rows, input, states, kept) }
}

/// The gates of all rows, one gate after the other, then their combination.
#[inline(always)]
unsafe fn chunk<L: lanes::Lanes, const KEEP: bool>(
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    mut states: States<'_>,
    gates: &mut [Line],
) {
    let (combination, blocks, hidden) = (layer.combination, layer.blocks(), layer.panels[0].outputs());
    let late = combination.late();
    for (gate, panel) in layer.panels.iter().enumerate() {
        if late == Some(gate) {
            // SAFETY: the instructions are the caller's word.
            unsafe { combine::<L, KEEP>(combination, Phase::Early, gates, rows, hidden, &mut states) };
        }
        let (sums, planes) = gates[gate * rows * blocks..].split_at_mut(rows * blocks);
        let outputs = Rows { data: states.data, stride: states.stride, offset: states.offset };
        let first = match input {
            Input::Rows(rows) => rows,
            Input::Below { offset } => Rows { offset, ..outputs },
        };
        let second = match late {
            Some(late) if late == gate => Rows { data: flat(planes), stride: blocks * LANES, offset: 0 },
            _ => outputs,
        };
        // SAFETY: the instructions are the caller's word.
        unsafe { dense::<L>(panel, rows, first, second, flat_mut(sums), blocks * LANES, Results::Padded) };
    }
    // SAFETY: as above.
    unsafe { combine::<L, KEEP>(combination, Phase::Whole, gates, rows, hidden, &mut states) };
}
