//! A network that is packed for serving.

use super::cell::{LayerScratch, PackedLayer};
use super::cell_registry;
use super::kernel::{Input, InstructionSet, Rows, RowsMut};
use super::{
    cell_kind::CellKind,
    head::Head,
    layer_norm::normalise,
    parameter::layer_tensor_name,
    quantile_grid::QUANTILE_GRID,
    query_decoder::{QueryBatch, QueryDecoder},
    spec::NetworkSpec,
    spec_error::SpecError,
    tensor_file::WeightsError,
    weights::Weights,
};
use crate::series::QUERY_FEATURES;

/// Why a network cannot be built from weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The architecture is invalid.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The architecture asks for bfloat16 on a CPU that lacks it.
    #[error("network: bf16 needs a CPU with AVX-512 BF16, which this one lacks; set bf16 = false")]
    Bf16Unsupported,
    /// The weights do not fit the architecture.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Scratch buffers of [`Network::step`]: one per thread, reused. They grow to what the largest batch needs (a few
/// hundred KiB at most) and contain nothing from one call to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    layers: LayerScratch,
    /// Outputs of the newest layer `[rows, hidden]`; empty where the outputs in the state are final.
    outputs: Vec<f32>,
}

/// Immutable weights, packed for the kernels and shared by all threads.
///
/// Rows are series. The bits of a row's results do not depend on the number of rows, on the row's position among them,
/// or on the instruction set (except bfloat16).
pub struct Network {
    cell: CellKind,
    layers: Vec<NetworkLayer>,
    head: NetworkHead,
    inputs: usize,
    hidden: usize,
    state_len: usize,
    residual: bool,
    is_stateless: bool,
    instructions: InstructionSet,
}

/// What makes quantiles of the top layer's outputs.
enum NetworkHead {
    /// All targets at once.
    Targets(Head),
    /// Leads that are asked for.
    Queries(QueryDecoder),
}

struct NetworkLayer {
    packed: Box<dyn PackedLayer>,
    /// Offset of the layer's state in a row's state.
    at: usize,
    /// Scale and shift of the layer normalisation.
    norm: Option<(Vec<f32>, Vec<f32>)>,
}

impl Network {
    /// Packs weights for serving with the best instruction set of this CPU.
    ///
    /// # Errors
    /// Where the architecture is invalid, the weights do not fit it, or the CPU lacks bfloat16 that it asks for.
    pub fn new(spec: &NetworkSpec, weights: &Weights) -> Result<Self, NetworkError> {
        let instructions = if spec.bf16 {
            InstructionSet::bf16().ok_or(NetworkError::Bf16Unsupported)?
        } else {
            InstructionSet::best()
        };
        Self::with_instructions(spec, weights, instructions)
    }

    /// Packs weights for serving with a given instruction set. The choice changes the speed only, not the forecasts.
    ///
    /// # Errors
    /// Where the architecture is invalid or the weights do not fit it.
    pub fn with_instructions(
        spec: &NetworkSpec,
        weights: &Weights,
        instructions: InstructionSet,
    ) -> Result<Self, NetworkError> {
        spec.check()?;
        weights.check(spec)?;
        let mut at = 0;
        let layers = (0..spec.layers).map(|layer| {
            let tensor = |name: &str| weights.values(&layer_tensor_name(layer, name));
            let (cell, shape) = (cell_registry::cell(spec.cell), spec.shape(layer));
            let norm = spec.layer_norm.then(|| (tensor("norm_scale").to_vec(), tensor("norm_shift").to_vec()));
            let layer = NetworkLayer { packed: cell.pack(&shape, &tensor), at, norm };
            at += cell.state_len(&shape);
            layer
        });
        let head_tensor = |name: &str| weights.values(&format!("head.{name}"));
        Ok(Self {
            cell: spec.cell,
            layers: layers.collect(),
            head: if spec.decoder > 0 {
                NetworkHead::Queries(QueryDecoder::new(spec, &head_tensor))
            } else {
                NetworkHead::Targets(Head::new(spec, &head_tensor))
            },
            inputs: spec.inputs,
            hidden: spec.hidden,
            state_len: spec.state_len(),
            residual: spec.residual,
            is_stateless: spec.strategy.is_stateless(),
            instructions,
        })
    }

    /// Number of `f32` values of state per series. The initial state is zero.
    pub fn state_len(&self) -> usize {
        self.state_len
    }

    /// Features per step.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Outputs of the head per step, `[target][level]`; 0 where the head answers queries.
    pub fn outputs(&self) -> usize {
        match &self.head {
            NetworkHead::Targets(head) => head.outputs(),
            NetworkHead::Queries(_) => 0,
        }
    }

    /// Whether the head answers queries: then [`Self::step_queries`] runs it.
    pub fn answers_queries(&self) -> bool {
        matches!(self.head, NetworkHead::Queries(_))
    }

    /// The instruction set that it runs on.
    pub fn instructions(&self) -> InstructionSet {
        self.instructions
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let head = match &self.head {
            NetworkHead::Targets(head) => head.bytes(),
            NetworkHead::Queries(decoder) => decoder.bytes(),
        };
        size_of::<Self>() + self.layers.iter().map(NetworkLayer::bytes).sum::<usize>() + head
    }

