//! A layer's whole sequence on an NVIDIA GPU, as one operation of candle's graph.
//!
//! The inputs' part of all gates' sums is one matrix product over all steps. One kernel (`sequence.cu`) then runs
//! through the steps, and another one runs back through them. The gradients by weights and inputs are again one matrix
//! product each. [`crate::nn::recurrent::fused`] is the counterpart on the CPU.
//!
//! Vectors of units are padded to a multiple of 16, as the states are; padded units stay zero.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use super::launch::{Kernels, Launch};
use super::tile::{MAX_WIDTH, SharedMemory, Tile};
use crate::nn::kernel::{Recurrence, padded};
use crate::nn::sequence::{ResetMask, Sequence, SequenceOutput};
use crate::nn::{recurrent::cell::RecurrentCell, recurrent::sizes::Sizes};

/// Number of gates of every cell that has kernels.
pub(super) const GATES: usize = 4;
/// Bytes of one value.
const VALUE_BYTES: usize = size_of::<f32>();

/// Whether kernels exist for a layer.
pub(in crate::nn) fn is_supported(cell: &dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<bool> {
    let hidden = sequence.tensor("bias")?.dim(0)? / cell.gates().recurrence.gate_count();
    Ok(kernel_name(cell).is_some() && padded(hidden) <= MAX_WIDTH)
}

/// The name of a cell's kernels; `None` where it has none.
fn kernel_name(cell: &dyn RecurrentCell) -> Option<&'static str> {
    match cell.gates().recurrence {
        Recurrence::Gru => Some("gru"),
        Recurrence::Lstm => Some("lstm"),
        _ => None,
    }
}

/// Runs a cell over a sequence.
pub(in crate::nn) fn run(
    kernels: Arc<dyn Kernels>,
    cell: &'static dyn RecurrentCell,
    sequence: &Sequence<'_>,
) -> Result<SequenceOutput> {
    let (sizes, weights) = Sizes::of(cell, sequence)?;
    let layer = GpuLayer { cell, sizes, kernels };
    let (x, first) = (sequence.inputs.contiguous()?, sequence.states.contiguous()?);
    let operation = GpuSequence::forward(layer, sequence.resets, [&x, &weights, &first])?;
    let cell_states = operation.cell_states.clone();
    let outputs = x.apply_op3(&weights, &first, operation)?;
    let vectors: Vec<Tensor> = [outputs.detach()].into_iter().chain(cell_states).collect();
    Ok(SequenceOutput::new(outputs.narrow(2, 0, sizes.hidden)?, move |step| {
        Tensor::cat(&vectors.iter().map(|vector| vector.get(step)).collect::<Result<Vec<_>>>()?, 1)
    }))
}

struct GpuLayer {
    cell: &'static dyn RecurrentCell,
    sizes: Sizes,
    kernels: Arc<dyn Kernels>,
}

impl GpuLayer {
    /// Number of values of one vector of all rows at all steps.
    fn all(&self) -> usize {
        self.sizes.steps * self.sizes.rows * self.sizes.padded()
    }

    /// Splits the flat weights into the input matrix `[input gates * width, inputs]`, the recurrent matrix
    /// `[recurrent gates, width, width]` and the bias `[gates * width]`, with padded units.
    fn padded(&self, flat: &Tensor) -> Result<[Tensor; 3]> {
        let Sizes { hidden, inputs, .. } = self.sizes;
        let (width, ranges) = (self.sizes.padded(), self.sizes.weights(self.cell));
        let part = |range: Range<usize>, inputs: usize| {
            let part = flat.narrow(0, range.start, range.len())?.reshape(((), hidden, inputs))?;
            part.pad_with_zeros(1, 0, width - hidden)
        };
        Ok([
            part(ranges.input, inputs)?.reshape(((), inputs))?,
            part(ranges.recurrent, hidden)?.pad_with_zeros(2, 0, width - hidden)?,
            part(ranges.bias, 1)?.flatten_all()?,
        ])
    }

    /// Joins the gradients of the padded matrices into the gradient of the flat weights.
    fn flat(&self, padded: [Tensor; 3]) -> Result<Tensor> {
        let Sizes { hidden, inputs, .. } = self.sizes;
        let width = self.sizes.padded();
        let [input, recurrent, bias] = padded;
        let part = |part: &Tensor, inputs: usize| part.reshape(((), width, inputs))?.narrow(1, 0, hidden);
        let parts = [part(&input, inputs)?, part(&recurrent, width)?.narrow(2, 0, hidden)?, part(&bias, 1)?];
        Tensor::cat(&parts.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?, 0)
    }

