//! Records of the compacted models topic: the weights of a version in parts, and a manifest that describes them.
//!
//! Keys are printable text: `<stream>/<version>` for the manifest and `<stream>/<version>/part/<n>` for its parts, with
//! `%`, `/` and control characters in the stream's name written as `%XX`. The topic has one partition. One transaction
//! publishes a whole version. The active version of a stream is its highest complete version: a rollback publishes the
//! earlier weights again under a new version.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::escaping::{escape, unescape};
use super::rejection::excerpt;
use crate::forecast::StreamPrior;

/// The version of the manifest's schema.
const SCHEMA: u32 = 1;
/// The most bytes of one part, so that its record fits Kafka's default limit of 1 MiB.
pub(super) const MAX_PART_BYTES: usize = 900 * 1024;
/// The most parts of one version (about 3.5 GiB of weights): it bounds what a damaged manifest can ask for.
const MAX_PARTS: u32 = 4096;

/// Why a record of the models topic, or a version, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The key is not one that Foretide writes.
    #[error("expected a key like STREAM/VERSION or STREAM/VERSION/part/N, found {0}")]
    Key(String),
    /// The manifest is malformed, or contradicts its key or itself.
    #[error("the manifest {key} cannot be used: {problem}")]
    Manifest {
        /// The record's key.
        key: String,
        /// The problem.
        problem: String,
    },
    /// The version has no manifest.
    #[error("version {version} of stream {stream:?} has no manifest")]
    Unknown {
        /// The stream's name.
        stream: String,
        /// The version.
        version: u64,
    },
    /// A part is missing.
    #[error("version {version} of stream {stream:?} lacks part {part} of {parts}")]
    MissingPart {
        /// The stream's name.
        stream: String,
        /// The version.
        version: u64,
        /// The first missing part, from 0.
        part: u32,
        /// The number of parts.
        parts: u32,
    },
    /// The joined parts have another length or digest than the manifest says.
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
    /// The live loss grew, or an operator asked for it: earlier weights serve again.
    Rollback,
}

/// The description of a published version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The stream's name.
    pub stream: String,
    /// The version, from 1. One more must always be possible.
    pub version: u64,
    /// The version from which training began, or on a rollback the version whose weights it has; 0 for the initial
    /// weights.
    pub parent: u64,
    /// The fingerprint of the network's architecture; 16 hexadecimal digits in JSON.
    #[serde(with = "hexadecimal")]
    pub fingerprint: u64,
    /// The time of publication in milliseconds since the Unix epoch.
    pub created: i64,
    /// The newest event time of the training data in milliseconds since the Unix epoch.
    pub trained_until: Option<i64>,
    /// The champion's loss on the validation slots.
    pub champion_loss: Option<f64>,
    /// The challenger's loss on the same slots.
    pub challenger_loss: Option<f64>,
    /// Why the version was published.
    pub reason: PublishReason,
    /// Where a new series begins, if that was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Arc<StreamPrior>>,
}

/// The manifest of a version: its description, and how to check that its weights are complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the schema.
    pub schema: u32,
    /// The description of the version.
    #[serde(flatten)]
    pub release: Release,
    /// The number of parts of the weights.
    pub parts: u32,
    /// The length of the weights in bytes.
    pub bytes: u64,
    /// SHA-256 of the weights (safetensors), as 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of `weights` (safetensors).
    pub fn new(release: Release, weights: &[u8]) -> Self {
        let parts = u32::try_from(weights.len().div_ceil(MAX_PART_BYTES)).unwrap_or(u32::MAX);
        Self { schema: SCHEMA, release, parts, bytes: weights.len() as u64, sha256: digest([weights]) }
    }

    /// The key of its record.
    pub fn key(&self) -> ModelKey {
        ModelKey { stream: self.release.stream.clone(), version: self.release.version, part: None }
    }

    /// The value of its record.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it cannot be encoded, which does not happen to a value in memory.
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        serde_json::to_vec(self).map_err(|error| self.unusable(error.to_string()))
    }

    /// Reads the manifest of a record with the key `key`.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it is not a manifest of this schema, or not the one of its key.
    pub fn from_json(key: &ModelKey, json: &[u8]) -> Result<Self, ModelError> {
        let unusable = |problem: String| ModelError::Manifest { key: key.to_string(), problem };
        let manifest: Self = serde_json::from_slice(json).map_err(|error| unusable(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(unusable(format!(
                "it has the unknown schema {}; this build reads schema {SCHEMA}",
                manifest.schema
            )));
        }
        if manifest.key() != *key {
            return Err(unusable(format!("it describes {}", manifest.key())));
        }
        if manifest.parts > MAX_PARTS || manifest.bytes > u64::from(manifest.parts) * MAX_PART_BYTES as u64 {
            return Err(unusable(format!("{} bytes do not fit in {} parts", manifest.bytes, manifest.parts)));
        }
        Ok(manifest)
    }

    fn unusable(&self, problem: String) -> ModelError {
        ModelError::Manifest { key: self.key().to_string(), problem }
    }

    /// The records that publish the version, key and value, in the order in which they must be written: the parts, then
    /// the manifest.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it is not the manifest of `weights`, or where these are too large.
    pub fn records(&self, weights: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
        if self.parts > MAX_PARTS || *self != Self::new(self.release.clone(), weights) {
            return Err(self.unusable(format!("it is not the manifest of these {} bytes", weights.len())));
        }
        let parts = (0..).zip(weights.chunks(MAX_PART_BYTES));
        let mut records: Vec<(String, Vec<u8>)> = parts
            .map(|(part, bytes)| (ModelKey { part: Some(part), ..self.key() }.to_string(), bytes.to_vec()))
            .collect();
        records.push((self.key().to_string(), self.to_json()?));
        Ok(records)
    }

    /// The keys of all its records. Tombstones of them delete the version.
    pub fn keys(&self) -> Vec<String> {
        let parts = (0..self.parts).map(|part| ModelKey { part: Some(part), ..self.key() }.to_string());
        parts.chain([self.key().to_string()]).collect()
    }
}

/// A number as 16 hexadecimal digits.
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

/// The SHA-256 of joined chunks, as lower-case hexadecimal digits.
pub(super) fn digest<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for chunk in chunks {
        hash.update(chunk);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of a record of the models topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelKey {
    /// The stream's name.
    pub stream: String,
    /// The version.
    pub version: u64,
    /// The part, from 0; `None` for the manifest.
    pub part: Option<u32>,
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stream = String::new();
        escape(&mut stream, &self.stream);
        write!(f, "{stream}/{}", self.version)?;
        self.part.map_or(Ok(()), |part| write!(f, "/part/{part}"))
    }
}

impl ModelKey {
    /// Reads a key back.
    ///
    /// # Errors
    /// [`ModelError::Key`] where it is not the text of a [`ModelKey`].
    pub fn parse(key: &[u8]) -> Result<Self, ModelError> {
        let read = || {
            let text = std::str::from_utf8(key).ok()?;
            let mut names = text.splitn(3, '/');
            let stream = unescape(names.next()?)?;
            let version = names.next()?.parse().ok().filter(|version| (1..u64::MAX).contains(version))?;
            let part = match names.next() {
                Some(rest) => Some(rest.strip_prefix("part/")?.parse().ok()?),
                None => None,
            };
            let key = Self { stream, version, part };
            (key.to_string() == text).then_some(key)
        };
        read().ok_or_else(|| ModelError::Key(excerpt(&String::from_utf8_lossy(key))))
    }
}

#[cfg(test)]
#[path = "model_manifest_tests.rs"]
pub(super) mod tests;
