//! Which records the output topics accept by their size, and what happens to those that they do not.

use std::collections::BTreeMap;

use crate::broker::{Broker, BrokerError, Member, ProducerRecord};
use crate::daemon::plan::Plan;
use crate::telemetry::{LeftOut, LogLimit, metrics};

/// Room for the header of a record batch, in bytes, so that a full batch stays below the limit of its topic.
const BATCH_MARGIN: usize = 512;
/// The most characters of a key in a log line.
const KEY_CHARS: usize = 100;

/// The largest record batch that each output topic of a shard accepts.
pub struct RecordLimits {
    /// `max.message.bytes` by topic; topics whose limit the cluster does not say are absent.
    bytes: BTreeMap<String, usize>,
    /// The smallest of them: smaller records fit everywhere.
    least: usize,
    /// Dropped records are logged by topic.
    warnings: LogLimit,
}

/// A record that its topic does not accept, and that was left out of its transaction, or shortened if it is a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OversizedRecord {
    /// The index in the plan of its stream.
    pub stream: usize,
    pub topic: String,
    pub key: String,
    /// Its size before compression.
    pub bytes: usize,
}

/// Sends the records of a transaction that their topics accept.
pub struct Outbox<'a> {
    pub member: &'a mut dyn Member,
    pub limits: &'a RecordLimits,
    /// The records that are left out.
    pub oversized: Vec<OversizedRecord>,
}

impl Outbox<'_> {
    /// Sends a record of a stream (its index in the plan), or leaves it out. Returns whether it was sent.
    pub fn send(&mut self, stream: usize, record: ProducerRecord<'_>) -> Result<bool, BrokerError> {
        if self.limits.accept(&record) {
            self.member.send(record)?;
            return Ok(true);
        }
        let key = String::from_utf8_lossy(record.key.unwrap_or_default()).chars().take(KEY_CHARS).collect();
        let (topic, bytes) = (record.topic.to_owned(), record.bytes());
        self.oversized.push(OversizedRecord { stream, topic, key, bytes });
        Ok(false)
    }
}

impl RecordLimits {
    /// Asks for the limits of the topics that a shard writes to, and keeps the batches of new producers below them.
    ///
    /// # Errors
    /// The broker's.
    pub fn ask(plan: &Plan, broker: &dyn Broker) -> Result<Self, BrokerError> {
        let forecasts = plan.streams.iter().map(|stream| &*stream.forecasts_topic);
        let copies = plan.repartition_topics().map(|repartition| &*repartition.topic);
        let all = forecasts.chain(copies).chain([&*plan.state_topic, &*plan.dead_letter_topic]);
        let mut topics: Vec<&str> = all.collect();
        topics.sort_unstable();
        topics.dedup();
        let bytes = broker.max_batch_bytes(&topics)?;
        let least = bytes.values().copied().min().unwrap_or(usize::MAX);
        broker.limit_batches(least.saturating_sub(BATCH_MARGIN));
        Ok(Self { bytes, least, warnings: LogLimit::per_minute() })
    }

    /// The most bytes of a record for `topic`, before compression.
    pub fn of(&self, topic: &str) -> usize {
        self.bytes.get(topic).copied().unwrap_or(usize::MAX)
    }

    /// Whether the topic of `record` accepts it.
    pub fn accept(&self, record: &ProducerRecord<'_>) -> bool {
        let bytes = record.batch_bytes();
        bytes <= self.least || bytes <= self.of(record.topic)
    }

    /// Counts records that a committed transaction has left out, and logs one for each topic and minute.
    pub fn report(&self, plan: &Plan, dropped: &[OversizedRecord], now: u64) {
        for OversizedRecord { stream, topic, key, bytes } in dropped {
            let stream: &str = &plan.streams[*stream].engine.name;
            metrics::OVERSIZED.counter(&[("stream", stream), ("topic", topic)]).increment(1);
            if let Some(LeftOut(left_out)) = self.warnings.admit(topic, now) {
                tracing::warn!(
                    stream,
                    topic,
                    key,
                    bytes,
                    limit = self.of(topic),
                    left_out,
                    "a record is larger than its topic accepts and is left out; a snapshot keeps the parts that fit, \
                     and its series is rebuilt after a restart. Raise the topic's max.message.bytes, or lower the \
                     stream's horizon, quantiles, season or model.hidden (more of them within a minute are only \
                     counted, in foretide_oversized_records_total)"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_must_fit_with_its_headers_and_an_unknown_limit_lets_all_pass() {
        let bytes = BTreeMap::from([("small".into(), 1_000), ("tiny".into(), 100)]);
        let limits = RecordLimits { bytes, least: 100, warnings: LogLimit::per_minute() };
        let payload = vec![0; 900];
        let record = |topic, headers| ProducerRecord {
            topic,
            partition: None,
            key: Some(b"key"),
            payload: Some(&payload),
            headers,
        };
        assert!(!limits.accept(&record("small", &[])), "the frame of the batch counts");
        assert!(limits.accept(&record("unknown", &[])));
        let payload = vec![0; 800];
        let record = |headers| ProducerRecord {
            topic: "small",
            partition: None,
            key: Some(b"key"),
            payload: Some(&payload),
            headers,
        };
        assert!(limits.accept(&record(&[])) && !limits.accept(&record(&[("header", &[0; 100])])));
    }
}
