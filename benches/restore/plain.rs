//! A broker client that writes without transactions, like an at-least-once daemon. Only for the benchmark.

use std::{collections::BTreeMap, time::Duration};

use foretide::broker::{
    Broker, BrokerError, CommittedOffset, Isolation, Member, MemberEvent, OffsetRange, Partition, ProducerRecord,
    Publisher, Reader, StartPosition, TopicSettings, TopicSpec, kafka::KafkaBroker,
};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
    types::RDKafkaErrorCode,
};

const LIMIT: Duration = Duration::from_secs(60);

pub struct Plain {
    inner: KafkaBroker,
    servers: String,
}

impl Plain {
    pub fn new(inner: KafkaBroker, servers: &str) -> Self {
        Self { inner, servers: servers.to_owned() }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }
}

impl Broker for Plain {
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>, BrokerError> {
        let inner = self.inner.join(group, transactional_id, topics)?;
        let producer = self
            .config()
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.kbytes", "131072")
            .set("partitioner", "murmur2_random")
            .set("delivery.report.only.error", "true")
            .create()
            .expect("a producer");
        // The offsets are committed for a group without members, where a commit costs the same.
        let offsets = self.config().set("group.id", format!("{group}-plain")).create().expect("a consumer");
        Ok(Box::new(PlainMember { inner, producer, offsets }))
    }

    fn reader(&self, partition: &Partition, from: StartPosition) -> Result<Box<dyn Reader>, BrokerError> {
        self.inner.reader(partition, from)
    }

    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>, BrokerError> {
        self.inner.publisher(transactional_id)
    }

    fn offsets(&self, partition: &Partition) -> Result<OffsetRange, BrokerError> {
        self.inner.offsets(partition)
    }

    fn end_offsets(&self, partitions: &[Partition], isolation: Isolation) -> Result<Vec<i64>, BrokerError> {
        self.inner.end_offsets(partitions, isolation)
    }

    fn offset_at(&self, partition: &Partition, millis: i64) -> Result<i64, BrokerError> {
        self.inner.offset_at(partition, millis)
    }

    fn group_offsets(
        &self,
        group: &str,
        partitions: &[Partition],
    ) -> Result<Vec<Option<CommittedOffset>>, BrokerError> {
        self.inner.group_offsets(group, partitions)
    }

    fn group_members(&self, group: &str) -> Result<usize, BrokerError> {
        self.inner.group_members(group)
    }

    fn topic_settings(&self, topics: &[String]) -> Result<Vec<Option<TopicSettings>>, BrokerError> {
        self.inner.topic_settings(topics)
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>, BrokerError> {
        self.inner.partitions(topic)
    }

    fn create(&self, spec: &TopicSpec) -> Result<(), BrokerError> {
        self.inner.create(spec)
    }

    fn max_batch_bytes(&self, topics: &[&str]) -> Result<BTreeMap<String, usize>, BrokerError> {
        self.inner.max_batch_bytes(topics)
    }

    fn limit_batches(&self, bytes: usize) {
        self.inner.limit_batches(bytes);
    }
}

struct PlainMember {
    inner: Box<dyn Member>,
    producer: ThreadedProducer<DefaultProducerContext>,
    offsets: BaseConsumer,
}

impl Member for PlainMember {
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Option<MemberEvent>, BrokerError> {
        self.inner.poll(timeout, max_records)
    }

    fn committed(&mut self, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>, BrokerError> {
        self.inner.committed(partitions)
    }

    fn set_commit_metadata(&mut self, _partition: &Partition, _metadata: &str) {}

    fn start(&mut self, partition: &Partition, offset: i64) -> Result<(), BrokerError> {
        self.inner.start(partition, offset)
    }

    fn stop(&mut self, partition: &Partition) -> Result<(), BrokerError> {
        self.inner.stop(partition)
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), BrokerError> {
        self.inner.release(partitions)
    }

    fn begin(&mut self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn send(&mut self, record: ProducerRecord<'_>) -> Result<(), BrokerError> {
        let mut rest = BaseRecord::<[u8], [u8]>::to(record.topic);
        rest.partition = record.partition;
        rest.key = record.key;
        rest.payload = record.payload;
        loop {
            match self.producer.send(rest) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    std::thread::sleep(Duration::from_micros(200));
                    rest = same;
                }
                Err((error, _)) => return Err(BrokerError::Rejected(error.to_string())),
            }
        }
    }

    fn commit(&mut self, positions: &[(Partition, i64)]) -> Result<(), BrokerError> {
        while self.producer.in_flight_count() > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            let offset = rdkafka::Offset::Offset(*offset);
            list.add_partition_offset(&partition.topic, partition.number, offset).expect("an offset");
        }
        if !positions.is_empty() {
            let done = self.offsets.commit(&list, CommitMode::Async);
            done.map_err(|error| BrokerError::Retriable(error.to_string()))?;
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn delivery_positions(&mut self) -> Result<Vec<(Partition, i64)>, BrokerError> {
        self.inner.delivery_positions()
    }

    fn leave(&mut self) -> Result<(), BrokerError> {
        self.producer.flush(LIMIT).map_err(|error| BrokerError::Retriable(error.to_string()))?;
        self.inner.leave()
    }
}
