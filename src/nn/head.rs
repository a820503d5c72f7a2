//! From the top layer's outputs to quantiles: directly, or decoded segment by segment.
//!
//! The direct head is one linear layer for all targets. The segment decoder follows SegRNN (Lin et al. 2023,
//! arXiv:2308.11200): one step of a GRU for each segment of the horizon, all from the same state, each fed with the
//! embedding of its segment's position, and one linear layer for the steps of a segment. So segments are decoded side by
//! side, no error is carried from one to the next, and what a segment's shape is, is learnt once for all of them.
//!
//! Tensors: `head.weight` `[targets * levels, hidden]` and `head.bias`; with segments `[segment * levels, hidden]`, and
//! `head.position` `[segments, hidden]`, `head.input`, `head.recurrent` and `head.decoder_bias` as those of a GRU.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::cell::{Memory, Parameter, Start};
use super::gru::Gru;
use super::kernel::{self, Input, InstructionSet, Layer, Panel, Rows, States, padded};
use super::recurrent::{Gates, pack};
use super::sequence::{self, Sequence, Starts};
use super::spec::NetworkSpec;

/// The tensors of the head. The last layer is zero, so that a network forecasts nothing until it has learnt.
pub(super) fn parameters(spec: &NetworkSpec) -> Vec<Parameter> {
    let hidden = spec.hidden;
    let outputs = if spec.segment > 0 { spec.segment * spec.levels } else { spec.outputs() };
    let mut parameters = vec![Parameter::zero("weight", &[outputs, hidden]), Parameter::zero("bias", &[outputs])];
    if let Some(segments) = spec.targets().checked_div(spec.segment) {
        let start = Start::Biases { hidden, gates: Gru.remembering(), chrono: 0 };
        parameters.extend([
            Parameter::uniform("position", segments, hidden),
            Parameter { name: "input", shape: vec![3 * hidden, hidden], start: Start::Uniform { fan_out: hidden } },
            Parameter { name: "recurrent", shape: vec![3 * hidden, hidden], start: Start::Orthogonal },
            Parameter { name: "decoder_bias", shape: vec![4 * hidden], start },
        ]);
    }
    parameters
}

/// The head packed for serving.
pub(super) struct Head {
    panel: Panel,
    decoder: Option<Decoder>,
    hidden: usize,
    outputs: usize,
}

struct Decoder {
    layer: Layer,
    positions: Vec<f32>,
}

impl Head {
    /// Packs the head from its tensors, by name.
    pub fn new<'a>(spec: &NetworkSpec, tensor: &dyn Fn(&str) -> &'a [f32]) -> Self {
        let hidden = spec.hidden;
        let decoder = (spec.segment > 0).then(|| Decoder {
            layer: pack(&Gru, (hidden, hidden), tensor("input"), tensor("recurrent"), tensor("decoder_bias")),
            positions: tensor("position").to_vec(),
        });
        let panel = Panel::of_matrix(hidden, tensor("weight"), tensor("bias"));
        Self { panel, decoder, hidden, outputs: spec.outputs() }
    }

    /// Numbers per row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        let decoder = self.decoder.as_ref();
        self.panel.bytes() + decoder.map_or(0, |decoder| decoder.layer.bytes() + size_of_val(&*decoder.positions))
    }

    /// The quantiles `y` `[rows, outputs]` from the top layer's outputs.
    pub fn step(&self, on: InstructionSet, rows: usize, top: Rows<'_>, y: &mut [f32], memory: &mut Memory) {
        let Some(Decoder { layer, positions }) = &self.decoder else {
            return kernel::dense_rows(on, &self.panel, rows, top, y, self.outputs);
        };
        let stride = padded(self.hidden);
        let states = &mut memory.rows[0];
        states.resize(rows * stride, 0.0);
        for segment in 0..self.outputs / self.panel.outputs() {
            for (row, state) in states.chunks_exact_mut(stride).enumerate() {
                state[..self.hidden].copy_from_slice(&top.data[top.offset + row * top.stride..][..self.hidden]);
                state[self.hidden..].fill(0.0);
            }
            // The same embedding for every row.
            let position = Input::Rows(Rows { data: positions, stride: 0, offset: segment * self.hidden });
            let data = States { data: &mut *states, stride, offset: 0 };
            kernel::layer_step(on, layer, rows, position, data, &mut memory.gates);
            let decoded = Rows { data: states, stride, offset: 0 };
            let y = &mut y[segment * self.panel.outputs()..];
            kernel::dense_rows(on, &self.panel, rows, decoded, y, self.outputs);
        }
    }
}

/// What the last linear layer is applied to in training: `outputs` `[.., hidden]` themselves, or, decoded, one row for
/// each of their segments `[all * segments, hidden]`; `tensor` knows the head's tensors.
///
/// # Errors
/// Those of candle.
pub fn decoded(spec: &NetworkSpec, outputs: &Tensor, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
    if spec.segment == 0 {
        return Ok(outputs.clone());
    }
    let outputs = outputs.flatten_to(outputs.rank() - 2)?;
    let (rows, hidden) = outputs.dims2()?;
    let segments = spec.targets() / spec.segment;
    let all = rows * segments;
    let wide = |tensor: &Tensor, at: usize| tensor.unsqueeze(at)?.broadcast_as((rows, segments, hidden))?.contiguous();
    let states = wide(&outputs, 1)?.reshape((all, hidden))?.pad_with_zeros(1, 0, padded(hidden) - hidden)?;
    let weights = BTreeMap::from([
        ("input", tensor("input")?),
        ("recurrent", tensor("recurrent")?),
        ("bias", tensor("decoder_bias")?),
    ]);
    let output = sequence::run(
        &Gru,
        &Sequence {
            inputs: &wide(&tensor("position")?, 0)?.reshape((1, all, hidden))?,
            weights: &weights,
            states: &states,
            starts: &Starts::new(all, Vec::new()),
        },
    )?;
    output.outputs.squeeze(0)
}
