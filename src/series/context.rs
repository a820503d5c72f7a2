//! The recent values of a series, in a ring buffer.

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::recent_values::RecentValues;
use super::value_limit::is_within_limit;

/// A ring buffer of the newest values; NaN for an empty slot. [`Self::push`] sets its length.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Context {
    /// `[step]`; NaN where nothing has been pushed.
    values: Vec<f64>,
    /// `[step]`: event times on an irregular grid. Empty on a regular grid, where they follow from the newest slot.
    times: Vec<i64>,
    newest: u32,
}

clone_in_place!(Context { values, times, newest });

impl Context {
    /// Appends the newest step. The ring holds `length` steps, and their times if `time` is given.
    pub fn push(&mut self, length: usize, value: Option<f64>, time: Option<i64>) {
        if self.values.len() != length || self.times.is_empty() == time.is_some() {
            self.resize(length, time.is_some());
        }
        let next = self.newest as usize + 1;
        let next = if next == length { 0 } else { next };
        self.newest = next as u32;
        self.values[next] = value.unwrap_or(f64::NAN);
        if let Some(time) = time {
            self.times[next] = time;
        }
    }

    /// Copies the values from `steps_back` before the newest step on, in order of time; NaN outside the ring.
    pub fn copy_back(&self, steps_back: usize, out: &mut [f64]) {
        let known = out.len().min(steps_back + 1);
        let (known, beyond) = out.split_at_mut(known);
        beyond.fill(f64::NAN);
        let Some(from) = self.index(steps_back) else {
            // A part of the range may still lie in the ring.
            known.iter_mut().enumerate().for_each(|(ahead, out)| *out = self.back(steps_back - ahead));
            return;
        };
        let straight = known.len().min(self.values.len() - from);
        let (before_the_end, from_the_start) = known.split_at_mut(straight);
        before_the_end.copy_from_slice(&self.values[from..from + straight]);
        from_the_start.copy_from_slice(&self.values[..from_the_start.len()]);
    }
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether a decoded ring is consistent and its values are within the limit.
    pub fn is_sound(&self) -> bool {
        let length = self.values.len();
        [0, length].contains(&self.times.len())
            && (length == 0 || (self.newest as usize) < length)
            && self.values.iter().all(|value| value.is_nan() || is_within_limit(*value))
    }
    /// Replaces the value of a step. Returns the value before (NaN for an empty slot); `None` where the ring does not
    /// hold the step.
    pub fn replace(&mut self, steps_back: usize, value: f64) -> Option<f64> {
        let index = self.index(steps_back)?;
        Some(std::mem::replace(&mut self.values[index], value))
    }
    pub fn mark_newest_missing(&mut self) {
        if let Some(newest) = self.values.get_mut(self.newest as usize) {
            *newest = f64::NAN;
        }
    }
    pub fn clear(&mut self) {
        self.values.fill(f64::NAN);
    }
    pub fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.times.capacity() * size_of::<i64>()
    }

    #[inline]
    fn index(&self, steps_back: usize) -> Option<usize> {
        let newest = self.newest as usize;
        if steps_back <= newest {
            (newest < self.values.len()).then(|| newest - steps_back)
        } else {
            (newest + self.values.len()).checked_sub(steps_back).filter(|index| *index > newest)
        }
    }

    /// Changes the length of the ring and keeps the newest values.
    fn resize(&mut self, length: usize, timed: bool) {
        let oldest_first = |back: &dyn Fn(usize) -> f64| (0..length).rev().map(back).collect::<Vec<_>>();
        let values = oldest_first(&|steps_back| self.back(steps_back));
        self.times = match timed {
            true => (0..length).rev().map(|steps_back| self.time_back(steps_back).unwrap_or(0)).collect(),
            false => Vec::new(),
        };
        self.values = values;
        self.newest = (length - 1) as u32;
    }
}

impl RecentValues for Context {
    #[inline]
    fn back(&self, steps_back: usize) -> f64 {
        self.index(steps_back).map_or(f64::NAN, |index| self.values[index])
    }

    #[inline]
    fn time_back(&self, steps_back: usize) -> Option<i64> {
        self.index(steps_back).and_then(|index| self.times.get(index).copied())
    }
}

impl PartialEq for Context {
    /// Compares bits, since empty slots are NaN.
    fn eq(&self, other: &Self) -> bool {
        let bits = |context: &Self| context.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.newest == other.newest && self.times == other.times && bits(self) == bits(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_reads_backwards_and_drops_the_oldest() {
        let mut context = Context::default();
        assert!(context.back(0).is_nan());
        for value in 0..7 {
            context.push(5, (value != 4).then_some(f64::from(value)), Some(value.into()));
        }
        assert_eq!((context.back(0), context.back(1), context.back(3)), (6.0, 5.0, 3.0));
        assert!(context.back(2).is_nan() && context.back(5).is_nan() && context.back(usize::MAX).is_nan());
        assert_eq!((context.time_back(4), context.time_back(5)), (Some(2), None));
        context.clear();
        assert!(context.back(0).is_nan());
    }

    #[test]
    fn copies_hold_the_values_of_the_ring() {
        let mut context = Context::default();
        for pushed in 0..12 {
            for back in 0..9 {
                let mut out = [0.0; 7];
                context.copy_back(back, &mut out);
                for (ahead, out) in out.iter().enumerate() {
                    let expected = back.checked_sub(ahead).map_or(f64::NAN, |back| context.back(back));
                    assert_eq!(out.to_bits(), expected.to_bits(), "{pushed} {back} {ahead}");
                }
            }
            context.push(5, Some(f64::from(pushed)), None);
        }
    }

    #[test]
    fn another_length_keeps_the_newest_values() {
        let mut context = Context::default();
        for value in 0..9 {
            context.push(4, Some(f64::from(value)), None);
        }
        context.push(3, Some(9.0), None);
        assert_eq!([0, 1, 2].map(|back| context.back(back)), [9.0, 8.0, 7.0]);
        context.push(6, Some(10.0), None);
        assert_eq!([0, 1, 2, 3].map(|back| context.back(back)), [10.0, 9.0, 8.0, 7.0]);
        assert!(context.back(4).is_nan());
    }
}
