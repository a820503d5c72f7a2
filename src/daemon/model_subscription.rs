//! Subscription to the models topic: every complete version that is published can then serve.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{plan::Plan, status::Status};
use crate::broker::{Broker, BrokerError, Partition, Reader, StartPosition, stable_end};
use crate::engine::{Engine, ServedWeights};
use crate::nn::{Network, NetworkSpec, Weights};
use crate::wire::{ModelKey, ModelRegistry};

/// The most records of one read.
const READ_RECORDS: usize = 64;
/// How long one read of [`ModelSubscription::catch_up`] waits for records.
const CATCH_UP_WAIT: Duration = Duration::from_millis(100);

/// Reads without a record after which the log says what is waited for: 3 s.
const READS_BEFORE_NOTICE: u32 = 30;

/// Versions of each stream that are kept in memory: enough for most replays, and for a rollback. A replay that needs
/// older ones reads them again.
pub const VERSIONS_KEPT: u64 = 8;
/// Reads without a record after which a restore that needs older weights is postponed: 5 s.
const READS_BEFORE_POSTPONING: u32 = 50;

/// A version of which every record was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedVersion {
    pub stream: String,
    pub version: u64,
}

/// A reader of the models topic, with the registry of what it has read.
pub struct ModelSubscription {
    partition: Partition,
    reader: Box<dyn Reader>,
    /// The versions read so far.
    pub registry: ModelRegistry,
}

impl ModelSubscription {
    /// Opens the models topic at its beginning.
    pub fn open(models_topic: &str, broker: &dyn Broker) -> Result<Self, BrokerError> {
        let partition = Partition { topic: models_topic.into(), number: 0 };
        let reader = broker.reader(&partition, StartPosition::Earliest)?;
        Ok(Self { partition, reader, registry: ModelRegistry::new() })
    }

