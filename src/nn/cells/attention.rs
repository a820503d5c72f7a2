//! Causal self-attention over a bounded context with rotary positions and a key-value cache (Vaswani et al., NeurIPS
//! 2017, arXiv:1706.03762; rotary positions: Su et al. 2021, arXiv:2104.09864):
//!
//! ```text
//! u = W_in x + b_in                       q, k, v = W_q u, W_k u, W_v u, in four heads
//! a = u + W_o attend(q, k, v)             over this step and the context - 1 steps before it
//! y = a + W_2 max(0, W_1 a + b_1) + b_2
//! ```
//!
//! Rotary scores depend only on the distance between two steps. So keys are cached without rotation, and the query is
//! rotated by the distance of each key; no step counter grows without bound.
//!
//! Tensors: `input`, `bias`, `attend` `[W_q; W_k; W_v]`, `mix` `W_o`, `expand` `W_1`, `expand_bias`, `contract` `W_2`,
//! `contract_bias`. State: the number of cached steps (at most context - 1) in the first of sixteen values; the cached
//! keys, the oldest first; the cached values, the oldest first; the output.

use candle_core::{D, Result, Tensor};

use crate::nn::cell::{Cell, LayerScratch, LayerShape, PackedLayer};
use crate::nn::kernel::{Input, InstructionSet, LANES, OutputMode, Panel, Rows, RowsMut, dense_rows, padded};
use crate::nn::parameter::Parameter;
use crate::nn::sequence::{Sequence, SequenceOutput};
use crate::nn::window::{Window, WindowedSequence};
use crate::series::exponential;

/// Causal self-attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention;

/// Number of attention heads. `hidden` is a multiple of 8, so each head has pairs of units to rotate.
const HEADS: usize = 4;
/// Ratio of the longest to the shortest wavelength of the rotary positions, as in the paper.
const ROTARY_BASE: f64 = 10_000.0;
/// Largest context of [`crate::nn::NetworkSpec`], in steps; it bounds the scores of one head.
const MAX_CONTEXT: usize = 512;

/// The window of keys or of values over the whole context; the current step is last.
fn cache(shape: &LayerShape) -> Window {
    Window { inputs: shape.hidden, taps: shape.context, dilation: 1 }
}

impl Cell for Attention {
    fn parameters(&self, shape: &LayerShape) -> Vec<Parameter> {
        let hidden = shape.hidden;
        vec![
            Parameter::uniform("input", hidden, shape.inputs),
            Parameter::zero("bias", &[hidden]),
            Parameter::uniform("attend", 3 * hidden, hidden),
            Parameter::uniform("mix", hidden, hidden),
            Parameter::uniform("expand", 2 * hidden, hidden),
            Parameter::zero("expand_bias", &[2 * hidden]),
            Parameter::uniform("contract", hidden, 2 * hidden),
            Parameter::zero("contract_bias", &[hidden]),
        ]
    }

    fn state_len(&self, shape: &LayerShape) -> usize {
        LANES + 2 * cache(shape).state_len() + padded(shape.hidden)
    }

    fn pack<'a>(&self, shape: &LayerShape, tensor: &dyn Fn(&str) -> &'a [f32]) -> Box<dyn PackedLayer> {
        let hidden = shape.hidden;
        let none = vec![0.0; 3 * hidden];
        Box::new(PackedAttention {
            shape: *shape,
            input: Panel::of_matrix(shape.inputs, tensor("input"), tensor("bias")),
            attend: Panel::of_matrix(hidden, tensor("attend"), &none),
            mix: Panel::of_matrix(hidden, tensor("mix"), &none[..hidden]),
            expand: Panel::of_matrix(hidden, tensor("expand"), tensor("expand_bias")),
            contract: Panel::of_matrix(2 * hidden, tensor("contract"), tensor("contract_bias")),
            rotations: rotations(shape),
        })
    }

    fn sequence(&self, shape: &LayerShape, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
        let (steps, rows, _) = sequence.inputs.dims3()?;
        let (all, hidden, context) = (steps * rows, shape.hidden, shape.context);
        let device = sequence.inputs.device();
        let linear = |x: &Tensor, name: &str| x.matmul(&sequence.tensor(name)?.t()?);
        let inputs = sequence.inputs.reshape((all, shape.inputs))?;
        let u = linear(&inputs, "input")?.broadcast_add(sequence.tensor("bias")?)?;
        let attend = linear(&u, "attend")?;
        let part = |index: usize| attend.narrow(1, index * hidden, hidden)?.contiguous();

        let window = cache(shape);
        let unfold = |index: usize, at: usize| {
            let inputs = part(index)?.reshape((steps, rows, hidden))?;
            WindowedSequence::new(window, &inputs, sequence.states, at, sequence.resets)
        };
        let (keys, values) = (unfold(1, LANES)?, unfold(2, LANES + window.state_len())?);
        let counts = counts(sequence, context)?;

        let heads = |tensor: Tensor| tensor.reshape((all, context, HEADS, hidden / HEADS));
        let query = rotate(&part(0)?, shape, device)?.reshape((all, context, HEADS, hidden / HEADS))?;
        let scale = 1.0 / ((hidden / HEADS) as f64).sqrt();
        let scores = (query * heads(keys.windows()?)?)?.sum(D::Minus1)?.affine(scale, 0.0)?;
        let hide: Vec<f32> = counts
            .iter()
            .flat_map(|count| (0..context).map(move |slot| if slot + count < context { -1e30 } else { 0.0 }))
            .collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(hide, (all, context, 1), device)?)?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(1)?)?.unsqueeze(3)?;
        let attended = heads(values.windows()?)?.broadcast_mul(&weights)?.sum(1)?.reshape((all, hidden))?;

        let a = (&u + linear(&attended, "mix")?)?;
        let wide = linear(&a, "expand")?.broadcast_add(sequence.tensor("expand_bias")?)?.relu()?;
        let outputs = (a + linear(&wide, "contract")?.broadcast_add(sequence.tensor("contract_bias")?)?)?;
        let outputs = outputs.reshape((steps, rows, hidden))?;
        let newest = outputs.detach();
        Ok(SequenceOutput::new(outputs, move |step| {
            let cached = counts.get(step * rows..(step + 1) * rows).unwrap_or_default().iter();
            let cached: Vec<f32> = cached.map(|count| (*count).min(context - 1) as f32).collect();
            let cached = Tensor::from_vec(cached, (rows, 1), newest.device())?.pad_with_zeros(1, 0, LANES - 1)?;
            let output = newest.get(step)?.pad_with_zeros(1, 0, padded(hidden) - hidden)?;
            Tensor::cat(&[cached, keys.register_after(step)?, values.register_after(step)?, output], 1)
        }))
    }
}

