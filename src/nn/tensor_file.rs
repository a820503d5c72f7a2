//! Named tensors and their safetensors files.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

/// Weights that do not fit the architecture, or bytes that are not weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The bytes are not safetensors.
    #[error("weights: not a safetensors file: {0}")]
    Malformed(String),
    /// Another program or version wrote the file.
    #[error("weights: the header names the format {found:?}, expected {expected:?}")]
    Format {
        /// The format in the header.
        found: String,
        /// The format that is expected.
        expected: String,
    },
    /// A tensor of the architecture is missing.
    #[error("weights: tensor {name} {expected:?} is missing; these weights are of another architecture")]
    Missing {
        /// Its name.
        name: String,
        /// The shape in the architecture.
        expected: Vec<usize>,
    },
    /// A tensor that the architecture does not have.
    #[error("weights: tensor {name} is unknown to this architecture")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor has the wrong shape.
    #[error("weights: tensor {name} has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape in the architecture.
        expected: Vec<usize>,
    },
    /// A tensor has the wrong element type.
    #[error("weights: tensor {name} is of type {found}, expected F32")]
    Type {
        /// Its name.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A tensor contains NaN or infinity.
    #[error("weights: tensor {name} contains {value} at position {position}, expected finite numbers")]
    NotFinite {
        /// Its name.
        name: String,
        /// The first such value, as text.
        value: String,
        /// Its index in row-major order.
        position: usize,
    },
}

impl From<SafeTensorError> for WeightsError {
    fn from(error: SafeTensorError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// One tensor: row-major `f32` values.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its values; their number is the product of `shape`.
    pub values: Vec<f32>,
}

/// Encodes named tensors as safetensors, with `format` in the header. Equal tensors give equal bytes.
///
/// # Errors
/// [`WeightsError::Malformed`] where a tensor's values do not fill its shape.
pub(crate) fn tensors_to_bytes(tensors: &BTreeMap<String, NamedTensor>, format: &str) -> Result<Vec<u8>, WeightsError> {
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        views.push((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?));
    }
    // One entry only: several would be written in the random order of the hash map.
    let header = HashMap::from([("format".to_owned(), format.to_owned())]);
    Ok(safetensors::serialize(views, Some(header))?)
}

/// Decodes what [`tensors_to_bytes`] encodes.
///
/// # Errors
/// Where the bytes are not safetensors, the header names another format, or a tensor is not `f32`.
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
