//! Places in a ring.

/// The next place in a ring of this length.
#[inline]
pub(super) fn after(place: u16, length: usize) -> u16 {
    if usize::from(place) + 1 == length { 0 } else { place + 1 }
}

/// The place so many steps, at most a length, before another.
#[inline]
pub(super) fn back(place: usize, steps: usize, length: usize) -> usize {
    if steps <= place { place - steps } else { place + length - steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_round() {
        let mut place = 0;
        for step in 0..12_usize {
            assert_eq!(usize::from(place), step % 5);
            assert!((0..5).all(|steps| (back(usize::from(place), steps, 5) + steps) % 5 == step % 5));
            place = after(place, 5);
        }
    }
}
