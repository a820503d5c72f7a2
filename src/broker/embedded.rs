//! A throw-away broker inside the process, for the demo. It keeps no delivery promise.
//!
//! It is librdkafka's mock cluster: groups, rebalances, offsets and outside clients (kcat) work. Its transactions are
//! only played: aborted records stay visible, offsets sent into a transaction are not stored, zombies are not fenced.
//! It keeps 5 MiB or 100,000 batches per partition and then drops the oldest silently. The first join of a group takes
//! about 3 s.

use std::time::Duration;

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

use super::{BrokerError, kafka::KafkaOptions};

/// A running embedded broker; it ends when this is dropped.
pub struct Embedded {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Embedded {
    /// Starts it on a free port of this machine, with no topics.
    pub fn start() -> Result<Self, BrokerError> {
        let cluster = MockCluster::new(1);
        let cluster = cluster.map_err(|error| BrokerError::Fatal(format!("starting the embedded broker: {error}")))?;
        Ok(Self { cluster })
    }

    /// Creates a topic. (It cannot be asked for that as a cluster is, with [`Broker::create`](super::Broker::create).)
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), BrokerError> {
        let created = self.cluster.create_topic(name, partitions, 1);
        created.map_err(|error| BrokerError::Refused(format!("creating topic {name} on the embedded broker: {error}")))
    }

    /// Where clients find it: `host:port`.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Options for our own clients of it: its fetches wait their full time, so that is kept short.
    pub fn options(&self) -> KafkaOptions {
        let mut options = KafkaOptions::new(self.bootstrap_servers());
        options.fetch_wait = Duration::from_millis(5);
        options.session_timeout = Duration::from_secs(6);
        options
    }
}
