//! Settings of the Kafka clients.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::broker::errors::{BrokerError, Result};

/// Heartbeat interval of a group member. A rebalance starts only after every member has learnt of it from a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Milliseconds between two statistics of a producer; several fit into the time limit of a transaction.
const STATISTICS_MILLIS: u32 = 5_000;

/// librdkafka's default size of a batch, in bytes. It is below Kafka's default `max.message.bytes`.
const MAX_BATCH_BYTES: usize = 1_000_000;

/// Properties that the exactly-once guarantee depends on, or that have an option of their own.
#[rustfmt::skip]
const RESERVED: [&str; 21] = [
    "acks", "auto.offset.reset", "client.id", "bootstrap.servers", "metadata.broker.list",
    "delivery.report.only.error", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
    "enable.partition.eof", "group.id", "group.instance.id", "group.protocol", "isolation.level",
    "max.poll.interval.ms", "partition.assignment.strategy", "queue.buffering.max.kbytes",
    "queued.max.messages.kbytes", "session.timeout.ms", "transaction.timeout.ms", "transactional.id",
];

/// Returns properties by name.
pub type PropertySource = Arc<dyn Fn() -> BTreeMap<String, String> + Send + Sync>;

/// Connection and client settings of a cluster.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Client name in the brokers' logs and quotas. Readers also use it as the group name for access control; they
    /// never join that group.
    pub client_id: String,
    /// More librdkafka properties, such as `security.protocol`, `sasl.*`, `ssl.*` and tuning. They override the
    /// defaults of this module. Properties that the exactly-once guarantee depends on, such as `isolation.level`, are
    /// rejected.
    pub properties: BTreeMap<String, String>,
    /// More properties, read again for each new client: secrets that an operator may have replaced.
    pub renewed_properties: PropertySource,
    /// A member without a heartbeat for this long loses its partitions to the others.
    pub session_timeout: Duration,
    /// Static membership with the transactional id as `group.instance.id`: a member that restarts within the session
    /// timeout causes no rebalance, and leaving does not release its partitions.
    pub static_membership: bool,
    /// A member that is not polled for this long loses its partitions; at least the session timeout.
    pub poll_interval: Duration,
    /// The broker aborts a transaction that stays open for this long.
    pub transaction_timeout: Duration,
    /// Time limit of a request to the broker.
    pub request_timeout: Duration,
    /// How long the producer collects records before it sends a request that is not full.
    pub linger: Duration,
    /// `none`, `lz4`, `snappy`, `gzip` or `zstd`.
    pub compression: String,
    /// Size of the largest record that the producer accepts, in bytes.
    pub max_record_bytes: usize,
    /// Size of the largest batch of several records, in bytes; below 1 MB it replaces librdkafka's default.
    pub batch_bytes: usize,
    /// Maximum size of a member's prefetch queue in bytes; one response of each broker may exceed it.
    pub fetch_ahead_bytes: usize,
    /// Maximum size of a reader's prefetch queue in bytes.
    pub reader_ahead_bytes: usize,
    /// Maximum size of a producer's send queue in bytes.
    pub send_ahead_bytes: usize,
    /// Replication factor of new topics; `None` uses the cluster's default.
    pub replication: Option<i32>,
    /// How long a broker delays a fetch response without new records. An idle reader detects the end of a partition at
    /// this pace.
    pub fetch_wait: Duration,
    /// Whether the cluster answers questions for the settings of its topics. The embedded broker does not.
    pub describes_topics: bool,
}

