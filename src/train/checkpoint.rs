//! Where training stands between two updates, as a value that can be written down: from there it goes on as if it had
//! never ended, on the processor to the last bit.

use std::collections::BTreeMap;

use super::optimiser::Moments;
use crate::nn::{NamedTensor, Weights, WeightsError, tensors_from_bytes, tensors_to_bytes};

/// Named in the header of every checkpoint.
const FORMAT: &str = "foretide-checkpoint-1";
/// The tensor of whole numbers and losses.
const NUMBERS: &str = "numbers";

/// How far training is and what it met on the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tally {
    /// Updates, those that were skipped included.
    pub steps: usize,
    /// Passes that are complete.
    pub epoch: usize,
    /// Steps of the tracks that this pass has behind it.
    pub chunk: usize,
    /// Updates whose gradient was scaled down.
    pub clipped: usize,
    /// Updates left out because loss or gradient was not finite.
    pub skipped: usize,
    /// Series steps learnt from.
    pub series_steps: u64,
    /// Loss of the newest finite chunk; NaN before it.
    pub loss: f64,
    /// Norm of its gradient before clipping.
    pub norm: f64,
    /// And after.
    pub clipped_norm: f64,
    /// Loss of the best weights on the choosing part; NaN before the first look.
    pub best_loss: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            steps: 0,
            epoch: 0,
            chunk: 0,
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

/// Everything that training needs to go on: weights, optimiser, hidden states and the place in the pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The weights that training began with; the challenger is judged against them.
    pub champion: Weights,
    /// The weights as they are now.
    pub weights: Weights,
    /// The best so far.
    pub best: Weights,
    /// The optimiser's memory.
    pub moments: Moments,
    /// Hidden states carried to the next chunk `[rows, states * hidden padded to 16]`, lowest layer first; empty where a
    /// pass begins.
    pub(super) states: Vec<NamedTensor>,
    /// A hash of what the order of the lanes follows from.
    pub(super) order: u64,
    pub(super) tally: Tally,
}

impl Checkpoint {
    /// Before the first update.
    pub fn new(champion: &Weights) -> Self {
        Self {
            champion: champion.clone(),
            weights: champion.clone(),
            best: champion.clone(),
            moments: Moments::default(),
            states: Vec::new(),
            order: 0,
            tally: Tally::default(),
        }
    }

    /// Updates so far.
    pub fn steps(&self) -> usize {
        self.tally.steps
    }

    /// The safetensors form; the same checkpoint always gives the same bytes.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] where a tensor's numbers do not fill its shape.
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
        let values = numbers.iter().flat_map(|number| parts(*number)).collect();
        tensors.insert(NUMBERS.to_owned(), NamedTensor { shape: vec![numbers.len(), 4], values });
        tensors_to_bytes(&tensors, FORMAT)
    }

    /// Reads a checkpoint from its safetensors form. Whether it fits a network and its lanes shows when it is used.
    ///
    /// # Errors
    /// Bytes that are no checkpoint.
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
            .map(whole)
            .collect();
        let mut checkpoint = Self {
            champion: Weights::from_tensors(take("champion")),
            weights: Weights::from_tensors(take("weights")),
            best: Weights::from_tensors(take("best")),
            moments: Moments { steps: 0, first: take("first"), second: take("second") },
            states: take("states").into_values().collect(),
            order: 0,
            tally: Tally::default(),
        };
        match groups.into_keys().next() {
            Some(name) => Err(WeightsError::Unknown { name }),
            None if checkpoint.set_numbers(&numbers) => Ok(checkpoint),
            None => Err(WeightsError::Malformed(format!("the checkpoint has {} numbers", numbers.len()))),
        }
    }

    /// What is no tensor: counts as they are, losses by their bits.
    fn numbers(&self) -> [u64; 12] {
        let tally = &self.tally;
        let [steps, epoch, chunk, clipped, skipped] =
            [tally.steps, tally.epoch, tally.chunk, tally.clipped, tally.skipped].map(|count| count as u64);
        let [loss, norm, clipped_norm, best_loss] =
            [tally.loss, tally.norm, tally.clipped_norm, tally.best_loss].map(f64::to_bits);
        let (moments, series_steps) = (self.moments.steps, tally.series_steps);
        [self.order, moments, series_steps, steps, epoch, chunk, clipped, skipped, loss, norm, clipped_norm, best_loss]
    }

    /// The reverse; whether there were as many as there must be.
    fn set_numbers(&mut self, numbers: &[u64]) -> bool {
        let &[order, moments, series_steps, steps, epoch, chunk, clipped, skipped, loss, norm, clipped_norm, best_loss] =
            numbers
        else {
            return false;
        };
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        (self.order, self.moments.steps) = (order, moments);
        self.tally = Tally {
            steps: count(steps),
            epoch: count(epoch),
            chunk: count(chunk),
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

/// A whole number as four of 16 bits, which `f32` holds exactly.
fn parts(number: u64) -> [f32; 4] {
    [48, 32, 16, 0].map(|shift| f32::from((number >> shift) as u16))
}

/// The reverse of [`parts`].
fn whole(parts: &[f32]) -> u64 {
    parts.iter().fold(0, |number, part| number << 16 | u64::from(*part as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_to_the_last_bit() {
        let tensor = |value: f32| NamedTensor { shape: vec![1, 2], values: vec![value, -value] };
        let weights = |value| Weights::from_tensors(BTreeMap::from([("layer0.input".to_owned(), tensor(value))]));
        let mut checkpoint = Checkpoint::new(&weights(0.1));
        (checkpoint.weights, checkpoint.best) = (weights(0.2), weights(0.3));
        checkpoint.states = vec![tensor(1.5), tensor(-2.5)];
        checkpoint.moments.first.insert("layer0.input".to_owned(), tensor(1e-9));
        (checkpoint.order, checkpoint.moments.steps) = (u64::MAX - 5, 1 << 40);
        checkpoint.tally = Tally {
            steps: 1,
            epoch: 2,
            chunk: 3,
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
        assert_eq!((read.to_bytes().unwrap(), read.steps()), (bytes.clone(), 1));
        let fresh = Checkpoint::new(&weights(0.1));
        let again = Checkpoint::from_bytes(&fresh.to_bytes().unwrap()).unwrap();
        assert!(again.tally.best_loss.is_nan() && again.tally.loss.is_nan() && again.states.is_empty());

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
