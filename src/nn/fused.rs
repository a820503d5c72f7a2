//! A layer's whole sequence as one operation of candle's graph, on the processor.
//!
//! Forward: the serving kernels step after step, so that training sees the numbers that are served, to the last bit.
//! Backward (Werbos, Proceedings of the IEEE 78(10), 1990): from the last step to the first, the gradient by the states
//! passes through the gates' combination and then through the recurrent matrix; what the gates' sums receive is kept
//! for all steps, and the gradients by weights and inputs are then one matrix product each.
//!
//! A custom operation takes at most three tensors, so a layer's weights come as one flat tensor; what the backward pass
//! needs of the forward one (the gates, the states) stays in the operation itself instead of in its output.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor};

use super::kernel::{
    Input, Instructions, LANES, Line, Panel, Rows, States, Step, dense_rows, flat, layer_reverse, layer_step_kept,
    padded,
};
use super::recurrent::{Gates, pack};
use super::sequence::{Sequence, SequenceOutput, Starts};

/// Runs a cell over a sequence, step after step.
pub(super) fn run(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (sizes, flat) = sizes(gates, sequence)?;
    let saved = Arc::new(Saved::default());
    let operation = Fused {
        gates,
        sizes,
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

    /// Where the input matrix, the recurrent matrix and the bias lie in the flat tensor.
    pub fn weights(&self, gates: &dyn Gates) -> (Range<usize>, Range<usize>, Range<usize>) {
        let input = gates.input_gates().len() * self.hidden * self.inputs;
        let recurrent = input + gates.recurrent_gates().len() * self.hidden * self.hidden;
        (0..input, input..recurrent, recurrent..recurrent + self.gates * self.hidden)
    }
}

/// What the forward pass leaves for the backward one.
#[derive(Debug, Default)]
pub(super) struct Saved(OnceLock<Forward>);

#[derive(Debug)]
struct Forward {
    sizes: Sizes,
    /// `[step][gate][row][block]`, as the kernels kept them.
    gates: Vec<Line>,
    /// The states after each step, `[step][row][state]`.
    states: Vec<f32>,
}

impl Saved {
    fn forward(&self) -> Result<&Forward> {
        self.0.get().ok_or_else(|| candle_core::Error::Msg("the sequence has not run forward".to_owned()))
    }

    /// The states after a step `[rows, state]`.
    pub(super) fn states_after(&self, step: usize) -> Result<Tensor> {
        let forward = self.forward()?;
        let (rows, width) = (forward.sizes.rows, forward.sizes.width());
        match forward.states.chunks_exact(rows * width).nth(step) {
            Some(states) => Tensor::from_slice(states, (rows, width), &Device::Cpu),
            None => candle_core::bail!("step {step} of a sequence of {}", forward.sizes.steps),
        }
    }
}

struct Fused {
    gates: &'static dyn Gates,
    sizes: Sizes,
    starts: Starts,
    input_gradient: bool,
    saved: Arc<Saved>,
}

/// Copies the states before a step, zero where a row begins anew.
fn begin(before: &[f32], starts: &[bool], width: usize, into: &mut [f32]) {
    into.copy_from_slice(before);
    clear(starts, width, into);
}

fn clear(starts: &[bool], width: usize, states: &mut [f32]) {
    for (state, _) in states.chunks_exact_mut(width).zip(starts).filter(|(_, start)| **start) {
        state.fill(0.0);
    }
}

pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("a fused sequence needs contiguous tensors"),
    }
}

