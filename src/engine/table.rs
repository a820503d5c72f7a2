//! The series of one task.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;

use super::StreamSpec;
use crate::{
    forecast::{ForecastState, StreamPrior},
    series::{SeriesState, clone_in_place},
};

/// Everything that is kept of one series.
#[derive(Debug)]
pub(super) struct Series {
    pub key: Arc<str>,
    /// Input before this offset is in the state already.
    pub position: i64,
    /// The weights that made `hidden`; where they are not the serving ones, the context is re-run first.
    pub version: u64,
    pub input: SeriesState,
    pub forecast: ForecastState,
    pub hidden: Box<[f32]>,
    /// Steps queued in the open epoch.
    pub queued: u32,
    /// Whether the open epoch holds an image of it.
    pub imaged: bool,
    dirty: bool,
}

clone_in_place!(Series { key, position, version, input, forecast, hidden, queued, imaged, dirty });

/// The version of a hidden state that no weights have made: it is built from the context before the next step.
pub(super) const UNSTEPPED: u64 = u64::MAX;

impl Series {
    /// A series whose first value this is.
    pub fn starting(key: &str, spec: &StreamSpec, prior: Option<&StreamPrior>, value: f64) -> Self {
        let (input, forecast) = match prior {
            Some(prior) => {
                (SeriesState::with_scale_prior(&prior.size, value), ForecastState::cold_start(&spec.forecast, prior))
            }
            None => (SeriesState::new(), ForecastState::new(&spec.forecast)),
        };
        Self::restored(key, i64::MIN, UNSTEPPED, input, forecast, Box::default())
    }

    pub fn restored(
        key: &str,
        position: i64,
        version: u64,
        input: SeriesState,
        forecast: ForecastState,
        hidden: Box<[f32]>,
    ) -> Self {
        Self { key: key.into(), position, version, input, forecast, hidden, queued: 0, imaged: false, dirty: false }
    }

    fn bytes(&self) -> usize {
        // The key counts twice pointer-wise (table and index) but once in text; an `Arc` adds two counters.
        let text = self.key.len() + 2 * size_of::<usize>();
        let inline = size_of::<Self>() - size_of::<SeriesState>() - size_of::<ForecastState>();
        inline + text + self.input.bytes() + self.forecast.bytes() + size_of_val(&*self.hidden)
    }
}

/// The series of a task, by key and by index, and which of them have changed since their last snapshot.
#[derive(Default)]
pub(super) struct Table {
    index: HashMap<Arc<str>, u32>,
    series: Vec<Series>,
    /// `(series, position of the first change since its snapshot)`, oldest first.
    dirty: VecDeque<(u32, i64)>,
}

impl Table {
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

    /// Adds a series, or replaces the one of the same key (a newer snapshot of it).
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

    pub fn mark_dirty(&mut self, series: u32, position: i64) {
        let state = &mut self.series[series as usize];
        if !state.dirty {
            state.dirty = true;
            self.dirty.push_back((series, position));
        }
    }

    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// The position of the oldest change that would be left after `skip` snapshots.
    pub fn dirty_from(&self, skip: usize) -> Option<i64> {
        self.dirty.get(skip).map(|&(_, position)| position)
    }

    /// How many series to snapshot now so that `share` of the changed ones are.
    pub fn due(&self, share: f64) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
        let due = (self.dirty.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        due.min(self.dirty.len())
    }

    pub fn oldest_dirty(&self, count: usize) -> impl Iterator<Item = &Series> {
        self.dirty.iter().take(count).map(|&(series, _)| self.get(series))
    }

    /// The `count` oldest changed series have been snapshotted for good; the open epoch's marks are taken off.
    pub fn cleaned(&mut self, count: usize) {
        for (series, _) in self.dirty.drain(..count) {
            self.series[series as usize].dirty = false;
        }
    }

    /// Undoes an epoch: series that it made go, and so do the marks of change that it set.
    pub fn truncate(&mut self, series: usize, dirty: usize) {
        for (index, _) in self.dirty.drain(dirty..) {
            self.series[index as usize].dirty = false;
        }
        for gone in self.series.drain(series..) {
            self.index.remove(&gone.key);
        }
    }

    pub fn bytes(&self) -> usize {
        let index = self.index.allocation_size();
        let unused = (self.series.capacity() - self.series.len()) * size_of::<Series>();
        let queue = self.dirty.capacity() * size_of::<(u32, i64)>();
        self.series.iter().map(Series::bytes).sum::<usize>() + index + unused + queue
    }
}
