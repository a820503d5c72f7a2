//! The in-memory cluster as a [`Broker`].

use std::collections::BTreeMap;

use super::{
    cluster::MemoryCluster, faults::Operation, group::Group, member::MemoryMember, publisher::MemoryPublisher,
    reader::MemoryReader, state::Topic,
};
use foretide::broker::Partition;
use foretide::broker::Result;
use foretide::broker::{
    Broker, CommittedOffset, Isolation, Member, OffsetRange, Publisher, Reader, StartPosition, TopicSettings, TopicSpec,
};

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

    fn end_offsets(&self, partitions: &[Partition], isolation: Isolation) -> Result<Vec<i64>> {
        self.faults().strike(Operation::Offsets)?;
        let state = self.lock();
        let end = |partition: &Partition| {
            let log = state.log(&partition.topic, partition.number)?;
            Ok(match isolation {
                Isolation::Committed => log.last_stable(),
                Isolation::Uncommitted => log.next(),
            })
        };
        partitions.iter().map(end).collect()
    }

    fn offset_at(&self, partition: &Partition, millis: i64) -> Result<i64> {
        self.faults().strike(Operation::Offsets)?;
        Ok(self.lock().log(&partition.topic, partition.number)?.offset_at(millis))
    }

    fn group_offsets(&self, group: &str, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.faults().strike(Operation::Offsets)?;
        let state = self.lock();
        let group = state.groups.get(group);
        Ok(partitions.iter().map(|partition| group.and_then(|group| group.committed(partition))).collect())
    }

    fn group_members(&self, group: &str) -> Result<usize> {
        self.faults().check_alive()?;
        Ok(self.lock().groups.get(group).map_or(0, Group::members))
    }

    fn topic_settings(&self, topics: &[String]) -> Result<Vec<Option<TopicSettings>>> {
        self.faults().check_alive()?;
        let state = self.lock();
        Ok(topics.iter().map(|topic| state.topics.get(topic).map(Topic::settings)).collect())
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        self.faults().check_alive()?;
        Ok(self.lock().topics.get(topic).map(|topic| topic.partitions()))
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.faults().check_alive()?;
        self.lock().create(spec)
    }

    fn max_batch_bytes(&self, topics: &[&str]) -> Result<BTreeMap<String, usize>> {
        self.faults().check_alive()?;
        let state = self.lock();
        let limit = |topic: &&str| Some(((*topic).to_owned(), state.topics.get(*topic)?.max_record_bytes));
        Ok(topics.iter().filter_map(limit).collect())
    }

    fn limit_batches(&self, _bytes: usize) {}
}
