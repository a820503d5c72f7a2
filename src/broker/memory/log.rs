//! One partition's records.

use std::collections::{BTreeMap, BTreeSet};

/// A record as it lies in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key, where there is one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl StoredRecord {
    /// A record whose offset is still to be given.
    pub(super) fn new(timestamp: i64, key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[(&str, &[u8])]) -> Self {
        Self {
            offset: -1,
            timestamp,
            key: key.map(<[u8]>::to_vec),
            payload: payload.map(<[u8]>::to_vec),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        }
    }
}

/// The log of one partition. Invariant: `records` is sorted by offset, and each of them is committed or belongs to a
/// transaction in `open`; so everything below the last stable offset is committed.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<StoredRecord>,
    /// Offsets of the records of each open transaction.
    open: BTreeMap<u64, BTreeSet<i64>>,
    start: i64,
    next: i64,
}

impl Log {
    /// The oldest offset kept.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset after the newest record or marker, open transactions included.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The offset up to which everything is decided.
    pub(super) fn last_stable(&self) -> i64 {
        self.open.values().filter_map(BTreeSet::first).min().copied().unwrap_or(self.next)
    }

    /// The committed records below the last stable offset.
    pub(super) fn stable(&self) -> &[StoredRecord] {
        &self.records[..self.records.partition_point(|record| record.offset < self.last_stable())]
    }

    /// The stable records from `offset` on.
    pub(super) fn stable_from(&self, offset: i64) -> &[StoredRecord] {
        let stable = self.stable();
        &stable[stable.partition_point(|record| record.offset < offset)..]
    }

    /// The offset of the first stable record whose timestamp is `millis` or later; else the last stable offset.
    pub(super) fn at_time(&self, millis: i64) -> i64 {
        self.stable()
            .iter()
            .find(|record| record.timestamp >= millis)
            .map_or(self.last_stable(), |record| record.offset)
    }

    /// Appends a record, committed at once or as part of an open transaction, and returns its offset.
    pub(super) fn append(&mut self, mut record: StoredRecord, transaction: Option<u64>) -> i64 {
        let offset = self.next;
        record.offset = offset;
        self.records.push(record);
        self.next += 1;
        if let Some(transaction) = transaction {
            self.open.entry(transaction).or_default().insert(offset);
        }
        offset
    }

    /// Ends a transaction: its records become visible or vanish, and the marker takes an offset.
    pub(super) fn end(&mut self, transaction: u64, commit: bool) {
        let Some(offsets) = self.open.remove(&transaction) else { return };
        if !commit {
            self.records.retain(|record| !offsets.contains(&record.offset));
        }
        self.next += 1;
    }

    pub(super) fn truncate_before(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.last_stable()));
        let start = self.start;
        self.records.retain(|record| record.offset >= start);
    }

    pub(super) fn compact(&mut self) {
        let stable = self.last_stable();
        let newest: BTreeMap<Option<Vec<u8>>, i64> =
            self.stable().iter().map(|record| (record.key.clone(), record.offset)).collect();
        self.records.retain(|record| {
            record.offset >= stable
                || record.key.is_none()
                || (record.payload.is_some() && newest.get(&record.key) == Some(&record.offset))
        });
    }
}
