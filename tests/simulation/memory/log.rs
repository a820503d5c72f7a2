//! The log of one partition.

use std::collections::{BTreeMap, BTreeSet};

use foretide::broker::{Batch, Partition, Record};

/// A record in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Offset in the partition.
    pub offset: i64,
    /// Timestamp in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key; `None` for a record without one.
    pub key: Option<Vec<u8>>,
    /// Value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl StoredRecord {
    /// A record without an offset yet.
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

/// The log of one partition. Invariant: `records` is sorted by offset, and each record is committed or belongs to a
/// transaction in `open`. Everything below the last stable offset is therefore committed.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<StoredRecord>,
    /// Offsets of the records of each open transaction.
    open: BTreeMap<u64, BTreeSet<i64>>,
    start: i64,
    next: i64,
}

impl Log {
    /// The offset of the oldest record.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset after the newest record or marker, records of open transactions included.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The last stable offset: every transaction below it has ended.
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

    /// Copies up to `max_records` stable records from `position` on and moves `position` after the last of them.
    pub(super) fn read(&self, partition: &Partition, position: &mut i64, max_records: usize) -> Option<Batch> {
        let mut batch = Batch::new(partition.clone());
        for StoredRecord { offset, timestamp, key, payload, .. } in self.stable_from(*position).iter().take(max_records)
        {
            let (key, payload) = (key.as_deref(), payload.as_deref());
            batch.push(Record { offset: *offset, timestamp: Some(*timestamp), key, payload });
        }
        *position = batch.next_offset()?;
        Some(batch)
    }

    /// The offset of the first stable record with timestamp `millis` or later; the last stable offset if there is none.
    pub(super) fn offset_at(&self, millis: i64) -> i64 {
        self.stable()
            .iter()
            .find(|record| record.timestamp >= millis)
            .map_or(self.last_stable(), |record| record.offset)
    }

    /// Appends a record, as part of an open transaction or committed at once, and returns its offset.
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

    /// Ends a transaction: its records become visible or disappear, and the marker takes an offset.
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

    /// Keeps the newest stable record of each key. Tombstones stay, as they do in Kafka for `delete.retention.ms` (a
    /// day by default): a reader that has seen what they delete must see them, too.
    pub(super) fn compact(&mut self) {
        let stable = self.last_stable();
        let newest: BTreeMap<Option<Vec<u8>>, i64> =
            self.stable().iter().map(|record| (record.key.clone(), record.offset)).collect();
        self.records.retain(|record| {
            record.offset >= stable || record.key.is_none() || newest.get(&record.key) == Some(&record.offset)
        });
    }
}
