//! A network's weights as named tensors, and their safetensors form.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::cell::{self, Parameter};
use super::spec::NetworkSpec;
use super::{head, initial, norm};

/// Named in the header of every file of weights.
const FORMAT: &str = "foretide-weights-1";

/// Weights that do not fit, or bytes that are no weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The bytes are not safetensors.
    #[error("weights: not a safetensors file: {0}")]
    Malformed(String),
    /// The file was written by something else, or by another version.
    #[error("weights: the header names the format {found:?}, expected {expected:?}")]
    Format {
        /// What the header names.
        found: String,
        /// What it should.
        expected: String,
    },
    /// A tensor that the network has is missing.
    #[error("weights: tensor {name} {expected:?} is missing; these weights are of another architecture")]
    Missing {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor that the network does not have.
    #[error("weights: tensor {name} is unknown to this architecture")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor of the wrong shape.
    #[error("weights: tensor {name} has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape of the architecture.
        expected: Vec<usize>,
    },
    /// A tensor of the wrong type.
    #[error("weights: tensor {name} is of type {found}, expected F32")]
    Type {
        /// Its name.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A tensor that holds NaN or infinity.
    #[error("weights: tensor {name} holds {value} at position {position}, expected finite numbers")]
    NotFinite {
        /// Its name.
        name: String,
        /// The first such number, as text.
        value: String,
        /// Where it stands, counted in row-major order.
        position: usize,
    },
}

impl From<SafeTensorError> for WeightsError {
    fn from(error: SafeTensorError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// One tensor: row-major `f32` numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its numbers; as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// The weights of one network: tensors by name, in the order of their names.
///
/// Names: `layer0.input` `[gates * hidden, inputs]`, `layer0.recurrent` `[gates * hidden, hidden]`, `layer0.bias`
/// `[gates * hidden]` (which gates, or which other tensors, the cell's own page says), with layer normalisation
/// `layer0.norm_scale` and `layer0.norm_shift` `[hidden]`, and so on for each layer; then `head.weight`
/// `[targets * levels, hidden]` and `head.bias` `[targets * levels]` (with segments more, see [`super::head`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    tensors: BTreeMap<String, NamedTensor>,
}

impl Weights {
    /// The weights of a network that has learnt nothing: a function of the architecture and `spec.seed` alone, the
    /// same on every machine. Its forecasts are zero, that is: the last value.
    pub fn initial(spec: &NetworkSpec) -> Self {
        initial::weights(spec)
    }

    /// Takes tensors as they are; [`check`](Self::check) says whether they fit a network.
    pub fn from_tensors(tensors: BTreeMap<String, NamedTensor>) -> Self {
        Self { tensors }
    }

    /// The tensors in the order of their names.
    pub fn tensors(&self) -> &BTreeMap<String, NamedTensor> {
        &self.tensors
    }

    /// The numbers of one tensor; none where there is no such tensor.
    pub fn values(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], |tensor| &tensor.values)
    }

    /// How many numbers there are in all.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.values.len()).sum()
    }

    /// Holds names, shapes and numbers against the architecture.
    ///
    /// # Errors
    /// The first tensor that is missing, unknown, of the wrong shape or not finite.
    pub fn check(&self, spec: &NetworkSpec) -> Result<(), WeightsError> {
        let expected = shapes(spec);
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

    /// The safetensors form; the same weights always give the same bytes.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] where a tensor's numbers do not fill its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        tensors_to_bytes(&self.tensors, FORMAT)
    }

    /// Reads weights for `spec` from their safetensors form.
    ///
    /// # Errors
    /// Whatever is not exactly a set of finite `f32` tensors with the names and shapes of the architecture.
    pub fn from_bytes(spec: &NetworkSpec, bytes: &[u8]) -> Result<Self, WeightsError> {
        let weights = Self { tensors: tensors_from_bytes(bytes, FORMAT)? };
        weights.check(spec)?;
        Ok(weights)
    }
}

