//! What a task knows in advance: numbers told by the records of a second topic, and from which input on they were seen.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use super::{Engine, Task, TaskHandle};
use crate::{
    nn::fnv_1a,
    series::{FutureCovariateSpec, FutureCovariateTable, FutureValues, Insertion},
    snapshot::CovariateWatermark,
    time::{EventTime, Grid},
};

/// What is told in advance, by key; one key, the empty one, where it is told of all series.
#[derive(Debug, Default)]
pub(super) struct Outlooks {
    by_key: HashMap<Arc<str>, FutureCovariateTable>,
    /// Offsets of the records of which something is held.
    held: BTreeSet<i64>,
    digest: u64,
    /// The next record.
    until: i64,
}

impl Outlooks {
    pub fn of(&self, known: &FutureCovariateSpec, series: &str) -> Option<&FutureCovariateTable> {
        self.by_key.get(known.key_of(series))
    }

    /// Takes in what the record at `offset` tells. Whether there is room for its key.
    fn tell(
        &mut self,
        known: &FutureCovariateSpec,
        most_keys: usize,
        offset: i64,
        key: &str,
        slot: i64,
        numbers: &[f64],
    ) -> bool {
        if offset < self.until {
            return true;
        }
        let key = if known.keyed { key } else { "" };
        let keys = self.by_key.len();
        let outlook = match self.by_key.get_mut(key) {
            Some(outlook) => outlook,
            None if keys >= most_keys => return false,
            None => self.by_key.entry(key.into()).or_default(),
        };
        let values = FutureValues { slot, offset, values: numbers.into() };
        let Insertion { stored, replaced } = outlook.insert(values, known.max_slots);
        if let Some(FutureValues { slot, offset, .. }) = replaced {
            self.held.remove(&offset);
            self.digest ^= mixed(key, slot, offset);
        }
        if stored {
            self.held.insert(offset);
            self.digest ^= mixed(key, slot, offset);
        }
        true
    }

    fn watermark(&self, position: i64) -> CovariateWatermark {
        let from = self.held.first().copied().unwrap_or(self.until);
        CovariateWatermark { position, oldest: from, next: self.until, digest: self.digest }
    }

    pub fn bytes(&self) -> usize {
        let outlooks = |(key, outlook): (&Arc<str>, &FutureCovariateTable)| {
            key.len() + 2 * size_of::<usize>() + outlook.heap_bytes()
        };
        self.by_key.allocation_size()
            + self.by_key.iter().map(outlooks).sum::<usize>()
            + self.held.len() * 2 * size_of::<i64>()
    }
}

/// Bits that tell one record's number from another's (SplitMix64 over an FNV-1a hash of the key).
fn mixed(key: &str, slot: i64, offset: i64) -> u64 {
    let numbers = slot.to_le_bytes().into_iter().chain(offset.to_le_bytes());
    let mut bits = fnv_1a(key.bytes().chain(numbers));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Engine {
    /// Takes in numbers that the record at `offset` of the second topic tells in advance of the slot at `time`, in the order of
    /// the spec, NaN where one is missing. Only between two epochs, or before the first observation of one: it is seen
    /// by every step after it. A rollback does not take it back; what is seen is noted by [`Engine::sight`]. `false` where the task
    /// holds as many keys as it may hold series already.
    pub fn update_future_covariates(
        &mut self,
        task: TaskHandle,
        offset: i64,
        key: &str,
        time: EventTime,
        numbers: &[f64],
    ) -> bool {
        debug_assert!(self.pending.is_empty(), "steps wait that must not see it");
        let Some(open) = self.tasks[task.0].as_mut() else { return true };
        let spec = &self.streams[open.stream].spec;
        let Grid::Regular { .. } = spec.series.grid else { return true };
        let slot = spec.series.grid.slot(time);
        open.outlooks.tell(&spec.series.extra.future_covariates, spec.max_series, offset, key, slot, numbers)
    }

    /// Says that the second topic has been taken up to (not including) `until`, and notes that the input from the task's position
    /// on sees it. Written down with the epoch's progress.
    pub fn advance_watermark(&mut self, task: TaskHandle, until: i64) {
        let open = self.task_mut(task);
        if until <= open.outlooks.until {
            return;
        }
        open.remember();
        open.outlooks.until = until;
        open.watermarks.retain(|watermark| watermark.position < open.position);
        open.watermarks.push(open.outlooks.watermark(open.position));
        open.sighted = true;
    }

    /// The next record of the second topic.
    pub fn covariate_offset(&self, task: TaskHandle) -> i64 {
        self.task(task).outlooks.until
    }

    /// The recorded watermarks of a replay that goes on at `position`, the next one first.
    pub fn watermarks_after(&self, task: TaskHandle, position: i64) -> &[CovariateWatermark] {
        let watermarks = &self.task(task).watermarks;
        &watermarks[watermarks.partition_point(|watermark| watermark.position <= position)..]
    }

    /// What a replay sees that begins at `position`; none where nothing had been seen yet.
    pub fn watermark_at(&self, task: TaskHandle, position: i64) -> Option<CovariateWatermark> {
        let watermarks = &self.task(task).watermarks;
        watermarks[..watermarks.partition_point(|watermark| watermark.position <= position)].last().copied()
    }

    /// Says that a replay has shown what `watermark` tells of. `false` where that is not what was seen the first time: the second
    /// topic has lost records since.
    pub fn confirm_watermark(&mut self, task: TaskHandle, watermark: CovariateWatermark) -> bool {
        let outlooks = &mut self.task_mut(task).outlooks;
        outlooks.until = watermark.next;
        outlooks.digest == watermark.digest
    }
}

impl Task {
    /// The watermarks that a replay from `position` needs.
    pub(super) fn sightings_from(&self, position: i64) -> &[CovariateWatermark] {
        let first = self.watermarks.iter().rposition(|watermark| watermark.position <= position).unwrap_or(0);
        &self.watermarks[first..]
    }
}
