//! A layer's whole sequence on an NVIDIA GPU, as one operation of candle's graph.
//!
//! As [`super::fused`] does on the processor: the inputs' part of all gates' sums is one matrix product over all steps,
//! one kernel (`sequence.cu`) then goes through the steps, and another one goes back through them; the gradients by
//! weights and inputs are again one matrix product each.
//!
//! Vectors of units are padded to sixteen everywhere here, as the states are; padded units stay zero. The kernels are
//! launched through [`Kernels`]: by `device` on a card, and in tests on a processor, which is how they can be held
//! against the fused sequence where there is no card.

#[cfg(feature = "cuda")]
pub(super) mod device;
#[cfg(test)]
mod emulation_tests;
#[cfg(all(test, feature = "cuda"))]
mod parity_tests;
#[cfg(test)]
mod ptx_tests;
#[cfg(test)]
mod test_layer;
mod tile;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use super::fused::sizes;
use super::kernel::{Combination, padded};
use super::recurrent::Gates;
use super::sequence::{Sequence, SequenceOutput, Starts};
use super::tile::Sizes;
pub(super) use tile::Card;
use tile::{Needs, Tile};

/// Gates of every cell that has kernels.
const GATES: usize = 4;
const NUMBER: usize = size_of::<f32>();

/// Where the kernels run.
pub(super) trait Kernels: Send + Sync + 'static {
    /// What there is to run them on.
    fn card(&self) -> Card;

    /// Runs one kernel; gives its outputs, not necessarily before they are there.
    fn launch(&self, launch: &Launch<'_>) -> Result<Vec<Storage>>;
}

/// One launch of a kernel. Its arguments are the inputs, the outputs, steps, rows and resident quads, in this order.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    kernel: String,
    tile: Tile,
    width: usize,
    steps: usize,
    rows: usize,
    /// Contiguous; null where there is none.
    inputs: &'a [Option<&'a Tensor>],
    /// Numbers of each output, at least one.
    outputs: &'a [usize],
}

/// Whether there are kernels for a layer.
pub(super) fn can_run(gates: &dyn Gates, sequence: &Sequence<'_>) -> Result<bool> {
    let hidden = sequence.tensor("bias")?.dim(0)? / gates.combination().gates();
    Ok(name(gates).is_some() && padded(hidden) <= tile::WIDEST)
}

/// What the kernels of a cell are called.
fn name(gates: &dyn Gates) -> Option<&'static str> {
    match gates.combination() {
        Combination::Gru => Some("gru"),
        Combination::Lstm => Some("lstm"),
        _ => None,
    }
}

/// Runs a cell over a sequence.
pub(super) fn run(
    kernels: Arc<dyn Kernels>,
    gates: &'static dyn Gates,
    sequence: &Sequence<'_>,
) -> Result<SequenceOutput> {
    let (sizes, weights) = sizes(gates, sequence)?;
    let layer = Layer { gates, sizes, kernels };
    let (x, first) = (sequence.inputs.contiguous()?, sequence.states.contiguous()?);
    let operation = Recurrence::forward(layer, sequence.starts, [&x, &weights, &first])?;
    let memories = operation.memories.clone();
    let outputs = x.apply_op3(&weights, &first, operation)?;
    let vectors: Vec<Tensor> = [outputs.detach()].into_iter().chain(memories).collect();
    Ok(SequenceOutput::new(outputs.narrow(2, 0, sizes.hidden)?, move |step| {
        Tensor::cat(&vectors.iter().map(|vector| vector.get(step)).collect::<Result<Vec<_>>>()?, 1)
    }))
}

struct Layer {
    gates: &'static dyn Gates,
    sizes: Sizes,
    kernels: Arc<dyn Kernels>,
}

impl Layer {
    fn input_gates(&self) -> usize {
        self.gates.input_gates().len()
    }

    fn recurrent_gates(&self) -> usize {
        self.gates.recurrent_gates().len()
    }

    /// Numbers of one vector of all rows at all steps.
    fn all(&self) -> usize {
        self.sizes.steps * self.sizes.rows * self.sizes.padded()
    }

    /// The input matrix `[input gates * width, inputs]`, the recurrent one `[recurrent gates, width, width]` and the
    /// bias `[gates * width]` out of the flat tensor, their units padded.
    fn padded(&self, flat: &Tensor) -> Result<[Tensor; 3]> {
        let Sizes { hidden, inputs, .. } = self.sizes;
        let (width, (input, recurrent, bias)) = (self.sizes.padded(), self.sizes.weights(self.gates));
        let part = |range: Range<usize>, inputs: usize| {
            let part = flat.narrow(0, range.start, range.len())?.reshape(((), hidden, inputs))?;
            part.pad_with_zeros(1, 0, width - hidden)
        };
        Ok([
            part(input, inputs)?.reshape(((), inputs))?,
            part(recurrent, hidden)?.pad_with_zeros(2, 0, width - hidden)?,
            part(bias, 1)?.flatten_all()?,
        ])
    }

    /// The other way round, for their gradients.
    fn flat(&self, padded: [Tensor; 3]) -> Result<Tensor> {
        let Sizes { hidden, inputs, .. } = self.sizes;
        let width = self.sizes.padded();
        let [input, recurrent, bias] = padded;
        let part = |part: &Tensor, inputs: usize| part.reshape(((), width, inputs))?.narrow(1, 0, hidden);
        let parts = [part(&input, inputs)?, part(&recurrent, width)?.narrow(2, 0, hidden)?, part(&bias, 1)?];
        Tensor::cat(&parts.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?, 0)
    }

