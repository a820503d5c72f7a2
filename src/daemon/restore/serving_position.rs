//! Where the serving of a partition begins, and whether its topic is still the one that was read.

use std::time::Duration;

use crate::broker::{Broker, BrokerError, Partition, StartPosition};
use crate::wire::TopicFingerprint;

/// How long one read for the fingerprint's record waits.
const READ_WAIT: Duration = Duration::from_millis(20);
/// How often the fingerprint's record is read for before the restore is postponed: 5 s in all.
const MAX_READS: usize = 250;

/// What is known of a partition's earlier owners, once its snapshots are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// The offset that the group has committed.
    pub committed: Option<i64>,
    /// The highest input position of the restored state.
    pub restored: Option<i64>,
    /// The newest input record that a task checkpoint names.
    pub fingerprint: Option<TopicFingerprint>,
    /// Whether the topic was already seen to end before the input that was read from it.
    pub seen_shorter: bool,
}

/// Where serving begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServingPosition {
    /// At this offset.
    At(i64),
    /// The topic was deleted and recreated: serving begins at its oldest record, with empty series.
    Recreated(i64),
    /// The topic ends before the input that was read from it. A lagging broker looks the same: check once more.
    Unsure,
}

impl ServingPosition {
    /// Decides by what the topic holds now.
    pub fn find(broker: &dyn Broker, partition: &Partition, evidence: Evidence) -> Result<Self, BrokerError> {
        let (topic, number) = (&*partition.topic, partition.number);
        let range = broker.offsets(partition)?;
        let furthest = evidence.restored.max(evidence.committed);
        let recreated = || {
            tracing::warn!(
                %topic, partition = number, committed = evidence.committed, end = range.end, oldest = range.start,
                "the topic was deleted and recreated; its series start empty at its oldest record"
            );
            Self::Recreated(range.start)
        };
        if furthest.is_some_and(|furthest| furthest > range.end) {
            if evidence.seen_shorter {
                return Ok(recreated());
            }
            tracing::warn!(
                %topic, partition = number, offset = furthest, end = range.end,
                "the topic ends before an offset that was read already; checking again whether it was recreated"
            );
            return Ok(Self::Unsure);
        }
        match (evidence.committed, furthest) {
            (Some(committed), _) => Ok(Self::At(committed)),
            (None, None) => Ok(Self::At(range.start)),
            (None, Some(offset)) => {
                let fingerprint = evidence.fingerprint.filter(|fingerprint| fingerprint.offset >= range.start);
                if let Some(fingerprint) = fingerprint
                    && !holds(broker, partition, fingerprint)?
                {
                    return Ok(recreated());
                }
                tracing::warn!(
                    %topic, partition = number, offset,
                    "the consumer group lost its committed offset; continuing at the newest restored state"
                );
                Ok(Self::At(offset))
            }
        }
    }
}

/// Whether the topic still holds the record that was read from it last.
pub fn holds(broker: &dyn Broker, partition: &Partition, fingerprint: TopicFingerprint) -> Result<bool, BrokerError> {
    let mut reader = broker.reader(partition, StartPosition::Offset(fingerprint.offset))?;
    for _ in 0..MAX_READS {
        if let Some(batch) = reader.read(READ_WAIT, 1)? {
            let found = batch.get(0).map(|record| (record.offset, record.timestamp));
            return Ok(found == Some((fingerprint.offset, Some(fingerprint.timestamp))));
        }
        if reader.has_reached(fingerprint.offset + 1)? {
            return Ok(false);
        }
    }
    Err(BrokerError::Retriable(format!(
        "{partition}: cannot tell whether the topic was recreated: its records were not delivered in time"
    )))
}
