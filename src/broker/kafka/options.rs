//! What the Kafka clients are told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::broker::BrokerError;

/// How often a member asks after its group. It hears of a rebalance no sooner, and until all have heard of it a member
/// that is alone keeps all partitions.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Properties on which the delivery promise rests, or that have an option of their own.
const RESERVED: [&str; 21] = [
    "acks",
    "auto.offset.reset",
    "client.id",
    "bootstrap.servers",
    "metadata.broker.list",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queued.max.messages.kbytes",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Tells properties and their values.
pub type PropertySource = Arc<dyn Fn() -> BTreeMap<String, String> + Send + Sync>;

/// How to reach and use a cluster.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// The name under which the clients appear in the broker's logs and quotas; also the group name that readers
    /// outside of any group show to the broker's access control (they never join it).
    pub client_id: String,
    /// Any further librdkafka properties: `security.protocol`, `sasl.*`, `ssl.*`, tuning. They override what the seam
    /// sets by itself, but not what the delivery promise rests on (such as `isolation.level`): that is refused.
    pub properties: BTreeMap<String, String>,
    /// Further properties, asked for anew whenever a client is made: secrets that may have been replaced since.
    pub renewed_properties: PropertySource,
    /// After this long without a sign of life a member loses its partitions to the others.
    pub session_timeout: Duration,
    /// Whether a member is known to its group by its transactional id: it then comes back within the session timeout
    /// without a rebalance, and leaving does not give its partitions up either.
    pub static_membership: bool,
    /// A member that is not polled for this long gives its partitions up by itself; at least the session timeout.
    pub poll_interval: Duration,
    /// After this long the broker aborts a transaction that nobody has ended.
    pub transaction_timeout: Duration,
    /// How long a question to the broker may take before it counts as unanswered.
    pub request_timeout: Duration,
    /// How long the producer gathers records before it sends a request that is not full yet.
    pub linger: Duration,
    /// `none`, `lz4`, `snappy`, `gzip` or `zstd`.
    pub compression: String,
    /// The largest record that may be written, in bytes.
    pub max_record_bytes: usize,
    /// Most bytes that a member fetches ahead of its owner; one answer of each broker may come on top.
    pub fetch_ahead_bytes: usize,
    /// The same for each reader outside of any group.
    pub reader_ahead_bytes: usize,
    /// Most bytes that wait in a producer for the brokers.
    pub send_ahead_bytes: usize,
    /// How many copies a topic gets that is created; `None` leaves it to the cluster.
    pub replication: Option<i32>,
    /// The longest that a broker holds a fetch request back while there is nothing new: the pace at which an idle
    /// reader notices the end of a partition.
    pub fetch_wait: Duration,
}

impl KafkaOptions {
    /// The defaults for a cluster: session 10 s, five minutes between polls, transactions 60 s, requests 10 s, lz4, records up to 16 MiB.
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
            fetch_ahead_bytes: 64 << 20,
            reader_ahead_bytes: 8 << 20,
            send_ahead_bytes: 64 << 20,
            replication: None,
            fetch_wait: Duration::from_millis(100),
        }
    }

    /// The first property that may not be set, as an error.
    pub(super) fn check(&self) -> Result<(), BrokerError> {
        match self.properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => Err(BrokerError::Rejected(format!(
                "the Kafka property {name} cannot be set: Foretide sets it itself, since its delivery promise rests on it"
            ))),
            None => Ok(()),
        }
    }

    /// The settings that the seam makes, with the user's own properties over them.
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

    /// For a client that only asks questions. It sees open transactions: the end of a partition includes them.
    pub(super) fn probe(&self) -> ClientConfig {
        self.with(&[("isolation.level", "read_uncommitted".into())])
    }

    fn consumer(&self, group: &str, ahead_bytes: usize) -> Vec<(&'static str, String)> {
        vec![
            ("group.id", group.into()),
            ("isolation.level", "read_committed".into()),
            ("enable.auto.commit", "false".into()),
            ("enable.auto.offset.store", "false".into()),
            ("auto.offset.reset", "error".into()),
            ("fetch.wait.max.ms", millis(self.fetch_wait)),
            // A full queue is looked at again after this long; the default of a second starves fast readers.
            ("fetch.queue.backoff.ms", "10".into()),
            // Of all partitions together, since they share the member's queue.
            ("queued.max.messages.kbytes", kibibytes(ahead_bytes)),
            // An answer is asked for while the queue has room, however little.
            ("fetch.max.bytes", (ahead_bytes / 4).clamp(1 << 20, 50 << 20).to_string()),
        ]
    }

    /// For a consumer of one partition outside of any group.
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
            // librdkafka wants it to be no shorter than the session.
            ("max.poll.interval.ms", millis(self.poll_interval.max(self.session_timeout))),
            // New partitions of a topic are found at this pace.
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
            ("queue.buffering.max.kbytes", kibibytes(self.send_ahead_bytes)),
            // A transaction begun while the last one's markers are still being written is turned away for a moment; the
            // default backoff of 100 ms is what that then costs. It grows with every further attempt, up to 1 s.
            ("retry.backoff.ms", "5".into()),
            // Kafka's own client places keys so.
            ("partitioner", "murmur2_random".into()),
            // The commit tells of success; only failures are worth a call.
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
    /// Leaves out the values of the properties: they may be secret.
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
    fn the_users_properties_win_over_the_tuning() {
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
    fn a_member_asks_after_its_group_each_second_and_thrice_a_session_at_least() {
        let mut options = options();
        let mut beats = |session| {
            options.session_timeout = Duration::from_millis(session);
            options.member("group", "id").get("heartbeat.interval.ms").map(str::to_owned)
        };
        assert_eq!(beats(45_000).as_deref(), Some("1000"));
        assert_eq!(beats(1_500).as_deref(), Some("500"));
    }

    #[test]
    fn what_the_promise_rests_on_cannot_be_set() {
        let mut options = options();
        options.check().unwrap();
        options.properties.insert("isolation.level".into(), "read_uncommitted".into());
        assert!(options.check().unwrap_err().to_string().contains("isolation.level"));
    }

    #[test]
    fn what_is_renewed_is_asked_for_with_each_client() {
        let passwords = std::sync::Mutex::new(vec!["second", "first"]);
        let mut options = options();
        options.renewed_properties = Arc::new(move || {
            let next = passwords.lock().unwrap().pop().unwrap_or("third");
            BTreeMap::from([("sasl.password".to_owned(), next.to_owned())])
        });
        for password in ["first", "second", "third"] {
            assert_eq!(options.probe().get("sasl.password"), Some(password));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", options());
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }
}