/// For each step and row the number of steps that attention reads, the current one included.
fn counts(sequence: &Sequence<'_>, context: usize) -> Result<Vec<usize>> {
    let (steps, rows, _) = sequence.inputs.dims3()?;
    let mut count: Vec<usize> =
        sequence.states.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?.iter().map(|count| *count as usize).collect();
    let mut all = Vec::with_capacity(steps * rows);
    for step in 0..steps {
        for (row, count) in count.iter_mut().enumerate() {
            let before = if sequence.resets.is_reset(step, row) { 0 } else { *count };
            *count = (before + 1).min(context);
            all.push(*count);
        }
    }
    Ok(all)
}

/// Rotates queries `[all, hidden]` by the distance of every slot of the context: `[all, context, hidden]`.
fn rotate(query: &Tensor, shape: &LayerShape, device: &candle_core::Device) -> Result<Tensor> {
    let (hidden, context, size) = (shape.hidden, shape.context, shape.hidden / HEADS);
    let rotations = rotations(shape);
    let table = |of: fn((f32, f32)) -> f32| {
        let values: Vec<f32> = rotations.iter().map(|rotation| of(*rotation)).collect();
        // One angle per pair (i, i + size / 2), the same in every head.
        let half = Tensor::from_vec(values, (context, 1, size / 2), device)?;
        Tensor::cat(&[&half, &half], 2)?.broadcast_as((context, HEADS, size))?.reshape((1, context, hidden))
    };
    let pairs = query.reshape((query.dim(0)?, HEADS, size))?;
    let (first, second) = (pairs.narrow(2, 0, size / 2)?, pairs.narrow(2, size / 2, size / 2)?);
    let crossed = Tensor::cat(&[&second.neg()?, &first], 2)?.reshape((query.dim(0)?, 1, hidden))?;
    let straight = query.unsqueeze(1)?.broadcast_mul(&table(|(cosine, _)| cosine)?)?;
    straight + crossed.broadcast_mul(&table(|(_, sine)| sine)?)?
}

/// Cosine and sine of the angle of every slot's distance from the newest one, `[context][size / 2]`.
fn rotations(shape: &LayerShape) -> Vec<(f32, f32)> {
    let pairs = shape.hidden / HEADS / 2;
    // The root of the base by bisection. A mathematical library could give other bits on another machine.
    let power = |root: f64| (0..pairs).fold(1.0, |product, _| product * root);
    let (mut low, mut high) = (1.0, ROTARY_BASE);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if power(middle) < ROTARY_BASE { low = middle } else { high = middle }
    }
    let mut rotations = Vec::with_capacity(shape.context * pairs);
    for slot in 0..shape.context {
        let mut angle = (shape.context - 1 - slot) as f64;
        for _ in 0..pairs {
            let (sine, cosine) = sine_and_cosine(angle);
            rotations.push((cosine as f32, sine as f32));
            angle /= high;
        }
    }
    rotations
}

/// Sine and cosine of an angle: a short series at 1/64 of it, then six doublings. It gives the same bits everywhere.
fn sine_and_cosine(angle: f64) -> (f64, f64) {
    let turn = angle / std::f64::consts::TAU;
    let x = (turn - turn.floor()) * std::f64::consts::TAU / 64.0;
    let square = x * x;
    let mut sine = x * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))));
    let mut cosine = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0 * (1.0 - square / 56.0)));
    for _ in 0..6 {
        (sine, cosine) = (2.0 * sine * cosine, 1.0 - 2.0 * sine * sine);
    }
    (sine, cosine)
}