impl KafkaOptions {
    /// The defaults: session timeout 10 s, poll interval 5 min, transaction timeout 60 s, request timeout 10 s, lz4,
    /// records up to 16 MiB.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            client_id: "foretide".into(),
            properties: BTreeMap::new(),
            renewed_properties: Arc::new(BTreeMap::new),
            session_timeout: Duration::from_secs(10),
            static_membership: false,
            poll_interval: Duration::from_secs(300),
            transaction_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(1),
            compression: "lz4".into(),
            max_record_bytes: 16 << 20,
            batch_bytes: usize::MAX,
            fetch_ahead_bytes: 64 << 20,
            reader_ahead_bytes: 8 << 20,
            send_ahead_bytes: 64 << 20,
            replication: None,
            fetch_wait: Duration::from_millis(100),
            describes_topics: true,
        }
    }

    /// Rejects the first reserved property.
    pub(super) fn check(&self) -> Result<()> {
        match self.properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => Err(BrokerError::Rejected(format!(
                "the Kafka property {name} cannot be set: Foretide sets it to guarantee exactly-once delivery"
            ))),
            None => Ok(()),
        }
    }

    /// The configuration of a client: `settings`, overridden by the user's properties.
    fn with(&self, settings: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in settings {
            config.set(*name, value);
        }
        for (name, value) in self.properties.iter().chain(&(self.renewed_properties)()) {
            config.set(name, value);
        }
        config
    }

    /// For the metadata client. It sees open transactions, so that the end of a partition includes them.
    pub(super) fn metadata(&self) -> ClientConfig {
        self.with(&[("isolation.level", "read_uncommitted".into())])
    }

    /// For a client that asks for the offsets of a group, and is no member of it.
    pub(super) fn group_query(&self, group: &str) -> ClientConfig {
        let uncommitted = ("isolation.level", "read_uncommitted".into());
        self.with(&[("group.id", group.into()), ("enable.auto.commit", "false".into()), uncommitted])
    }

    fn consumer(&self, group: &str, ahead_bytes: usize) -> Vec<(&'static str, String)> {
        vec![
            ("group.id", group.into()),
            ("isolation.level", "read_committed".into()),
            ("enable.auto.commit", "false".into()),
            ("enable.auto.offset.store", "false".into()),
            ("auto.offset.reset", "error".into()),
            ("fetch.wait.max.ms", millis(self.fetch_wait)),
            // Pause after a full queue; the default of 1 s starves fast readers.
            ("fetch.queue.backoff.ms", "10".into()),
            // This limit covers all partitions of the consumer together, because they share its queue.
            ("queued.max.messages.kbytes", kibibytes(ahead_bytes)),
            // The client fetches while the queue has any room, so one response must stay small.
            ("fetch.max.bytes", (ahead_bytes / 4).clamp(1 << 20, 50 << 20).to_string()),
        ]
    }

    /// For the consumer of a reader.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut settings = self.consumer(&self.client_id, self.reader_ahead_bytes);
        settings.push(("enable.partition.eof", "true".into()));
        self.with(&settings)
    }

    /// For a group member's consumer.
    pub(super) fn member(&self, group: &str, transactional_id: &str) -> ClientConfig {
        let mut settings = self.consumer(group, self.fetch_ahead_bytes);
        if self.static_membership {
            settings.push(("group.instance.id", transactional_id.into()));
        }
        settings.extend([
            ("partition.assignment.strategy", "cooperative-sticky".into()),
            ("session.timeout.ms", millis(self.session_timeout)),
            ("heartbeat.interval.ms", millis(HEARTBEAT.min(self.session_timeout / 3))),
            // librdkafka requires at least the session timeout.
            ("max.poll.interval.ms", millis(self.poll_interval.max(self.session_timeout))),
            // How often the client looks for new partitions of a topic.
            ("topic.metadata.refresh.interval.ms", "30000".into()),
        ]);
        self.with(&settings)
    }

    /// For a transactional producer.
    pub(super) fn producer(&self, transactional_id: &str) -> ClientConfig {
        self.with(&[
            ("transactional.id", transactional_id.into()),
            ("transaction.timeout.ms", millis(self.transaction_timeout)),
            ("linger.ms", millis(self.linger)),
            ("compression.type", self.compression.clone()),
            ("message.max.bytes", self.max_record_bytes.clamp(1000, 1_000_000_000).to_string()),
            ("batch.size", self.batch_bytes.clamp(1, MAX_BATCH_BYTES).to_string()),
            ("queue.buffering.max.kbytes", kibibytes(self.send_ahead_bytes)),
            // The broker rejects a new transaction while it still writes the markers of the last one. The default
            // backoff of 100 ms would delay each of them. The backoff grows with every attempt, up to 1 s.
            ("retry.backoff.ms", "5".into()),
            // As Kafka's Java client does.
            ("partitioner", "murmur2_random".into()),
            // They tell of quotas.
            ("statistics.interval.ms", STATISTICS_MILLIS.to_string()),
            // The commit confirms success, so only failures need a callback.
            ("delivery.report.only.error", "true".into()),
        ])
    }
}

fn kibibytes(bytes: usize) -> String {
    (bytes / 1024).max(1).to_string()
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl std::fmt::Debug for KafkaOptions {
    /// Omits the values of the properties, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("session_timeout", &self.session_timeout)
            .field("transaction_timeout", &self.transaction_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> KafkaOptions {
        let mut options = KafkaOptions::new("localhost:9092");
        options.properties = BTreeMap::from([
            ("linger.ms".to_string(), "7".to_string()),
            ("sasl.password".to_string(), "hunter2".to_string()),
        ]);
        options
    }

    #[test]
    fn properties_of_the_user_override_the_defaults() {
        let config = options().producer("id");
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("transactional.id"), Some("id"));
        let config = options().member("group", "id");
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("group.instance.id"), None);
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
        assert_eq!(config.get("max.poll.interval.ms"), Some("300000"));
    }

    #[test]
    fn a_member_sends_a_heartbeat_each_second_and_at_least_three_per_session() {
        let mut options = options();
        let mut beats = |session| {
            options.session_timeout = Duration::from_millis(session);
            options.member("group", "id").get("heartbeat.interval.ms").map(str::to_owned)
        };
        assert_eq!(beats(45_000).as_deref(), Some("1000"));
        assert_eq!(beats(1_500).as_deref(), Some("500"));
    }

    #[test]
    fn properties_of_the_delivery_guarantee_cannot_be_set() {
        let mut options = options();
        options.check().unwrap();
        options.properties.insert("isolation.level".into(), "read_uncommitted".into());
        assert!(options.check().unwrap_err().to_string().contains("isolation.level"));
    }

    #[test]
    fn renewed_properties_are_read_for_each_client() {
        let passwords = std::sync::Mutex::new(vec!["second", "first"]);
        let mut options = options();
        options.renewed_properties = Arc::new(move || {
            let next = passwords.lock().unwrap().pop().unwrap_or("third");
            BTreeMap::from([("sasl.password".to_owned(), next.to_owned())])
        });
        for password in ["first", "second", "third"] {
            assert_eq!(options.metadata().get("sasl.password"), Some(password));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", options());
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }
}
