//! The weights of a network.

use std::collections::BTreeMap;

use super::parameter::{Parameter, layer_tensor_name};
use super::spec::NetworkSpec;
use super::tensor_file::{NamedTensor, WeightsError, tensors_from_bytes, tensors_to_bytes};
use super::{builtin, cell_registry, head, layer_norm, parameter};

/// The format in the header of every file of weights.
const FORMAT: &str = "foretide-weights-1";

/// The tensor that reads the features of a step, `[gates * hidden, inputs]`.
const INPUT: &str = "layer0.input";

/// The weights of one network: tensors by name, in the order of their names.
///
/// A recurrent layer has `layer0.input` `[gates * hidden, inputs]`, `layer0.recurrent` `[gates * hidden, hidden]` and
/// `layer0.bias` `[gates * hidden]`; the modules of [`super::cells`] document the order of the gates and the tensors of
/// other cells. Layer normalisation adds `layer0.norm_scale` and `layer0.norm_shift` `[hidden]`. The head has
/// `head.weight` `[targets * levels, hidden]` and `head.bias` `[targets * levels]`; see [`super::head`] for segments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    tensors: BTreeMap<String, NamedTensor>,
}

impl Weights {
    /// The weights that a network begins with. Those of an untrained one are a function of the architecture and
    /// `spec.seed` alone, the same on every machine; its outputs are zero, so it forecasts the last value.
    ///
    /// # Panics
    /// Where the architecture is not that of the builtin weights, which `spec` asks for.
    pub fn initial(spec: &NetworkSpec) -> Self {
        if spec.builtin {
            #[expect(clippy::unwrap_used, reason = "NetworkSpec::check has compared the architectures")]
            return Self::builtin(spec).unwrap();
        }
        Self { tensors: parameter::draw(spec.seed, parameters(spec)) }
    }

    /// The weights of the binary for a network that may read further features, after those that every series has. Their
    /// weights are zero: fine-tuning learns what they say.
    fn builtin(spec: &NetworkSpec) -> Result<Self, WeightsError> {
        let mut weights = Self::decode(builtin::FILE)?;
        if let Some(input) = weights.tensors.get_mut(INPUT) {
            let known = input.shape.last().copied().unwrap_or(1).max(1);
            let further = spec.inputs.saturating_sub(known);
            let rows = input.values.chunks(known);
            input.values = rows.flat_map(|row| row.iter().copied().chain((0..further).map(|_| 0.0))).collect();
            input.shape[1] = known + further;
        }
        weights.check(spec)?;
        Ok(weights)
    }

    /// Wraps tensors without a check; [`check`](Self::check) compares them with an architecture.
    pub fn from_tensors(tensors: BTreeMap<String, NamedTensor>) -> Self {
        Self { tensors }
    }

    /// The tensors in the order of their names.
    pub fn tensors(&self) -> &BTreeMap<String, NamedTensor> {
        &self.tensors
    }

