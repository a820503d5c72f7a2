//! A network packed for serving.

use super::cell::{self, Cell};
use super::kernel::{self, Input, Instructions, Layer, Line, Panel, Rows, States};
use super::spec::{NetworkSpec, SpecError};
use super::weights::{Weights, WeightsError};

/// A network that cannot be made from these weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The architecture is outside its limits.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The weights do not fit it.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Working memory of [`Network::step`]: one per thread, reused; grows to what the largest batch needs (no more than a
/// few hundred KiB) and holds nothing from one call to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    gates: Vec<Line>,
}

/// Frozen weights, packed for the kernels. Shared by all threads.
///
/// Rows are series. What a row gets does not depend, to the last bit, on how many rows there are, where among them it
/// stands, or which of the processor's instructions are used.
pub struct Network {
    cell: &'static dyn Cell,
    layers: Vec<Layer>,
    head: Panel,
    inputs: usize,
    state_len: usize,
    instructions: Instructions,
}

impl Network {
    /// Packs weights for serving on the best instructions of this processor.
    ///
    /// # Errors
    /// Where the architecture is outside its limits or the weights do not fit it.
    pub fn new(spec: &NetworkSpec, weights: &Weights) -> Result<Self, NetworkError> {
        Self::with_instructions(spec, weights, Instructions::best())
    }

    /// The same on chosen instructions: the forecasts are the same, only the speed is not.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_instructions(
        spec: &NetworkSpec,
        weights: &Weights,
        instructions: Instructions,
    ) -> Result<Self, NetworkError> {
        spec.check()?;
        weights.check(spec)?;
        let cell = cell::cell(spec.cell);
        let layers = (0..spec.layers)
            .map(|layer| {
                let tensor = |name| weights.values(&cell::name(layer, name));
                let sizes = (spec.layer_inputs(layer), spec.hidden);
                cell::pack(cell, sizes, tensor("input"), tensor("recurrent"), tensor("bias"))
            })
            .collect();
        let (weight, bias) = (weights.values("head.weight"), weights.values("head.bias"));
        let head = Panel::new(
            spec.outputs(),
            (spec.hidden, 0),
            |output, input| weight[output * spec.hidden + input],
            |output| bias[output],
        );
        Ok(Self { cell, layers, head, inputs: spec.inputs, state_len: spec.state_len(), instructions })
    }

    /// `f32` numbers of state per series. A new series' state is zero.
    pub fn state_len(&self) -> usize {
        self.state_len
    }

    /// Features per step.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers of the head per step, `[horizon][level]`.
    pub fn outputs(&self) -> usize {
        self.head.outputs()
    }

    /// The instructions that serve it.
    pub fn instructions(&self) -> Instructions {
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
        let width = self.state_len / self.layers.len();
        let top = Rows { data: state, stride: self.state_len, offset: self.state_len - width };
        kernel::dense_rows(self.instructions, &self.head, rows, top, y, self.outputs());
    }

    /// The same without the head: for burn-in, where nothing is forecast.
    ///
    /// # Panics
    /// Where a slice is not exactly of its size.
    pub fn advance(&self, scratch: &mut Scratch, rows: usize, x: &[f32], state: &mut [f32]) {
        assert_eq!(x.len(), rows * self.inputs, "features of {rows} rows");
        assert_eq!(state.len(), rows * self.state_len, "states of {rows} rows");
        let width = self.state_len / self.layers.len();
        let mut input = Input::Rows(Rows { data: x, stride: self.inputs, offset: 0 });
        for (index, layer) in self.layers.iter().enumerate() {
            let offset = index * width;
            let states = States { data: &mut *state, stride: self.state_len, offset };
            self.cell.step(self.instructions, layer, rows, input, states, &mut scratch.gates);
            input = Input::Below { offset };
        }
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Network")
            .field("cell", &self.cell.kind())
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
        NetworkSpec { cell, layers: 2, hidden: 20, inputs: 5, horizon: 3, levels: 3, seed: 3 }
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
            for kind in Instructions::available() {
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
    fn weights_of_another_architecture_are_refused() {
        let other = NetworkSpec { hidden: 21, ..spec(CellKind::Gru) };
        let error = Network::new(&spec(CellKind::Gru), &Weights::initial(&other)).unwrap_err();
        assert!(error.to_string().contains("head.weight has the shape [9, 21], expected [9, 20]"), "{error}");
        let error = Network::new(&NetworkSpec { layers: 9, ..other }, &Weights::default()).unwrap_err();
        assert_eq!(error.to_string(), "network: layers is 9, expected 1 to 8");
    }
}
