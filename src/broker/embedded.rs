//! An embedded broker for the demo. It does not guarantee delivery.
//!
//! It is librdkafka's mock cluster. Groups, rebalances, offsets and other clients such as kcat work, but transactions
//! are only pretended: aborted records stay visible, offsets sent in a transaction are not stored, and zombies are not
//! fenced. It keeps 5 MiB or 100,000 batches per partition and then silently drops the oldest. The first join of a
//! group takes about 3 s.

use std::time::Duration;

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

use super::errors::{BrokerError, Result};
use super::kafka::KafkaOptions;

/// A running embedded broker. Dropping it stops the broker.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker without topics on a free local port.
    pub fn start() -> Result<Self> {
        let cluster = MockCluster::new(1);
        let cluster = cluster.map_err(|error| BrokerError::Fatal(format!("starting the embedded broker: {error}")))?;
        Ok(Self { cluster })
    }

    /// Creates a topic. The mock cluster does not support [`Broker::create`](super::Broker::create).
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let created = self.cluster.create_topic(name, partitions, 1);
        created.map_err(|error| BrokerError::Rejected(format!("creating topic {name} on the embedded broker: {error}")))
    }

    /// Address of the broker, `host:port`.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Options for our own clients. The mock cluster delays every fetch by its full wait, so the wait is short.
    pub fn options(&self) -> KafkaOptions {
        let mut options = KafkaOptions::new(self.bootstrap_servers());
        options.fetch_wait = Duration::from_millis(5);
        options.session_timeout = Duration::from_secs(6);
        options.describes_topics = false;
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{
        Broker, MemberEvent, Partition, ProducerRecord, StartPosition, kafka::KafkaBroker, stable_end,
    };

    #[test]
    fn our_own_clients_work_with_the_embedded_broker() {
        let embedded = EmbeddedBroker::start().unwrap();
        embedded.create_topic("in", 2).unwrap();
        let broker = KafkaBroker::new(embedded.options()).unwrap();
        assert_eq!(broker.partitions("in").unwrap(), Some(2));
        assert_eq!(broker.topic_settings(&["in".into()]).unwrap(), [None]);
        let mut member = broker.join("group", "member", &["in".into()]).unwrap();
        let mut publisher = broker.publisher("publisher").unwrap();
        let record = |payload| ProducerRecord {
            topic: "in",
            partition: Some(1),
            key: None,
            payload: Some(payload),
            headers: &[],
        };
        publisher.publish(&[record(b"one"), record(b"two")]).unwrap();
        let place = Partition { topic: "in".into(), number: 1 };

        let mut seen = Vec::new();
        for _ in 0..1000 {
            match member.poll(Duration::from_millis(20), 100).unwrap() {
                Some(MemberEvent::Assigned(partitions)) => {
                    assert_eq!(partitions.len(), 2);
                    assert_eq!(member.committed_offsets(&partitions).unwrap(), [None, None]);
                    partitions.iter().for_each(|partition| member.start(partition, 0).unwrap());
                }
                Some(MemberEvent::Records(batch)) => {
                    seen.extend(batch.iter().map(|record| record.payload.unwrap().to_vec()));
                }
                other => assert_eq!(other, None),
            }
            if seen.len() == 2 {
                break;
            }
        }
        assert_eq!(seen, [b"one", b"two"]);
        member.begin().unwrap();
        member.send(record(b"three")).unwrap();
        member.commit(&[(place.clone(), 2)]).unwrap();

        let end = broker.offsets(&place).unwrap().end;
        assert_eq!(stable_end(&broker, &place).unwrap(), end);
        let mut reader = broker.reader(&place, StartPosition::Earliest).unwrap();
        let mut count = 0;
        for _ in 0..100 {
            count += reader.read(Duration::from_millis(20), 100).unwrap().map_or(0, |batch| batch.len());
            if reader.has_reached(end).unwrap() {
                break;
            }
        }
        assert_eq!(count, 3);
        assert!(reader.has_reached(end).unwrap());
        member.leave().unwrap();
    }
}
