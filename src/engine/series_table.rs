//! The series of one task, by key and by index.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::closing_queue::ClosingQueue;
use super::dirty_queue::{DirtyQueue, InputPoint};
use super::recency::Recency;
use super::series::{LastObservation, Series, Undo};
use crate::series::SeriesSpec;

/// So many free places are kept for new series. With more of them than series, the table moves together.
const MIN_FREE_PLACES: usize = 1_024;

/// The series of a task: where they are, in which order they fell silent, and which of them have changed since their
/// last snapshot. An index stays valid until the transaction after the one that ends its series.
#[derive(Default)]
pub(super) struct SeriesTable {
    hasher: DefaultHashBuilder,
    /// Indices by key. The index of a series that has ended in the open transaction stays until another one of its key
    /// begins, or the transaction is done with.
    index: HashTable<u32>,
    /// `None` where a series has ended.
    series: Vec<Option<Series>>,
    /// Indices that new series take.
    free: Vec<u32>,
    /// How many series have not ended.
    live: usize,
    recency: Recency,
    /// Whether `recency` contains all series. A restore and a rollback leave that to the next served observation.
    is_ordered: bool,
    /// Which slots close by the time of the partition; empty where they do not.
    closing: ClosingQueue,
    dirty: DirtyQueue,
    /// Series that the open transaction began.
    begun: Vec<u32>,
    /// Series that the open transaction ended.
    ended: Vec<u32>,
}

impl SeriesTable {
    /// The index of a series that has not ended.
    pub fn find(&self, key: &str) -> Option<u32> {
        self.find_any(key).filter(|series| !self.get(*series).has_ended)
    }

    /// The index of a series, also of one that the open transaction has ended.
    pub fn find_any(&self, key: &str) -> Option<u32> {
        self.index.find(self.hasher.hash_one(key), |series| *self.get(*series).key == *key).copied()
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn get(&self, series: u32) -> &Series {
        self.series[series as usize].as_ref().unwrap_or_else(|| unreachable!("the series of this index has ended"))
    }

    pub fn get_mut(&mut self, series: u32) -> &mut Series {
        self.series[series as usize].as_mut().unwrap_or_else(|| unreachable!("the series of this index has ended"))
    }

    /// The series that have not ended.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().flatten().filter(|series| !series.has_ended)
    }

    /// Partial series are so no more, and change with that at `since`.
    pub fn keep_partial(&mut self, since: InputPoint) {
        for index in (0..).take(self.series.len()) {
            let Some(series) = self.series[index as usize].as_mut().filter(|series| series.is_partial) else {
                continue;
            };
            series.is_partial = false;
            self.mark_dirty(index, since);
        }
    }

    /// Adds a restored series, or replaces the one of the same key.
    pub fn put(&mut self, series: Series) -> u32 {
        self.is_ordered = false;
        match self.find(&series.key) {
            Some(index) => {
                self.series[index as usize] = Some(series);
                index
            }
            None => self.insert(series),
        }
    }

    /// Removes a restored series: its snapshot was deleted.
    pub fn remove(&mut self, key: &str) {
        debug_assert!(self.dirty.len() == 0, "the dirty series are held by index");
        if let Some(series) = self.find(key) {
            self.end(series);
            self.free_ended();
        }
    }

    /// Adds a series that begins now. A transaction that can be rolled back notes it.
    pub fn begin(&mut self, series: Series, can_roll_back: bool) -> u32 {
        // Its steps come after those of a series of the same key that has ended in this transaction.
        let before = self.find_any(&series.key).filter(|_| can_roll_back);
        let queued = before.map_or(0, |before| self.get(before).queued);
        let index = self.insert(Series { queued, ..series });
        if can_roll_back {
            self.get_mut(index).undo = Undo::Begun;
            self.begun.push(index);
        }
        index
    }

    /// Ends a series. Its state stays until [`Self::free_ended`].
    pub fn end(&mut self, series: u32) {
        self.recency.remove(series);
        self.closing.remove(series);
        self.get_mut(series).has_ended = true;
        self.live -= 1;
        self.ended.push(series);
    }

