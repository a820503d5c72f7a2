//! The series of one task.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;

use super::stream_spec::StreamSpec;
use crate::forecast::{ForecastState, StreamPrior};
use crate::series::{SeriesState, clone_in_place};

/// The state of one series.
#[derive(Debug)]
pub(super) struct Series {
    pub key: Arc<str>,
    /// The state contains the input before this offset.
    pub position: i64,
    /// The weights that made `hidden`. Where other weights serve, recent steps run again first.
    pub version: u64,
    pub input: SeriesState,
    pub forecast: ForecastState,
    /// The hidden state of the network, `[NetworkSpec::state_len]`.
    pub hidden: Box<[f32]>,
    /// Steps that wait in the open transaction.
    pub queued: u32,
    /// Whether the open transaction has an undo copy of it.
    pub has_undo_copy: bool,
    /// Whether parts of its snapshot could not be used. A replay starts it anew at its first observation.
    pub is_partial: bool,
    is_dirty: bool,
}

clone_in_place!(Series {
    key,
    position,
    version,
    input,
    forecast,
    hidden,
    queued,
    has_undo_copy,
    is_partial,
    is_dirty
});

/// The version of a hidden state that no weights have made. Recent steps build the state before the next step.
pub(super) const NO_VERSION: u64 = u64::MAX;

impl Series {
    /// A series whose first value is `value`.
    pub fn cold_start(key: &str, spec: &StreamSpec, prior: Option<&StreamPrior>, value: f64) -> Self {
        let (input, forecast) = match prior {
            Some(prior) => {
                (SeriesState::with_scale_prior(&prior.scale, value), ForecastState::cold_start(&spec.forecast, prior))
            }
            None => (SeriesState::new(), ForecastState::new(&spec.forecast)),
        };
        Self::new(key, i64::MIN, NO_VERSION, input, forecast, Box::default())
    }

    /// A series at rest: nothing waits for it, and nothing of it has changed.
    pub fn new(
        key: &str,
        position: i64,
        version: u64,
        input: SeriesState,
        forecast: ForecastState,
        hidden: Box<[f32]>,
    ) -> Self {
        let key = key.into();
        let (has_undo_copy, is_partial, is_dirty) = (false, false, false);
        Self { key, position, version, input, forecast, hidden, queued: 0, has_undo_copy, is_partial, is_dirty }
    }

    fn bytes(&self) -> usize {
        // The text of the key is shared by table and index; its `Arc` adds two counters.
        let text = self.key.len() + 2 * size_of::<usize>();
        let inline = size_of::<Self>() - size_of::<SeriesState>() - size_of::<ForecastState>();
        inline + text + self.input.bytes() + self.forecast.bytes() + size_of_val(&*self.hidden)
    }
}

/// The series of a task, by key and by index, and which of them have changed since their last snapshot.
#[derive(Default)]
pub(super) struct SeriesTable {
    index: HashMap<Arc<str>, u32>,
    series: Vec<Series>,
    /// The changed series, the oldest change first.
    dirty: VecDeque<DirtySeries>,
}

/// A series that has changed since its last snapshot.
#[derive(Clone, Copy)]
struct DirtySeries {
    /// The index of the series.
    series: u32,
    /// The input position of the first change.
    since: i64,
}

impl SeriesTable {
    pub fn find(&self, key: &str) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn get(&self, series: u32) -> &Series {
        &self.series[series as usize]
    }

    pub fn get_mut(&mut self, series: u32) -> &mut Series {
        &mut self.series[series as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.series.iter()
    }

    /// The series whose snapshots had parts that could not be used.
    pub fn partial(&mut self) -> impl Iterator<Item = &mut Series> {
        self.series.iter_mut().filter(|series| series.is_partial)
    }

    /// Adds a series, or replaces the one of the same key.
    pub fn put(&mut self, series: Series) -> u32 {
        if let Some(index) = self.find(&series.key) {
            self.series[index as usize] = series;
            return index;
        }
        let index = u32::try_from(self.series.len()).unwrap_or_else(|_| unreachable!("max_series fits u32"));
        self.index.insert(Arc::clone(&series.key), index);
        self.series.push(series);
        index
    }

    /// Removes a series. Another one takes its index, so nothing may hold one: no series has changed yet.
    pub fn remove(&mut self, key: &str) {
        debug_assert!(self.dirty.is_empty(), "the dirty series are held by index");
        let Some(index) = self.index.remove(key) else { return };
        self.series.swap_remove(index as usize);
        if let Some(moved) = self.series.get(index as usize) {
            self.index.insert(Arc::clone(&moved.key), index);
        }
    }

    /// Records that input at `position` changes a series.
    pub fn mark_dirty(&mut self, series: u32, position: i64) {
        let state = &mut self.series[series as usize];
        if !state.is_dirty {
            state.is_dirty = true;
            self.dirty.push_back(DirtySeries { series, since: position });
        }
    }

    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// The position of the oldest change that remains after `snapshots` snapshots.
    pub fn dirty_from(&self, snapshots: usize) -> Option<i64> {
        self.dirty.get(snapshots).map(|dirty| dirty.since)
    }

    /// The `count` series that have been dirty longest.
    pub fn oldest_dirty(&self, count: usize) -> impl Iterator<Item = &Series> {
        self.dirty.iter().take(count).map(|dirty| self.get(dirty.series))
    }

    /// The snapshots of the `count` series that have been dirty longest are final.
    pub fn mark_clean(&mut self, count: usize) {
        for dirty in self.dirty.drain(..count) {
            self.series[dirty.series as usize].is_dirty = false;
        }
    }

    /// Undoes a transaction: drops the series and the dirty marks beyond these counts.
    pub fn truncate(&mut self, series: usize, dirty: usize) {
        for mark in self.dirty.drain(dirty..) {
            self.series[mark.series as usize].is_dirty = false;
        }
        for dropped in self.series.drain(series..) {
            self.index.remove(&dropped.key);
        }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        let index = self.index.allocation_size();
        let unused = (self.series.capacity() - self.series.len()) * size_of::<Series>();
        let queue = self.dirty.capacity() * size_of::<DirtySeries>();
        self.series.iter().map(Series::bytes).sum::<usize>() + index + unused + queue
    }
}