/// Reads the numbers of a contiguous tensor of the processor in place.
pub(super) fn read<T>(tensor: &Tensor, of: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => of(slice(storage, layout)?),
        _ => candle_core::bail!("a fused sequence runs on the processor only"),
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
        let inputs = slice(inputs, inputs_layout)?;
        let weights = slice(weights, weights_layout)?;
        let first = slice(states, states_layout)?;
        let (input, recurrent, bias) = sizes.weights(self.gates);
        let sides = (sizes.inputs, hidden);
        let layer = pack(self.gates, sides, &weights[input], &weights[recurrent], &weights[bias]);

        let width = sizes.width();
        let mut gates = vec![Line::ZERO; steps * sizes.gates * rows * layer.blocks()];
        let mut states = vec![0.0; steps * rows * width];
        let mut outputs = Vec::with_capacity(steps * rows * hidden);
        for (step, kept) in gates.chunks_exact_mut(sizes.gates * rows * layer.blocks()).enumerate() {
            let (earlier, later) = states.split_at_mut(step * rows * width);
            let now = &mut later[..rows * width];
            let before = if step == 0 { first } else { &earlier[(step - 1) * rows * width..] };
            begin(before, self.starts.at(step), width, now);
            let x = Rows { data: inputs, stride: sizes.inputs, offset: step * rows * sizes.inputs };
            let states = States { data: &mut *now, stride: width, offset: 0 };
            layer_step_kept(Instructions::best(), &layer, rows, Input::Rows(x), states, kept);
            outputs.extend(now.chunks_exact(width).flat_map(|row| &row[..hidden]));
        }
        // A second run of the same operation would keep the same numbers again.
        self.saved.0.get_or_init(|| Forward { sizes, gates, states });
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
        let sizes @ Sizes { steps, rows, hidden, .. } = self.sizes;
        let Backward { sums, bias, before, first } = read(weights, |weights| {
            read(states, |states| read(&gradient.contiguous()?, |gradient| self.reverse(weights, states, gradient)))
        })?;
        let before = Tensor::from_vec(before, (steps * rows, hidden), &Device::Cpu)?;
        let first = Tensor::from_vec(first, (rows, sizes.width()), &Device::Cpu)?;
        let inputs = (inputs, self.input_gradient);
        let (by_inputs, by_weights) = products(self.gates, sizes, weights, inputs, Some(before), sums, bias)?;
        Ok((by_inputs, Some(by_weights), Some(first)))
    }
}

/// The gradients by inputs (where `inputs` says that they are needed) and flat weights, once those by the gates' sums
/// `[step][row][gate][unit]` are known for all steps: one matrix product each.
pub(super) fn products(
    gates: &dyn Gates,
    sizes: Sizes,
    weights: &Tensor,
    (inputs, input_gradient): (&Tensor, bool),
    before: Option<Tensor>,
    sums: Vec<f32>,
    bias: Vec<f32>,
) -> Result<(Option<Tensor>, Tensor)> {
    let Sizes { steps, rows, hidden, .. } = sizes;
    let all = steps * rows;
    let sums = Tensor::from_vec(sums, (all, sizes.gates, sizes.padded()), &Device::Cpu)?;
    let sums = sums.narrow(2, 0, hidden)?.contiguous()?.reshape((all, sizes.gates * hidden))?;
    let of = |gates: Range<usize>| sums.narrow(1, gates.start * hidden, gates.len() * hidden);
    let by_input = of(gates.input_gates())?;
    let mut by_weights = vec![by_input.t()?.matmul(&inputs.reshape((all, sizes.inputs))?)?.flatten_all()?];
    if let Some(before) = before.filter(|_| !gates.recurrent_gates().is_empty()) {
        by_weights.push(of(gates.recurrent_gates())?.t()?.matmul(&before)?.flatten_all()?);
    }
    by_weights.push(Tensor::from_vec(bias, sizes.gates * hidden, &Device::Cpu)?);
    let by_inputs = if input_gradient {
        let matrix = weights.narrow(0, 0, sizes.weights(gates).0.len())?;
        let matrix = matrix.reshape((gates.input_gates().len() * hidden, sizes.inputs))?;
        Some(by_input.matmul(&matrix)?.reshape((steps, rows, sizes.inputs))?)
    } else {
        None
    };
    Ok((by_inputs, Tensor::cat(&by_weights, 0)?))
}

