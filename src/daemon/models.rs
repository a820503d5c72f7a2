//! Watching the models topic: every complete version that is published becomes ready to serve.

use std::{sync::Arc, time::Duration};

use super::{plan::Plan, status::Status};
use crate::{
    broker::{Broker, BrokerError, Partition, Reader, StartPosition},
    engine::{Engine, ServedWeights},
    nn::{Network, NetworkSpec, Weights},
    wire::ModelRegistry,
};

/// Records read from the models topic at a time.
const READ_RECORDS: usize = 64;
/// How long reading what is there already waits for the next records.
const CATCH_UP_WAIT: Duration = Duration::from_millis(100);

/// Versions kept, in the models topic and in memory: enough for any replay, which reaches back one checkpoint interval,
/// and to go back to.
pub const VERSIONS_KEPT: u64 = 8;

/// A version that has come complete.
pub type Completed = (String, u64);

/// A reader of the models topic and what it has read so far.
pub struct ModelWatch {
    partition: Partition,
    reader: Box<dyn Reader>,
    /// The versions read so far.
    pub shelf: ModelRegistry,
}

impl ModelWatch {
    /// Starts reading the models topic from its beginning.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn open(models_topic: &str, broker: &dyn Broker) -> Result<Self, BrokerError> {
        let partition = Partition { topic: models_topic.into(), number: 0 };
        let reader = broker.reader(&partition, StartPosition::Earliest)?;
        Ok(Self { partition, reader, shelf: ModelRegistry::new() })
    }

    /// Reads everything that is published by now and returns what came complete, in order; `None` once `stopped`: a
    /// transaction that somebody has left open on the topic can hold it up for as long as the cluster lets it.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn catch_up(
        &mut self,
        broker: &dyn Broker,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Completed>>, BrokerError> {
        let end = broker.offsets(&self.partition)?.end;
        let mut completed = Vec::new();
        while !stopped() {
            let came = self.read(CATCH_UP_WAIT, &mut completed)?;
            if !came && self.reader.has_reached(end)? {
                return Ok(Some(completed));
            }
        }
        Ok(None)
    }

    /// What has come complete since the last look, without waiting.
    ///
    /// # Errors
    /// What the broker answers; passing trouble counts as nothing new.
    pub fn look(&mut self) -> Result<Vec<Completed>, BrokerError> {
        let mut completed = Vec::new();
        match self.read(Duration::ZERO, &mut completed) {
            Ok(_) | Err(BrokerError::Retriable(_)) => Ok(completed),
            Err(error) => Err(error),
        }
    }

    /// The weights of a version, where they are whole and fit `spec`; otherwise why not.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn weights(&self, stream: &str, version: u64, spec: &NetworkSpec) -> Result<Weights, String> {
        let bytes = self.shelf.weights(stream, version).map_err(|error| error.to_string())?;
        Weights::from_bytes(spec, &bytes).map_err(|error| error.to_string())
    }

    fn read(&mut self, wait: Duration, completed: &mut Vec<Completed>) -> Result<bool, BrokerError> {
        let Some(batch) = self.reader.read(wait, READ_RECORDS)? else { return Ok(false) };
        for record in batch.iter() {
            match self.shelf.apply(record.key.unwrap_or_default(), record.payload) {
                Ok(Some(manifest)) => completed.push((manifest.release.stream.clone(), manifest.release.version)),
                Ok(None) => {}
                Err(error) => {
                    let (partition, offset) = (&self.partition, record.offset);
                    tracing::warn!(%partition, offset, %error, "a record of the models topic is not used");
                }
            }
        }
        Ok(true)
    }

    /// Makes versions ready to serve, where they fit the configured network. Their bytes are then let go.
    pub fn install(&mut self, plan: &Plan, engine: &mut Engine, status: &Status, completed: &[Completed]) {
        for (name, version) in completed {
            let (stream, version) = (name.as_str(), *version);
            let Some(spec) = plan.streams.iter().map(|plan| &plan.engine).find(|spec| *spec.name == *stream) else {
                continue;
            };
            let Some(release) = self
                .shelf
                .versions(stream)
                .map(|manifest| &manifest.release)
                .find(|release| release.version == version)
            else {
                continue;
            };
            if release.fingerprint != spec.network.fingerprint() {
                tracing::info!(stream, version, "published for another network than the configured one; left alone");
                continue;
            }
            let made = self
                .weights(stream, version, &spec.network)
                .and_then(|weights| Network::new(&spec.network, &weights).map_err(|error| error.to_string()));
            match made {
                Ok(network) => {
                    let prior = release.prior.clone();
                    engine.install(stream, version, ServedWeights { network: Arc::new(network), prior });
                    engine.drop_weights_below(stream, version.saturating_sub(VERSIONS_KEPT));
                    status.published(stream, version, release.created);
                }
                Err(error) => tracing::error!(stream, version, error, "published weights are refused"),
            }
            self.shelf.drop_weights_below(stream, version + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::broker::{ProducerRecord, TopicSpec, memory::MemoryCluster};

    /// Whoever waits for a transaction that nobody ends can still be stopped, and reads on once it is ended.
    #[test]
    fn an_open_transaction_on_the_models_topic_does_not_keep_it_from_stopping() {
        let cluster = MemoryCluster::new();
        let plan = TopicSpec { name: "models".into(), partitions: 1, compacted: true, max_record_bytes: 1 << 20 };
        cluster.create(&plan).unwrap();
        cluster.delay_markers(true);
        let record =
            ProducerRecord { topic: "models", partition: Some(0), key: Some(b"k"), payload: Some(b"v"), headers: &[] };
        cluster.publisher("trainer").unwrap().publish(&[record]).unwrap();
        let mut watch = ModelWatch::open("models", &cluster).unwrap();
        let looks = Cell::new(0);
        let stopped = || {
            looks.set(looks.get() + 1);
            looks.get() > 5
        };
        assert_eq!(watch.catch_up(&cluster, &stopped).unwrap(), None);
        assert_eq!(looks.get(), 6, "it looks each time round");
        cluster.delay_markers(false);
        assert_eq!(watch.catch_up(&cluster, &|| false).unwrap(), Some(Vec::new()));
    }
}
