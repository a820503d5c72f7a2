//! The tables outside of the streams: Kafka, topics, HTTP, log, limits.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::declare::{table, words};
use super::secret::Secret;
use super::values::{Auto, Millis, Size};

words! {
    /// What this process does.
    pub enum Role {
        /// Serves forecasts and trains.
        All = "all",
        /// Serves forecasts with the weights that a trainer publishes.
        Score = "score",
        /// Trains and publishes weights; serves no forecasts.
        Train = "train",
    }
}

words! {
    /// Protocol of the connections to the brokers.
    pub enum SecurityProtocol {
        /// No encryption, no authentication.
        Plaintext = "plaintext",
        /// TLS.
        Ssl = "ssl",
        /// SASL authentication without encryption.
        SaslPlaintext = "sasl_plaintext",
        /// SASL authentication over TLS.
        SaslSsl = "sasl_ssl",
    }
}

impl SecurityProtocol {
    /// Whether the client authenticates with SASL.
    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether TLS encrypts the connection.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

words! {
    /// SASL mechanisms, named as librdkafka names them.
    pub enum SaslMechanism {
        /// User name and password in the clear: use it with TLS only.
        Plain = "PLAIN",
        /// Salted challenge-response with SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// Salted challenge-response with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

words! {
    /// Compression of the batches of output records.
    pub enum Compression {
        /// No compression.
        None = "none",
        /// LZ4: fast, with a fair ratio.
        Lz4 = "lz4",
        /// Zstandard: slower, with a better ratio.
        Zstd = "zstd",
        /// Snappy.
        Snappy = "snappy",
        /// Gzip.
        Gzip = "gzip",
    }
}

words! {
    /// Format of log lines.
    pub enum LogFormat {
        /// Plain text for people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

table! {
    /// `[kafka]`: connection to the cluster.
    pub struct Kafka {
        /// Bootstrap servers, each `host:port`.
        pub brokers: Vec<String> = vec!["127.0.0.1:9092".into()],
        /// Protocol of the connections.
        pub security_protocol: SecurityProtocol = SecurityProtocol::Plaintext,
        /// Mechanism of authentication, for the `sasl_…` protocols.
        pub sasl_mechanism: SaslMechanism = SaslMechanism::ScramSha512,
        /// SASL user name.
        pub sasl_username: Option<String> = None,
        /// SASL password; loading fills it from `sasl_password_file`.
        pub sasl_password: Option<Secret> = None,
        /// File with the SASL password.
        pub sasl_password_file: Option<PathBuf> = None,
        /// CA certificates (PEM) that the certificates of the brokers are verified with; absent: those of the system.
        pub ssl_ca_file: Option<PathBuf> = None,
        /// Certificate of the client (PEM).
        pub ssl_certificate_file: Option<PathBuf> = None,
        /// Private key of the client (PEM).
        pub ssl_key_file: Option<PathBuf> = None,
        /// Password of the private key; loading fills it from `ssl_key_password_file`.
        pub ssl_key_password: Option<Secret> = None,
        /// File with the password of the private key.
        pub ssl_key_password_file: Option<PathBuf> = None,
        /// Time without a heartbeat after which the group assigns the partitions of a member to others.
        pub session_timeout: Millis = Millis::seconds(10),
        /// Whether a member that returns within the session timeout, with the same `app` and `instance`, gets its
        /// partitions back without a rebalance. A member that leaves keeps its partitions for that timeout.
        pub static_membership: bool = false,
        /// Time after which the cluster aborts a transaction whose owner is gone.
        pub transaction_timeout: Millis = Millis::seconds(30),
        /// Compression of the output.
        pub compression: Compression = Compression::Lz4,
        /// Whether Foretide creates missing output topics.
        pub create_topics: bool = true,
        /// Replication factor of created topics; `auto` is the default of the cluster.
        pub replication: Auto<u32> = Auto::Auto,
        /// Further librdkafka properties of every client; hidden in all output, since some are secrets.
        pub properties: BTreeMap<String, Secret> = BTreeMap::new(),
    }
}

table! {
    /// `[topics]`: patterns of the names of output topics, with the placeholders `{app}` and `{stream}`.
    pub struct Topics {
        /// Forecasts; the pattern must differ between streams.
        pub forecasts: String = "{app}.{stream}.forecasts".into(),
        /// Snapshots of the state of the series (compacted).
        pub state: String = "{app}.state".into(),
        /// Weights and promotions (compacted).
        pub models: String = "{app}.models".into(),
        /// Records that cannot be used.
        pub dead_letters: String = "{app}.dead-letters".into(),
        /// Observations of a stream with `repartition = true`, keyed by series; the pattern must differ between
        /// streams.
        pub repartition: String = "{app}.{stream}.repartition".into(),
    }
}

table! {
    /// `[http]`: metrics, health and the dashboard.
    pub struct Http {
        /// Address to listen on.
        pub listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
        /// Certificate chain of the server (PEM); with it, the server accepts TLS only.
        pub tls_certificate_file: Option<PathBuf> = None,
        /// Private key of the certificate (PEM, not encrypted).
        pub tls_key_file: Option<PathBuf> = None,
        /// Token that all paths but `/livez` and `/readyz` require; loading fills it from `bearer_token_file`.
        pub bearer_token: Option<Secret> = None,
        /// File with the token.
        pub bearer_token_file: Option<PathBuf> = None,
        /// Most open connections; further ones are closed at once.
        pub connections: u32 = 64,
        /// Largest body of a request; no supported request has one.
        pub body_bytes: Size = Size::bytes(4_096),
    }
}

impl Http {
    /// A warning where other machines can reach the server and it is not protected.
    pub fn security_warning(&self) -> Option<&'static str> {
        if self.listen.ip().is_loopback() {
            return None;
        }
        match (&self.bearer_token, &self.tls_certificate_file) {
            (None, _) => {
                Some("http.listen is open to other machines without authentication; set http.bearer_token_file")
            }
            (Some(_), None) => {
                Some("the HTTP token is sent unencrypted; set http.tls_certificate_file and http.tls_key_file")
            }
            (Some(_), Some(_)) => None,
        }
    }
}

table! {
    /// `[log]`: level and format of the log.
    pub struct Log {
        /// Lowest level that is logged, or a list such as `info,foretide::daemon=debug`.
        pub level: String = "info".into(),
        /// Format of the lines.
        pub format: LogFormat = LogFormat::Text,
    }
}

table! {
    /// `[limits]`: bounds of all queues, for each shard.
    pub struct Limits {
        /// Most records that one poll passes to the engine.
        pub poll_records: u32 = 4_096,
        /// Most input records of one transaction; on reaching it the shard commits before `commit_interval` is over.
        pub transaction_records: u32 = 50_000,
        /// Most bytes of input of one transaction, and most bytes of its forecasts and slots; near it the shard commits
        /// before `commit_interval` is over.
        pub transaction_bytes: Size = Size::mebibytes(64),
        /// Most bytes that the consumer fetches ahead of the engine.
        pub fetch_ahead_bytes: Size = Size::mebibytes(64),
        /// Most bytes that each reader outside of the consumer group fetches ahead: the reader of the weights, those of
        /// at most eight restores, and one for each standby partition and future-covariate partition.
        pub reader_ahead_bytes: Size = Size::mebibytes(8),
        /// Most output bytes that wait for the brokers; beyond it serving waits.
        pub send_ahead_bytes: Size = Size::mebibytes(64),
        /// Most bytes of standby copies of the states of other instances; 0: none.
        pub standby_bytes: Size = Size::bytes(0),
    }
}
