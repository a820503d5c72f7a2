//! The tensors that layers and heads declare.

use std::collections::BTreeMap;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use super::{initialiser::Initialiser, tensor_file::NamedTensor};

/// A tensor of a layer or of the head.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name within the layer.
    pub name: &'static str,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// How its initial values are drawn.
    pub initialiser: Initialiser,
}

impl Parameter {
    pub(super) fn new(name: &'static str, shape: &[usize], initialiser: Initialiser) -> Self {
        Self { name, shape: shape.to_vec(), initialiser }
    }

    /// A matrix `[outputs, inputs]` with uniform initial values.
    pub(super) fn uniform(name: &'static str, outputs: usize, inputs: usize) -> Self {
        Self::new(name, &[outputs, inputs], Initialiser::Uniform { fan_out: outputs })
    }

    /// A tensor of zeros.
    pub(super) fn zero(name: &'static str, shape: &[usize]) -> Self {
        Self::new(name, shape, Initialiser::Zero)
    }
}

/// The full name of a layer's tensor, such as `layer0.input`.
pub(crate) fn layer_tensor_name(layer: usize, tensor: &str) -> String {
    format!("layer{layer}.{tensor}")
}

/// Draws the initial values of named tensors, in order, from one random generator.
pub(super) fn draw(seed: u64, parameters: Vec<(String, Parameter)>) -> BTreeMap<String, NamedTensor> {
    let mut random = Pcg64::seed_from_u64(seed);
    let draw = |(name, Parameter { shape, initialiser, .. }): (String, Parameter)| {
        let values = initialiser.draw(&mut random, &shape);
        (name, NamedTensor { shape, values })
    };
    parameters.into_iter().map(draw).collect()
}
