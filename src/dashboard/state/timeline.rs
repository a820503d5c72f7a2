//! A curve over the whole run in bounded memory.

/// Keeps at most `capacity` samples. A full curve drops every second sample and from then on keeps only every second
/// new one, so that it always spans the time from the first sample to the newest.
#[derive(Debug, Clone)]
pub(super) struct Timeline<T> {
    samples: Vec<T>,
    capacity: usize,
    keep_every: u64,
    seen: u64,
}

impl<T: Clone> Timeline<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { samples: Vec::new(), capacity: capacity.max(2), keep_every: 1, seen: 0 }
    }

    pub(super) fn push(&mut self, sample: T) {
        let kept = self.seen.is_multiple_of(self.keep_every);
        self.seen += 1;
        if !kept {
            return;
        }
        if self.samples.len() == self.capacity {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.keep_every *= 2;
            // The new sample may fall between two multiples of the doubled distance.
            if !(self.seen - 1).is_multiple_of(self.keep_every) {
                return;
            }
        }
        self.samples.push(sample);
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timeline_is_bounded_ordered_and_evenly_spaced(capacity in 2usize..40, count in 1usize..2000) {
            let mut timeline = Timeline::new(capacity);
            (0..count).for_each(|value| timeline.push(value));
            let kept = timeline.as_slice();
            prop_assert!(kept.len() <= capacity && kept[0] == 0);
            prop_assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == timeline.keep_every as usize));
            prop_assert!(count - 1 - kept[kept.len() - 1] < timeline.keep_every as usize);
        }
    }
}
