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
