//! The metadata client: asks for partitions and offsets, and creates topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as C};

use super::{
    access_errors, contexts::ConsumerCallbacks, deadline::Deadline, error_recovery, offset_query, options::KafkaOptions,
};
use crate::broker::client::{OffsetRange, TopicSettings, TopicSpec};
use crate::broker::errors::{BrokerError, Result};
use crate::broker::records::Partition;

/// Time limit of one attempt. It is longer than the client's pause between two connection attempts (2 s), so that a
/// client whose authentication failed tries once more within it.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);

/// How long to serve the client's queued log lines and errors after a call without an answer.
const LOG_DRAIN: Duration = Duration::from_millis(50);

/// Pause between two questions while the cluster spreads news of a topic.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Room for the header of a record batch, in bytes, on top of the largest record.
const BATCH_HEADER_BYTES: usize = 64 << 10;

/// Records up to this size, in bytes, fit Kafka's default `max.message.bytes` (1 MiB).
const DEFAULT_RECORD_BYTES: usize = 900_000;

/// A client that subscribes to nothing.
pub(super) struct MetadataClient {
    consumer: BaseConsumer<ConsumerCallbacks>,
    config: ClientConfig,
    servers: String,
    timeout: Duration,
    replication: Option<i32>,
    describes_topics: bool,
    authentication_failed: AtomicBool,
}

impl MetadataClient {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self> {
        let config = options.metadata();
        let created = config.create_with_context(ConsumerCallbacks::default());
        let consumer = created.map_err(|error| error_recovery::broker_error("creating the Kafka client", &error))?;
        Ok(Self {
            consumer,
            config,
            servers: options.bootstrap_servers.clone(),
            timeout: options.request_timeout,
            replication: options.replication,
            describes_topics: options.describes_topics,
            authentication_failed: AtomicBool::new(false),
        })
    }

    /// Whether a request of this client failed because of authentication.
    pub(super) fn authentication_failed(&self) -> bool {
        self.authentication_failed.load(Ordering::Relaxed)
    }

    /// Converts an error. If nobody answered, the text names the brokers and the last error of the connection.
    fn explain(&self, operation: &str, error: &KafkaError) -> BrokerError {
        self.explain_within(self.timeout, operation, error)
    }

    /// [`Self::explain`] for a request with another time limit.
    fn explain_within(&self, limit: Duration, operation: &str, error: &KafkaError) -> BrokerError {
        self.drain_log();
        match self.consumer.context().last_error.explain(operation, error) {
            BrokerError::Retriable(text) => {
                let last_error = self.consumer.context().last_error.suffix();
                BrokerError::Retriable(access_errors::with_advice(format!(
                    "{text}: no answer from {} within {} s{last_error}",
                    self.servers,
                    limit.as_secs_f64()
                )))
            }
            other => {
                let failed = matches!(other, BrokerError::Authentication(_));
                self.authentication_failed.fetch_or(failed, Ordering::Relaxed);
                other
            }
        }
    }

    /// Serves queued log lines and errors, which may say why there is no answer. A single poll without a wait would
    /// serve only one log line.
    fn drain_log(&self) {
        let deadline = Deadline::after(LOG_DRAIN);
        while !deadline.has_passed() {
            // Without a subscription only errors come, and the callbacks have recorded them.
            let _error = self.consumer.poll(deadline.remaining());
        }
    }

    /// Repeats a request like [`error_recovery::retry`], but gives up earlier when authentication fails.
    fn retry<T>(&self, limit: Duration, request: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let last_error = &self.consumer.context().last_error;
        let answer = error_recovery::retry(limit, |left| {
            let answer = request(left.min(ATTEMPT_LIMIT));
            if answer.is_err() {
                self.drain_log();
            }
            match answer {
                Err(error) if error_recovery::is_retriable(&error) && last_error.is_authentication_failure() => {
                    Err(KafkaError::Global(C::Authentication))
                }
                answer => answer,
            }
        });
        if answer.is_ok() {
            last_error.clear();
        }
        answer
    }