    fn launch(&self, pass: &str, memory: SharedMemory, io: KernelIo<'_>) -> Result<(Vec<Storage>, Tile)> {
        let limits = self.kernels.limits();
        let (name, tile) = (kernel_name(self.cell), Tile::choose(limits, self.sizes.rows, memory));
        let (Some(name), Some(tile)) = (name, tile) else {
            candle_core::bail!("{:?}: no kernel for {memory:?} on {limits:?}", self.cell.gates().recurrence);
        };
        let bias = tile.blocks * tile.groups * GATES * self.sizes.padded();
        let outputs: Vec<usize> = io.outputs.iter().map(|output| output.unwrap_or(bias)).collect();
        let launch = Launch {
            kernel: format!("{name}_{pass}_{}", tile.thread_rows),
            tile,
            width: self.sizes.padded(),
            steps: self.sizes.steps,
            rows: self.sizes.rows,
            inputs: io.inputs,
            outputs: &outputs,
        };
        Ok((self.kernels.launch(&launch)?, tile))
    }
}

/// What a kernel reads and how many values each output has; `None` for the gradient by the bias, which has one part per
/// tile.
struct KernelIo<'a> {
    inputs: &'a [Option<&'a Tensor>],
    outputs: &'a [Option<usize>],
}

fn tensor(storage: Storage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

fn exactly<const N: usize>(storages: Vec<Storage>) -> Result<[Storage; N]> {
    <[Storage; N]>::try_from(storages)
        .map_err(|got| candle_core::Error::Msg(format!("a kernel gave {} outputs instead of {N}", got.len())))
}

/// The operation in candle's graph. The forward kernel runs when the operation is built; candle only takes its outputs.
struct GpuSequence {
    layer: GpuLayer,
    /// `[steps, rows]`, 1 where a row is reset; `None` where no row is.
    resets: Option<Tensor>,
    /// `[steps, rows, width]`, until candle takes them.
    outputs: Mutex<Option<Storage>>,
    /// The gates that the forward kernel saves for the backward kernel, `[steps, rows, gates, width]`.
    saved: Tensor,
    /// The cell state after each step `[steps, rows, width]`, for an LSTM.
    cell_states: Option<Tensor>,
    input_gradient: bool,
}

impl GpuSequence {
    fn forward(layer: GpuLayer, resets: &ResetMask, given: [&Tensor; 3]) -> Result<Self> {
        let Sizes { steps, rows, inputs, vectors, .. } = layer.sizes;
        let (width, gates, all) = (layer.sizes.padded(), layer.cell.gates().recurrent.len(), layer.all());
        let [x, weights, first] = given.map(Tensor::detach);
        let resets = reset_tensor(resets, &x)?;
        let [input, recurrent, bias] = layer.padded(&weights)?;
        let projected = x.reshape((steps * rows, inputs))?.matmul(&input.t()?)?;
        // The layout is [quad of previous units][gate][unit][4].
        let recurrent = recurrent.reshape((gates, width, width / 4, 4))?.permute((2, 0, 1, 3))?.contiguous()?;

        let has_cell_state = vectors > 1;
        let (row, quad) = (2 * width * VALUE_BYTES, gates * width * 4 * VALUE_BYTES);
        let memory = SharedMemory { width, row, quad, quads: width / 4 };
        let io = KernelIo {
            inputs: &[Some(&projected), Some(&recurrent), Some(&bias), Some(&first), resets.as_ref()],
            outputs: &[Some(all), Some(if has_cell_state { all } else { 1 }), Some(GATES * all)],
        };
        let [outputs, cell_states, saved] = exactly(layer.launch("forward", memory, io)?.0)?;
        Ok(Self {
            layer,
            resets,
            outputs: Mutex::new(Some(outputs)),
            saved: tensor(saved, (steps, rows, GATES, width)),
            cell_states: has_cell_state.then(|| tensor(cell_states, (steps, rows, width))),
            input_gradient: given[0].track_op(),
        })
    }

    fn take_outputs(&self) -> Result<(Storage, Shape)> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Sizes { steps, rows, .. } = self.layer.sizes;
        match outputs {
            Some(outputs) => Ok((outputs, (steps, rows, self.layer.sizes.padded()).into())),
            None => candle_core::bail!("the outputs of a sequence can be taken only once"),
        }
    }
}

