//! What the open transaction copies to a repartition topic.

use std::collections::BTreeMap;

use crate::broker::{Partition, Record};
use crate::wire::{CopyOrigin, Decoded, Rejection, write_copy};

/// Copies with their keys, in one buffer.
#[derive(Debug, Default)]
pub struct Copies {
    buffer: Vec<u8>,
    /// Where each key ends, and each copy. A key begins where the copy before it ends.
    ends: Vec<(usize, usize)>,
}

impl Copies {
    /// Adds a copy.
    pub fn push(&mut self, key: &str, copied: &Decoded<'_>, origin: &CopyOrigin<'_>) {
        self.buffer.extend_from_slice(key.as_bytes());
        let key_end = self.buffer.len();
        write_copy(copied, origin, &mut self.buffer);
        self.ends.push((key_end, self.buffer.len()));
    }

    /// Moves all copies of `other` behind these.
    pub fn append(&mut self, other: &mut Self) {
        let offset = self.buffer.len();
        self.buffer.append(&mut other.buffer);
        self.ends.extend(other.ends.drain(..).map(|(key_end, end)| (offset + key_end, offset + end)));
    }

    /// Key and value of each copy, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let buffer = &self.buffer;
        self.ends.iter().zip(starts).map(|((key_end, end), start)| (&buffer[start..*key_end], &buffer[*key_end..*end]))
    }

    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.ends.clear();
    }
}

/// A record that cannot be used, or only in part.
#[derive(Debug, Clone)]
pub struct RefusedRecord {
    pub partition: Partition,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    pub rejection: Rejection,
    /// Whether it lies before the start of the stream, so that no dead letter is written.
    pub warm_up: bool,
}

impl RefusedRecord {
    /// The dead letter needs a record as it was read.
    pub fn new(partition: &Partition, record: Record<'_>, rejection: Rejection, warm_up: bool) -> Self {
        let Record { offset, timestamp, key, payload } = record;
        let (key, payload) = (key.map(<[u8]>::to_vec), payload.map(<[u8]>::to_vec));
        Self { partition: partition.clone(), offset, timestamp, key, payload, rejection, warm_up }
    }

    /// The record as it was read.
    pub fn record(&self) -> Record<'_> {
        let (key, payload) = (self.key.as_deref(), self.payload.as_deref());
        Record { offset: self.offset, timestamp: self.timestamp, key, payload }
    }

    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len)
    }
}

/// Records of one input partition that were read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadRecords {
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// What the open transaction copies of one stream.
#[derive(Debug, Default)]
pub struct Pending {
    pub copies: Copies,
    pub refused: Vec<RefusedRecord>,
    /// Records that were read, by their partition.
    pub records: BTreeMap<Partition, ReadRecords>,
    /// All of them.
    pub count: usize,
    /// Bytes of copies and refused records.
    pub bytes: usize,
    /// When the first of them was read, in microseconds of the monotonic clock.
    pub since: Option<u64>,
}

impl Pending {
    /// Forgets everything: it is committed, or will be read again.
    pub fn clear(&mut self) {
        self.copies.clear();
        self.refused.clear();
        self.records.clear();
        (self.count, self.bytes, self.since) = (0, 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_keep_their_keys_and_their_order() {
        let origin = CopyOrigin { topic: "in", partition: 1, offset: 2 };
        let (mut all, mut head) = (Copies::default(), Copies::default());
        for key in ["a", "", "long key"] {
            head.push(key, &Decoded::Deleted { series: key, warm_up: false }, &origin);
            head.push(key, &Decoded::Deleted { series: key, warm_up: true }, &origin);
            all.append(&mut head);
            assert_eq!(head.iter().count(), 0);
        }
        let found: Vec<(String, String)> = all
            .iter()
            .map(|(key, copy)| (String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(copy.to_vec()).unwrap()))
            .collect();
        assert_eq!(found.len(), 6);
        assert_eq!(found[4].0, "long key");
        assert!(found[5].1.ends_with("\"warm_up\":true}") && found[5].1.starts_with('{'), "{}", found[5].1);
        all.clear();
        assert_eq!((all.iter().count(), all.bytes()), (0, 0));
    }
}
