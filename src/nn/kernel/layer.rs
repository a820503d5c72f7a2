//! A step of a recurrent layer: the dense part of every gate, then the recurrence.

#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::bf16_panel::Bf16Panel;
use super::dense::{OutputMode, Panel, dense};
use super::lanes::{LANES, Lanes, Line, flat, flat_mut};
use super::recurrence::{Phase, Recurrence, apply};
use super::rows::{Rows, RowsMut};

/// A recurrent layer packed for serving: a panel per gate, over the layer's inputs, its previous outputs, or both.
#[derive(Debug, Clone)]
pub struct Layer {
    /// How the gates are combined.
    pub recurrence: Recurrence,
    /// One panel per gate. Its first inputs are the layer's inputs, its second ones the layer's previous outputs.
    pub panels: Vec<Panel>,
    /// The panels in bfloat16, built at the first step that needs them.
    #[cfg(target_arch = "x86_64")]
    pub(super) bf16_panels: OnceLock<Vec<Bf16Panel>>,
}

impl Layer {
    /// A layer of one panel per gate.
    pub fn new(recurrence: Recurrence, panels: Vec<Panel>) -> Self {
        Self {
            recurrence,
            panels,
            #[cfg(target_arch = "x86_64")]
            bf16_panels: OnceLock::new(),
        }
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let panels = self.panels.iter().map(Panel::bytes).sum::<usize>();
        #[cfg(target_arch = "x86_64")]
        let panels = panels + self.bf16_panels.get().into_iter().flatten().map(Bf16Panel::bytes).sum::<usize>();
        panels
    }

    /// Outputs in vectors of 16.
    pub fn blocks(&self) -> usize {
        self.panels[0].blocks()
    }
}

/// Where a layer reads its inputs.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// In a separate buffer.
    Rows(Rows<'a>),
    /// In the buffer of the states: the outputs of the layer below.
    LayerBelow {
        /// Offset of the first row's inputs in that buffer.
        offset: usize,
    },
}

/// Rows that pass through all gates together, a multiple of the rows that share the loads of the weights. It is large
/// enough that most rows read a gate's panel from the L1 cache and small enough that their gates stay there too.
pub(super) const CHUNK_ROWS: usize = 24;

/// One step of rows `0..rows`, in chunks of [`CHUNK_ROWS`].
#[inline(always)]
pub(super) unsafe fn step<L: Lanes>(
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    states: RowsMut<'_>,
    scratch: &mut Vec<Line>,
) {
    let RowsMut { data, stride, offset } = states;
    let size = layer.recurrence.gate_vectors() * rows.min(CHUNK_ROWS) * layer.blocks();
    if scratch.len() < size {
        scratch.resize(size, Line::ZERO);
    }
    let mut row = 0;
    while row < rows {
        let count = CHUNK_ROWS.min(rows - row);
        let input = match input {
            Input::Rows(rows) => Input::Rows(Rows { offset: rows.offset + row * rows.stride, ..rows }),
            Input::LayerBelow { offset } => Input::LayerBelow { offset: offset + row * stride },
        };
        let states = RowsMut { data: &mut *data, stride, offset: offset + row * stride };
        unsafe { chunk::<L, false>(layer, count, input, states, scratch) };
        row += count;
    }
}

/// One step of all rows at once: the gates of all rows, one gate after the other, then the recurrence. With `SAVE`,
/// `gates` receives what the backward pass needs.
#[inline(always)]
pub(super) unsafe fn chunk<L: Lanes, const SAVE: bool>(
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    mut states: RowsMut<'_>,
    gates: &mut [Line],
) {
    let (recurrence, blocks, hidden) = (layer.recurrence, layer.blocks(), layer.panels[0].outputs());
    let gate_after_reset = recurrence.gate_after_reset();
    for (gate, panel) in layer.panels.iter().enumerate() {
        if gate_after_reset == Some(gate) {
            unsafe { apply::<L, SAVE>(recurrence, Phase::Reset, gates, rows, hidden, &mut states) };
        }
        let (sums, reset_outputs) = gates[gate * rows * blocks..].split_at_mut(rows * blocks);
        let outputs = states.as_rows();
        let first = match input {
            Input::Rows(rows) => rows,
            Input::LayerBelow { offset } => Rows { offset, ..outputs },
        };
        let second = match gate_after_reset {
            Some(after) if after == gate => Rows { data: flat(reset_outputs), stride: blocks * LANES, offset: 0 },
            _ => outputs,
        };
        let out = RowsMut { data: flat_mut(sums), stride: blocks * LANES, offset: 0 };
        unsafe { dense::<L>(panel, rows, [first, second], out, OutputMode::Padded) };
    }
    unsafe { apply::<L, SAVE>(recurrence, Phase::Update, gates, rows, hidden, &mut states) };
}
