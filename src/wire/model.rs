//! Records of the compacted models topic: weights in parts, and a manifest that says what they are.
//!
//! Keys are printable text: `<stream>/<version>` for the manifest and `<stream>/<version>/part/<n>` for its parts, with
//! `%`, `/` and control characters in the stream's name written as `%XX`. The topic has one partition. A version is
//! published whole, in one transaction. The active version of a stream is its highest complete version: a rollback
//! publishes the earlier weights again under a new version.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::forecast::StreamPrior;

use super::{
    refusal::excerpt,
    state::{escape, unescape},
};

/// The version of the manifest's schema.
pub const SCHEMA: u32 = 1;
/// The most bytes of one part: a record of a part fits in Kafka's default limit of 1 MiB.
pub const MAX_PART_BYTES: usize = 900 * 1024;
/// The most parts of one version (about 3.5 GiB of weights).
pub const MAX_PARTS: u32 = 4096;

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

/// What a publisher says about a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The stream's name.
    pub stream: String,
    /// The version; 1 is the first that was published, and one more must always be possible.
    pub version: u64,
    /// The version it was trained from (or, on a rollback, whose weights it holds); 0 are the initial weights.
    pub parent: u64,
    /// The architecture's fingerprint; 16 hexadecimal digits in JSON.
    #[serde(with = "hexadecimal")]
    pub fingerprint: u64,
    /// When it was published: milliseconds since the Unix epoch.
    pub created: i64,
    /// The newest event time that training has seen: milliseconds since the Unix epoch.
    pub trained_until: Option<i64>,
    /// The champion's loss on the held-out slots.
    pub champion_loss: Option<f64>,
    /// The challenger's loss on the same slots.
    pub challenger_loss: Option<f64>,
    /// Why it was published.
    pub reason: PublishReason,
    /// Where a new series begins, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Arc<StreamPrior>>,
}

