//! The model registry: the versions of the weights that the models topic holds.

use std::collections::BTreeMap;

use super::model_manifest::{Manifest, ModelError, ModelKey, digest};

/// The versions of all streams, with their manifests and parts, as far as the models topic was read.
#[derive(Debug, Default)]
pub struct ModelRegistry {
    streams: BTreeMap<String, BTreeMap<u64, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    manifest: Option<Manifest>,
    parts: BTreeMap<u32, Vec<u8>>,
    /// Whether the parts have the length and the digest of the manifest.
    complete: bool,
}

impl ModelRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a record of the topic, in the topic's order; a tombstone removes what it names. Returns the manifest
    /// when the record completes its version: a manifest comes after its parts.
    ///
    /// # Errors
    /// Where the record cannot be used, or is the manifest of a version that is incomplete or damaged. Such a version
    /// never becomes active; the others stay as they are.
    pub fn apply(&mut self, key: &[u8], payload: Option<&[u8]>) -> Result<Option<&Manifest>, ModelError> {
        let key = ModelKey::parse(key)?;
        let entry = self.streams.entry(key.stream.clone()).or_default().entry(key.version).or_default();
        // After any change the version is complete only once its manifest was checked against its parts.
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

    /// The manifests of a stream's complete versions, the lowest version first.
    pub fn versions(&self, stream: &str) -> impl DoubleEndedIterator<Item = &Manifest> {
        let versions = self.streams.get(stream).into_iter().flat_map(BTreeMap::values);
        versions.filter(|entry| entry.complete).filter_map(|entry| entry.manifest.as_ref())
    }

    /// The manifest of the active version: the highest complete one.
    pub fn active(&self, stream: &str) -> Option<&Manifest> {
        self.versions(stream).next_back()
    }

    /// The weights of a version (safetensors), joined and checked.
    ///
    /// # Errors
    /// Where the version is unknown, incomplete or damaged.
    pub fn weights(&self, stream: &str, version: u64) -> Result<Vec<u8>, ModelError> {
        let unknown = || ModelError::Unknown { stream: stream.into(), version };
        let entry = self.streams.get(stream).and_then(|versions| versions.get(&version)).ok_or_else(unknown)?;
        let manifest = entry.manifest.as_ref().ok_or_else(unknown)?;
        entry.check(manifest)?;
        Ok(entry.parts.range(..manifest.parts).map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat())
    }

    /// Whether the weights of a version were read and not dropped since.
    pub fn holds_weights(&self, stream: &str, version: u64) -> bool {
        let entry = self.streams.get(stream).and_then(|versions| versions.get(&version));
        entry.is_some_and(|entry| entry.complete && !entry.parts.is_empty())
    }

    /// Drops the parts of a stream's versions, except those of the newest `count` complete versions of each network.
    /// Their manifests stay.
    pub fn keep_newest_weights(&mut self, stream: &str, count: usize) {
        let mut newer: BTreeMap<u64, usize> = BTreeMap::new();
        let versions = self.streams.get_mut(stream).into_iter().flat_map(BTreeMap::values_mut).rev();
        for entry in versions.filter(|entry| entry.complete) {
            let Some(manifest) = &entry.manifest else { continue };
            let newer = newer.entry(manifest.release.fingerprint).or_default();
            if *newer >= count {
                entry.parts.clear();
            }
            *newer += 1;
        }
    }

    /// Drops the parts of a stream's versions below `version` to free their memory. Their manifests stay; their weights
    /// are then missing.
    pub fn drop_weights_below(&mut self, stream: &str, version: u64) {
        for (_, entry) in self.streams.get_mut(stream).into_iter().flat_map(|versions| versions.range_mut(..version)) {
            entry.parts.clear();
        }
    }
}

impl Entry {
    /// Checks the parts against the manifest.
    fn check(&self, manifest: &Manifest) -> Result<(), ModelError> {
        let (stream, version) = (manifest.release.stream.clone(), manifest.release.version);
        if let Some(part) = (0..manifest.parts).find(|part| !self.parts.contains_key(part)) {
            return Err(ModelError::MissingPart { stream, version, part, parts: manifest.parts });
        }
        // Further parts belong to an earlier, longer publication of the same version.
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
#[path = "model_registry_tests.rs"]
mod tests;
