//! Index arithmetic of ring buffers.

/// The index after `index` in a ring of `length` entries.
#[inline]
pub(super) fn next_index(index: u16, length: usize) -> u16 {
    if usize::from(index) + 1 == length { 0 } else { index + 1 }
}

/// The index `steps` entries before `index`; `steps` is at most `length`.
#[inline]
pub(super) fn index_before(index: usize, steps: usize, length: usize) -> usize {
    if steps <= index { index - steps } else { index + length - steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_wrap_around() {
        let mut index = 0;
        for step in 0..12_usize {
            assert_eq!(usize::from(index), step % 5);
            assert!((0..5).all(|steps| (index_before(usize::from(index), steps, 5) + steps) % 5 == step % 5));
            index = next_index(index, 5);
        }
    }
}