struct Backward {
    /// Gradients by the gates' sums, `[step][row][gate][unit]`, units padded.
    sums: Vec<f32>,
    /// Their sum over steps and rows, without the padding.
    bias: Vec<f32>,
    /// The outputs before each step, `[step][row][unit]`, zero where a row begins anew.
    before: Vec<f32>,
    /// Gradients by the first states, `[row][state]`.
    first: Vec<f32>,
}

impl Fused {
    /// From the last step to the first.
    fn reverse(&self, weights: &[f32], first: &[f32], gradient: &[f32]) -> Result<Backward> {
        let Forward { gates, states, .. } = self.saved.forward()?;
        let Sizes { steps, rows, hidden, .. } = self.sizes;
        let (width, gate) = (self.sizes.width(), self.sizes.padded());
        let (on, blocks, per_step) = (Instructions::best(), gate / LANES, rows * self.sizes.gates * gate);
        let back = self.transposed(&weights[self.sizes.weights(self.gates).1]);

        let mut sums = vec![0.0; steps * per_step];
        let mut bias = vec![0.0; self.sizes.gates * gate];
        let mut outputs_before = vec![0.0; steps * rows * hidden];
        let (mut before, mut carried) = (vec![0.0; rows * width], vec![0.0; rows * width]);
        let mut through = vec![0.0; rows * gate];
        for step in (0..steps).rev() {
            for (carried, gradient) in
                carried.chunks_exact_mut(width).zip(gradient[step * rows * hidden..].chunks_exact(hidden))
            {
                carried.iter_mut().zip(gradient).for_each(|(carried, gradient)| *carried += gradient);
            }
            let starts = self.starts.at(step);
            let earlier = if step == 0 { first } else { &states[(step - 1) * rows * width..step * rows * width] };
            begin(earlier, starts, width, &mut before);
            for (kept, before) in
                outputs_before[step * rows * hidden..].chunks_exact_mut(hidden).zip(before.chunks_exact(width))
            {
                kept.copy_from_slice(&before[..hidden]);
            }
            let kept = Step {
                gates: &flat(gates)[step * per_step..(step + 1) * per_step],
                before: &before,
                after: &states[step * rows * width..(step + 1) * rows * width],
            };
            let combination = self.gates.combination();
            let now = &mut sums[step * per_step..(step + 1) * per_step];
            layer_reverse(on, combination, rows, blocks, kept, &mut carried, now);
            for row in now.chunks_exact(self.sizes.gates * gate) {
                bias.iter_mut().zip(row).for_each(|(bias, sum)| *bias += sum);
            }
            let from = self.gates.recurrent_gates().start * gate;
            let now = Rows { data: now, stride: self.sizes.gates * gate, offset: from };
            dense_rows(on, &back, rows, now, &mut through, gate);
            for (carried, through) in carried.chunks_exact_mut(width).zip(through.chunks_exact(gate)) {
                carried.iter_mut().zip(&through[..hidden]).for_each(|(carried, through)| *carried += through);
            }
            clear(starts, width, &mut carried);
        }
        let bias = bias.chunks_exact(gate).flat_map(|gate| &gate[..hidden]).copied().collect();
        Ok(Backward { sums, bias, before: outputs_before, first: carried })
    }

    /// The recurrent matrix the other way round: from the padded sums of its gates to the outputs before.
    fn transposed(&self, recurrent: &[f32]) -> Panel {
        let (hidden, gate) = (self.sizes.hidden, self.sizes.padded());
        let inputs = self.gates.recurrent_gates().len() * gate;
        let weight = |output: usize, input: usize| {
            let (index, unit) = (input / gate, input % gate);
            if unit < hidden { recurrent[(index * hidden + unit) * hidden + output] } else { 0.0 }
        };
        Panel::new(hidden, (inputs, 0), weight, |_| 0.0)
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod tests;
