//! The handle on an in-memory cluster, with what tests need beyond a client's calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::Faults;
use super::group::Group;
use super::log::{Log, StoredRecord};
use super::state::ClusterState;
use foretide::broker::{CommittedOffset, Partition, Result};

/// A process' handle on an in-memory cluster; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryCluster {
    state: Arc<Mutex<ClusterState>>,
    faults: Faults,
}

impl MemoryCluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for another process on the same data, without planned faults.
    #[must_use]
    pub fn process(&self) -> Self {
        Self { state: Arc::clone(&self.state), faults: Faults::default() }
    }

    /// The planned faults of all clients of this handle and its clones.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ClusterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timestamp of records that members and publishers write from now on, in milliseconds since the Unix
    /// epoch.
    pub fn set_time(&self, millis: i64) {
        self.lock().now = millis;
    }

    /// Writes a record without a transaction and returns its offset.
    ///
    /// # Errors
    /// `BrokerError::Rejected` if the partition does not exist.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<i64> {
        let record = StoredRecord::new(timestamp, key, payload, &[]);
        Ok(self.lock().log_mut(topic, partition)?.append(record, None))
    }

    /// Every record that a `read_committed` consumer sees, in offset order; empty if the partition does not exist.
    pub fn committed_records(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        self.lock().log(topic, partition).map(|log| log.stable().to_vec()).unwrap_or_default()
    }

    /// The committed offsets of `group`.
    pub fn group_offsets(&self, group: &str) -> BTreeMap<Partition, i64> {
        let state = self.lock();
        let offsets = state.groups.get(group).into_iter().flat_map(|group| &group.offsets);
        offsets.map(|(partition, committed)| (partition.clone(), committed.offset)).collect()
    }

    /// Sets the committed offset of a group as tools do: without a text. `None` deletes it.
    pub fn set_group_offset(&self, group: &str, partition: &Partition, offset: Option<i64>) {
        let mut state = self.lock();
        let offsets = &mut state.groups.entry(group.to_owned()).or_default().offsets;
        match offset {
            Some(offset) => {
                offsets.insert(partition.clone(), CommittedOffset { offset, metadata: String::new() });
            }
            None => {
                offsets.remove(partition);
            }
        }
    }

    /// The transactional id of the member that owns each partition of `group`.
    pub fn group_owners(&self, group: &str) -> BTreeMap<Partition, String> {
        self.lock().groups.get(group).map(Group::owners).unwrap_or_default()
    }

    /// Compacts a topic: keeps only the newest stable record of each key, which may be a tombstone.
    pub fn compact(&self, topic: &str) -> Result<()> {
        self.lock().topic_mut(topic)?.logs.iter_mut().for_each(Log::compact);
        Ok(())
    }

    /// Sets the most bytes of a record of a topic.
    pub fn limit_records(&self, topic: &str, bytes: usize) -> Result<()> {
        self.lock().topic_mut(topic)?.max_record_bytes = bytes;
        Ok(())
    }

    /// Deletes every record below `offset`, as retention does.
    pub fn truncate_before(&self, partition: &Partition, offset: i64) -> Result<()> {
        self.lock().log_mut(&partition.topic, partition.number)?.truncate_before(offset);
        Ok(())
    }

    /// Deletes a topic and creates it again with as many partitions. `forget_offsets` also deletes the groups' offsets
    /// for it, as brokers do a while later.
    pub fn recreate_topic(&self, topic: &str, forget_offsets: bool) -> Result<()> {
        let mut state = self.lock();
        state.topic_mut(topic)?.logs.iter_mut().for_each(|log| *log = Log::default());
        if forget_offsets {
            let groups = state.groups.values_mut();
            groups.for_each(|group| group.offsets.retain(|partition, _| *partition.topic != *topic));
        }
        Ok(())
    }

    /// Grows a topic to `total` partitions. Groups that consume it rebalance.
    pub fn add_partitions(&self, topic: &str, total: i32) -> Result<()> {
        self.lock().add_partitions(topic, total)
    }

    /// Delays the markers of ended transactions: each partition, and the group's offsets, sees the end only when
    /// [`MemoryCluster::write_marker`] says so. The next transaction of the same id waits for them, as in Kafka.
    /// `false` writes all outstanding markers.
    pub fn delay_markers(&self, delay: bool) {
        self.lock().delay_markers(delay);
    }

    /// Writes one outstanding marker, selected by `choice`. Returns whether there was any.
    pub fn write_marker(&self, choice: usize) -> bool {
        self.lock().write_marker(choice)
    }

    /// Plays the timeouts of a client that has disappeared: removes the oldest group membership of `transactional_id`
    /// and aborts its open transaction. Returns whether there was either.
    pub fn expire(&self, transactional_id: &str) -> bool {
        self.lock().expire(transactional_id, true)
    }

    /// Plays only the session timeout: removes the oldest membership of `transactional_id` but leaves its transaction
    /// open, so that a client which is still running (a zombie) can try to commit it.
    pub fn expire_session(&self, transactional_id: &str) -> bool {
        self.lock().expire(transactional_id, false)
    }
}
