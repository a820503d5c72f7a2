//! AdamW with moments that can be saved, and clipping by the global norm.

use std::collections::BTreeMap;

use crate::nn::NamedTensor;

/// The optimiser's memory: the first and second moments of every tensor's gradient, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moments {
    /// Updates so far.
    pub steps: u64,
    /// Decaying means of the gradients.
    pub first: BTreeMap<String, NamedTensor>,
    /// Decaying means of their squares.
    pub second: BTreeMap<String, NamedTensor>,
}
