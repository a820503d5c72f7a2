//! A network packed for serving.

use super::cell::{self, Memory, PackedLayer};
use super::head::Head;
use super::kernel::{Input, InstructionSet, Rows, States};
use super::norm::normalise;
use super::spec::{CellKind, NetworkSpec, SpecError};
use super::weights::{Weights, WeightsError};

/// A network that cannot be made from these weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The architecture is outside its limits.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It asks for rounded weights.
    #[error("network: this processor has no bfloat16 dot product (AVX-512 BF16), which rounded weights need")]
    NoRounding,
    /// The weights do not fit it.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Working memory of [`Network::step`]: one per thread, reused; grows to what the largest batch needs (no more than a
/// few hundred KiB) and holds nothing from one call to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    memory: Memory,
    /// Outputs of the newest layer `[rows, hidden]`, where they are not those in the state.
    outputs: Vec<f32>,
}

/// Frozen weights, packed for the kernels. Shared by all threads.
///
/// Rows are series. What a row gets does not depend, to the last bit, on how many rows there are, where among them it
/// stands, or which of the processor's instructions are used.
pub struct Network {
    cell: CellKind,
    layers: Vec<Layer>,
    head: Head,
    inputs: usize,
    hidden: usize,
    state_len: usize,
    residual: bool,
    forgets: bool,
    instructions: InstructionSet,
}

struct Layer {
    packed: Box<dyn PackedLayer>,
    /// Where its state begins in a row's.
    at: usize,
    /// Scale and shift of its normalisation.
    norm: Option<(Vec<f32>, Vec<f32>)>,
}

impl Network {
    /// Packs weights for serving on the best instructions of this processor.
    ///
    /// # Errors
    /// Where the architecture is outside its limits or the weights do not fit it.
    pub fn new(spec: &NetworkSpec, weights: &Weights) -> Result<Self, NetworkError> {
        let instructions = if spec.bf16 {
            InstructionSet::rounding().ok_or(NetworkError::NoRounding)?
        } else {
            InstructionSet::best()
        };
        Self::with_instructions(spec, weights, instructions)
    }

    /// The same on chosen instructions: the forecasts are the same, only the speed is not.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_instructions(
        spec: &NetworkSpec,
        weights: &Weights,
        instructions: InstructionSet,
    ) -> Result<Self, NetworkError> {
        spec.check()?;
        weights.check(spec)?;
        let mut at = 0;
        let layers = (0..spec.layers).map(|layer| {
            let tensor = |name: &str| weights.values(&cell::name(layer, name));
            let (cell, shape) = (cell::cell(spec.cell), spec.shape(layer));
            let norm = spec.layer_norm.then(|| (tensor("norm_scale").to_vec(), tensor("norm_shift").to_vec()));
            let layer = Layer { packed: cell.pack(&shape, &tensor), at, norm };
            at += cell.state_len(&shape);
            layer
        });
        Ok(Self {
            cell: spec.cell,
            layers: layers.collect(),
            head: Head::new(spec, &|name| weights.values(&format!("head.{name}"))),
            inputs: spec.inputs,
            hidden: spec.hidden,
            state_len: spec.state_len(),
            residual: spec.residual,
            forgets: spec.strategy.forgets(),
            instructions,
        })
    }

    /// `f32` numbers of state per series. A new series' state is zero.
    pub fn state_len(&self) -> usize {
        self.state_len
    }

    /// Features per step.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of the head per step, `[target][level]`.
    pub fn outputs(&self) -> usize {
        self.head.outputs()
    }

    /// The instructions that serve it.
    pub fn instructions(&self) -> InstructionSet {
        self.instructions
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.layers.iter().map(Layer::bytes).sum::<usize>() + self.head.bytes()
    }

    /// One step of many series: reads the features `x` `[rows, inputs]`, moves `state` `[rows, state_len]` on in place
    /// and writes the head's outputs to `y` `[rows, outputs]`.
    ///
    /// # Panics
    /// Where a slice is not exactly of that size.
    pub fn step(&self, scratch: &mut Scratch, rows: usize, x: &[f32], state: &mut [f32], y: &mut [f32]) {
        assert_eq!(y.len(), rows * self.outputs(), "outputs of {rows} rows");
        self.advance(scratch, rows, x, state);
        if rows == 0 {
            return;
        }
        let Scratch { memory, outputs } = scratch;
        let top = match self.layers.last() {
            Some(top) if outputs.is_empty() => {
                Rows { data: state, stride: self.state_len, offset: top.at + top.packed.output_at() }
            }
            _ => Rows { data: outputs, stride: self.hidden, offset: 0 },
        };
        self.head.step(self.instructions, rows, top, y, memory);
    }

    /// The same without the head: for burn-in, where nothing is forecast.
    ///
    /// # Panics
    /// Where a slice is not exactly of its size.
    pub fn advance(&self, scratch: &mut Scratch, rows: usize, x: &[f32], state: &mut [f32]) {
        assert_eq!(x.len(), rows * self.inputs, "features of {rows} rows");
        assert_eq!(state.len(), rows * self.state_len, "states of {rows} rows");
        if rows == 0 {
            return;
        }
        if self.forgets {
            state.fill(0.0);
        }
        let Scratch { memory, outputs } = scratch;
        outputs.clear();
        let mut below = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let input = match below {
                None => Input::Rows(Rows { data: x, stride: self.inputs, offset: 0 }),
                Some(offset) if outputs.is_empty() => Input::Below { offset },
                Some(_) => Input::Rows(Rows { data: outputs, stride: self.hidden, offset: 0 }),
            };
            let states = States { data: &mut *state, stride: self.state_len, offset: layer.at };
            layer.packed.step(self.instructions, rows, input, states, memory);
            let offset = layer.at + layer.packed.output_at();
            if layer.norm.is_some() || self.residual {
                outputs.resize(rows * self.hidden, 0.0);
                self.finish(layer, index > 0 && self.residual, &state[offset..], outputs);
            }
            below = Some(offset);
        }
    }

    /// Turns a layer's outputs, which begin the rows of `states`, into what the layer above reads: `outputs`, which
    /// comes with what the layer read itself.
    fn finish(&self, layer: &Layer, add: bool, states: &[f32], outputs: &mut [f32]) {
        let mut own = vec![0.0; self.hidden];
        for (outputs, state) in outputs.chunks_exact_mut(self.hidden).zip(states.chunks(self.state_len)) {
            own.copy_from_slice(&state[..self.hidden]);
            if let Some((scale, shift)) = &layer.norm {
                normalise(&mut own, scale, shift);
            }
            if add {
                own.iter_mut().zip(&*outputs).for_each(|(own, below)| *own += below);
            }
            outputs.copy_from_slice(&own);
        }
    }
}

