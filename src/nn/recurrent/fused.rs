//! A layer's whole sequence as one operation of candle's graph, on the CPU.
//!
//! The forward pass runs the serving kernels step by step, so that training and serving compute the same bits. For
//! cells whose gates depend on the inputs only it can also run a few steps at a time ([`scan`]). The backward pass is
//! truncated backpropagation through time from the last step to the first (Werbos, Proceedings of the IEEE 78(10),
//! 1990). Both run a tile of rows through all steps before the next tile ([`super::tile`]). Tiles may run on several
//! threads, and their gradients are added in the order of the rows, so the results do not depend on the number of
//! threads.
//!
//! The gates and states that the backward pass needs stay in the operation itself instead of its output.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

use super::packing::{LayerMatrices, pack};
use super::sizes::{Sizes, WeightRanges, split_by_tile};
use super::tile::{TileActivations, TiledSequence};
use super::tile_backward::{TileGradients, TiledBackward};
use super::{buffer::Buffer, cell::RecurrentCell};
use crate::nn::kernel::{LANES, flat, flat_mut};
use crate::nn::sequence::{ResetMask, Sequence, SequenceOutput};

/// Runs a cell over a sequence, step by step, for cells whose recurrence has a backward pass. Fails where shapes do not
/// fit.
pub fn run(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    run_as(cell, sequence, false)
}

/// Runs a cell whose gates depend on the inputs only: the gates of several steps in one matrix product, then a scan of
/// `h' = a * h + b` with a hand-written backward pass. `a` lies between 0 and 1 and nothing is divided by it, so the
/// scan does not need the logarithms of [`super::log_space`].
pub(in crate::nn) fn scan(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    run_as(cell, sequence, true)
}

fn run_as(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>, scanned: bool) -> Result<SequenceOutput> {
    let (sizes, flat) = Sizes::of(cell, sequence)?;
    let saved = Arc::new(Saved { sizes, activations: OnceLock::new() });
    let operation = FusedSequence {
        cell,
        sizes,
        scanned,
        resets: sequence.resets.clone(),
        input_gradient: sequence.inputs.track_op(),
        saved: saved.clone(),
    };
    let outputs = sequence.inputs.contiguous()?.apply_op3(&flat, &sequence.states.contiguous()?, operation)?;
    Ok(SequenceOutput::new(outputs, move |step| saved.states_after(step)))
}

/// What the forward pass saves for the backward pass.
#[derive(Debug)]
struct Saved {
    sizes: Sizes,
    activations: OnceLock<Activations>,
}

#[derive(Debug)]
struct Activations {
    /// The gates as the kernels saved them, tile after tile.
    gates: Buffer,
    /// The states before the first step and after each step, tile after tile `[step][row][state]`.
    states: Buffer,
}

impl Saved {
    fn activations(&self) -> Result<&Activations> {
        self.activations.get().ok_or_else(|| candle_core::Error::Msg("the sequence has not run forward".to_owned()))
    }

    /// The states after a step `[rows, state]`.
    fn states_after(&self, step: usize) -> Result<Tensor> {
        let Sizes { steps, rows, .. } = self.sizes;
        let width = self.sizes.width();
        let mut after = Vec::with_capacity(rows * width);
        for tile in flat(&self.activations()?.states).chunks(self.sizes.tile() * (steps + 1) * width) {
            let row_states = tile.len() / (steps + 1);
            match tile.chunks_exact(row_states).nth(step + 1) {
                Some(states) => after.extend_from_slice(states),
                None => candle_core::bail!("step {step} of a sequence of {steps}"),
            }
        }
        Tensor::from_vec(after, (rows, width), &Device::Cpu)
    }
}

struct FusedSequence {
    cell: &'static dyn RecurrentCell,
    sizes: Sizes,
    scanned: bool,
    resets: ResetMask,
    input_gradient: bool,
    saved: Arc<Saved>,
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("a fused sequence needs contiguous tensors"),
    }
}

/// Reads the values of a contiguous CPU tensor in place.
fn read<T>(tensor: &Tensor, of: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => of(slice(storage, layout)?),
        _ => candle_core::bail!("a fused sequence runs on the CPU only"),
    }
}

