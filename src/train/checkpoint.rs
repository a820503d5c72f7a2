//! Training checkpoints: the complete state between two updates. Resuming from one equals an uninterrupted training, on
//! the CPU to the last bit.

use std::collections::BTreeMap;

use super::optimiser::Moments;
use crate::nn::{NamedTensor, Weights, WeightsError, tensors_from_bytes, tensors_to_bytes};

/// The format named in the header of every checkpoint.
const FORMAT: &str = "foretide-checkpoint-1";
/// The tensor that holds counters and losses.
const NUMBERS: &str = "numbers";

/// Progress and statistics of a training.
#[derive(Debug, Clone, PartialEq)]
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
        let numbers = self.numbers();
        let values = numbers.iter().flat_map(|number| to_parts(*number)).collect();
        tensors.insert(NUMBERS.to_owned(), NamedTensor { shape: vec![numbers.len(), 4], values });
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
        let numbers: Vec<u64> = take(NUMBERS)
            .into_values()
            .flat_map(|tensor| tensor.values)
            .collect::<Vec<_>>()
            .chunks(4)
            .map(from_parts)
            .collect();
        let mut checkpoint = Self {
            champion: Weights::from_tensors(take("champion")),
            weights: Weights::from_tensors(take("weights")),
            best: Weights::from_tensors(take("best")),
            moments: Moments { steps: 0, first: take("first"), second: take("second") },
            states: take("states").into_values().collect(),
            order: 0,
            counters: Counters::default(),
        };
        match groups.into_keys().next() {
            Some(name) => Err(WeightsError::Unknown { name }),
            None if checkpoint.set_numbers(&numbers) => Ok(checkpoint),
            None => Err(WeightsError::Malformed(format!("the checkpoint has {} numbers", numbers.len()))),
        }
    }

    /// Counters, and losses as their bits.
    fn numbers(&self) -> [u64; 12] {
        let counters = &self.counters;
        let [updates, epoch, step, clipped, skipped] =
            [counters.updates, counters.epoch, counters.step, counters.clipped, counters.skipped]
                .map(|count| count as u64);
        let [loss, norm, clipped_norm, best_loss] =
            [counters.loss, counters.norm, counters.clipped_norm, counters.best_loss].map(f64::to_bits);
        let (moments, series_steps) = (self.moments.steps, counters.series_steps);
        [self.order, moments, series_steps, updates, epoch, step, clipped, skipped, loss, norm, clipped_norm, best_loss]
    }

    /// Restores what [`Self::numbers`] returns; `false` where their count is wrong.
    fn set_numbers(&mut self, numbers: &[u64]) -> bool {
        let &[
            order,
            moments,
            series_steps,
            updates,
            epoch,
            step,
            clipped,
            skipped,
            loss,
            norm,
            clipped_norm,
            best_loss,
        ] = numbers
        else {
            return false;
        };
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        (self.order, self.moments.steps) = (order, moments);
        self.counters = Counters {
            updates: count(updates),
            epoch: count(epoch),
            step: count(step),
            clipped: count(clipped),
            skipped: count(skipped),
            series_steps,
            loss: f64::from_bits(loss),
            norm: f64::from_bits(norm),
            clipped_norm: f64::from_bits(clipped_norm),
            best_loss: f64::from_bits(best_loss),
        };
        true
    }
}

/// A number as four parts of 16 bits, which `f32` holds exactly.
fn to_parts(number: u64) -> [f32; 4] {
    [48, 32, 16, 0].map(|shift| f32::from((number >> shift) as u16))
}

/// The inverse of [`to_parts`].
fn from_parts(parts: &[f32]) -> u64 {
    parts.iter().fold(0, |number, part| number << 16 | u64::from(*part as u16))
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