impl Layer {
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
    use super::super::spec::CellKind;
    use super::*;

    fn spec(cell: CellKind) -> NetworkSpec {
        NetworkSpec { cell, layers: 2, hidden: 24, inputs: 5, horizon: 3, levels: 3, seed: 3, ..NetworkSpec::default() }
    }

    /// Initial weights with a head that is not zero, so that there is something to compare.
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
    fn a_row_gets_the_same_bits_alone_in_any_batch_and_on_any_instructions() {
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
    fn advance_is_step_without_the_head() {
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
    fn rounded_weights_serve_where_the_processor_can() {
        let exact = spec(CellKind::Gru);
        let rounded = NetworkSpec { bf16: true, ..exact.clone() };
        let forecast = |spec: &NetworkSpec| {
            Network::new(spec, &weights(spec)).map(|network| {
                let (mut state, mut y) = (vec![0.0; 7 * network.state_len()], vec![0.0; 7 * 9]);
                network.step(&mut Scratch::default(), 7, &features(7, 1), &mut state, &mut y);
                y
            })
        };
        match (forecast(&rounded), InstructionSet::rounding()) {
            (Ok(rounded), Some(_)) => {
                let exact = forecast(&exact).unwrap();
                assert_ne!(rounded, exact);
                assert!(rounded.iter().zip(&exact).all(|(rounded, exact)| (rounded - exact).abs() < 0.1));
            }
            (result, rounding) => assert_eq!((result, rounding), (Err(NetworkError::NoRounding), None)),
        }
    }

    #[test]
    fn no_rows_are_no_work() {
        for cell in CellKind::ALL {
            let spec = spec(cell);
            let network = Network::new(&spec, &weights(&spec)).unwrap();
            network.step(&mut Scratch::default(), 0, &[], &mut [], &mut []);
        }
    }

    #[test]
    fn weights_of_another_architecture_are_refused() {
        let other = NetworkSpec { hidden: 21, ..spec(CellKind::Gru) };
        let error = Network::new(&spec(CellKind::Gru), &Weights::initial(&other)).unwrap_err();
        assert!(error.to_string().contains("head.weight has the shape [9, 21], expected [9, 24]"), "{error}");
        let error = Network::new(&NetworkSpec { layers: 9, ..other }, &Weights::default()).unwrap_err();
        assert_eq!(error.to_string(), "network: layers is 9, expected 1 to 8");
    }
}
