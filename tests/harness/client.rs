//! Independent clients: Kafka's console consumer reads what the daemon writes.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::kafka::Kafka;

/// A record to produce as input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Partition; absent: chosen by the key.
    pub partition: Option<i32>,
    /// The key, if any.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since the epoch; absent: now.
    pub timestamp: Option<i64>,
}

impl Input {
    /// A record with a key and a value, in the partition of its key.
    pub fn new(key: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Self {
        Self { partition: None, key: Some(key.into()), payload: Some(payload.into()), timestamp: None }
    }

    /// The same record in the partition `partition`.
    pub fn at(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The record as a producer sends it to `topic`.
    fn to<'a>(&'a self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(topic);
        record.partition = self.partition;
        record.key = self.key.as_deref();
        record.payload = self.payload.as_deref();
        record.timestamp = self.timestamp;
        record
    }
}

/// Produces records in order with an idempotent producer, and waits until the broker has all of them.
pub fn produce(kafka: &Kafka, topic: &str, records: impl IntoIterator<Item = Input>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.servers)
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "16777216")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()
        .expect("a producer");
    for record in records {
        let mut rest = record.to(topic);
        while let Err((error, same)) = producer.send(rest) {
            let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
            assert!(full, "writing to {topic}: {error}");
            producer.poll(Duration::from_millis(10));
            rest = same;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).expect("the broker takes the records");
}

/// A producer that writes in transactions. A transaction that it leaves open ends after a quarter of an hour.
pub struct TransactionalProducer(ThreadedProducer<DefaultProducerContext>);

impl TransactionalProducer {
    /// Starts a producer, and fences an earlier one with the same id.
    pub fn start(kafka: &Kafka, id: &str) -> Self {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &kafka.servers)
            .set("transactional.id", id)
            .set("transaction.timeout.ms", "900000")
            .create()
            .expect("a producer");
        producer.init_transactions(Duration::from_secs(30)).expect("a transactional id");
        Self(producer)
    }

    /// Begins a transaction, and waits until the broker has its records.
    pub fn begin(&self, topic: &str, records: impl IntoIterator<Item = Input>) {
        self.0.begin_transaction().expect("no transaction is open");
        for record in records {
            self.0.send(record.to(topic)).map_err(|(error, _)| error).expect("the queue has room");
        }
        self.0.flush(Duration::from_secs(30)).expect("the broker takes the records");
    }

    /// Commits the open transaction.
    pub fn commit(&self) {
        self.0.commit_transaction(Duration::from_secs(30)).expect("the transaction is committed");
    }

    /// Aborts the open transaction.
    pub fn abort(&self) {
        self.0.abort_transaction(Duration::from_secs(30)).expect("the transaction is aborted");
    }
}

/// A consumer of the committed records of some partitions, from their start, without a group.
pub fn reader(servers: &str, topic: &str, partitions: impl IntoIterator<Item = i32>) -> BaseConsumer {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        // The client requires a group id, but does not use it here.
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        // The caller must know where retention deletes records before they are read.
        .set("auto.offset.reset", "error")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    reader.assign(&assignment).expect("the partitions can be read");
    reader
}

/// Records per second of a steady run, from the times in milliseconds at which its records were sent. The first
/// quarter, with joining and warm-up, does not count.
pub fn steady_rate(mut sent: Vec<i64>) -> f64 {
    sent.sort_unstable();
    let (from, last) = (sent.len() / 4, sent.len() - 1);
    (last - from) as f64 / ((sent[last] - sent[from]) as f64 / 1000.0)
}

/// A record as the console consumer prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp in milliseconds.
    pub timestamp: i64,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The key, if any.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

impl ConsumerRecord {
    /// The value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload.as_deref().unwrap_or_default()).into_owned()
    }
}

// Separators in the output of the console consumer: bytes that do not occur in our records.
const FIELD: char = '\u{1}';
const HEADER: char = '\u{2}';
const NULL: char = '\u{3}';

/// All committed records of a topic, by partition and offset, as Kafka's console consumer reads them. Values must not
/// contain newlines. The start of the tool takes about 2 s, and it waits `idle` for further records.
pub fn consume(kafka: &Kafka, topic: &str, idle: Duration) -> Vec<ConsumerRecord> {
    let printed = kafka.tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &[
            "--bootstrap-server",
            &kafka.servers,
            "--topic",
            topic,
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--timeout-ms",
            &idle.as_millis().to_string(),
            "--property",
            "print.timestamp=true",
            "--property",
            "print.partition=true",
            "--property",
            "print.offset=true",
            "--property",
            "print.headers=true",
            "--property",
            "print.key=true",
            "--property",
            &format!("key.separator={FIELD}"),
            "--property",
            &format!("headers.separator={HEADER}"),
            "--property",
            &format!("null.literal={NULL}"),
        ],
    );
    let lines = printed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut seen: Vec<ConsumerRecord> = lines.map(|line| parse(line).unwrap_or_else(|| unreadable(line))).collect();
    seen.sort();
    seen
}

fn unreadable(line: &[u8]) -> ConsumerRecord {
    panic!("the console consumer printed {:?}", String::from_utf8_lossy(line))
}

fn parse(line: &[u8]) -> Option<ConsumerRecord> {
    let mut fields = line.splitn(6, |byte| char::from(*byte) == FIELD);
    let mut named = |name: &str| {
        let field = std::str::from_utf8(fields.next()?).ok()?;
        field
            .split_once(':')
            .filter(|(found, _)| found.ends_with(name))
            .and_then(|(_, value)| value.parse::<i64>().ok())
    };
    let (timestamp, partition, offset) = (named("Time")?, named("Partition")?, named("Offset")?);
    let headers = match fields.next()? {
        b"NO_HEADERS" => Vec::new(),
        all => all.split(|byte| char::from(*byte) == HEADER).map(header).collect::<Option<_>>()?,
    };
    let value = |bytes: &[u8]| (bytes != NULL.to_string().as_bytes()).then(|| bytes.to_vec());
    let (key, payload) = (value(fields.next()?), value(fields.next()?));
    Some(ConsumerRecord { partition: i32::try_from(partition).ok()?, offset, timestamp, headers, key, payload })
}

fn header(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8_lossy(&text[..colon]).into_owned(), text[colon + 1..].to_vec()))
}

/// Number of records of the first `partitions` of a topic that a group has committed.
pub fn committed(kafka: &Kafka, group: &str, topic: &str, partitions: i32) -> i64 {
    (0..partitions).map(|partition| group_offset(kafka, group, topic, partition).unwrap_or(0).max(0)).sum()
}

/// The committed offset of a group in one partition, as rdkafka reads it.
pub fn group_offset(kafka: &Kafka, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.servers)
        .set("group.id", group)
        .create()
        .expect("a consumer");
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    // Shortly after its start, a broker may have no coordinator for the group.
    let answer = consumer.committed_offsets(asked, Duration::from_secs(10)).ok()?;
    match answer.elements().first()?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}
