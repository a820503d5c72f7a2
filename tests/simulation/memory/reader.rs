//! A reader of one partition of the in-memory cluster.

use std::time::Duration;

use super::{cluster::MemoryCluster, faults::Operation};
use foretide::broker::Result;
use foretide::broker::{Batch, Partition};
use foretide::broker::{Reader, StartPosition};

#[derive(Debug)]
pub(super) struct MemoryReader {
    cluster: MemoryCluster,
    partition: Partition,
    /// The next offset to read.
    position: i64,
}

impl MemoryReader {
    pub(super) fn open(cluster: MemoryCluster, partition: Partition, from: StartPosition) -> Result<Self> {
        let position = {
            let state = cluster.lock();
            let log = state.log(&partition.topic, partition.number)?;
            match from {
                StartPosition::Earliest => log.start(),
                StartPosition::Offset(offset) => offset.max(log.start()),
                StartPosition::Timestamp(millis) => log.offset_at(millis),
            }
        };
        Ok(Self { cluster, partition, position })
    }
}

impl Reader for MemoryReader {
    fn read(&mut self, _timeout: Duration, max_records: usize) -> Result<Option<Batch>> {
        self.cluster.faults().strike(Operation::Read)?;
        let state = self.cluster.lock();
        let log = state.log(&self.partition.topic, self.partition.number)?;
        Ok(log.read(&self.partition, &mut self.position, max_records))
    }

    fn has_reached(&mut self, end: i64) -> Result<bool> {
        self.cluster.faults().check_alive()?;
        let state = self.cluster.lock();
        let log = state.log(&self.partition.topic, self.partition.number)?;
        let next = log.stable_from(self.position).first().map_or(log.last_stable(), |record| record.offset);
        Ok(next.max(self.position) >= end)
    }
}
