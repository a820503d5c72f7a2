//! The in-memory cluster as a [`Broker`].

use std::collections::BTreeMap;

use super::{
    cluster::MemoryCluster, faults::Operation, member::MemoryMember, publisher::MemoryPublisher, reader::MemoryReader,
};
use foretide::broker::Partition;
use foretide::broker::Result;
use foretide::broker::{Broker, Member, OffsetRange, Publisher, Reader, StartPosition, TopicSpec};

impl Broker for MemoryCluster {
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>> {
        self.faults().strike(Operation::Join)?;
        Ok(Box::new(MemoryMember::join(self.clone(), group, transactional_id, topics)?))
    }

    fn reader(&self, partition: &Partition, from: StartPosition) -> Result<Box<dyn Reader>> {
        self.faults().strike(Operation::Open)?;
        Ok(Box::new(MemoryReader::open(self.clone(), partition.clone(), from)?))
    }

    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>> {
        self.faults().check_alive()?;
        Ok(Box::new(MemoryPublisher::open(self.clone(), transactional_id)))
    }

    fn offsets(&self, partition: &Partition) -> Result<OffsetRange> {
        self.faults().strike(Operation::Offsets)?;
        let state = self.lock();
        let log = state.log(&partition.topic, partition.number)?;
        Ok(OffsetRange { start: log.start(), end: log.next() })
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        self.faults().check_alive()?;
        Ok(self.lock().topics.get(topic).map(|topic| topic.partitions()))
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.faults().check_alive()?;
        self.lock().create(spec)
    }

    fn max_batch_bytes(&self, _topics: &[&str]) -> Result<BTreeMap<String, usize>> {
        self.faults().check_alive()?;
        Ok(BTreeMap::new())
    }

    fn limit_batches(&self, _bytes: usize) {}
}