    /// The values of one tensor; empty where there is no such tensor.
    pub fn values(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], |tensor| &tensor.values)
    }

    /// Number of values in all tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.values.len()).sum()
    }

    /// Checks that names and shapes are those of the architecture and that all values are finite.
    ///
    /// # Errors
    /// The first tensor that is missing, unknown, of the wrong shape or not finite.
    pub fn check(&self, spec: &NetworkSpec) -> Result<(), WeightsError> {
        let expected: BTreeMap<_, _> =
            parameters(spec).into_iter().map(|(name, tensor)| (name, tensor.shape)).collect();
        for (name, shape) in &expected {
            let Some(tensor) = self.tensors.get(name) else {
                return Err(WeightsError::Missing { name: name.clone(), expected: shape.clone() });
            };
            if tensor.shape != *shape || tensor.values.len() != shape.iter().product::<usize>() {
                let (name, found) = (name.clone(), tensor.shape.clone());
                return Err(WeightsError::Shape { name, found, expected: shape.clone() });
            }
            if let Some(position) = tensor.values.iter().position(|value| !value.is_finite()) {
                let value = tensor.values[position].to_string();
                return Err(WeightsError::NotFinite { name: name.clone(), value, position });
            }
        }
        match self.tensors.keys().find(|name| !expected.contains_key(*name)) {
            Some(name) => Err(WeightsError::Unknown { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Encodes the weights as safetensors. Equal weights give equal bytes.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] where a tensor's values do not fill its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        tensors_to_bytes(&self.tensors, FORMAT)
    }

    /// Units and hidden outputs of the query decoder of encoded weights; `None` where they have none.
    ///
    /// # Errors
    /// Where the bytes are no weights.
    pub fn decoder_shape(bytes: &[u8]) -> Result<Option<[usize; 2]>, WeightsError> {
        let tensors = tensors_from_bytes(bytes, FORMAT)?;
        Ok(tensors.get("head.state").and_then(|tensor| tensor.shape.as_slice().try_into().ok()))
    }

    /// Decodes weights for `spec` from safetensors.
    ///
    /// # Errors
    /// Where the bytes are not a set of finite `f32` tensors with exactly the names and shapes of the architecture.
    pub fn from_bytes(spec: &NetworkSpec, bytes: &[u8]) -> Result<Self, WeightsError> {
        let weights = Self::decode(bytes)?;
        weights.check(spec)?;
        Ok(weights)
    }

    /// Decodes weights of any architecture.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WeightsError> {
        Ok(Self { tensors: tensors_from_bytes(bytes, FORMAT)? })
    }
}

