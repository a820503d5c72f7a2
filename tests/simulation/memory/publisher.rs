//! A publisher on the in-memory cluster.

use super::cluster::MemoryCluster;
use super::faults::{Fault, Operation};
use foretide::broker::{CommittedOffset, Partition, ProducerRecord, Publisher, Result};

#[derive(Debug)]
pub(super) struct MemoryPublisher {
    cluster: MemoryCluster,
    transactional_id: String,
    epoch: u64,
}

impl MemoryPublisher {
    pub(super) fn open(cluster: MemoryCluster, transactional_id: &str) -> Self {
        let epoch = cluster.lock().fence(transactional_id);
        Self { cluster, transactional_id: transactional_id.to_owned(), epoch }
    }
}

impl Publisher for MemoryPublisher {
    fn publish_with_offsets(
        &mut self,
        records: &[ProducerRecord<'_>],
        group: &str,
        positions: &[(Partition, CommittedOffset)],
    ) -> Result<()> {
        if let Some(fault) = self.cluster.faults().count(Operation::Publish) {
            if fault == Fault::Fenced {
                self.cluster.lock().fence(&self.transactional_id);
            }
            return Err(fault.error());
        }
        let mut state = self.cluster.lock();
        state.check_epoch(&self.transactional_id, self.epoch)?;
        for record in records {
            state.target(record)?;
        }
        state.begin(&self.transactional_id, self.epoch, None)?;
        for record in records {
            state.send(&self.transactional_id, self.epoch, record)?;
        }
        state.commit(&self.transactional_id, group, positions.to_vec());
        Ok(())
    }
}