/// The flags as a tensor; `None` where no row is reset.
fn reset_tensor(resets: &ResetMask, x: &Tensor) -> Result<Option<Tensor>> {
    let (steps, rows, _) = x.dims3()?;
    let flags = (0..steps * rows).map(|index| resets.is_reset(index / rows, index % rows));
    let flags: Vec<f32> = flags.map(|reset| f32::from(u8::from(reset))).collect();
    if flags.contains(&1.0) { Tensor::from_vec(flags, (steps, rows), x.device()).map(Some) } else { Ok(None) }
}

impl CustomOp3 for GpuSequence {
    fn name(&self) -> &'static str {
        "cuda-sequence"
    }

    fn cpu_fwd(
        &self,
        _inputs: &CpuStorage,
        _inputs_layout: &Layout,
        _weights: &CpuStorage,
        _weights_layout: &Layout,
        _states: &CpuStorage,
        _states_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match self.take_outputs()? {
            (Storage::Cpu(outputs), shape) => Ok((outputs, shape)),
            _ => candle_core::bail!("the kernels ran on another device than that of their inputs"),
        }
    }

    fn cuda_fwd(
        &self,
        _inputs: &CudaStorage,
        _inputs_layout: &Layout,
        _weights: &CudaStorage,
        _weights_layout: &Layout,
        _states: &CudaStorage,
        _states_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match self.take_outputs()? {
            (Storage::Cuda(outputs), shape) => Ok((outputs, shape)),
            _ => candle_core::bail!("the kernels ran on another device than that of their inputs"),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        first: &Tensor,
        outputs: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let layer = &self.layer;
        let Sizes { steps, rows, inputs, .. } = layer.sizes;
        let [x, weights, first, outputs, gradient] = [x, weights, first, outputs, gradient].map(Tensor::detach);
        let gradient = gradient.contiguous()?;
        let (width, all, gates) = (layer.sizes.padded(), layer.all(), layer.cell.gates().recurrent.len());
        let [input, recurrent, _] = layer.padded(&weights)?;
        // The layout is [gate][quad of sums][previous unit][4].
        let recurrent = recurrent.reshape((gates, width / 4, 4, width))?.permute((0, 1, 3, 2))?.contiguous()?;

        // An LSTM's input gates and recurrent gates are the same, so their sums have one gradient.
        let separate = layer.cell.gates().input != layer.cell.gates().recurrent;
        let (row, quad) = (gates * width * VALUE_BYTES, width * 4 * VALUE_BYTES);
        let memory = SharedMemory { width, row, quad, quads: gates * width / 4 };
        let io = KernelIo {
            inputs: &[
                Some(&recurrent),
                Some(&self.saved),
                Some(&outputs),
                self.cell_states.as_ref(),
                Some(&first),
                self.resets.as_ref(),
                Some(&gradient),
            ],
            outputs: &[
                Some(layer.cell.gates().input.len() * all),
                Some(if separate { gates * all } else { 1 }),
                Some(all),
                Some(first.elem_count()),
                None,
            ],
        };
        let (given, tile) = layer.launch("backward", memory, io)?;
        let [by_input, by_recurrent, before, by_first, bias] = exactly(given)?;
        let each = steps * rows;
        let by_input = tensor(by_input, (each, layer.cell.gates().input.len() * width));
        let by_recurrent = if separate { tensor(by_recurrent, (each, gates * width)) } else { by_input.clone() };
        let by_weights = layer.flat([
            by_input.t()?.matmul(&x.reshape((each, inputs))?)?,
            by_recurrent.t()?.matmul(&tensor(before, (each, width)))?,
            tensor(bias, (tile.blocks * tile.groups, GATES * width)).sum(0)?,
        ])?;
        let by_x =
            if self.input_gradient { Some(by_input.matmul(&input)?.reshape((steps, rows, inputs))?) } else { None };
        Ok((by_x, Some(by_weights), Some(tensor(by_first, first.shape().clone()))))
    }
}
