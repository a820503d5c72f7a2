//! A layer's whole sequence as one operation of candle's graph, on the processor.
//!
//! Forward: the serving kernels step after step, so that training sees the numbers that are served, to the last bit; for
//! cells whose gates look at the inputs only, also a few steps at a time ([`scan`]). Backward (Werbos, Proceedings of the
//! IEEE 78(10), 1990): from the last step to the first. Both take a tile of rows through all steps before the next tile
//! ([`super::tile`]); tiles may run on several threads, and their gradients are added in the order of the rows, so that
//! the numbers do not depend on how many threads there are.
//!
//! A custom operation takes at most three tensors, so a layer's weights come as one flat tensor; what the backward pass
//! needs of the forward one (the gates, the states) stays in the operation itself instead of in its output.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::kernel::{LANES, flat, flat_mut};
use super::recurrent::{Gates, pack};
use super::sequence::{Sequence, SequenceOutput, Starts};
use super::tile::{Reverse, Sizes, Whole, parts};

/// Runs a cell over a sequence, step after step.
pub(super) fn run(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    run_as(gates, sequence, false)
}

/// Runs a cell whose gates look at the inputs only over a sequence: the gates of several steps in one matrix product,
/// then a scan of `h' = a * h + b`, and its hand-written reverse. It runs in plain numbers: `a` lies between 0 and 1 and
/// nothing is divided by it, so there is nothing that the logarithms of [`super::sequence::log_space`] would have to save.
pub(super) fn scan(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    run_as(gates, sequence, true)
}

fn run_as(gates: &'static dyn Gates, sequence: &Sequence<'_>, scanned: bool) -> Result<SequenceOutput> {
    let (sizes, flat) = sizes(gates, sequence)?;
    let saved = Arc::new(Saved { sizes, kept: OnceLock::new() });
    let operation = Fused {
        gates,
        sizes,
        scanned,
        starts: sequence.starts.clone(),
        input_gradient: sequence.inputs.track_op(),
        saved: saved.clone(),
    };
    let outputs = sequence.inputs.contiguous()?.apply_op3(&flat, &sequence.states.contiguous()?, operation)?;
    Ok(SequenceOutput::new(outputs, move |step| saved.states_after(step)))
}

/// The sizes of a sequence, and the layer's weights as one flat tensor.
pub(super) fn sizes(gates: &dyn Gates, sequence: &Sequence<'_>) -> Result<(Sizes, Tensor)> {
    let (steps, rows, inputs) = sequence.inputs.dims3()?;
    let mut weights = vec![sequence.tensor("input")?.flatten_all()?];
    if !gates.recurrent_gates().is_empty() {
        weights.push(sequence.tensor("recurrent")?.flatten_all()?);
    }
    weights.push(sequence.tensor("bias")?.clone());
    let flat = Tensor::cat(&weights, 0)?;
    let (combination, all) = (gates.combination(), sequence.tensor("bias")?.dim(0)?);
    let hidden = all / combination.gates();
    let sizes = Sizes { steps, rows, inputs, hidden, gates: combination.gates(), vectors: combination.states() };
    let (input, _, bias) = sizes.weights(gates);
    let expected = [flat.elem_count() == bias.end, sequence.states.dims() == [rows, sizes.width()]];
    if steps == 0 || rows == 0 || expected.contains(&false) || input.is_empty() {
        candle_core::bail!("{combination:?}: weights or states {:?} do not fit {sizes:?}", sequence.states.dims());
    }
    Ok((sizes, flat))
}

/// What the forward pass leaves for the backward one.
#[derive(Debug)]
struct Saved {
    sizes: Sizes,
    kept: OnceLock<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The gates as the kernels kept them, tile after tile.
    gates: Buffer,
    /// The states before the first step and after each, tile after tile `[step][row][state]`.
    states: Buffer,
}

impl Saved {
    fn kept(&self) -> Result<&Kept> {
        self.kept.get().ok_or_else(|| candle_core::Error::Msg("the sequence has not run forward".to_owned()))
    }

