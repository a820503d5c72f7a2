//! Records of the compacted models topic: weights in parts, and a manifest that says what they are.
//!
//! Keys are printable text: `<stream>/<version>` for the manifest and `<stream>/<version>/part/<n>` for its parts, with
//! `%`, `/` and control characters in the stream's name written as `%XX`. The topic has one partition. A version is
//! published whole, in one transaction. The active version of a stream is its highest complete version: a rollback
//! publishes the earlier weights again under a new version.

use serde::{Deserialize, Serialize};

/// The version of the manifest's schema.
pub const SCHEMA: u32 = 1;
/// The most bytes of one part: a record of a part fits in Kafka's default limit of 1 MiB.
pub const MAX_PART_BYTES: usize = 900 * 1024;

/// What went wrong while reading records of the models topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The key is not one that Foretide writes.
    #[error("expected a key like STREAM/VERSION or STREAM/VERSION/part/N, found {0}")]
    Key(String),
    /// The manifest cannot be read, or contradicts its key or itself.
    #[error("the manifest {key} cannot be used: {problem}")]
    Manifest {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no manifest of that version.
    #[error("there is no manifest of version {version} of stream {stream:?}")]
    Unknown {
        /// The stream's name.
        stream: String,
        /// The version asked for.
        version: u64,
    },
    /// A part is not there (yet).
    #[error("version {version} of stream {stream:?} lacks part {part} of {parts}")]
    MissingPart {
        /// The stream's name.
        stream: String,
        /// The version.
        version: u64,
        /// The first part that is missing, from 0.
        part: u32,
        /// How many there must be.
        parts: u32,
    },
    /// The parts put together are not what the manifest says.
    #[error("the weights of version {version} of stream {stream:?} are damaged: expected {expected}, found {found}")]
    Damaged {
        /// The stream's name.
        stream: String,
        /// The version.
        version: u64,
        /// The length or digest in the manifest.
        expected: String,
        /// The length or digest found.
        found: String,
    },
}

/// Why a version was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishReason {
    /// A challenger beat the champion.
    Promotion,
    /// Live loss grew worse, or an operator asked for it: earlier weights serve again.
    Rollback,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The stream's name.
    pub stream: String,
    /// The version; 1 is the first that was trained.
    pub version: u64,
    /// The version it was trained from (or, on a rollback, whose weights it holds); 0 the initial weights.
    pub parent: u64,
    /// The architecture's fingerprint, as 16 hexadecimal digits in JSON.
    #[serde(with = "hexadecimal")]
    pub fingerprint: u64,
    /// When it was published: milliseconds since the Unix epoch.
    pub created: i64,
    /// How many parts the weights were cut into.
    pub parts: u32,
    /// Bytes of the weights.
    pub bytes: u64,
    /// SHA-256 of the weights (safetensors), as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The newest event time that training has seen: milliseconds since the Unix epoch.
    pub trained_until: Option<i64>,
    /// The champion's loss on the held-out slots.
    pub champion_loss: Option<f64>,
    /// The challenger's loss on the same slots.
    pub challenger_loss: Option<f64>,
    /// Why it was published.
    pub reason: PublishReason,
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}