impl FusedSequence {
    fn tiled<'a>(&'a self, inputs: &'a [f32]) -> TiledSequence<'a> {
        let Self { cell, sizes, scanned, ref resets, .. } = *self;
        TiledSequence { sizes, cell, scanned, resets, inputs }
    }

    /// Number of lines of a tile's gates, and of values of its states.
    fn tile(&self) -> (usize, usize) {
        let Sizes { steps, .. } = self.sizes;
        let tile = self.sizes.tile();
        (tile * steps * self.sizes.gate_width() / LANES, tile * (steps + 1) * self.sizes.width())
    }

    /// The gradients by inputs (empty where they are not asked for), flat weights and first states.
    fn backward(&self, weights: &[f32], inputs: &[f32], gradient: &[f32]) -> Result<[Vec<f32>; 3]> {
        let sizes @ Sizes { steps, rows, .. } = self.sizes;
        let Activations { gates, states } = self.saved.activations()?;
        let backward = TiledBackward::new(self.tiled(inputs), weights, gradient, self.input_gradient);
        let input_width = if self.input_gradient { sizes.inputs } else { 0 };
        let mut by_inputs = vec![0.0; steps * rows * input_width];
        let mut products = vec![0.0; sizes.tiles() * sizes.products()];
        let mut first = vec![0.0; rows * sizes.width()];
        let (gate_tile, state_tile) = self.tile();
        let saved = gates.par_chunks(gate_tile).zip(flat(states).par_chunks(state_tile));
        let into = products.par_chunks_mut(sizes.products()).zip(first.par_chunks_mut(sizes.tile() * sizes.width()));
        let into = into.zip(split_by_tile(&sizes, &mut by_inputs, input_width));
        saved.zip(into).enumerate().for_each(|(tile, ((gates, states), ((products, first), by_inputs)))| {
            let gradients = TileGradients { products, first, by_inputs };
            backward.tile(tile * sizes.tile(), TileActivations { gates, states }, gradients);
        });
        Ok([by_inputs, backward.by_weights(&products), first])
    }
}

impl CustomOp3 for FusedSequence {
    fn name(&self) -> &'static str {
        "fused-sequence"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        states: &CpuStorage,
        states_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes @ Sizes { steps, rows, hidden, .. } = self.sizes;
        let weights = slice(weights, weights_layout)?;
        let WeightRanges { input, recurrent, bias } = sizes.weights(self.cell);
        let (input, recurrent, bias) = (&weights[input], &weights[recurrent], &weights[bias]);
        let layer = pack(self.cell, LayerMatrices { inputs: sizes.inputs, hidden, input, recurrent, bias });
        let tiled = self.tiled(slice(inputs, inputs_layout)?);
        let first = slice(states, states_layout)?;
        let mut gates = Buffer::reused(steps * rows * sizes.gate_width() / LANES);
        let mut states = Buffer::reused((steps + 1) * rows * sizes.width() / LANES);
        let mut outputs = vec![0.0; steps * rows * hidden];
        let (gate_tile, state_tile) = self.tile();
        let saved = gates.par_chunks_mut(gate_tile).zip(flat_mut(&mut states).par_chunks_mut(state_tile));
        let tiles = saved.zip(split_by_tile(&sizes, &mut outputs, hidden));
        tiles.enumerate().for_each(|(tile, ((gates, states), outputs))| {
            tiled.forward(&layer, first, tile * sizes.tile(), TileActivations { gates, states }, outputs);
        });
        // A second run of the same operation would save the same values again.
        self.saved.activations.get_or_init(|| Activations { gates, states });
        Ok((CpuStorage::F32(outputs), (steps, rows, hidden).into()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weights: &Tensor,
        states: &Tensor,
        _outputs: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [by_inputs, by_weights, first] = read(weights, |weights| {
            read(inputs, |inputs| read(&gradient.contiguous()?, |gradient| self.backward(weights, inputs, gradient)))
        })?;
        let tensor = |values, like: &Tensor| {
            Ok::<_, candle_core::Error>(Some(Tensor::from_vec(values, like.shape(), &Device::Cpu)?))
        };
        let by_inputs = if self.input_gradient { tensor(by_inputs, inputs)? } else { None };
        Ok((by_inputs, tensor(by_weights, weights)?, tensor(first, states)?))
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod tests;
