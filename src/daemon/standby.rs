//! Warm copies of the states of partitions that others own: a takeover then reads only what is new.
//!
//! A shard with room for it (`limits.standby_bytes`) reads on at the ends of the state topic's partitions and keeps the newest
//! record of each key, as bytes. Nothing depends on them but time: what is missing, or too old, is read from the topic.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;

use super::plan::Plan;
use crate::broker::{Batch, Broker, BrokerError, Partition, Reader, StartPosition};

/// Records that one look takes in, between two turns of the shard.
const LOOK_RECORDS: usize = 2_000;
/// Partitions that are followed at once: each has a client of its own.
const MOST_FOLLOWED: usize = 64;
/// How long nothing is followed after the group has changed, or the broker had trouble, in microseconds.
const SETTLING: u64 = 5_000_000;
/// What a record takes beside its bytes.
const RECORD_OVERHEAD: usize = 96;

/// What a copy of a series' state takes, whose key in the state topic is longer than its own by the names of its stream and topic.
pub fn standby_copy_bytes(body: &[u8], key_length: usize) -> usize {
    body.len() + key_length + 32 + RECORD_OVERHEAD
}

/// A key and its newest value; none once it was deleted.
#[derive(Debug)]
struct Entry {
    key: Arc<[u8]>,
    value: Option<Box<[u8]>>,
}

/// The newest record of each key of a partition of the state topic.
#[derive(Debug, Default)]
pub struct Copied {
    records: Vec<Entry>,
    places: HashMap<Arc<[u8]>, usize>,
    bytes: usize,
    next: i64,
}

impl Copied {
    /// The keys and values in a range of their places, those of deleted ones left out; none once the range is past the end.
    pub fn records(&self, from: usize, most: usize) -> Option<impl Iterator<Item = (&[u8], &[u8])>> {
        let slice = self.records.get(from..(from + most).min(self.records.len())).filter(|slice| !slice.is_empty())?;
        Some(slice.iter().filter_map(|entry| Some((&*entry.key, entry.value.as_deref()?))))
    }

    /// The offset from which on nothing is in it.
    pub fn next(&self) -> i64 {
        self.next
    }

    fn take(&mut self, batch: &Batch) {
        for record in batch.iter() {
            let Some(key) = record.key else { continue };
            let value = record.payload.map(Box::from);
            self.bytes += record.payload.map_or(0, <[u8]>::len);
            match self.places.get(key) {
                Some(&place) => {
                    let before = std::mem::replace(&mut self.records[place].value, value);
                    self.bytes -= before.map_or(0, |value| value.len());
                }
                None => {
                    let key: Arc<[u8]> = key.into();
                    self.bytes += key.len() + RECORD_OVERHEAD;
                    self.places.insert(Arc::clone(&key), self.records.len());
                    self.records.push(Entry { key, value });
                }
            }
        }
        self.next = batch.next_offset().unwrap_or(self.next);
    }
}

struct Followed {
    reader: Box<dyn Reader>,
    copied: Copied,
}

/// What one shard keeps of others' states.
#[derive(Default)]
pub struct Standby {
    followed: BTreeMap<i32, Followed>,
    /// Did not fit; tried again once the group has changed.
    too_large: BTreeSet<i32>,
    /// Nothing is followed before this, in microseconds of the monotonic clock.
    settled_at: u64,
    /// The partition that was looked at last: the next one is next.
    last: i32,
    /// Whether everything that is wanted is followed, or does not fit.
    complete: bool,
}

impl Standby {
    /// The group has changed: waits until it has settled.
    pub fn unsettle(&mut self, now: u64) {
        self.settled_at = now + SETTLING;
        self.too_large.clear();
        self.complete = false;
    }

    /// Whether the group has not changed for a while.
    pub fn settled(&self, now: u64) -> bool {
        now >= self.settled_at
    }

    /// Hands out what is known of some partitions of the state topic, and follows them no longer.
    pub fn take(&mut self, partitions: impl Iterator<Item = i32>) -> BTreeMap<i32, Arc<Copied>> {
        partitions
            .filter_map(|partition| self.followed.remove(&partition).map(|known| (partition, Arc::new(known.copied))))
            .collect()
    }

    /// Bytes of all copies.
    pub fn bytes(&self) -> usize {
        self.followed.values().map(|known| known.copied.bytes).sum()
    }

    /// Takes in a bounded number of new records of one partition, or begins to follow another one that is `wanted`.
    /// Returns whether there was anything to do. Trouble only costs the copies.
    ///
    /// # Errors
    /// [`BrokerError::Fatal`], after which nothing works.
    pub fn look(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        now: u64,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<bool, BrokerError> {
        if plan.standby_bytes == 0 || !self.settled(now) {
            return Ok(false);
        }
        match self.try_look(plan, broker, wanted) {
            Err(BrokerError::Fatal(why)) => Err(BrokerError::Fatal(why)),
            Err(error) => {
                tracing::debug!(%error, "the warm copies of states are put off");
                self.followed.remove(&self.last);
                self.settled_at = now + SETTLING;
                self.complete = false;
                Ok(true)
            }
            Ok(moved) => Ok(moved),
        }
    }

    fn try_look(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<bool, BrokerError> {
        for _ in 0..self.followed.len() {
            let after = self.followed.range(self.last + 1..).next().or_else(|| self.followed.iter().next());
            let Some((&partition, _)) = after else { break };
            self.last = partition;
            let Some(known) = self.followed.get_mut(&partition) else { break };
            if let Some(batch) = known.reader.read(Duration::ZERO, LOOK_RECORDS)? {
                known.copied.take(&batch);
                if self.bytes() > plan.standby_bytes {
                    tracing::info!(partition, limit = plan.standby_bytes, "limits.standby_bytes holds no more states");
                    self.followed.remove(&partition);
                    self.too_large.insert(partition);
                }
                return Ok(true);
            }
        }
        if self.complete || self.followed.len() >= MOST_FOLLOWED {
            return Ok(false);
        }
        let free = |partition: &i32| !self.followed.contains_key(partition) && !self.too_large.contains(partition);
        let next = (0..plan.state_partitions).filter(free).find(|partition| wanted(*partition));
        let Some(partition) = next else {
            self.complete = true;
            return Ok(false);
        };
        self.last = partition;
        let state = Partition { topic: plan.state_topic.as_str().into(), number: partition };
        let reader = broker.reader(&state, StartPosition::Earliest)?;
        self.followed.insert(partition, Followed { reader, copied: Copied::default() });
        Ok(true)
    }
}
