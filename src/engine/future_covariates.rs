//! The future covariates of a task: their values, which the records of a second topic bring, and the watermarks that
//! say from which input position on how many of these records were visible.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use crate::nn::fnv_1a;
use crate::series::{FutureCovariateSpec, FutureCovariateTable, FutureValues, Insertion};
use crate::snapshot::CovariateWatermark;

/// The future covariates of a task.
#[derive(Debug, Default)]
pub(super) struct TaskCovariates {
    /// By key. Covariates that all series share have the empty key.
    by_key: HashMap<Arc<str>, FutureCovariateTable>,
    /// Offsets of the records of which a value is stored.
    stored: BTreeSet<i64>,
    /// Combines all stored values, in any order, so that two sets of values can be compared.
    digest: u64,
    /// The next record of the second topic.
    next: i64,
    /// Oldest first.
    watermarks: Vec<CovariateWatermark>,
    /// Whether a watermark is not in the task's checkpoint yet.
    is_dirty: bool,
}

impl TaskCovariates {
    /// The values that apply to a series.
    pub fn of_series(&self, spec: &FutureCovariateSpec, series: &str) -> Option<&FutureCovariateTable> {
        self.by_key.get(spec.key_of(series))
    }

    /// Stores the values of one record. Returns `false` where there is no room for another key.
    pub fn insert(&mut self, spec: &FutureCovariateSpec, max_keys: usize, key: &str, values: FutureValues) -> bool {
        let FutureValues { slot, offset, .. } = values;
        if offset < self.next {
            return true;
        }
        let key = if spec.keyed { key } else { "" };
        let keys = self.by_key.len();
        let table = match self.by_key.get_mut(key) {
            Some(table) => table,
            None if keys >= max_keys => return false,
            None => self.by_key.entry(key.into()).or_default(),
        };
        let Insertion { stored, replaced } = table.insert(values, spec.max_slots);
        if let Some(FutureValues { slot, offset, .. }) = replaced {
            self.stored.remove(&offset);
            self.digest ^= digest_of(key, slot, offset);
        }
        if stored {
            self.stored.insert(offset);
            self.digest ^= digest_of(key, slot, offset);
        }
        true
    }

    /// Sets the watermark: from the input `position` on, the records before `next` are visible.
    pub fn advance(&mut self, position: i64, next: i64) {
        self.next = next;
        self.watermarks.retain(|watermark| watermark.position < position);
        let oldest = self.stored.first().copied().unwrap_or(next);
        self.watermarks.push(CovariateWatermark { position, oldest, next, digest: self.digest });
        self.is_dirty = true;
    }

    /// The next record of the second topic.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether a watermark is not in the task's checkpoint yet.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Takes over the watermarks of a checkpoint.
    pub fn resume(&mut self, watermarks: &[CovariateWatermark]) {
        self.watermarks = watermarks.to_vec();
    }

    /// The watermark of the input at `position`; none where no covariates were visible yet.
    pub fn watermark_at(&self, position: i64) -> Option<CovariateWatermark> {
        self.watermarks[..self.count_until(position)].last().copied()
    }

    /// The watermarks after `position`, the next one first.
    pub fn watermarks_after(&self, position: i64) -> &[CovariateWatermark] {
        &self.watermarks[self.count_until(position)..]
    }

    fn count_until(&self, position: i64) -> usize {
        self.watermarks.partition_point(|watermark| watermark.position <= position)
    }

    /// The watermarks that a replay from `position` needs.
    pub fn watermarks_from(&self, position: i64) -> &[CovariateWatermark] {
        &self.watermarks[self.count_until(position).saturating_sub(1)..]
    }

    /// A replay has stored the records before `watermark.next`. Returns `false` where the stored values are not those
    /// of the first time: the second topic has lost records since.
    pub fn confirm(&mut self, watermark: CovariateWatermark) -> bool {
        self.next = watermark.next;
        self.digest == watermark.digest
    }

    /// The watermarks are in the task's checkpoint, and a replay begins at `replay_from` or later.
    pub fn commit(&mut self, replay_from: i64) {
        self.watermarks = self.watermarks_from(replay_from).to_vec();
        self.is_dirty = false;
    }

    /// Memory in bytes on the heap.
    pub fn bytes(&self) -> usize {
        let table =
            |(key, table): (&Arc<str>, &FutureCovariateTable)| key.len() + 2 * size_of::<usize>() + table.heap_bytes();
        self.by_key.allocation_size()
            + self.by_key.iter().map(table).sum::<usize>()
            + self.stored.len() * 2 * size_of::<i64>()
    }
}

/// A hash of one stored record (SplitMix64 over an FNV-1a hash of key, slot and offset).
fn digest_of(key: &str, slot: i64, offset: i64) -> u64 {
    let numbers = slot.to_le_bytes().into_iter().chain(offset.to_le_bytes());
    let mut bits = fnv_1a(key.bytes().chain(numbers));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