    pub(super) fn offsets(&self, partition: &Partition) -> Result<OffsetRange> {
        let Partition { topic, number } = partition;
        let deadline = Deadline::after(self.timeout);
        loop {
            let request = |left| self.consumer.fetch_watermarks(topic, *number, left);
            let error = match self.retry(deadline.remaining(), request) {
                Ok((start, end)) => return Ok(OffsetRange { start, end }),
                Err(error) => error,
            };
            let unknown = matches!(
                error.rdkafka_error_code(),
                Some(C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition)
            );
            if !unknown || deadline.has_passed() {
                return Err(self.explain(&format!("asking for the offsets of {partition}"), &error));
            }
            // The client's cached metadata may be older than the topic.
            let partitions = self.partitions(topic)?.unwrap_or(0);
            if *number >= partitions {
                return Err(BrokerError::unknown_partition(topic, *number, partitions));
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// The high watermark of each partition, in order.
    pub(super) fn high_watermarks(&self, partitions: &[Partition]) -> Result<Vec<i64>> {
        let answer = self.retry(self.timeout, |left| offset_query::ends(&self.consumer, partitions, left));
        answer.map_err(|error| self.explain("asking for the ends of partitions", &error))
    }

    /// `offset`, or the oldest offset if retention has deleted it.
    ///
    /// # Errors
    /// [`BrokerError::Rejected`] if the partition ends before `offset`.
    pub(super) fn clamp_offset(&self, partition: &Partition, offset: i64) -> Result<i64> {
        let OffsetRange { start, end } = self.offsets(partition)?;
        if offset > end { Err(BrokerError::position_after_end(partition, offset, end)) } else { Ok(offset.max(start)) }
    }

    pub(super) fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        let operation = || format!("asking for topic {topic}");
        let answer = self.retry(self.timeout, |left| {
            let answer = self.consumer.fetch_metadata(Some(topic), left)?;
            // A new topic may not have a leader yet.
            let error = answer.topics().first().and_then(|found| found.error()).map(C::from);
            match error {
                Some(code @ C::LeaderNotAvailable) => Err(KafkaError::MetadataFetch(code)),
                _ => Ok(answer),
            }
        });
        let answer = answer.map_err(|error| self.explain(&operation(), &error))?;
        let Some(found) = answer.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(C::from) {
            None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)).filter(|count| *count > 0)),
            Some(C::UnknownTopicOrPartition | C::UnknownTopic) => Ok(None),
            Some(code) => Err(error_recovery::broker_error_of_code(&operation(), code)),
        }
    }

    pub(super) fn ping(&self, topic: &str, timeout: Duration) -> Result<()> {
        let answer = self.retry(timeout, |left| self.consumer.fetch_metadata(Some(topic), left));
        answer.map(drop).map_err(|error| self.explain_within(timeout, "asking any broker", &error))
    }

    fn admin(&self, operation: &str) -> Result<AdminClient<ConsumerCallbacks>> {
        let created = self.config.create_with_context(ConsumerCallbacks::default());
        created.map_err(|error| self.explain(operation, &error))
    }

    fn admin_options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout))
    }

    pub(super) fn topic_settings(&self, topics: &[String]) -> Result<Vec<Option<TopicSettings>>> {
        if !self.describes_topics {
            return Ok(vec![None; topics.len()]);
        }
        let operation = "asking for the settings of topics";
        let admin = self.admin(operation)?;
        let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let answer = match block_on(admin.describe_configs(&asked, &self.admin_options())) {
            Ok(answer) => answer,
            Err(error) => match self.explain(operation, &error) {
                // A cluster may not know this request.
                BrokerError::Rejected(_) | BrokerError::Fatal(_) => return Ok(vec![None; topics.len()]),
                other => return Err(other),
            },
        };
        // rdkafka gives a topic that cannot be described an empty list.
        let settings = |described: Result<ConfigResource, C>| {
            let ConfigResource { entries, .. } = described.ok().filter(|resource| !resource.entries.is_empty())?;
            Some(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
        };
        Ok(answer.into_iter().map(settings).collect())
    }

    /// The `max.message.bytes` of topics; those of which the cluster does not say it are absent.
    pub(super) fn max_batch_bytes(&self, topics: &[&str]) -> Result<BTreeMap<String, usize>> {
        let settings = self.one_setting(topics, "max.message.bytes")?;
        Ok(settings.into_iter().filter_map(|(topic, bytes)| Some((topic, bytes.parse().ok()?))).collect())
    }

    /// A setting of topics; those of which the cluster does not say it are absent.
    fn one_setting(&self, topics: &[&str], name: &str) -> Result<BTreeMap<String, String>> {
        if !self.describes_topics {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let mut found = BTreeMap::new();
        for (topic, settings) in names.iter().zip(self.topic_settings(&names)?) {
            match settings {
                Some(settings) => {
                    found.extend(settings.get(name).map(|value| (topic.clone(), value.clone())));
                }
                None => tracing::warn!(
                    target: "kafka", topic,
                    "cannot ask for the topic's {name}; grant DescribeConfigs on it, or records that are too large for \
                     it are not left out"
                ),
            }
        }
        Ok(found)
    }

    /// Why `topic` accepts no records at the moment: partitions without a leader, or with too few replicas in sync.
    /// `None` where nothing is wrong with its replicas, or the cluster does not say.
    pub(super) fn replica_problem(&self, topic: &str) -> Option<String> {
        let answer = self.consumer.fetch_metadata(Some(topic), ATTEMPT_LIMIT).ok()?;
        let found = answer.topics().iter().find(|found| found.name() == topic)?;
        if let Some(partition) = found.partitions().iter().find(|partition| partition.leader() < 0) {
            return Some(format!("{topic}[{}] has no leader", partition.id()));
        }
        let partition = found.partitions().iter().min_by_key(|partition| partition.isr().len())?;
        let (in_sync, replicas) = (partition.isr().len(), partition.replicas().len());
        let least: usize = self.one_setting(&[topic], "min.insync.replicas").ok()?.get(topic)?.parse().ok()?;
        (in_sync < least).then(|| {
            format!(
                "{topic}[{}] has {in_sync} of {replicas} replicas in sync, fewer than its min.insync.replicas of \
                 {least}: bring the other brokers back",
                partition.id()
            )
        })
    }

    /// How many live members a group has.
    pub(super) fn group_members(&self, group: &str) -> Result<usize> {
        let request = |left| self.consumer.fetch_group_list(Some(group), left);
        let groups = self
            .retry(self.timeout, request)
            .map_err(|error| self.explain(&format!("looking for the members of group {group}"), &error))?;
        Ok(groups.groups().iter().map(|group| group.members().len()).sum())
    }

    pub(super) fn create(&self, spec: &TopicSpec) -> Result<()> {
        let operation = format!("creating topic {}", spec.name);
        let explain = |error: &KafkaError| self.explain(&operation, error);
        let admin = self.admin(&operation)?;
        let bytes = (spec.max_record_bytes + BATCH_HEADER_BYTES).to_string();
        // -1 is the cluster's default.
        let replication = TopicReplication::Fixed(self.replication.unwrap_or(-1));
        let mut topic = NewTopic::new(&spec.name, spec.partitions, replication);
        if spec.max_record_bytes > DEFAULT_RECORD_BYTES {
            topic = topic.set("max.message.bytes", &bytes);
        }
        if spec.compacted {
            // The broker compresses again with zstd, which takes a sixth less space than the producer's fast
            // compression.
            topic = topic.set("cleanup.policy", "compact").set("compression.type", "zstd");
        }
        if spec.log_append_time {
            topic = topic.set("message.timestamp.type", "LogAppendTime");
        }
        let options = self.admin_options().operation_timeout(Some(self.timeout));
        let answer = block_on(admin.create_topics([&topic], &options)).map_err(|error| explain(&error))?;
        match answer.into_iter().find_map(Result::err) {
            None | Some((_, C::TopicAlreadyExists)) => {}
            Some((_, code)) => return Err(error_recovery::broker_error_of_code(&operation, code)),
        }
        // The controller knows the topic; the brokers learn of it a little later.
        let deadline = Deadline::after(self.timeout);
        while self.partitions(&spec.name)?.is_none() {
            if deadline.has_passed() {
                return Err(BrokerError::Retriable(format!(
                    "{operation}: no broker knows it after {} s",
                    self.timeout.as_secs_f64()
                )));
            }
            std::thread::sleep(POLL_PAUSE);
        }
        Ok(())
    }
}

/// Blocks on a future that librdkafka's own threads wake.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(answer) => return answer,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
