//! Exponential smoothing: running means of a series over several memories, and their compact encoding.

use serde::{Deserialize, Serialize};

/// Memories of the running means, in steps.
pub(in crate::forecast) const MEMORIES: [f32; 3] = [12.0, 50.0, 200.0];

/// Running means over [`MEMORIES`].
pub(super) type Averages = [f32; MEMORIES.len()];

/// A running mean of some memory after one more value, whose deviation from it is clamped to `bound`.
#[inline]
pub(super) fn update_mean(mean: f32, value: f32, bound: f32, memory: f32) -> f32 {
    mean + (value - mean).clamp(-bound, bound) / memory
}

/// An encoded entry equals the one before it.
const SAME: u8 = 0;
/// An encoded entry follows from the one before it and its value.
const DERIVED: u8 = 1;
/// An encoded entry is stored.
const STORED: u8 = 2;

/// A ring of averages as a snapshot stores it: most entries follow from the entry before and from the value.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EncodedAverages {
    /// Per entry.
    codes: Vec<u8>,
    /// The entries that do not follow.
    stored: Vec<Averages>,
}

/// Encodes a ring of averages beside its ring of values.
pub(super) fn encode(values: &[f32], averages: &[Averages]) -> EncodedAverages {
    let mut stored = Vec::new();
    let mut previous = [f32::NAN; MEMORIES.len()];
    let code = |(value, averages): (&f32, &Averages)| {
        let bits = averages.map(f32::to_bits);
        let code = if bits == previous.map(f32::to_bits) {
            SAME
        } else if bits == derived(previous, *value).map(f32::to_bits) {
            DERIVED
        } else {
            stored.push(*averages);
            STORED
        };
        previous = *averages;
        code
    };
    let codes = values.iter().zip(averages).map(code).collect();
    EncodedAverages { codes, stored }
}

/// Decodes what [`encode`] made of a ring with these values; `None` where the codes do not match.
pub(super) fn decode(values: &[f32], EncodedAverages { codes, stored }: &EncodedAverages) -> Option<Vec<Averages>> {
    let mut stored = stored.iter();
    let mut previous = [f32::NAN; MEMORIES.len()];
    let entry = |(value, code): (&f32, &u8)| {
        previous = match *code {
            SAME => previous,
            DERIVED => derived(previous, *value),
            STORED => *stored.next()?,
            _ => return None,
        };
        Some(previous)
    };
    let ring = values.iter().zip(codes).map(entry).collect::<Option<Vec<_>>>()?;
    (codes.len() == values.len() && stored.next().is_none()).then_some(ring)
}

fn derived(previous: Averages, value: f32) -> Averages {
    std::array::from_fn(|at| update_mean(previous[at], value, f32::INFINITY, MEMORIES[at]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_ring_survives_a_round_trip_to_the_bit(
            ring in prop::collection::vec((any::<f32>(), any::<[f32; 3]>()), 0..9)
        ) {
            let (values, averages): (Vec<_>, Vec<_>) = ring.into_iter().unzip();
            let decoded = decode(&values, &encode(&values, &averages)).unwrap();
            let bits = |ring: &[Averages]| ring.iter().map(|averages| averages.map(f32::to_bits)).collect::<Vec<_>>();
            prop_assert_eq!(bits(&decoded), bits(&averages));
        }
    }

    #[test]
    fn only_the_first_of_derived_entries_is_stored() {
        let values = [1.0, 2.5, -3.0, -3.0, 9.0];
        let mut averages = vec![[0.5; MEMORIES.len()]];
        for value in &values[1..4] {
            averages.push(derived(averages[averages.len() - 1], *value));
        }
        averages.push(averages[3]);
        let EncodedAverages { codes, stored } = encode(&values, &averages);
        assert_eq!((codes, stored.len()), (vec![STORED, DERIVED, DERIVED, DERIVED, SAME], 1));
    }

    #[test]
    fn codes_that_match_no_ring_are_rejected() {
        let zeros = [0.0; MEMORIES.len()];
        let decode = |codes, stored| decode(&[1.0], &EncodedAverages { codes, stored });
        assert_eq!(decode(vec![7], vec![]), None);
        assert_eq!(decode(vec![STORED], vec![]), None);
        assert_eq!(decode(vec![STORED, SAME], vec![zeros]), None);
        assert_eq!(decode(vec![STORED], vec![zeros, zeros]), None);
    }
}