struct PackedAttention {
    shape: LayerShape,
    input: Panel,
    attend: Panel,
    mix: Panel,
    expand: Panel,
    contract: Panel,
    rotations: Vec<(f32, f32)>,
}

impl PackedAttention {
    /// Attention of one row: writes the weighted values to `out` `[hidden]` for `query` `[hidden]` and the newest
    /// `count` rows of `keys` and `values` `[context, hidden]`.
    fn attend(&self, query: &[f32], keys: &[f32], values: &[f32], count: usize, out: &mut [f32]) {
        let LayerShape { hidden, context, .. } = self.shape;
        let (size, first) = (hidden / HEADS, context - count);
        let scale = 1.0 / (size as f32).sqrt();
        let mut scores = [0.0_f32; MAX_CONTEXT];
        for head in 0..HEADS {
            let at = head * size;
            let (low, high) = query[at..at + size].split_at(size / 2);
            for slot in first..context {
                let key = &keys[slot * hidden + at..][..size];
                let rotations = &self.rotations[slot * (size / 2)..][..size / 2];
                let mut score = 0.0;
                for (pair, (cosine, sine)) in rotations.iter().enumerate() {
                    score += (low[pair] * cosine - high[pair] * sine) * key[pair];
                    score += (high[pair] * cosine + low[pair] * sine) * key[pair + size / 2];
                }
                scores[slot] = score * scale;
            }
            let max = scores[first..context].iter().fold(f32::NEG_INFINITY, |max, score| max.max(*score));
            let mut sum = 0.0;
            let out = &mut out[at..at + size];
            out.fill(0.0);
            for slot in first..context {
                let weight = exponential(scores[slot] - max);
                sum += weight;
                let value = &values[slot * hidden + at..][..size];
                out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
            }
            out.iter_mut().for_each(|out| *out /= sum);
        }
    }
}

impl PackedLayer for PackedAttention {
    fn step(
        &self,
        isa: InstructionSet,
        rows: usize,
        input: Input<'_>,
        states: RowsMut<'_>,
        scratch: &mut LayerScratch,
    ) {
        let LayerShape { hidden, context, .. } = self.shape;
        let RowsMut { data, stride, offset } = states;
        let LayerScratch { windows, rows: [u, attend, wide, a], .. } = scratch;
        let dense = |panel: &Panel, data: &[f32], width: usize, from: usize, out: &mut Vec<f32>| {
            out.resize(rows * panel.outputs(), 0.0);
            let input = Rows { data, stride: width, offset: from };
            let out = RowsMut { data: out, stride: panel.outputs(), offset: 0 };
            dense_rows(isa, panel, rows, input, out, OutputMode::Exact);
        };
        match input {
            Input::Rows(rows) => dense(&self.input, rows.data, rows.stride, rows.offset, u),
            Input::LayerBelow { offset } => dense(&self.input, data, stride, offset, u),
        }
        dense(&self.attend, u, hidden, 0, attend);

        let cache = cache(&self.shape);
        let (mut keys, mut values) = (std::mem::take(windows), std::mem::take(wide));
        for (at, buffer, part) in [(LANES, &mut keys, hidden), (LANES + cache.state_len(), &mut values, 2 * hidden)] {
            let newest = Input::Rows(Rows { data: attend, stride: 3 * hidden, offset: part });
            cache.gather(rows, newest, &mut RowsMut { data: &mut *data, stride, offset: offset + at }, buffer);
        }
        a.resize(rows * hidden, 0.0);
        for (row, out) in a.chunks_exact_mut(hidden).enumerate() {
            let cached = &mut data[offset + row * stride];
            let count = (*cached as usize).min(context - 1) + 1;
            *cached = count.min(context - 1) as f32;
            let window = row * cache.width()..(row + 1) * cache.width();
            self.attend(&attend[row * 3 * hidden..], &keys[window.clone()], &values[window], count, out);
        }
        (*windows, *wide) = (keys, values);

        dense(&self.mix, a, hidden, 0, attend);
        u.iter_mut().zip(attend.iter()).for_each(|(u, mixed)| *u += mixed);
        dense(&self.expand, u, hidden, 0, wide);
        wide.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value = 0.0);
        dense(&self.contract, wide, 2 * hidden, 0, a);
        for ((row, a), u) in a.chunks_exact(hidden).enumerate().zip(u.chunks_exact(hidden)) {
            let out = &mut data[offset + self.output_at() + row * stride..][..hidden];
            out.iter_mut().zip(a.iter().zip(u)).for_each(|(out, (a, u))| *out = a + u);
        }
    }

    fn output_at(&self) -> usize {
        LANES + 2 * cache(&self.shape).state_len()
    }

    fn bytes(&self) -> usize {
        let panels = [&self.input, &self.attend, &self.mix, &self.expand, &self.contract];
        panels.into_iter().map(Panel::bytes).sum::<usize>() + size_of_val(self.rotations.as_slice())
    }
}