/// A network's tensors with their full names, from the lowest layer to the head.
fn parameters(spec: &NetworkSpec) -> Vec<(String, Parameter)> {
    let cell = cell_registry::cell(spec.cell);
    let layers = (0..spec.layers).flat_map(|layer| {
        let mut parameters = cell.parameters(&spec.shape(layer));
        if spec.layer_norm {
            parameters.extend(layer_norm::parameters(spec.hidden));
        }
        parameters.into_iter().map(move |parameter| (layer_tensor_name(layer, parameter.name), parameter))
    });
    let head = head::parameters(spec).into_iter().map(|parameter| (format!("head.{}", parameter.name), parameter));
    layers.chain(head).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::{Dtype, TensorView};

    use super::*;
    use crate::nn::cell_kind::CellKind;
    use crate::nn::{Network, Scratch};
    use crate::series::FEATURES;

    fn spec() -> NetworkSpec {
        NetworkSpec { layers: 2, hidden: 8, inputs: 3, horizon: 2, levels: 3, seed: 11, ..NetworkSpec::default() }
    }

    fn initial_spec(cell: CellKind) -> NetworkSpec {
        NetworkSpec { cell, layers: 2, hidden: 24, inputs: 7, horizon: 4, levels: 3, seed: 5, ..NetworkSpec::default() }
    }

    #[test]
    fn weights_survive_encoding_and_equal_weights_give_equal_bytes() {
        for cell in CellKind::ALL {
            let spec = NetworkSpec { cell, ..spec() };
            let weights = Weights::initial(&spec);
            let bytes = weights.to_bytes().unwrap();
            assert_eq!(Weights::from_bytes(&spec, &bytes).unwrap(), weights);
            assert_eq!(weights.clone().to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn encoded_weights_say_whether_they_answer_queries() {
        let shape = |spec: &NetworkSpec| Weights::decoder_shape(&Weights::initial(spec).to_bytes().unwrap()).unwrap();
        assert_eq!(shape(&spec()), None);
        assert_eq!(shape(&NetworkSpec { decoder: 12, levels: 13, ..spec() }), Some([12, 8]));
    }

    #[test]
    fn weights_of_another_architecture_are_rejected_by_tensor_name() {
        let bytes = Weights::initial(&spec()).to_bytes().unwrap();
        let rejection = |other: NetworkSpec| Weights::from_bytes(&other, &bytes).unwrap_err().to_string();
        assert_eq!(
            rejection(NetworkSpec { layers: 1, ..spec() }),
            "weights: tensor layer1.bias is unknown to this architecture"
        );
        assert_eq!(
            rejection(NetworkSpec { layers: 3, ..spec() }),
            "weights: tensor layer2.bias [32] is missing; these weights are of another architecture"
        );
        assert_eq!(
            rejection(NetworkSpec { horizon: 4, ..spec() }),
            "weights: tensor head.bias has the shape [6], expected [12]"
        );
    }

    #[test]
    fn malformed_bytes_are_rejected() {
        let bytes = Weights::initial(&spec()).to_bytes().unwrap();
        for cut in [0, 7, 8, 40, bytes.len() - 1] {
            let error = Weights::from_bytes(&spec(), &bytes[..cut]).unwrap_err();
            assert!(matches!(error, WeightsError::Malformed(_)), "{cut}: {error}");
        }
        let plain = tensors_to_bytes(Weights::initial(&spec()).tensors(), "something else").unwrap();
        assert!(matches!(Weights::from_bytes(&spec(), &plain), Err(WeightsError::Format { .. })));
        let half = TensorView::new(Dtype::F16, vec![2], &[0, 0, 0, 0]).unwrap();
        let header = HashMap::from([("format".to_owned(), FORMAT.to_owned())]);
        let half = safetensors::serialize([("head.bias", half)], Some(header)).unwrap();
        assert_eq!(
            Weights::from_bytes(&spec(), &half).unwrap_err().to_string(),
            "weights: tensor head.bias is of type F16, expected F32"
        );
    }

    #[test]
    fn a_value_that_is_not_finite_is_rejected_with_its_position() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = Weights::initial(&spec());
            weights.tensors.get_mut("layer1.recurrent").unwrap().values[3] = value;
            let error = Weights::from_bytes(&spec(), &weights.to_bytes().unwrap()).unwrap_err();
            let expected =
                format!("weights: tensor layer1.recurrent contains {value} at position 3, expected finite numbers");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn recurrent_matrices_are_orthogonal_gate_by_gate() {
        for cell in CellKind::ALL {
            let weights = Weights::initial(&initial_spec(cell));
            let (size, values) = (24, weights.values("layer1.recurrent"));
            for gate in values.chunks_exact(size * size) {
                for left in 0..size {
                    for right in 0..size {
                        let product: f64 = (0..size)
                            .map(|at| f64::from(gate[left * size + at]) * f64::from(gate[right * size + at]))
                            .sum();
                        let expected = f64::from(u8::from(left == right));
                        assert!((product - expected).abs() < 1e-6, "{cell} {left} {right}: {product}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_forget_gate_starts_open_and_the_head_starts_at_zero() {
        let weights = Weights::initial(&initial_spec(CellKind::Lstm));
        let bias = weights.values("layer0.bias");
        let expected: Vec<f32> = (0..4 * 24).map(|at| f32::from(u8::from((24..48).contains(&at)))).collect();
        assert_eq!(bias, expected, "input, forget, cell, output");
        assert!(weights.values("head.weight").iter().chain(weights.values("head.bias")).all(|value| *value == 0.0));
        assert!(weights.values("layer0.input").iter().any(|value| *value != 0.0));
    }

    #[test]
    fn the_seed_determines_the_initial_weights() {
        let spec = initial_spec(CellKind::Gru);
        assert_eq!(Weights::initial(&spec), Weights::initial(&spec));
        assert_ne!(Weights::initial(&spec), Weights::initial(&NetworkSpec { seed: 6, ..spec.clone() }));
        // A fixed value, so that a machine, library or release that draws other numbers fails here.
        let first = Weights::initial(&spec).values("layer0.input")[0];
        assert_eq!(first.to_bits(), 0xbdd7_c8f0, "{first}");
    }

    fn builtin_spec(further: usize) -> NetworkSpec {
        NetworkSpec { inputs: FEATURES + further, ..NetworkSpec::default() }.with_builtin_weights()
    }

    #[test]
    fn further_features_change_nothing_before_they_are_learnt() {
        let step = |further: usize| {
            let spec = builtin_spec(further);
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