    /// The states after a step `[rows, state]`.
    fn states_after(&self, step: usize) -> Result<Tensor> {
        let Sizes { steps, rows, .. } = self.sizes;
        let width = self.sizes.width();
        let mut after = Vec::with_capacity(rows * width);
        for tile in flat(&self.kept()?.states).chunks(self.sizes.tile() * (steps + 1) * width) {
            let row_states = tile.len() / (steps + 1);
            match tile.chunks_exact(row_states).nth(step + 1) {
                Some(states) => after.extend_from_slice(states),
                None => candle_core::bail!("step {step} of a sequence of {steps}"),
            }
        }
        Tensor::from_vec(after, (rows, width), &Device::Cpu)
    }
}

struct Fused {
    gates: &'static dyn Gates,
    sizes: Sizes,
    scanned: bool,
    starts: Starts,
    input_gradient: bool,
    saved: Arc<Saved>,
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("a fused sequence needs contiguous tensors"),
    }
}

/// Reads the numbers of a contiguous tensor of the processor in place.
fn read<T>(tensor: &Tensor, of: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => of(slice(storage, layout)?),
        _ => candle_core::bail!("a fused sequence runs on the processor only"),
    }
}

impl Fused {
    fn whole<'a>(&'a self, inputs: &'a [f32]) -> Whole<'a> {
        Whole { sizes: self.sizes, gates: self.gates, scanned: self.scanned, starts: &self.starts, inputs }
    }

    /// Lines of a tile's gates and numbers of its states.
    fn tile(&self) -> (usize, usize) {
        let Sizes { steps, .. } = self.sizes;
        let tile = self.sizes.tile();
        (tile * steps * self.sizes.gate_width() / LANES, tile * (steps + 1) * self.sizes.width())
    }

    /// The gradients by inputs (where they are asked for), flat weights and first states.
    fn reverse(&self, weights: &[f32], inputs: &[f32], gradient: &[f32]) -> Result<[Vec<f32>; 3]> {
        let sizes @ Sizes { steps, rows, .. } = self.sizes;
        let Kept { gates, states } = self.saved.kept()?;
        let reverse = Reverse::new(self.whole(inputs), weights, gradient, self.input_gradient);
        let wide = if self.input_gradient { sizes.inputs } else { 0 };
        let mut by_inputs = vec![0.0; steps * rows * wide];
        let mut products = vec![0.0; sizes.tiles() * sizes.products()];
        let mut first = vec![0.0; rows * sizes.width()];
        let (gate_tile, state_tile) = self.tile();
        let kept = gates.par_chunks(gate_tile).zip(flat(states).par_chunks(state_tile));
        let into = products.par_chunks_mut(sizes.products()).zip(first.par_chunks_mut(sizes.tile() * sizes.width()));
        let into = into.zip(parts(&sizes, &mut by_inputs, wide));
        kept.zip(into).enumerate().for_each(|(tile, (kept, ((products, first), by_inputs)))| {
            reverse.tile(tile * sizes.tile(), kept, products, first, by_inputs);
        });
        Ok([by_inputs, reverse.by_weights(&products), first])
    }
}

impl CustomOp3 for Fused {
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
        let (input, recurrent, bias) = sizes.weights(self.gates);
        let sides = (sizes.inputs, hidden);
        let layer = pack(self.gates, sides, &weights[input], &weights[recurrent], &weights[bias]);
        let whole = self.whole(slice(inputs, inputs_layout)?);
        let first = slice(states, states_layout)?;
        let mut gates = Buffer::stale(steps * rows * sizes.gate_width() / LANES);
        let mut states = Buffer::stale((steps + 1) * rows * sizes.width() / LANES);
        let mut outputs = vec![0.0; steps * rows * hidden];
        let (gate_tile, state_tile) = self.tile();
        let kept = gates.par_chunks_mut(gate_tile).zip(flat_mut(&mut states).par_chunks_mut(state_tile));
        kept.zip(parts(&sizes, &mut outputs, hidden)).enumerate().for_each(|(tile, (kept, outputs))| {
            whole.forward(&layer, first, tile * sizes.tile(), kept, outputs);
        });
        // A second run of the same operation would keep the same numbers again.
        self.saved.kept.get_or_init(|| Kept { gates, states });
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
            read(inputs, |inputs| read(&gradient.contiguous()?, |gradient| self.reverse(weights, inputs, gradient)))
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
