//! The head: from the top layer's outputs to quantiles, directly or decoded segment by segment.
//!
//! The direct head is one linear layer for all targets. The segment decoder follows SegRNN (Lin et al. 2023,
//! arXiv:2308.11200): one GRU step for each segment of the horizon, all from the same state, each fed with the
//! embedding of its segment's position, and one linear layer for the steps of a segment. Segments are decoded
//! independently, so no error propagates from one to the next, and all segments share the weights that learn their
//! shape.
//!
//! Tensors: `head.weight` `[targets * levels, hidden]` and `head.bias`. With segments, `head.weight` is
//! `[segment * levels, hidden]`, and there are `head.position` `[segments, hidden]` and a GRU's `head.input`,
//! `head.recurrent` and `head.decoder_bias`. For leads that are asked for by queries see [`super::query_decoder`].

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::kernel::{self, Input, InstructionSet, Layer, OutputMode, Panel, Rows, RowsMut, padded};
use super::recurrent::packing::{LayerMatrices, pack};
use super::sequence::{ResetMask, Sequence};
use super::{
    cell::LayerScratch, cells::gru::Gru, initialiser::Initialiser, parameter::Parameter, query_decoder,
    recurrent::cell::RecurrentCell, recurrent::run, spec::NetworkSpec,
};

/// The tensors of the head. The last layer is zero, so that an untrained network forecasts the last value.
pub(super) fn parameters(spec: &NetworkSpec) -> Vec<Parameter> {
    if spec.decoder > 0 {
        return query_decoder::parameters(spec);
    }
    let hidden = spec.hidden;
    let outputs = if spec.segment > 0 { spec.segment * spec.levels } else { spec.outputs() };
    let mut parameters = vec![Parameter::zero("weight", &[outputs, hidden]), Parameter::zero("bias", &[outputs])];
    if let Some(segments) = spec.targets().checked_div(spec.segment) {
        let bias = Initialiser::RetentionBias { hidden, gates: Gru.gates().retention, chrono: 0 };
        parameters.extend([
            Parameter::uniform("position", segments, hidden),
            Parameter::new("input", &[3 * hidden, hidden], Initialiser::Uniform { fan_out: hidden }),
            Parameter::new("recurrent", &[3 * hidden, hidden], Initialiser::Orthogonal),
            Parameter::new("decoder_bias", &[4 * hidden], bias),
        ]);
    }
    parameters
}

/// The head, packed for serving.
pub(super) struct Head {
    panel: Panel,
    decoder: Option<SegmentDecoder>,
    hidden: usize,
    outputs: usize,
}

struct SegmentDecoder {
    layer: Layer,
    /// Position embeddings `[segments, hidden]`.
    positions: Vec<f32>,
}

impl Head {
    /// Packs the head; `tensor` finds its tensors by name.
    pub fn new<'a>(spec: &NetworkSpec, tensor: &dyn Fn(&str) -> &'a [f32]) -> Self {
        let hidden = spec.hidden;
        let decoder = (spec.segment > 0).then(|| {
            let (input, recurrent, bias) = (tensor("input"), tensor("recurrent"), tensor("decoder_bias"));
            let matrices = LayerMatrices { inputs: hidden, hidden, input, recurrent, bias };
            SegmentDecoder { layer: pack(&Gru, matrices), positions: tensor("position").to_vec() }
        });
        let panel = Panel::of_matrix(hidden, tensor("weight"), tensor("bias"));
        Self { panel, decoder, hidden, outputs: spec.outputs() }
    }

    /// Outputs per row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let decoder = self.decoder.as_ref();
        self.panel.bytes() + decoder.map_or(0, |decoder| decoder.layer.bytes() + size_of_val(&*decoder.positions))
    }

    /// Computes the quantiles `y` `[rows, outputs]` from the top layer's outputs.
    pub fn step(&self, isa: InstructionSet, rows: usize, top: Rows<'_>, y: &mut [f32], scratch: &mut LayerScratch) {
        let Some(SegmentDecoder { layer, positions }) = &self.decoder else {
            let y = RowsMut { data: y, stride: self.outputs, offset: 0 };
            return kernel::dense_rows(isa, &self.panel, rows, top, y, OutputMode::Exact);
        };
        let stride = padded(self.hidden);
        let states = &mut scratch.rows[0];
        states.resize(rows * stride, 0.0);
        for segment in 0..self.outputs / self.panel.outputs() {
            for (row, state) in states.chunks_exact_mut(stride).enumerate() {
                state[..self.hidden].copy_from_slice(&top.data[top.offset + row * top.stride..][..self.hidden]);
                state[self.hidden..].fill(0.0);
            }
            // A stride of zero gives every row the same embedding.
            let position = Input::Rows(Rows { data: positions, stride: 0, offset: segment * self.hidden });
            let data = RowsMut { data: &mut *states, stride, offset: 0 };
            kernel::layer_step(isa, layer, rows, position, data, &mut scratch.gates);
            let decoded = Rows { data: states, stride, offset: 0 };
            let y = RowsMut { data: &mut *y, stride: self.outputs, offset: segment * self.panel.outputs() };
            kernel::dense_rows(isa, &self.panel, rows, decoded, y, OutputMode::Exact);
        }
    }
}

/// The inputs of the last linear layer in training. Without segments these are `outputs` `[.., hidden]` themselves;
/// with segments the decoder's outputs, one row per segment: `[rows * segments, hidden]`. `tensor` finds the head's
/// tensors.
pub fn decode(spec: &NetworkSpec, outputs: &Tensor, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
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
    let inputs = wide(&tensor("position")?, 0)?.reshape((1, all, hidden))?;
    let resets = ResetMask::new(all, Vec::new());
    let sequence = Sequence { inputs: &inputs, weights: &weights, states: &states, resets: &resets };
    run::run(&Gru, &sequence)?.outputs.squeeze(0)
}
