//! Training checkpoints: the complete state between two updates. Resuming from one equals an uninterrupted training, on
//! the CPU to the last bit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::optimiser::Moments;
use crate::nn::{NamedTensor, Weights, WeightsError, tensors_from_bytes, tensors_to_bytes};

/// The format named in the header of every checkpoint.
const FORMAT: &str = "foretide-checkpoint-1";
/// The tensor that holds the counters: their postcard bytes, each as an `f32`.
const COUNTERS: &str = "counters";

/// Progress and statistics of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    /// Updates, including skipped ones.
    pub updates: usize,
    /// Complete epochs.
    pub epoch: usize,
    /// Steps of the batch done in this epoch.
    pub step: usize,
    /// Updates whose gradient was clipped.
    pub clipped: usize,
    /// Updates skipped because loss or gradient was not finite.
    pub skipped: usize,
    /// Series steps trained on.
    pub series_steps: u64,
    /// Loss of the newest chunk whose loss is finite; NaN before it.
    pub loss: f64,
    /// Norm of its gradient, before clipping.
    pub norm: f64,
    /// The same after clipping.
    pub clipped_norm: f64,
    /// Loss of the best weights on the selection part; NaN before the first evaluation.
    pub best_loss: f64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            updates: 0,
            epoch: 0,
            step: 0,
            clipped: 0,
            skipped: 0,
            series_steps: 0,
            loss: f64::NAN,
            norm: 0.0,
            clipped_norm: 0.0,
            best_loss: f64::NAN,
        }
    }
}

/// The state of a training between two updates: weights, optimiser, hidden states and the position in the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The weights that training started from, with which the challenger is compared.
    pub champion: Weights,
    /// The current weights.
    pub weights: Weights,
    /// The best weights so far.
    pub best: Weights,
    /// The state of the optimiser.
    pub moments: Moments,
    /// Hidden states at the start of the next chunk, `[layer][rows, states * hidden padded to 16]`; empty at the start
    /// of an epoch.
    pub(super) states: Vec<NamedTensor>,
    /// A hash of all that determines the order of the sequences.
    pub(super) order: u64,
    pub(super) counters: Counters,
}

impl Checkpoint {
    /// The checkpoint before the first update.
    pub fn new(champion: &Weights) -> Self {
        let [champion, weights, best] = [(); 3].map(|()| champion.clone());
        let (moments, states, counters) = (Moments::default(), Vec::new(), Counters::default());
        Self { champion, weights, best, moments, states, order: 0, counters }
    }

    /// Updates so far.
    pub fn updates(&self) -> usize {
        self.counters.updates
    }

    /// Encodes the checkpoint as safetensors. Equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] where the values of a tensor do not fill its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        let states: BTreeMap<String, NamedTensor> =
            self.states.iter().enumerate().map(|(layer, state)| (layer.to_string(), state.clone())).collect();
        let groups = [
            ("champion", self.champion.tensors()),
            ("weights", self.weights.tensors()),
            ("best", self.best.tensors()),
            ("first", &self.moments.first),
            ("second", &self.moments.second),
            ("states", &states),
        ];
        let mut tensors: BTreeMap<String, NamedTensor> = groups
            .into_iter()
            .flat_map(|(group, tensors)| tensors.iter().map(move |(name, tensor)| (group, name, tensor)))
            .map(|(group, name, tensor)| (format!("{group}.{name}"), tensor.clone()))
            .collect();
        let counters = postcard::to_stdvec(&(self.order, self.moments.steps, &self.counters));
        let counters = counters.unwrap_or_else(|_| unreachable!("plain data in memory always encodes"));
        let values: Vec<f32> = counters.into_iter().map(f32::from).collect();
        tensors.insert(COUNTERS.to_owned(), NamedTensor { shape: vec![values.len()], values });
        tensors_to_bytes(&tensors, FORMAT)
    }

    /// Decodes a checkpoint. Whether it fits a network and its sequences is checked when it is used.
    ///
    /// # Errors
    /// Where the bytes are not a checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let mut groups: BTreeMap<String, BTreeMap<String, NamedTensor>> = BTreeMap::new();
        for (name, tensor) in tensors_from_bytes(bytes, FORMAT)? {
            let (group, rest) = name.split_once('.').unwrap_or((&name, ""));
            groups.entry(group.to_owned()).or_default().insert(rest.to_owned(), tensor);
        }
        let mut take = |group: &str| groups.remove(group).unwrap_or_default();
        let counters: Vec<u8> = take(COUNTERS).into_values().flat_map(|t| t.values).map(|byte| byte as u8).collect();
        let [champion, weights, best] = ["champion", "weights", "best"].map(|group| Weights::from_tensors(take(group)));
        let (first, second) = (take("first"), take("second"));
        let states = take("states").into_values().collect();
        if let Some(name) = groups.into_keys().next() {
            return Err(WeightsError::Unknown { name });
        }
        let (order, steps, counters) = postcard::from_bytes(&counters)
            .map_err(|error| WeightsError::Malformed(format!("the checkpoint's counters: {error}")))?;
        Ok(Self { champion, weights, best, moments: Moments { steps, first, second }, states, order, counters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_decoded_to_the_last_bit() {
        let tensor = |value: f32| NamedTensor { shape: vec![1, 2], values: vec![value, -value] };
        let weights = |value| Weights::from_tensors(BTreeMap::from([("layer0.input".to_owned(), tensor(value))]));
        let mut checkpoint = Checkpoint::new(&weights(0.1));
        (checkpoint.weights, checkpoint.best) = (weights(0.2), weights(0.3));
        checkpoint.states = vec![tensor(1.5), tensor(-2.5)];
        checkpoint.moments.first.insert("layer0.input".to_owned(), tensor(1e-9));
        (checkpoint.order, checkpoint.moments.steps) = (u64::MAX - 5, 1 << 40);
        checkpoint.counters = Counters {
            updates: 1,
            epoch: 2,
            step: 3,
            clipped: 4,
            skipped: 5,
            series_steps: 6,
            loss: 0.1,
            norm: 1e-300,
            clipped_norm: -0.0,
            best_loss: f64::INFINITY,
        };
        let bytes = checkpoint.to_bytes().unwrap();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read, checkpoint);
        assert_eq!((read.to_bytes().unwrap(), read.updates()), (bytes.clone(), 1));
        let fresh = Checkpoint::new(&weights(0.1));
        let again = Checkpoint::from_bytes(&fresh.to_bytes().unwrap()).unwrap();
        assert!(again.counters.best_loss.is_nan() && again.counters.loss.is_nan() && again.states.is_empty());

        assert!(matches!(Checkpoint::from_bytes(&bytes[..50]), Err(WeightsError::Malformed(_))));
        let weights = weights(0.1).to_bytes().unwrap();
        let error = Checkpoint::from_bytes(&weights).unwrap_err().to_string();
        assert!(
            error.ends_with("names the format \"foretide-weights-1\", expected \"foretide-checkpoint-1\""),
            "{error}"
        );
        let strange = tensors_to_bytes(&BTreeMap::from([("other.a".to_owned(), tensor(1.0))]), FORMAT).unwrap();
        assert_eq!(Checkpoint::from_bytes(&strange).unwrap_err(), WeightsError::Unknown { name: "other".to_owned() });
        let empty = tensors_to_bytes(&BTreeMap::new(), FORMAT).unwrap();
        assert!(matches!(Checkpoint::from_bytes(&empty), Err(WeightsError::Malformed(_))));
    }
}
