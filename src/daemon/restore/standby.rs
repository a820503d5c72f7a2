//! Standby copies of the snapshots of partitions that other shards own: a takeover then reads only what is new.
//!
//! A shard tails partitions of the state topic and keeps the newest record of each key, within `limits.standby_bytes`.
//! The copies only make a takeover shorter: what is missing or outdated is read from the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::broker::{Batch, Broker, BrokerError, Partition, Reader, StartPosition};
use crate::daemon::plan::Plan;

/// The most records that one poll copies, between two poll iterations of the shard.
const POLL_RECORDS: usize = 2_000;
/// The most partitions that are copied at once. Each has a Kafka client of its own.
const MAX_PARTITIONS: usize = 64;
/// Pause, in microseconds, after a rebalance or an error of the broker.
const SETTLE_MICROS: u64 = 5_000_000;
/// Bytes that a record takes beside its key and value.
const RECORD_OVERHEAD: usize = 96;
/// Bytes by which a key in the state topic is longer than the series' own: the names of stream and topic.
const KEY_PREFIX_BYTES: usize = 32;

/// Bytes that the copy of one series' snapshot takes.
pub fn standby_copy_bytes(body: &[u8], key_length: usize) -> usize {
    body.len() + key_length + KEY_PREFIX_BYTES + RECORD_OVERHEAD
}

/// A key and its newest value.
#[derive(Debug)]
struct Entry {
    key: Arc<[u8]>,
    value: Box<[u8]>,
}

/// The newest record of each key of one partition of the state topic.
#[derive(Debug, Default)]
pub struct StandbyCopy {
    entries: Vec<Entry>,
    /// Index of each key in `entries`.
    indices: HashMap<Arc<[u8]>, usize>,
    bytes: usize,
    /// The offset after the last record that was copied.
    pub next_offset: i64,
}

impl StandbyCopy {
    /// Keys and values of up to `count` entries from `start` on. `None` past the last entry.
    pub fn records(&self, start: usize, count: usize) -> Option<impl Iterator<Item = (&[u8], &[u8])>> {
        let slice =
            self.entries.get(start..(start + count).min(self.entries.len())).filter(|slice| !slice.is_empty())?;
        Some(slice.iter().map(|entry| (&*entry.key, &*entry.value)))
    }

    fn update(&mut self, batch: &Batch) {
        for record in batch.iter() {
            let Some(key) = record.key else { continue };
            let Some(value) = record.payload else {
                self.remove(key);
                continue;
            };
            self.bytes += value.len();
            match self.indices.get(key) {
                Some(&index) => {
                    let replaced = std::mem::replace(&mut self.entries[index].value, value.into());
                    self.bytes -= replaced.len();
                }
                None => {
                    let key: Arc<[u8]> = key.into();
                    self.bytes += key.len() + RECORD_OVERHEAD;
                    self.indices.insert(Arc::clone(&key), self.entries.len());
                    self.entries.push(Entry { key, value: value.into() });
                }
            }
        }
        self.next_offset = batch.next_offset().unwrap_or(self.next_offset);
    }

    /// Forgets a key after its tombstone. The last entry takes its place.
    fn remove(&mut self, key: &[u8]) {
        let Some(index) = self.indices.remove(key) else { return };
        let removed = self.entries.swap_remove(index);
        self.bytes -= removed.key.len() + removed.value.len() + RECORD_OVERHEAD;
        if let Some(moved) = self.entries.get(index) {
            self.indices.insert(Arc::clone(&moved.key), index);
        }
    }
}

struct StandbyPartition {
    reader: Box<dyn Reader>,
    copy: StandbyCopy,
}

/// The copies of one shard.
#[derive(Default)]
pub struct Standby {
    /// By the partition of the state topic.
    partitions: BTreeMap<i32, StandbyPartition>,
    /// Partitions that exceed the limit. They are tried again after the next rebalance.
    too_large: BTreeSet<i32>,
    /// Nothing is copied before this time of the monotonic clock, in microseconds.
    settled_at: u64,
    /// The partition that was polled last. Partitions are polled in turn.
    last_polled: i32,
    /// Whether every wanted partition is copied, or too large.
    complete: bool,
}

impl Standby {
    /// Pauses after a rebalance, and forgets which partitions were too large.
    pub fn rebalanced(&mut self, now: u64) {
        self.settled_at = now + SETTLE_MICROS;
        self.too_large.clear();
        self.complete = false;
    }

    /// Whether the last rebalance or error is some time ago.
    pub fn settled(&self, now: u64) -> bool {
        now >= self.settled_at
    }

    /// Removes and returns the copies of some partitions of the state topic.
    pub fn take(&mut self, partitions: impl Iterator<Item = i32>) -> BTreeMap<i32, Arc<StandbyCopy>> {
        partitions
            .filter_map(|partition| {
                self.partitions.remove(&partition).map(|standby| (partition, Arc::new(standby.copy)))
            })
            .collect()
    }

    pub fn bytes(&self) -> usize {
        self.partitions.values().map(|standby| standby.copy.bytes).sum()
    }

    /// Copies a bounded number of new records of one partition, or opens another one that is `wanted`. Returns whether
    /// there was anything to do.
    ///
    /// # Errors
    /// [`BrokerError::Fatal`]. Any other error only costs a copy.
    pub fn poll(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        now: u64,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<bool, BrokerError> {
        if plan.standby_bytes == 0 || !self.settled(now) {
            return Ok(false);
        }
        match self.try_poll(plan, broker, wanted) {
            Err(BrokerError::Fatal(why)) => Err(BrokerError::Fatal(why)),
            Err(error) => {
                let retry_in = Duration::from_micros(SETTLE_MICROS);
                tracing::debug!(
                    topic = plan.state_topic, partition = self.last_polled, %error, ?retry_in,
                    "standby copy postponed; retrying"
                );
                self.partitions.remove(&self.last_polled);
                self.settled_at = now + SETTLE_MICROS;
                self.complete = false;
                Ok(true)
            }
            Ok(progress) => Ok(progress),
        }
    }

    fn try_poll(
        &mut self,
        plan: &Plan,
        broker: &dyn Broker,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<bool, BrokerError> {
        for _ in 0..self.partitions.len() {
            let next = self.partitions.range(self.last_polled + 1..).next().or_else(|| self.partitions.iter().next());
            let Some((&partition, _)) = next else { break };
            self.last_polled = partition;
            let Some(standby) = self.partitions.get_mut(&partition) else { break };
            if let Some(batch) = standby.reader.read(Duration::ZERO, POLL_RECORDS)? {
                standby.copy.update(&batch);
                if self.bytes() > plan.standby_bytes {
                    tracing::info!(
                        topic = %plan.state_topic, partition, limit = plan.standby_bytes,
                        "no standby copy of this partition: limits.standby_bytes is reached"
                    );
                    self.partitions.remove(&partition);
                    self.too_large.insert(partition);
                }
                return Ok(true);
            }
        }
        if self.complete || self.partitions.len() >= MAX_PARTITIONS {
            return Ok(false);
        }
        let free = |partition: &i32| !self.partitions.contains_key(partition) && !self.too_large.contains(partition);
        let next = (0..plan.state_partitions).filter(free).find(|partition| wanted(*partition));
        let Some(partition) = next else {
            self.complete = true;
            return Ok(false);
        };
        self.last_polled = partition;
        let state = Partition { topic: plan.state_topic.as_str().into(), number: partition };
        let reader = broker.reader(&state, StartPosition::Earliest)?;
        self.partitions.insert(partition, StandbyPartition { reader, copy: StandbyCopy::default() });
        Ok(true)
    }
}