/// The names and shapes of a network's tensors.
pub(crate) fn shapes(spec: &NetworkSpec) -> BTreeMap<String, Vec<usize>> {
    parameters(spec).into_iter().map(|(name, parameter)| (name, parameter.shape)).collect()
}

/// A network's tensors from the lowest layer to the head, with how each begins.
pub(crate) fn parameters(spec: &NetworkSpec) -> Vec<(String, Parameter)> {
    let cell = cell::cell(spec.cell);
    let layers = (0..spec.layers).flat_map(|layer| {
        let mut parameters = cell.parameters(&spec.shape(layer));
        if spec.layer_norm {
            parameters.extend(norm::parameters(spec.hidden));
        }
        parameters.into_iter().map(move |parameter| (cell::name(layer, parameter.name), parameter))
    });
    let head = head::parameters(spec).into_iter().map(|parameter| (format!("head.{}", parameter.name), parameter));
    layers.chain(head).collect()
}

/// Named tensors as safetensors, with the name of their format in the header.
pub(crate) fn tensors_to_bytes(tensors: &BTreeMap<String, NamedTensor>, format: &str) -> Result<Vec<u8>, WeightsError> {
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        views.push((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?));
    }
    // One entry only: the order of several would be the hash map's.
    let header = HashMap::from([("format".to_owned(), format.to_owned())]);
    Ok(safetensors::serialize(views, Some(header))?)
}

/// The reverse of [`tensors_to_bytes`]: every tensor must be `f32` and the header must name the format.
pub(crate) fn tensors_from_bytes(bytes: &[u8], format: &str) -> Result<BTreeMap<String, NamedTensor>, WeightsError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let found = header.metadata().as_ref().and_then(|entries| entries.get("format")).cloned().unwrap_or_default();
    if found != format {
        return Err(WeightsError::Format { found, expected: format.to_owned() });
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(WeightsError::Type { name, found: view.dtype().to_string() });
        }
        let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.insert(name, NamedTensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::super::spec::CellKind;
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec { layers: 2, hidden: 8, inputs: 3, horizon: 2, levels: 3, seed: 11, ..NetworkSpec::default() }
    }

    #[test]
    fn bytes_come_back_as_the_same_weights_and_are_the_same_each_time() {
        for cell in CellKind::ALL {
            let spec = NetworkSpec { cell, ..spec() };
            let weights = Weights::initial(&spec);
            let bytes = weights.to_bytes().unwrap();
            assert_eq!(Weights::from_bytes(&spec, &bytes).unwrap(), weights);
            assert_eq!(weights.clone().to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn another_architecture_is_refused_by_name() {
        let bytes = Weights::initial(&spec()).to_bytes().unwrap();
        let refuse = |other: NetworkSpec| Weights::from_bytes(&other, &bytes).unwrap_err().to_string();
        assert_eq!(
            refuse(NetworkSpec { layers: 1, ..spec() }),
            "weights: tensor layer1.bias is unknown to this architecture"
        );
        assert_eq!(
            refuse(NetworkSpec { layers: 3, ..spec() }),
            "weights: tensor layer2.bias [32] is missing; these weights are of another architecture"
        );
        assert_eq!(
            refuse(NetworkSpec { horizon: 4, ..spec() }),
            "weights: tensor head.bias has the shape [6], expected [12]"
        );
    }

    #[test]
    fn broken_bytes_are_refused() {
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
    fn a_number_that_is_not_finite_is_refused_with_its_place() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = Weights::initial(&spec());
            weights.tensors.get_mut("layer1.recurrent").unwrap().values[3] = value;
            let error = Weights::from_bytes(&spec(), &weights.to_bytes().unwrap()).unwrap_err();
            let expected =
                format!("weights: tensor layer1.recurrent holds {value} at position 3, expected finite numbers");
            assert_eq!(error.to_string(), expected);
        }
    }
}
