//! The weights that the binary brings, pre-trained on generated and on real series by `scripts/pretrain`: they forecast
//! a series from its first observation on.

use std::collections::BTreeMap;

use super::hash::fnv_1a;
use super::spec::NetworkSpec;
use super::tensor_file::{NamedTensor, WeightsError};
use super::weights::Weights;

/// Their file.
static FILE: &[u8] = include_bytes!("builtin.safetensors");

/// Units of their layer.
pub const HIDDEN: usize = 64;
/// Units of their query decoder.
pub const DECODER: usize = 48;
/// The tensor that reads the features of a step, `[gates * hidden, inputs]`.
const INPUT: &str = "layer0.input";

/// A hash of the file: states that other weights have made differ.
pub fn fingerprint() -> u64 {
    fnv_1a(FILE.iter().copied())
}

/// The weights for a network that may read further features, after those that every series has. Their weights are
/// zero: fine-tuning learns what they tell.
///
/// # Errors
/// Where the file does not fit the network.
pub fn weights(spec: &NetworkSpec) -> Result<Weights, WeightsError> {
    let mut tensors: BTreeMap<String, NamedTensor> = Weights::decode(FILE)?.tensors().clone();
    if let Some(input) = tensors.get_mut(INPUT) {
        let known = input.shape.last().copied().unwrap_or(1).max(1);
        let further = spec.inputs.saturating_sub(known);
        let rows = input.values.chunks(known);
        input.values = rows.flat_map(|row| row.iter().copied().chain((0..further).map(|_| 0.0))).collect();
        input.shape[1] = known + further;
    }
    let weights = Weights::from_tensors(tensors);
    weights.check(spec)?;
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Network, QUANTILE_GRID, Scratch};
    use crate::series::FEATURES;

    fn spec(further: usize) -> NetworkSpec {
        let (hidden, decoder, levels) = (HIDDEN, DECODER, QUANTILE_GRID.len());
        NetworkSpec { hidden, decoder, levels, inputs: FEATURES + further, builtin: true, ..NetworkSpec::default() }
    }

    #[test]
    fn further_features_change_nothing_before_they_are_learnt() {
        let step = |further: usize| {
            let spec = spec(further);
            let network = Network::new(&spec, &Weights::initial(&spec)).unwrap();
            let mut state = vec![0.0; network.state_len()];
            let features: Vec<f32> = (0..FEATURES + further).map(|at| (at as f32 * 0.7).sin()).collect();
            network.advance(&mut Scratch::default(), 1, &features, &mut state);
            state
        };
        assert_eq!(step(0), step(5));
        assert!(step(0).iter().any(|value| value.abs() > 0.1));
    }
}
