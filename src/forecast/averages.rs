//! A ring of averages as a snapshot keeps it: nearly all of them follow from the one before and the value that came.

use super::linear::MEMORIES;

/// Averages of a series over [`MEMORIES`].
pub(super) type Averages = [f32; MEMORIES.len()];

/// An average of some memory after one more value.
pub(super) fn towards(mean: f32, value: f32, bound: f32, memory: f32) -> f32 {
    mean + (value - mean).clamp(-bound, bound) / memory
}

/// How averages came about.
const KEPT: u8 = 0;
const FOLLOWED: u8 = 1;
const TOLD: u8 = 2;

/// How each place of a ring came about, and the averages of those places that do not follow from the one before and the
/// ring of the values.
pub(super) fn told(values: &[f32], averages: &[Averages]) -> (Vec<u8>, Vec<Averages>) {
    let mut told = Vec::new();
    let mut before = [f32::NAN; MEMORIES.len()];
    let of_place = |(value, averages): (&f32, &Averages)| {
        let bits = averages.map(f32::to_bits);
        let how = if bits == before.map(f32::to_bits) {
            KEPT
        } else if bits == followed(before, *value).map(f32::to_bits) {
            FOLLOWED
        } else {
            told.push(*averages);
            TOLD
        };
        before = *averages;
        how
    };
    let how = values.iter().zip(averages).map(of_place).collect();
    (how, told)
}

/// The ring of which [`told`] tells; `None` where it tells of none.
pub(super) fn heard(values: &[f32], how: &[u8], told: &[Averages]) -> Option<Vec<Averages>> {
    let mut told = told.iter();
    let mut before = [f32::NAN; MEMORIES.len()];
    let of_place = |(value, how): (&f32, &u8)| {
        before = match *how {
            KEPT => before,
            FOLLOWED => followed(before, *value),
            TOLD => *told.next()?,
            _ => return None,
        };
        Some(before)
    };
    let ring = values.iter().zip(how).map(of_place).collect::<Option<Vec<_>>>()?;
    (how.len() == values.len() && told.next().is_none()).then_some(ring)
}

fn followed(before: Averages, value: f32) -> Averages {
    std::array::from_fn(|at| towards(before[at], value, f32::INFINITY, MEMORIES[at]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_ring_comes_back_to_the_bit(ring in prop::collection::vec((any::<f32>(), any::<[f32; 3]>()), 0..9)) {
            let (values, averages): (Vec<_>, Vec<_>) = ring.into_iter().unzip();
            let (how, explicit) = told(&values, &averages);
            let again = heard(&values, &how, &explicit).unwrap();
            let bits = |ring: &[Averages]| ring.iter().map(|averages| averages.map(f32::to_bits)).collect::<Vec<_>>();
            prop_assert_eq!(bits(&again), bits(&averages));
        }
    }

    #[test]
    fn of_what_follows_only_the_first_is_told() {
        let values = [1.0, 2.5, -3.0, -3.0, 9.0];
        let mut averages = vec![[0.5; MEMORIES.len()]];
        for value in &values[1..4] {
            averages.push(followed(averages[averages.len() - 1], *value));
        }
        averages.push(averages[3]);
        let (how, explicit) = told(&values, &averages);
        assert_eq!((how, explicit.len()), (vec![TOLD, FOLLOWED, FOLLOWED, FOLLOWED, KEPT], 1));
    }

    #[test]
    fn what_tells_of_no_ring_is_refused() {
        let zeros = [0.0; MEMORIES.len()];
        assert_eq!(heard(&[1.0], &[7], &[]), None);
        assert_eq!(heard(&[1.0], &[TOLD], &[]), None);
        assert_eq!(heard(&[1.0], &[TOLD, KEPT], &[zeros]), None);
        assert_eq!(heard(&[1.0], &[TOLD], &[zeros, zeros]), None);
    }
}