    /// Runs one step of many series: reads the features `x` `[rows, inputs]`, advances `state` `[rows, state_len]` in
    /// place and writes the head's outputs to `y` `[rows, outputs]`.
    ///
    /// # Panics
    /// Where a slice does not have exactly that size.
    pub fn step(&self, scratch: &mut Scratch, rows: usize, x: &[f32], state: &mut [f32], y: &mut [f32]) {
        assert_eq!(y.len(), rows * self.outputs(), "outputs of {rows} rows");
        self.advance(scratch, rows, x, state);
        if let (NetworkHead::Targets(head), true) = (&self.head, rows > 0) {
            let Scratch { layers, outputs } = scratch;
            head.step(self.instructions, rows, self.top(state, outputs), y, layers);
        }
    }

    /// Runs one step as [`Self::step`] does, of a network that answers queries.
    ///
    /// # Panics
    /// Where a slice does not have exactly that size, or the network answers no queries.
    pub fn step_queries(
        &self,
        scratch: &mut Scratch,
        rows: usize,
        x: &[f32],
        state: &mut [f32],
        batch: QueryBatch<'_>,
    ) {
        let QueryBatch { queries, ref quantiles } = batch;
        let asked = queries.len() / QUERY_FEATURES;
        assert_eq!(queries.len(), asked * QUERY_FEATURES, "whole queries");
        assert!(rows == 0 || asked.is_multiple_of(rows), "{asked} queries of {rows} rows");
        assert_eq!(quantiles.len(), asked * QUANTILE_GRID.len(), "quantiles of {asked} queries");
        let NetworkHead::Queries(decoder) = &self.head else { panic!("the network answers no queries") };
        self.advance(scratch, rows, x, state);
        if asked > 0 {
            let Scratch { layers, outputs } = scratch;
            decoder.step(self.instructions, rows, self.top(state, outputs), batch, layers);
        }
    }

    /// The top layer's outputs: those of the state, or what normalisation and residual connections made of them.
    fn top<'a>(&self, state: &'a [f32], outputs: &'a [f32]) -> Rows<'a> {
        match self.layers.last() {
            Some(top) if outputs.is_empty() => {
                Rows { data: state, stride: self.state_len, offset: top.at + top.packed.output_at() }
            }
            _ => Rows { data: outputs, stride: self.hidden, offset: 0 },
        }
    }

    /// Runs one step without the head, for burn-in, where no forecast is needed.
    ///
    /// # Panics
    /// Where a slice does not have exactly its size.
    pub fn advance(&self, scratch: &mut Scratch, rows: usize, x: &[f32], state: &mut [f32]) {
        assert_eq!(x.len(), rows * self.inputs, "features of {rows} rows");
        assert_eq!(state.len(), rows * self.state_len, "states of {rows} rows");
        if rows == 0 {
            return;
        }
        if self.is_stateless {
            state.fill(0.0);
        }
        let Scratch { layers, outputs } = scratch;
        outputs.clear();
        let mut below = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let input = match below {
                None => Input::Rows(Rows { data: x, stride: self.inputs, offset: 0 }),
                Some(offset) if outputs.is_empty() => Input::LayerBelow { offset },
                Some(_) => Input::Rows(Rows { data: outputs, stride: self.hidden, offset: 0 }),
            };
            let states = RowsMut { data: &mut *state, stride: self.state_len, offset: layer.at };
            layer.packed.step(self.instructions, rows, input, states, layers);
            let offset = layer.at + layer.packed.output_at();
            if layer.norm.is_some() || self.residual {
                outputs.resize(rows * self.hidden, 0.0);
                self.normalise_and_add(layer, index > 0 && self.residual, &state[offset..], outputs);
            }
            below = Some(offset);
        }
    }

    /// Applies layer normalisation and the residual connection to a layer's outputs, which begin each row of `states`.
    /// `outputs` `[rows, hidden]` contains the layer's inputs and receives the result.
    fn normalise_and_add(&self, layer: &NetworkLayer, residual: bool, states: &[f32], outputs: &mut [f32]) {
        let mut own = vec![0.0; self.hidden];
        for (outputs, state) in outputs.chunks_exact_mut(self.hidden).zip(states.chunks(self.state_len)) {
            own.copy_from_slice(&state[..self.hidden]);
            if let Some((scale, shift)) = &layer.norm {
                normalise(&mut own, scale, shift);
            }
            if residual {
                own.iter_mut().zip(&*outputs).for_each(|(own, below)| *own += below);
            }
            outputs.copy_from_slice(&own);
        }
    }
}

