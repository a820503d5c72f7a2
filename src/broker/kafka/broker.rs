//! The cluster: opens members, readers and publishers, and shares one metadata client among them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;

use super::deadline::monotonic_micros;
use super::member::KafkaMember;
use super::metadata::MetadataClient;
use super::offset_query;
use super::options::KafkaOptions;
use super::producer::{KafkaPublisher, TransactionalProducer};
use super::reader::KafkaReader;
use super::reader_pool::ReaderPool;
use crate::broker::client::{
    Broker, CommittedOffset, Isolation, Member, OffsetRange, Publisher, Reader, StartPosition, TopicSettings, TopicSpec,
};
use crate::broker::errors::Result;
use crate::broker::records::Partition;
use crate::telemetry::{LeftOut, LogLimit};

/// Every request tries to renew a client whose authentication failed.
static RENEWAL_LIMIT: LogLimit = LogLimit::growing();

/// A Kafka cluster.
pub struct KafkaBroker {
    options: KafkaOptions,
    metadata: Mutex<Arc<MetadataClient>>,
    readers: Arc<ReaderPool>,
    /// The client that asks for offsets, one question at a time: more at once would need more clients.
    queries: Mutex<ReaderPool>,
    /// The largest batch of a new producer, in bytes.
    batch_bytes: AtomicUsize,
}

impl KafkaBroker {
    /// Creates the client. It does not contact the cluster yet.
    ///
    /// # Errors
    /// `BrokerError::Rejected` for a property that librdkafka does not know or that must not be set.
    pub fn new(options: KafkaOptions) -> Result<Self> {
        options.check()?;
        let metadata = Mutex::new(Arc::new(MetadataClient::new(&options)?));
        let (readers, queries) = (Arc::default(), Mutex::default());
        Ok(Self { options, metadata, readers, queries, batch_bytes: AtomicUsize::new(usize::MAX) })
    }

    fn queries(&self) -> MutexGuard<'_, ReaderPool> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metadata client. After an authentication failure this creates a new one, which reads the files of passwords,
    /// keys and certificates again.
    fn metadata(&self) -> Arc<MetadataClient> {
        self.readers.remove_expired();
        let mut metadata = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if metadata.authentication_failed() {
            match MetadataClient::new(&self.options) {
                Ok(renewed) => *metadata = Arc::new(renewed),
                Err(error) => {
                    if let Some(LeftOut(left_out)) = RENEWAL_LIMIT.admit("renewal", monotonic_micros()) {
                        tracing::warn!(
                            target: "kafka", %error, left_out,
                            "cannot renew the client from the current secret files; keeping the old client"
                        );
                    }
                }
            }
        }
        Arc::clone(&metadata)
    }

    /// The options of a new client.
    fn options(&self) -> KafkaOptions {
        KafkaOptions { batch_bytes: self.batch_bytes.load(Ordering::Relaxed), ..self.options.clone() }
    }
}

impl Broker for KafkaBroker {
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>> {
        Ok(Box::new(KafkaMember::join(&self.options(), self.metadata(), group, transactional_id, topics)?))
    }

    fn reader(&self, partition: &Partition, from: StartPosition) -> Result<Box<dyn Reader>> {
        let pool = Arc::clone(&self.readers);
        Ok(Box::new(KafkaReader::open(&self.options, self.metadata(), pool, partition, from)?))
    }

    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>> {
        let options = self.options();
        let producer = TransactionalProducer::start(&options, transactional_id)?;
        Ok(Box::new(KafkaPublisher::new(producer, options)))
    }

    fn offsets(&self, partition: &Partition) -> Result<OffsetRange> {
        self.metadata().offsets(partition)
    }

    fn end_offsets(&self, partitions: &[Partition], isolation: Isolation) -> Result<Vec<i64>> {
        match isolation {
            _ if partitions.is_empty() => Ok(Vec::new()),
            Isolation::Uncommitted => self.metadata().high_watermarks(partitions),
            Isolation::Committed => {
                self.queries().ask(&self.options, "asking for last stable offsets", |client, left| {
                    offset_query::ends(client, partitions, left)
                })
            }
        }
    }

    fn offset_at(&self, partition: &Partition, millis: i64) -> Result<i64> {
        let operation = format!("looking for the offset of a time in {partition}");
        self.queries().ask(&self.options, &operation, |client, left| {
            let partitions = std::slice::from_ref(partition);
            let found = offset_query::offsets_at(client, partitions, Offset::Offset(millis.max(0)), left)?;
            match found.first() {
                Some(Some(offset)) => Ok(*offset),
                _ => Ok(offset_query::ends(client, partitions, left)?.first().copied().unwrap_or(0)),
            }
        })
    }

    fn group_offsets(&self, group: &str, partitions: &[Partition]) -> Result<Vec<Option<CommittedOffset>>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let operation = format!("reading the offsets of group {group}");
        let client = offset_query::group_client(&self.options, group, &operation)?;
        offset_query::committed(&client, partitions, self.options.request_timeout)
            .map_err(|error| client.context().last_error.explain(&operation, &error))
    }

    fn group_members(&self, group: &str) -> Result<usize> {
        self.metadata().group_members(group)
    }

    fn topic_settings(&self, topics: &[String]) -> Result<Vec<Option<TopicSettings>>> {
        self.metadata().topic_settings(topics)
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        self.metadata().partitions(topic)
    }

    fn ping(&self, topic: &str, timeout: Duration) -> Result<()> {
        self.metadata().ping(topic, timeout)
    }

    fn create(&self, spec: &TopicSpec) -> Result<()> {
        self.metadata().create(spec)
    }

    fn max_batch_bytes(&self, topics: &[&str]) -> Result<BTreeMap<String, usize>> {
        self.metadata().max_batch_bytes(topics)
    }

    fn limit_batches(&self, bytes: usize) {
        self.batch_bytes.store(bytes, Ordering::Relaxed);
    }
}
