//! The root of the configuration: its keys outside of tables, and its tables.

use super::cluster::{Http, Kafka, Limits, Log, Role, Topics};
use super::declare::table;
use super::stream::Stream;
use super::values::{Auto, Millis};

table! {
    /// Everything that can be configured.
    pub struct Settings {
        /// Name of the application: the consumer group, and the prefix of transactional ids and topic names.
        pub app: String = "foretide".into(),
        /// Identifies this process among its replicas; `auto` is the name of the host, and
        /// adds a number to it where several run there.
        pub instance: Auto<String> = Auto::Auto,
        /// What this process does.
        pub role: Role = Role::All,
        /// Serving threads; `auto` is one less than the cores of the machine, at least one.
        pub shards: Auto<u32> = Auto::Auto,
        /// Longest time between two transactions while records arrive.
        pub commit_interval: Millis = Millis(100),
        /// Time over which the snapshots of all changed series are spread; zero snapshots them in each transaction.
        pub checkpoint_interval: Millis = Millis::seconds(60),
        /// Where fewer records come to a shard within `checkpoint_interval`, the snapshots are spread over as many
        /// records, and over ten intervals at most; zero: over one interval always.
        pub checkpoint_records: u64 = 250_000,
        /// Longest time that an orderly shutdown may take.
        pub shutdown_deadline: Millis = Millis::seconds(30),
        /// Connection to the cluster.
        pub kafka: Kafka = Kafka::default(),
        /// Names of the output topics.
        pub topics: Topics = Topics::default(),
        /// Metrics, health and the dashboard.
        pub http: Http = Http::default(),
        /// Level and format of the log.
        pub log: Log = Log::default(),
        /// Bounds of all queues.
        pub limits: Limits = Limits::default(),
        /// The streams.
        pub stream: Vec<Stream> = Vec::new(),
    }
}

impl Settings {
    /// Topic of the forecasts of `stream`.
    pub fn forecasts_topic(&self, stream: &Stream) -> String {
        let pattern = stream.outputs.topic.as_ref().unwrap_or(&self.topics.forecasts);
        self.topic(pattern).replace("{stream}", &stream.name)
    }

    /// Topic of the observations of `stream`, keyed by series, where it is repartitioned.
    pub fn repartition_topic(&self, stream: &Stream) -> String {
        self.topic(&self.topics.repartition).replace("{stream}", &stream.name)
    }

    /// Topic of the snapshots.
    pub fn state_topic(&self) -> String {
        self.topic(&self.topics.state)
    }

    /// Topic of the weights.
    pub fn models_topic(&self) -> String {
        self.topic(&self.topics.models)
    }

    /// Topic of the dead letters: records that cannot be used.
    pub fn dead_letters_topic(&self) -> String {
        self.topic(&self.topics.dead_letters)
    }

    fn topic(&self, pattern: &str) -> String {
        pattern.replace("{app}", &self.app)
    }
}
