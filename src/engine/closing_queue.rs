//! The order in which the slots of silent series close by the time of their partition.

use std::collections::BTreeMap;

/// The series of a task by the slot that closes next, each at most once.
#[derive(Default)]
pub(super) struct ClosingQueue {
    /// Indices of series by slot. An index that has moved on, or whose series has ended, is passed over.
    slots: BTreeMap<i64, Vec<u32>>,
    /// The slot at which a series waits, by its index; [`NOWHERE`] where it does not.
    waits_at: Vec<i64>,
    /// Where the last look for series that are due has ended.
    end: i64,
    /// Whether it contains all series. A restore and a rollback leave that to the next observation.
    is_complete: bool,
}

/// The slot of a series that does not wait.
const NOWHERE: i64 = i64::MAX;

impl ClosingQueue {
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Begins anew with these series and their slots.
    pub fn fill(&mut self, series: impl Iterator<Item = (u32, i64)>) {
        self.clear();
        self.is_complete = true;
        series.for_each(|(series, slot)| self.insert(series, slot));
    }

    /// Forgets all series.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.waits_at.clear();
        self.end = i64::MIN;
        self.is_complete = false;
    }

    /// Adds a series, unless it waits for an earlier slot already. It may return to one from a jump.
    pub fn insert(&mut self, series: u32, slot: i64) {
        if self.waits_at.len() <= series as usize {
            self.waits_at.resize(series as usize + 1, NOWHERE);
        }
        if slot < self.waits_at[series as usize] {
            self.waits_at[series as usize] = slot;
            self.slots.entry(slot).or_default().push(series);
        }
    }

    /// Removes a series that has ended.
    pub fn remove(&mut self, series: u32) {
        if let Some(slot) = self.waits_at.get_mut(series as usize) {
            *slot = NOWHERE;
        }
    }

    /// Takes the series out that wait for a slot before `end`, and appends their indices to `due`. Where the end is
    /// that of the last time, there is none but those that a replay has still to reach.
    pub fn take_before(&mut self, end: i64, due: &mut Vec<u32>) {
        if end == self.end {
            return;
        }
        self.end = end;
        while let Some(first) = self.slots.first_entry().filter(|first| *first.key() < end) {
            let (slot, series) = first.remove_entry();
            for series in series {
                let waits_at = &mut self.waits_at[series as usize];
                if *waits_at == slot {
                    *waits_at = NOWHERE;
                    due.push(series);
                }
            }
        }
    }

    /// Memory in bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let waiting: usize = self.slots.values().map(|series| series.capacity() * size_of::<u32>()).sum();
        self.waits_at.capacity() * size_of::<i64>() + waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_leave_at_their_slot_and_once() {
        let mut queue = ClosingQueue::default();
        queue.fill([(0, 5), (1, 3), (2, 5), (3, 9)].into_iter());
        queue.remove(2);
        // Another series takes the index of the one that has ended.
        queue.insert(2, 8);
        let taken = |queue: &mut ClosingQueue, end| {
            let mut due = Vec::new();
            queue.take_before(end, &mut due);
            due
        };
        assert!(taken(&mut queue, 3).is_empty());
        assert_eq!(taken(&mut queue, 6), [1, 0]);
        queue.insert(0, 8);
        queue.insert(3, 7);
        queue.insert(3, 20);
        assert_eq!(taken(&mut queue, 9), [3, 2, 0]);
        assert!(taken(&mut queue, i64::MAX).is_empty());
        queue.clear();
        assert!(!queue.is_complete());
    }
}
