//! A reader on one partition in memory.

use std::time::Duration;

use super::{
    MemoryCluster,
    faults::Operation,
    log::{Log, StoredRecord},
};
use crate::broker::{Batch, BrokerError, From, Partition, Reader, Record};

#[derive(Debug)]
pub(super) struct MemoryReader {
    cluster: MemoryCluster,
    partition: Partition,
    position: i64,
}

impl MemoryReader {
    pub(super) fn open(cluster: MemoryCluster, partition: Partition, from: From) -> Result<Self, BrokerError> {
        let position = {
            let state = cluster.lock();
            let log = state.log(&partition.topic, partition.number)?;
            match from {
                From::Beginning => log.start(),
                From::Offset(offset) => offset.max(log.start()),
                From::Time(millis) => log.at_time(millis),
            }
        };
        Ok(Self { cluster, partition, position })
    }
}

/// Copies at most `max_records` stable records from `position` on, which then stands after the last of them.
pub(super) fn take(log: &Log, partition: &Partition, position: &mut i64, max_records: usize) -> Option<Batch> {
    let mut batch = Batch::new(partition.clone());
    for StoredRecord { offset, timestamp, key, payload, .. } in log.stable_from(*position).iter().take(max_records) {
        let (key, payload) = (key.as_deref(), payload.as_deref());
        batch.push(Record { offset: *offset, timestamp: Some(*timestamp), key, payload });
    }
    *position = batch.next_offset()?;
    Some(batch)
}

impl Reader for MemoryReader {
    fn read(&mut self, _timeout: Duration, max_records: usize) -> Result<Option<Batch>, BrokerError> {
        self.cluster.faults().strike(Operation::Read)?;
        let state = self.cluster.lock();
        let log = state.log(&self.partition.topic, self.partition.number)?;
        Ok(take(log, &self.partition, &mut self.position, max_records))
    }

    fn has_reached(&mut self, end: i64) -> Result<bool, BrokerError> {
        self.cluster.faults().alive()?;
        let state = self.cluster.lock();
        let log = state.log(&self.partition.topic, self.partition.number)?;
        let next = log.stable_from(self.position).first().map_or(log.last_stable(), |record| record.offset);
        Ok(next.max(self.position) >= end)
    }
}