impl NetworkLayer {
    fn bytes(&self) -> usize {
        let norm = self.norm.as_ref().map_or(0, |(scale, shift)| size_of_val(&**scale) + size_of_val(&**shift));
        size_of::<Self>() + self.packed.bytes() + norm
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Network")
            .field("cell", &self.cell)
            .field("layers", &self.layers.len())
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs())
            .field("instructions", &self.instructions.name())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cell: CellKind) -> NetworkSpec {
        NetworkSpec { cell, layers: 2, hidden: 24, inputs: 5, horizon: 3, levels: 3, seed: 3, ..NetworkSpec::default() }
    }

    /// Initial weights with a head that is not zero, so that outputs differ.
    fn weights(spec: &NetworkSpec) -> Weights {
        let mut tensors = Weights::initial(spec).tensors().clone();
        for name in ["head.weight", "head.bias"] {
            let values = &mut tensors.get_mut(name).unwrap().values;
            values.iter_mut().enumerate().for_each(|(at, value)| *value = (at as f32 * 0.7).sin());
        }
        Weights::from_tensors(tensors)
    }

    fn features(rows: usize, step: usize) -> Vec<f32> {
        (0..rows * 5).map(|at| ((at * 31 + step * 17) as f32 * 0.13).cos()).collect()
    }

    #[test]
    fn an_untrained_network_forecasts_zero() {
        for cell in CellKind::ALL {
            let spec = spec(cell);
            let network = Network::new(&spec, &Weights::initial(&spec)).unwrap();
            let (mut state, mut y) = (vec![0.0; 4 * network.state_len()], vec![1.0; 4 * 9]);
            network.step(&mut Scratch::default(), 4, &features(4, 0), &mut state, &mut y);
            assert_eq!(y, vec![0.0; 36]);
            assert!(state.iter().any(|value| *value != 0.0));
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_in_any_batch_and_on_any_instruction_set() {
        for cell in CellKind::ALL {
            let spec = spec(cell);
            let (rows, width) = (53, spec.state_len());
            let mut scratch = Scratch::default();
            let mut seen: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
            for kind in InstructionSet::available() {
                let network = Network::with_instructions(&spec, &weights(&spec), kind).unwrap();
                let (mut state, mut y) = (vec![0.0; rows * width], vec![0.0; rows * 9]);
                let (mut alone, mut own) = (vec![0.0; width], vec![0.0; 9]);
                for step in 0..5 {
                    let x = features(rows, step);
                    network.step(&mut scratch, rows, &x, &mut state, &mut y);
                    network.step(&mut scratch, 1, &x[37 * 5..38 * 5], &mut alone, &mut own);
                    assert_eq!(state[37 * width..38 * width], alone);
                    assert_eq!(y[37 * 9..38 * 9], own);
                    assert!(own.iter().any(|value| *value != 0.0));
                }
                seen.push((state, y));
            }
            assert!(seen.iter().all(|other| *other == seen[0]), "{cell}");
        }
    }

    #[test]
    fn advance_equals_step_without_the_head() {
        let spec = spec(CellKind::Lstm);
        let network = Network::new(&spec, &weights(&spec)).unwrap();
        let (mut left, mut right) = (vec![0.0; 2 * network.state_len()], vec![0.0; 2 * network.state_len()]);
        let (mut scratch, mut y) = (Scratch::default(), vec![0.0; 18]);
        network.step(&mut scratch, 2, &features(2, 1), &mut left, &mut y);
        network.advance(&mut scratch, 2, &features(2, 1), &mut right);
        assert_eq!(left, right);
        assert!(network.bytes() > 4 * Weights::initial(&spec).parameters());
    }

    #[test]
    fn bf16_weights_serve_where_the_cpu_supports_them() {
        let exact = spec(CellKind::Gru);
        let bf16 = NetworkSpec { bf16: true, ..exact.clone() };
        let forecast = |spec: &NetworkSpec| {
            Network::new(spec, &weights(spec)).map(|network| {
                let (mut state, mut y) = (vec![0.0; 7 * network.state_len()], vec![0.0; 7 * 9]);
                network.step(&mut Scratch::default(), 7, &features(7, 1), &mut state, &mut y);
                y
            })
        };
        match (forecast(&bf16), InstructionSet::bf16()) {
            (Ok(bf16), Some(_)) => {
                let exact = forecast(&exact).unwrap();
                assert_ne!(bf16, exact);
                assert!(bf16.iter().zip(&exact).all(|(bf16, exact)| (bf16 - exact).abs() < 0.1));
            }
            (result, bf16) => assert_eq!((result, bf16), (Err(NetworkError::Bf16Unsupported), None)),
        }
    }

    #[test]
    fn a_step_of_no_rows_does_nothing() {
        for cell in CellKind::ALL {
            let spec = spec(cell);
            let network = Network::new(&spec, &weights(&spec)).unwrap();
            network.step(&mut Scratch::default(), 0, &[], &mut [], &mut []);
        }
    }

    #[test]
    fn weights_of_another_architecture_are_rejected() {
        let other = NetworkSpec { hidden: 21, ..spec(CellKind::Gru) };
        let error = Network::new(&spec(CellKind::Gru), &Weights::initial(&other)).unwrap_err();
        assert!(error.to_string().contains("head.weight has the shape [9, 21], expected [9, 24]"), "{error}");
        let error = Network::new(&NetworkSpec { layers: 9, ..other }, &Weights::default()).unwrap_err();
        assert_eq!(error.to_string(), "network: layers is 9, expected 1 to 8");
    }
}