    /// Makes a series the one that was observed last. Series of the same record are in the order of their keys.
    pub fn observed(&mut self, series: u32, last: LastObservation) {
        self.get_mut(series).last = last;
        self.recency.remove(series);
        let mut previous = self.recency.last();
        while let Some(before) =
            previous.map(|previous| self.get(previous)).filter(|series| series.last.offset == last.offset)
            && before.key > self.get(series).key
        {
            previous = previous.and_then(|previous| self.recency.previous(previous));
        }
        self.recency.insert_after(previous, series);
    }

    /// Records the last observation of a series in a replay, which leaves the order for later.
    pub fn replayed(&mut self, series: u32, last: LastObservation) {
        self.get_mut(series).last = last;
        self.is_ordered = false;
    }

    /// The longest silent of the series in the order.
    pub fn longest_silent(&self) -> Option<u32> {
        self.recency.first()
    }

    /// Orders all series. Those whose last event time is unknown count as observed at `event_time`.
    pub fn order(&mut self, event_time: i64) {
        if self.is_ordered {
            return;
        }
        self.is_ordered = true;
        self.recency.clear();
        let mut order: Vec<(i64, u32)> = Vec::with_capacity(self.live);
        for (index, series) in (0..).zip(&mut self.series) {
            let Some(series) = series.as_mut().filter(|series| !series.has_ended) else { continue };
            series.last.event_time = series.last.event_time.min(event_time);
            order.push((series.last.offset, index));
        }
        order.sort_unstable_by(|(one, first), (other, second)| {
            one.cmp(other).then_with(|| self.get(*first).key.cmp(&self.get(*second).key))
        });
        order.into_iter().for_each(|(_, series)| self.recency.insert_after(self.recency.last(), series));
    }

    /// The series of which a slot before `end` may be due to close by the time of the partition are appended to `due`.
    /// Each of them waits again from the next [`Self::await_closing`] on.
    pub fn take_closing(&mut self, spec: &SeriesSpec, end: i64, due: &mut Vec<u32>) {
        let Self { closing, series, .. } = self;
        if !closing.is_complete() {
            let live = (0..).zip(series).filter_map(|(index, series)| Some((index, series.as_ref()?)));
            let open = live.filter(|(_, series)| !series.has_ended);
            closing.fill(open.filter_map(|(index, series)| Some((index, series.input.next_to_close(spec)?))));
        }
        closing.take_before(end, due);
    }

    /// A series waits for the time of the partition to close its next slot, unless it is silent for too long.
    pub fn await_closing(&mut self, spec: &SeriesSpec, series: u32) {
        if self.closing.is_complete()
            && let Some(slot) = self.get(series).input.next_to_close(spec)
        {
            self.closing.insert(series, slot);
        }
    }

    /// Records that a transaction which began at `since` changes a series.
    pub fn mark_dirty(&mut self, series: u32, since: InputPoint) {
        let state = self.get_mut(series);
        // The snapshot of a new series is due in any case.
        if !state.is_dirty && state.undo != Undo::Begun {
            state.is_dirty = true;
            self.dirty.push(series, since);
        }
    }

    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// The point of the oldest change that remains after `snapshots` snapshots.
    pub fn dirty_since(&self, snapshots: usize) -> Option<InputPoint> {
        self.dirty.since(snapshots)
    }

    /// The series to snapshot when the `count` that have been dirty longest are due: those that have not ended, and the
    /// new ones.
    pub fn to_snapshot(&self, count: usize) -> impl Iterator<Item = &Series> {
        let due = self.dirty.first(count).chain(self.begun.iter().copied());
        due.filter_map(|series| self.series[series as usize].as_ref()).filter(|series| !series.has_ended)
    }

    /// The keys of the series that have begun in the open transaction.
    pub fn begun(&self) -> impl Iterator<Item = &Arc<str>> {
        self.begun.iter().filter_map(|series| self.series[*series as usize].as_ref()).map(|series| &series.key)
    }

    /// Whether series have ended in the open transaction.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// All steps of the open transaction are done.
    pub fn stepped(&mut self) {
        for &series in &self.begun {
            if let Some(series) = &mut self.series[series as usize] {
                series.queued = 0;
            }
        }
    }

    /// The transaction that snapshotted the `count` series that were dirty longest is final.
    pub fn commit(&mut self, count: usize) {
        let Self { dirty, series, free, begun, .. } = self;
        dirty.remove_first(count, |index| match &mut series[index as usize] {
            Some(series) => series.is_dirty = false,
            None => free.push(index),
        });
        for index in begun.drain(..) {
            if let Some(series) = &mut series[index as usize] {
                series.undo = Undo::Untouched;
            }
        }
    }