    fn launch(&self, pass: &str, needs: Needs, io: Io<'_>) -> Result<(Vec<Storage>, Tile)> {
        let (name, tile) = (name(self.gates), Tile::choose(self.kernels.card(), self.sizes.rows, needs));
        let (Some(name), Some(tile)) = (name, tile) else {
            candle_core::bail!("{:?}: no kernel for {needs:?} on {:?}", self.gates.combination(), self.kernels.card());
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

/// What a kernel reads and how much it writes; no number for the gradient by the bias, whose parts are the tiles'.
struct Io<'a> {
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

/// The operation in the graph. It has run when it is made: candle only takes its outputs.
struct Recurrence {
    layer: Layer,
    /// `[steps, rows]`, one where a row begins anew.
    starts: Option<Tensor>,
    /// Until candle takes them, `[steps, rows, width]`.
    outputs: Mutex<Option<Storage>>,
    /// What the forward kernel left for the backward one, `[steps, rows, gates, width]`.
    kept: Tensor,
    /// The memory after each step `[steps, rows, width]`, where the cell has one.
    memories: Option<Tensor>,
    input_gradient: bool,
}

impl Recurrence {
    fn forward(layer: Layer, starts: &Starts, given: [&Tensor; 3]) -> Result<Self> {
        let Sizes { steps, rows, inputs, vectors, .. } = layer.sizes;
        let (width, gates, all) = (layer.sizes.padded(), layer.recurrent_gates(), layer.all());
        let [x, weights, first] = given.map(Tensor::detach);
        let starts = starts_of(starts, &x)?;
        let [input, recurrent, bias] = layer.padded(&weights)?;
        let projected = x.reshape((steps * rows, inputs))?.matmul(&input.t()?)?;
        // Four units before lie together: [quad][gate][unit][4].
        let recurrent = recurrent.reshape((gates, width, width / 4, 4))?.permute((2, 0, 1, 3))?.contiguous()?;

        let has_memory = vectors > 1;
        let needs = Needs { width, row: 2 * width * NUMBER, quad: gates * width * 4 * NUMBER, quads: width / 4 };
        let io = Io {
            inputs: &[Some(&projected), Some(&recurrent), Some(&bias), Some(&first), starts.as_ref()],
            outputs: &[Some(all), Some(if has_memory { all } else { 1 }), Some(GATES * all)],
        };
        let [outputs, memories, kept] = exactly(layer.launch("forward", needs, io)?.0)?;
        Ok(Self {
            layer,
            starts,
            outputs: Mutex::new(Some(outputs)),
            kept: tensor(kept, (steps, rows, GATES, width)),
            memories: has_memory.then(|| tensor(memories, (steps, rows, width))),
            input_gradient: given[0].track_op(),
        })
    }

    fn take(&self) -> Result<(Storage, Shape)> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Sizes { steps, rows, .. } = self.layer.sizes;
        match outputs {
            Some(outputs) => Ok((outputs, (steps, rows, self.layer.sizes.padded()).into())),
            None => candle_core::bail!("the outputs of a sequence can be taken once"),
        }
    }
}

/// The flags as a tensor, none where no row begins anew.
fn starts_of(starts: &Starts, x: &Tensor) -> Result<Option<Tensor>> {
    let (steps, rows, _) = x.dims3()?;
    let flags: Vec<f32> = (0..steps)
        .flat_map(|step| {
            let flags = starts.at(step);
            (0..rows).map(|row| if flags.get(row) == Some(&true) { 1.0 } else { 0.0 })
        })
        .collect();
    if flags.contains(&1.0) { Tensor::from_vec(flags, (steps, rows), x.device()).map(Some) } else { Ok(None) }
}

impl CustomOp3 for Recurrence {
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
        match self.take()? {
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
        match self.take()? {
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
        let (width, all, gates) = (layer.sizes.padded(), layer.all(), layer.recurrent_gates());
        let [input, recurrent, _] = layer.padded(&weights)?;
        // Four sums lie together: [gate][quad][unit before][4].
        let recurrent = recurrent.reshape((gates, width / 4, 4, width))?.permute((0, 1, 3, 2))?.contiguous()?;

        // The sums of an LSTM's input gates are those of its recurrent ones.
        let separate = layer.gates.input_gates() != layer.gates.recurrent_gates();
        let needs = Needs { width, row: gates * width * NUMBER, quad: width * 4 * NUMBER, quads: gates * width / 4 };
        let io = Io {
            inputs: &[
                Some(&recurrent),
                Some(&self.kept),
                Some(&outputs),
                self.memories.as_ref(),
                Some(&first),
                self.starts.as_ref(),
                Some(&gradient),
            ],
            outputs: &[
                Some(layer.input_gates() * all),
                Some(if separate { gates * all } else { 1 }),
                Some(all),
                Some(first.elem_count()),
                None,
            ],
        };
        let (given, tile) = layer.launch("backward", needs, io)?;
        let [by_input, by_recurrent, before, by_first, bias] = exactly(given)?;
        let each = steps * rows;
        let by_input = tensor(by_input, (each, layer.input_gates() * width));
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