/// The manifest of a version: what it is, and how to know that its weights are whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the publisher says about it.
    #[serde(flatten)]
    pub release: Release,
    /// How many parts the weights were cut into.
    pub parts: u32,
    /// Bytes of the weights.
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

    /// Its record's value.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it cannot be written (never, for a value in memory).
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        serde_json::to_vec(self).map_err(|error| self.unusable(error.to_string()))
    }

    /// Reads a manifest that stands under `key`.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it is no manifest of this schema, or not the one its key says.
    pub fn from_json(key: &ModelKey, json: &[u8]) -> Result<Self, ModelError> {
        let unusable = |problem: String| ModelError::Manifest { key: key.to_string(), problem };
        let manifest: Self = serde_json::from_slice(json).map_err(|error| unusable(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(unusable(format!("it has schema {}, this build reads schema {SCHEMA}", manifest.schema)));
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

    /// The records that publish a version, in the order in which they must be written: key and value of each part, then
    /// of the manifest.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] where it is not the manifest of `weights`, or they are too large.
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

    /// The keys of all its records: written as tombstones, they delete the version.
    pub fn keys(&self) -> Vec<String> {
        let parts = (0..self.parts).map(|part| ModelKey { part: Some(part), ..self.key() }.to_string());
        parts.chain([self.key().to_string()]).collect()
    }
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

/// SHA-256 of pieces put together, as lower-case hexadecimal digits.
fn digest<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
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

impl std::fmt::Display for ModelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// [`ModelError::Key`] where it is not a key that [`ModelKey`] writes.
    pub fn parse(key: &[u8]) -> Result<Self, ModelError> {
        let read = || {
            let text = std::str::from_utf8(key).ok()?;
            let mut pieces = text.splitn(3, '/');
            let stream = unescape(pieces.next()?)?;
            let version = pieces.next()?.parse().ok().filter(|version| (1..u64::MAX).contains(version))?;
            let part = match pieces.next() {
                Some(rest) => Some(rest.strip_prefix("part/")?.parse().ok()?),
                None => None,
            };
            let key = Self { stream, version, part };
            (key.to_string() == text).then_some(key)
        };
        read().ok_or_else(|| ModelError::Key(excerpt(&String::from_utf8_lossy(key))))
    }
}

/// The models topic as it has been read so far: versions with their manifests and parts.
#[derive(Debug, Default)]
pub struct ModelRegistry {
    streams: BTreeMap<String, BTreeMap<u64, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    manifest: Option<Manifest>,
    parts: BTreeMap<u32, Vec<u8>>,
    /// Whether the parts have been found to be what the manifest says.
    complete: bool,
}

impl ModelRegistry {
    /// An empty shelf.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record in, in the order of the topic; a tombstone takes it out. Returns the manifest when the record made
    /// its version complete: manifests come after their parts.
    ///
    /// # Errors
    /// Where the record cannot be used, or is the manifest of a version that lacks a part or is damaged. Such a version
    /// never becomes active; the others stay as they are.
    pub fn apply(&mut self, key: &[u8], payload: Option<&[u8]>) -> Result<Option<&Manifest>, ModelError> {
        let key = ModelKey::parse(key)?;
        let entry = self.streams.entry(key.stream.clone()).or_default().entry(key.version).or_default();
        // Whatever changes, the version is complete again only once its manifest has been checked against its parts.
        entry.complete = false;
        match (key.part, payload) {
            (Some(part), Some(bytes)) => {
                entry.parts.insert(part, bytes.to_vec());
            }
            (Some(part), None) => {
                entry.parts.remove(&part);
            }
            (None, None) => entry.manifest = None,
            (None, Some(json)) => {
                entry.manifest = None;
                let manifest = Manifest::from_json(&key, json)?;
                entry.check(&manifest)?;
                entry.complete = true;
                return Ok(Some(entry.manifest.insert(manifest)));
            }
        }
        Ok(None)
    }

    /// The manifests of a stream's complete versions, lowest version first.
    pub fn versions(&self, stream: &str) -> impl DoubleEndedIterator<Item = &Manifest> {
        let versions = self.streams.get(stream).into_iter().flat_map(BTreeMap::values);
        versions.filter(|entry| entry.complete).filter_map(|entry| entry.manifest.as_ref())
    }

    /// The manifest of the version that serves: the highest complete one.
    pub fn active(&self, stream: &str) -> Option<&Manifest> {
        self.versions(stream).next_back()
    }

    /// The weights of a version (safetensors), put together and checked.
    ///
    /// # Errors
    /// Where the version is unknown, lacks a part or is damaged.
    pub fn weights(&self, stream: &str, version: u64) -> Result<Vec<u8>, ModelError> {
        let unknown = || ModelError::Unknown { stream: stream.into(), version };
        let entry = self.streams.get(stream).and_then(|versions| versions.get(&version)).ok_or_else(unknown)?;
        let manifest = entry.manifest.as_ref().ok_or_else(unknown)?;
        entry.check(manifest)?;
        Ok(entry.parts.range(..manifest.parts).map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat())
    }

    /// Forgets the parts of a stream's versions below `version` to free their memory; their manifests stay, and their
    /// weights are then missing.
    pub fn drop_weights_below(&mut self, stream: &str, version: u64) {
        for (_, entry) in self.streams.get_mut(stream).into_iter().flat_map(|versions| versions.range_mut(..version)) {
            entry.parts.clear();
        }
    }
}

impl Entry {
    fn check(&self, manifest: &Manifest) -> Result<(), ModelError> {
        let (stream, version) = (manifest.release.stream.clone(), manifest.release.version);
        if let Some(part) = (0..manifest.parts).find(|part| !self.parts.contains_key(part)) {
            return Err(ModelError::MissingPart { stream, version, part, parts: manifest.parts });
        }
        // Parts beyond the manifest's belong to an earlier, longer publication of the same version.
        let parts = || self.parts.range(..manifest.parts).map(|(_, bytes)| &bytes[..]);
        let bytes: u64 = parts().map(|bytes| bytes.len() as u64).sum();
        if bytes != manifest.bytes {
            let (expected, found) = (format!("{} bytes", manifest.bytes), format!("{bytes} bytes"));
            return Err(ModelError::Damaged { stream, version, expected, found });
        }
        let found = digest(parts());
        if found != manifest.sha256 {
            let (expected, found) = (format!("SHA-256 {}", manifest.sha256), format!("SHA-256 {found}"));
            return Err(ModelError::Damaged { stream, version, expected, found });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