    /// Undoes what the open transaction began. The undo copies bring back what it changed and ended.
    pub fn roll_back(&mut self) {
        self.ended.clear();
        self.closing.clear();
        self.is_ordered = false;
        while let Some(index) = self.begun.pop() {
            self.recency.remove(index);
            self.remove_from_index(index);
            let dropped = self.series[index as usize].take();
            self.live -= usize::from(dropped.is_some_and(|series| !series.has_ended));
            self.free.push(index);
        }
    }

    /// Puts an undo copy back.
    pub fn put_back(&mut self, index: u32, copy: Series) {
        let current = std::mem::replace(self.get_mut(index), copy);
        if current.has_ended {
            self.live += 1;
            if self.find_any(&current.key).is_none() {
                self.insert_into_index(index);
            }
        }
    }

    /// Undoes the dirty marks after the first `dirty`.
    pub fn truncate_dirty(&mut self, dirty: usize) {
        let Self { dirty: queue, series, .. } = self;
        queue.truncate(dirty, |index| {
            if let Some(series) = &mut series[index as usize] {
                series.is_dirty = false;
            }
        });
    }

    /// Drops the states of series that ended, once nothing refers to them any more.
    pub fn free_ended(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        for index in std::mem::take(&mut self.ended) {
            self.remove_from_index(index);
            // The dirty queue still has its index. It is free once that has left the queue.
            if self.series[index as usize].take().is_some_and(|series| !series.is_dirty) {
                self.free.push(index);
            }
        }
        if self.free.len() > self.live.max(MIN_FREE_PLACES) {
            self.move_together();
        }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        let places = self.series.capacity() * size_of::<Option<Series>>();
        let series: usize = self.series.iter().flatten().map(|series| series.bytes() - size_of::<Series>()).sum();
        let lists = (self.free.capacity() + self.begun.capacity() + self.ended.capacity()) * size_of::<u32>();
        self.index.allocation_size()
            + places
            + series
            + lists
            + self.recency.heap_bytes()
            + self.dirty.heap_bytes()
            + self.closing.heap_bytes()
    }

    fn insert(&mut self, series: Series) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            u32::try_from(self.series.len() - 1).unwrap_or_else(|_| unreachable!("max_series fits u32"))
        });
        let replaced = self.find_any(&series.key);
        self.series[index as usize] = Some(series);
        match replaced {
            Some(ended) => {
                let hash = self.hasher.hash_one(&*self.get(ended).key);
                if let Some(entry) = self.index.find_mut(hash, |entry| *entry == ended) {
                    *entry = index;
                }
            }
            None => self.insert_into_index(index),
        }
        self.live += 1;
        index
    }

    fn insert_into_index(&mut self, series: u32) {
        let Self { index, series: all, hasher, .. } = self;
        let hash = |series: &u32| all[*series as usize].as_ref().map_or(0, |series| hasher.hash_one(&*series.key));
        index.insert_unique(hash(&series), series, hash);
    }

    fn remove_from_index(&mut self, series: u32) {
        let hash = self.hasher.hash_one(&*self.get(series).key);
        if let Ok(entry) = self.index.find_entry(hash, |entry| *entry == series) {
            entry.remove();
        }
    }

    /// Gives memory back: moves all series to the beginning.
    fn move_together(&mut self) {
        let mut numbers = vec![None; self.series.len()];
        let mut moved: Vec<Option<Series>> = Vec::with_capacity(self.live);
        for (number, series) in numbers.iter_mut().zip(std::mem::take(&mut self.series)) {
            if series.is_some() {
                *number = u32::try_from(moved.len()).ok();
                moved.push(series);
            }
        }
        self.series = moved;
        let number = |series: u32| numbers[series as usize];
        let mut order: Vec<u32> =
            std::iter::successors(self.recency.last(), |series| self.recency.previous(*series)).collect();
        order.reverse();
        self.recency.clear();
        for series in order.into_iter().filter_map(number) {
            self.recency.insert_after(self.recency.last(), series);
        }
        self.dirty.renumber(number);
        self.closing.clear();
        self.free = Vec::new();
        self.index = HashTable::new();
        (0..).take(self.series.len()).for_each(|series| self.insert_into_index(series));
    }
}
