//! A transactional broker in memory, for simulation: no clock, no threads, no randomness.
//!
//! It keeps Kafka's promises as far as the daemon leans on them: records of open transactions and everything behind
//! them (the *last stable offset*) are hidden from readers, aborted records are never seen, each end of a transaction
//! takes an offset in every partition that it touched, a second client under a transactional id fences the first, a
//! member with an old group generation cannot commit, and partitions move between members cooperatively.
//!
//! A [`MemoryCluster`] is a handle of one process. [`MemoryCluster::process`] gives another process' handle on the same
//! data; its [`Faults`] strike only clients that were opened through it, and after [`Fault::Crashed`] all of them are
//! dead. What a dead process leaves behind (an open transaction, a seat in the group) stays until the same transactional
//! id joins again or [`MemoryCluster::expire`] plays the broker's timeouts.

mod cluster;
mod faults;
mod group;
mod log;
mod member;
mod reader;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use faults::{Delivery, Fault, Faults, Operation, Pause};
pub use log::StoredRecord;

use super::{Broker, BrokerError, From, Member, Partition, Publisher, Reader, TopicSpec};
use cluster::Cluster;

/// A process' handle on a cluster in memory; cheap to clone. See the module's description.
#[derive(Debug, Clone, Default)]
pub struct MemoryCluster {
    shared: Arc<Mutex<Cluster>>,
    faults: Faults,
}

impl MemoryCluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for another process on the same data, with a fresh plan of faults.
    #[must_use]
    pub fn process(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), faults: Faults::default() }
    }

    /// The plan of faults for everything opened through this handle and its clones.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timestamp, milliseconds since the epoch, of records that members and publishers write from now on.
    pub fn set_time(&self, millis: i64) {
        self.lock().now = millis;
    }

    /// Writes a record without a transaction, as a plain producer would, and returns its offset.
    /// [`BrokerError::Refused`] where the partition does not exist.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<i64, BrokerError> {
        self.append_with_headers(topic, partition, key, payload, timestamp, &[])
    }

    /// [`MemoryCluster::append`] of a record with headers.
    pub fn append_with_headers(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        timestamp: i64,
        headers: &[(&str, &[u8])],
    ) -> Result<i64, BrokerError> {
        let record = StoredRecord::new(timestamp, key, payload, headers);
        Ok(self.lock().log_mut(topic, partition)?.append(record, None))
    }

    /// Every record that a `read_committed` reader would see, in offset order; empty where there is no such partition.
    pub fn committed_records(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        self.lock().log(topic, partition).map(|log| log.stable().to_vec()).unwrap_or_default()
    }

    /// The committed offsets of `group`.
    pub fn group_offsets(&self, group: &str) -> BTreeMap<Partition, i64> {
        self.lock().groups.get(group).map(|group| group.offsets.clone()).unwrap_or_default()
    }

    /// Who owns what in `group`: the transactional id of the member that holds each partition.
    pub fn group_owners(&self, group: &str) -> BTreeMap<Partition, String> {
        self.lock().groups.get(group).map(group::Group::owners).unwrap_or_default()
    }

    /// Keeps only the newest stable record of each key (a tombstone goes with what it deletes).
    pub fn compact(&self, topic: &str) -> Result<(), BrokerError> {
        let mut cluster = self.lock();
        cluster.topic_mut(topic)?.logs.iter_mut().for_each(log::Log::compact);
        Ok(())
    }

    /// Drops every record below `offset`, as retention does.
    pub fn truncate_before(&self, partition: &Partition, offset: i64) -> Result<(), BrokerError> {
        self.lock().log_mut(&partition.topic, partition.number)?.truncate_before(offset);
        Ok(())
    }

    /// Deletes a topic and makes it again with as many partitions; where `forget_offsets`, the groups' offsets in it go as
    /// well, as they do once the brokers have come to it.
    pub fn recreate_topic(&self, topic: &str, forget_offsets: bool) -> Result<(), BrokerError> {
        let mut cluster = self.lock();
        cluster.topic_mut(topic)?.logs.iter_mut().for_each(|log| *log = log::Log::default());
        if forget_offsets {
            let groups = cluster.groups.values_mut();
            groups.for_each(|group| group.offsets.retain(|partition, _| *partition.topic != *topic));
        }
        Ok(())
    }

    /// Grows a topic to `total` partitions; groups that read it take the new ones up.
    pub fn add_partitions(&self, topic: &str, total: i32) -> Result<(), BrokerError> {
        self.lock().add_partitions(topic, total)
    }

    /// Lets transactions that have been committed or aborted reach their partitions, and the group's offsets, only one
    /// by one, when [`MemoryCluster::write_marker`] says so: until then readers are held back. The next transaction
    /// under the same id waits for them, as Kafka's does. `false` writes what is outstanding.
    pub fn delay_markers(&self, delay: bool) {
        self.lock().delay_markers(delay);
    }

    /// Writes one of the outstanding markers, chosen by `choice`. Returns whether there was any.
    pub fn write_marker(&self, choice: usize) -> bool {
        self.lock().write_marker(choice)
    }

    /// Plays the timeouts of a client that is gone: drops the oldest group seat held under `transactional_id` and
    /// aborts the transaction which that seat left open. Returns whether there was anything to drop.
    pub fn expire(&self, transactional_id: &str) -> bool {
        self.lock().expire(transactional_id, true)
    }

    /// Plays only the session timeout: the oldest seat under `transactional_id` is dropped, but its transaction stays
    /// open, so that a client which lives on (a zombie) can still try to commit it.
    pub fn expire_session(&self, transactional_id: &str) -> bool {
        self.lock().expire(transactional_id, false)
    }
}

impl Broker for MemoryCluster {
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>, BrokerError> {
        self.faults.strike(Operation::Join)?;
        Ok(Box::new(member::MemoryMember::join(self.clone(), group, transactional_id, topics)?))
    }

    fn reader(&self, partition: &Partition, from: From) -> Result<Box<dyn Reader>, BrokerError> {
        self.faults.strike(Operation::Open)?;
        Ok(Box::new(reader::MemoryReader::open(self.clone(), partition.clone(), from)?))
    }

    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>, BrokerError> {
        self.faults.alive()?;
        Ok(Box::new(member::MemoryPublisher::open(self.clone(), transactional_id)))
    }

    fn offsets(&self, partition: &Partition) -> Result<(i64, i64), BrokerError> {
        self.faults.strike(Operation::Offsets)?;
        let cluster = self.lock();
        let log = cluster.log(&partition.topic, partition.number)?;
        Ok((log.start(), log.next()))
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>, BrokerError> {
        self.faults.alive()?;
        Ok(self.lock().topics.get(topic).map(cluster::Topic::partitions))
    }

    fn create(&self, plan: &TopicSpec) -> Result<(), BrokerError> {
        self.faults.alive()?;
        self.lock().create(plan)
    }
}