    /// Reads everything that is published by now, and returns the complete versions in order. `None` once `stopped`: a
    /// transaction that a publisher left open blocks the topic until the cluster aborts it.
    pub fn catch_up(
        &mut self,
        broker: &dyn Broker,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<PublishedVersion>>, BrokerError> {
        let end = broker.offsets(&self.partition)?.end;
        let (mut published, mut empty_reads) = (Vec::new(), 0);
        while !stopped() {
            let found = self.read(CATCH_UP_WAIT, &mut published)?;
            if !found && self.reader.has_reached(end)? {
                return Ok(Some(published));
            }
            empty_reads = if found { 0 } else { empty_reads + 1 };
            if empty_reads == READS_BEFORE_NOTICE {
                let Partition { topic, number } = &self.partition;
                tracing::warn!(
                    topic = %topic, partition = number, end,
                    "waiting for an open transaction on the models topic: its writer has died in the middle of it, and \
                     the cluster ends it after kafka.transaction_timeout"
                );
            }
        }
        Ok(None)
    }

    /// Returns the versions that are complete since the last call, without waiting.
    ///
    /// # Errors
    /// The broker's. A retriable one counts as nothing new.
    pub fn poll(&mut self) -> Result<Vec<PublishedVersion>, BrokerError> {
        let mut published = Vec::new();
        match self.read(Duration::ZERO, &mut published) {
            Ok(_) | Err(BrokerError::Retriable(_)) => Ok(published),
            Err(error) => Err(error),
        }
    }

    /// The weights of a version for a network of this specification.
    ///
    /// # Errors
    /// What is wrong with them: a missing or damaged chunk, or another architecture.
    pub fn weights(&self, stream: &str, version: u64, spec: &NetworkSpec) -> Result<Weights, String> {
        weights_of(&self.registry, stream, version, spec)
    }

    fn read(&mut self, wait: Duration, published: &mut Vec<PublishedVersion>) -> Result<bool, BrokerError> {
        let Some(batch) = self.reader.read(wait, READ_RECORDS)? else { return Ok(false) };
        for record in batch.iter() {
            match self.registry.apply(record.key.unwrap_or_default(), record.payload) {
                Ok(Some(manifest)) => {
                    let (stream, version) = (manifest.release.stream.clone(), manifest.release.version);
                    self.registry.keep_newest_weights(&stream, VERSIONS_KEPT as usize);
                    published.push(PublishedVersion { stream, version });
                }
                Ok(None) => {}
                Err(error) => {
                    let Partition { topic, number } = &self.partition;
                    tracing::warn!(
                        topic = %topic, partition = number, offset = record.offset, %error,
                        "ignoring an unusable record of the models topic"
                    );
                }
            }
        }
        Ok(true)
    }

    /// Installs versions in the engine, where they fit the configured network, and drops their bytes. Those that newer
    /// ones have already made old are passed over.
    pub fn install(&mut self, plan: &Plan, engine: &mut Engine, status: &Status, published: &[PublishedVersion]) {
        for PublishedVersion { stream, version } in published {
            let (stream, version) = (stream.as_str(), *version);
            if self.registry.holds_weights(stream, version)
                && let Some(created) = install(&self.registry, plan, engine, (stream, version))
            {
                engine.drop_weights_below(stream, version.saturating_sub(VERSIONS_KEPT));
                status.set_weights(stream, version, created);
            }
            self.registry.drop_weights_below(stream, version + 1);
        }
    }
}

/// Installs a version in the engine, where it fits the configured network. Returns when it was published.
fn install(registry: &ModelRegistry, plan: &Plan, engine: &mut Engine, (stream, version): (&str, u64)) -> Option<i64> {
    let spec = plan.streams.iter().map(|plan| &plan.engine).find(|spec| *spec.name == *stream)?;
    let release =
        registry.versions(stream).map(|manifest| &manifest.release).find(|release| release.version == version)?;
    if release.fingerprint != spec.network.fingerprint() {
        tracing::info!(stream, version, "ignoring weights of a network other than the configured one");
        return None;
    }
    let network = weights_of(registry, stream, version, &spec.network)
        .and_then(|weights| Network::new(&spec.network, &weights).map_err(|error| error.to_string()));
    match network {
        Ok(network) => {
            engine.install(stream, version, ServedWeights { network: Arc::new(network), prior: release.prior.clone() });
            Some(release.created)
        }
        Err(error) => {
            tracing::error!(stream, version, error, "published weights are unusable; ignoring them");
            None
        }
    }
}

fn weights_of(registry: &ModelRegistry, stream: &str, version: u64, spec: &NetworkSpec) -> Result<Weights, String> {
    let bytes = registry.weights(stream, version).map_err(|error| error.to_string())?;
    Weights::from_bytes(spec, &bytes).map_err(|error| error.to_string())
}

/// Reads some versions from the models topic again, as far as it still holds them.
///
/// # Errors
/// The broker's, or [`BrokerError::Retriable`] where the topic is not delivered in time.
pub fn read_versions(
    broker: &dyn Broker,
    models_topic: &str,
    wanted: &BTreeSet<PublishedVersion>,
) -> Result<ModelRegistry, BrokerError> {
    let partition = Partition { topic: models_topic.into(), number: 0 };
    let end = stable_end(broker, &partition)?;
    let mut reader = broker.reader(&partition, StartPosition::Earliest)?;
    let (mut registry, mut empty_reads) = (ModelRegistry::new(), 0);
    while !reader.has_reached(end)? {
        let Some(batch) = reader.read(CATCH_UP_WAIT, READ_RECORDS)? else {
            empty_reads += 1;
            if empty_reads == READS_BEFORE_POSTPONING {
                return Err(BrokerError::Retriable(format!("{partition}: older weights were not delivered in time")));
            }
            continue;
        };
        empty_reads = 0;
        for record in batch.iter() {
            let key = record.key.unwrap_or_default();
            let is_wanted = |key: &ModelKey| {
                wanted.contains(&PublishedVersion { stream: key.stream.clone(), version: key.version })
            };
            if ModelKey::parse(key).is_ok_and(|key| is_wanted(&key)) {
                // What is wrong with a record was said when it was first read.
                let _applied = registry.apply(key, record.payload);
            }
        }
    }
    Ok(registry)
}

/// Installs the weights that a replay of the tasks needs, as their checkpoints say, and that the engine does not hold.
///
/// # Errors
/// As [`read_versions`].
pub fn install_recorded(
    broker: &dyn Broker,
    plan: &Plan,
    engine: &mut Engine,
    needed: impl Iterator<Item = PublishedVersion>,
) -> Result<(), BrokerError> {
    let is_missing = |wanted: &PublishedVersion| !engine.has_weights(&wanted.stream, wanted.version);
    let missing: BTreeSet<PublishedVersion> = needed.filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let registry = read_versions(broker, &plan.models_topic, &missing)?;
    for PublishedVersion { stream, version } in &missing {
        if registry.holds_weights(stream, *version) {
            install(&registry, plan, engine, (stream, *version));
        }
    }
    Ok(())
}
