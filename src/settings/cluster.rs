//! The tables that are not a stream's: Kafka, topics, HTTP, log, limits.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::declare::{table, words};
use super::secret::Secret;
use super::values::{Auto, Millis, Size};

words! {
    /// What this process does.
    pub enum Role {
        /// Scores and trains.
        All = "all",
        /// Serves forecasts; takes up what a trainer publishes.
        Score = "score",
        /// Trains and publishes weights; serves nothing.
        Train = "train",
    }
}

words! {
    /// How the connection to the brokers is protected.
    pub enum SecurityProtocol {
        /// No encryption, no authentication.
        Plaintext = "plaintext",
        /// TLS.
        Ssl = "ssl",
        /// SASL without encryption.
        SaslPlaintext = "sasl_plaintext",
        /// SASL within TLS.
        SaslSsl = "sasl_ssl",
    }
}

impl SecurityProtocol {
    /// Whether the client authenticates by SASL.
    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether the connection is encrypted by TLS.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

words! {
    /// SASL mechanisms, named as librdkafka names them.
    pub enum SaslMechanism {
        /// User name and password as they are: only sensible within TLS.
        Plain = "PLAIN",
        /// Salted challenge and response over SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// Salted challenge and response over SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

words! {
    /// How batches of output records are compressed.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// LZ4: fast, fair ratio.
        Lz4 = "lz4",
        /// Zstandard: slower, better ratio.
        Zstd = "zstd",
        /// Snappy.
        Snappy = "snappy",
        /// Gzip.
        Gzip = "gzip",
    }
}

words! {
    /// How log lines are written.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

table! {
    /// `[kafka]`: the connection to the cluster.
    pub struct Kafka {
        /// Brokers to ask first, each `host:port`.
        pub brokers: Vec<String> = vec!["127.0.0.1:9092".into()],
        /// How the connection is protected.
        pub security_protocol: SecurityProtocol = SecurityProtocol::Plaintext,
        /// How the client authenticates; only read with a `sasl_…` protocol.
        pub sasl_mechanism: SaslMechanism = SaslMechanism::ScramSha512,
        /// SASL user name.
        pub sasl_username: Option<String> = None,
        /// SASL password; holds what `sasl_password_file` names once loaded.
        pub sasl_password: Option<Secret> = None,
        /// A file whose content, less one line end, is the SASL password.
        pub sasl_password_file: Option<PathBuf> = None,
        /// Certificates (PEM) of the authorities that sign the brokers' certificates; absent: the system's.
        pub ssl_ca_file: Option<PathBuf> = None,
        /// The client's certificate (PEM).
        pub ssl_certificate_file: Option<PathBuf> = None,
        /// The client's private key (PEM).
        pub ssl_key_file: Option<PathBuf> = None,
        /// The private key's password; holds what `ssl_key_password_file` names once loaded.
        pub ssl_key_password: Option<Secret> = None,
        /// A file whose content, less one line end, is the private key's password.
        pub ssl_key_password_file: Option<PathBuf> = None,
        /// After so long without a heartbeat the group hands a member's partitions on.
        pub session_timeout: Millis = Millis::seconds(10),
        /// Whether a member that comes back within the session timeout, under the same `app` and `instance`, gets its
        /// partitions back without a rebalance; one that leaves then keeps them until that timeout as well.
        pub static_membership: bool = false,
        /// After so long the cluster aborts a transaction whose owner is gone.
        pub transaction_timeout: Millis = Millis::seconds(30),
        /// How output is compressed.
        pub compression: Compression = Compression::Lz4,
        /// Whether output topics that do not exist are created.
        pub create_topics: bool = true,
        /// Copies of each created topic; auto: the cluster's default.
        pub replication: Auto<u32> = Auto::Auto,
        /// Further librdkafka properties, handed to every client as they are; never shown, since some are secrets.
        pub properties: BTreeMap<String, Secret> = BTreeMap::new(),
    }
}

table! {
    /// `[topics]`: patterns of the output topics' names; `{app}` and `{stream}` stand for those names.
    pub struct Topics {
        /// Forecasts; must tell streams apart.
        pub forecasts: String = "{app}.{stream}.forecasts".into(),
        /// Snapshots of the series' state (compacted).
        pub state: String = "{app}.state".into(),
        /// Weights and promotions (compacted).
        pub models: String = "{app}.models".into(),
        /// Records that could not be used.
        pub dead_letters: String = "{app}.dead-letters".into(),
    }
}

table! {
    /// `[http]`: metrics, health and the page.
    pub struct Http {
        /// Where to listen.
        pub listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
        /// The server's certificate and those of the authorities between (PEM): with it, only TLS is spoken.
        pub tls_certificate_file: Option<PathBuf> = None,
        /// The certificate's private key (PEM, not encrypted).
        pub tls_key_file: Option<PathBuf> = None,
        /// The token that everything but `/livez` and `/readyz` asks for; holds what `bearer_token_file` names once loaded.
        pub bearer_token: Option<Secret> = None,
        /// A file whose content, less one line end, is the token.
        pub bearer_token_file: Option<PathBuf> = None,
        /// Most connections that are open at a time; further ones are closed at once.
        pub connections: u32 = 64,
        /// Largest body of a request; nothing that is answered here has one.
        pub body_bytes: Size = Size::bytes(4_096),
    }
}

impl Http {
    /// What somebody should know who listens beyond this machine.
    pub fn security_warning(&self) -> Option<&'static str> {
        if self.listen.ip().is_loopback() {
            return None;
        }
        match (&self.bearer_token, &self.tls_certificate_file) {
            (None, _) => Some(
                "http.listen is open to other machines, and nobody is asked who they are: set http.bearer_token_file",
            ),
            (Some(_), None) => {
                Some("the token travels in the clear: set http.tls_certificate_file and http.tls_key_file")
            }
            (Some(_), Some(_)) => None,
        }
    }
}

table! {
    /// `[log]`: what is logged, and how.
    pub struct Log {
        /// The least important level that is logged, or a list such as `info,foretide::daemon=debug`.
        pub level: String = "info".into(),
        /// How lines are written.
        pub format: LogFormat = LogFormat::Text,
    }
}

table! {
    /// `[limits]`: bounds of everything that queues, for each shard.
    pub struct Limits {
        /// Most records that one poll hands to the engine.
        pub poll_records: u32 = 4_096,
        /// Most input records that one transaction takes in; reaching it commits before `commit_interval` is over.
        pub transaction_records: u32 = 50_000,
        /// Most bytes of input, and of forecasts with the slots that they take, that one transaction holds; coming near it
        /// commits before `commit_interval` is over.
        pub transaction_bytes: Size = Size::mebibytes(64),
        /// Most bytes that the client fetches ahead of the engine.
        pub fetch_ahead_bytes: Size = Size::mebibytes(64),
        /// Most bytes that each reader beside the group fetches ahead: of the weights, of at most eight restores, of each
        /// partition that a standby follows or that tells in advance.
        pub reader_ahead_bytes: Size = Size::mebibytes(8),
        /// Most output bytes that wait for the brokers; beyond them serving waits as well.
        pub send_ahead_bytes: Size = Size::mebibytes(64),
        /// Most bytes of other instances' states that are kept, so that a takeover restores only what is new; 0: none.
        pub standby_bytes: Size = Size::bytes(0),
    }
}
