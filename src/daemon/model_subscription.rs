//! Subscription to the models topic: every complete version that is published can then serve.

use std::{sync::Arc, time::Duration};

use super::{plan::Plan, status::Status};
use crate::broker::{Broker, BrokerError, Partition, Reader, StartPosition};
use crate::engine::{Engine, ServedWeights};
use crate::nn::{Network, NetworkSpec, Weights};
use crate::wire::ModelRegistry;

/// The most records of one read.
const READ_RECORDS: usize = 64;
/// How long one read of [`ModelSubscription::catch_up`] waits for records.
const CATCH_UP_WAIT: Duration = Duration::from_millis(100);

/// Reads without a record after which the log says what is waited for: 3 s.
const READS_BEFORE_NOTICE: u32 = 30;

/// Versions of each stream that are kept: enough for a replay over one checkpoint interval, and for a rollback.
pub const VERSIONS_KEPT: u64 = 8;

/// A version of which every record was read.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let bytes = self.registry.weights(stream, version).map_err(|error| error.to_string())?;
        Weights::from_bytes(spec, &bytes).map_err(|error| error.to_string())
    }

    fn read(&mut self, wait: Duration, published: &mut Vec<PublishedVersion>) -> Result<bool, BrokerError> {
        let Some(batch) = self.reader.read(wait, READ_RECORDS)? else { return Ok(false) };
        for record in batch.iter() {
            match self.registry.apply(record.key.unwrap_or_default(), record.payload) {
                Ok(Some(manifest)) => {
                    let (stream, version) = (manifest.release.stream.clone(), manifest.release.version);
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

    /// Installs versions in the engine, where they fit the configured network, and drops their bytes.
    pub fn install(&mut self, plan: &Plan, engine: &mut Engine, status: &Status, published: &[PublishedVersion]) {
        for PublishedVersion { stream, version } in published {
            let (stream, version) = (stream.as_str(), *version);
            let Some(spec) = plan.streams.iter().map(|plan| &plan.engine).find(|spec| *spec.name == *stream) else {
                continue;
            };
            let Some(release) = self
                .registry
                .versions(stream)
                .map(|manifest| &manifest.release)
                .find(|release| release.version == version)
            else {
                continue;
            };
            if release.fingerprint != spec.network.fingerprint() {
                tracing::info!(stream, version, "ignoring weights of a network other than the configured one");
                continue;
            }
            let network = self
                .weights(stream, version, &spec.network)
                .and_then(|weights| Network::new(&spec.network, &weights).map_err(|error| error.to_string()));
            match network {
                Ok(network) => {
                    let prior = release.prior.clone();
                    engine.install(stream, version, ServedWeights { network: Arc::new(network), prior });
                    engine.drop_weights_below(stream, version.saturating_sub(VERSIONS_KEPT));
                    status.set_weights(stream, version, release.created);
                }
                Err(error) => tracing::error!(stream, version, error, "published weights are unusable; ignoring them"),
            }
            self.registry.drop_weights_below(stream, version + 1);
        }
    }
}
