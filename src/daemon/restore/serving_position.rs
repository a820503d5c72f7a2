//! Where the serving of a partition begins, and whether its topic is still the one that was read.

use std::time::Duration;

use super::group_position::GroupPosition;
use crate::broker::{Broker, BrokerError, Partition, StartPosition};
use crate::telemetry::metrics;
use crate::wire::TopicFingerprint;

/// How long one read for the fingerprint's record waits.
const READ_WAIT: Duration = Duration::from_millis(20);
/// How often the fingerprint's record is read for before the restore is postponed: 5 s in all.
const MAX_READS: usize = 250;

/// What is known of a partition's earlier owners, once its snapshots are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// The position of the group.
    pub group: GroupPosition,
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
    /// Nowhere yet: the group has never read the partition.
    First,
    /// At this offset, with empty series: the position was set back by hand, before what is in the state.
    SetBack(i64),
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
        let GroupPosition { committed, set_by_hand, added, .. } = evidence.group;
        let furthest = evidence.restored.max(committed);
        // A first start names a record ahead of where it begins to read.
        let known_end = furthest.max(evidence.fingerprint.map(|fingerprint| fingerprint.offset + 1));
        let recreated = || {
            tracing::warn!(
                %topic, partition = number, committed, end = range.end, oldest = range.start,
                "the topic was deleted and recreated; its series start empty at its oldest record"
            );
            Self::Recreated(range.start)
        };
        if let Some(known_end) = known_end.filter(|known_end| *known_end > range.end) {
            if evidence.seen_shorter {
                return Ok(recreated());
            }
            tracing::warn!(
                %topic, partition = number, offset = known_end, end = range.end,
                "the topic ends before an offset that was read already; checking again whether it was recreated"
            );
            return Ok(Self::Unsure);
        }
        match (committed, furthest) {
            (Some(committed), _) if evidence.restored.is_some_and(|restored| committed < restored) => {
                tracing::warn!(
                    %topic, partition = number, offset = committed, state = evidence.restored,
                    "the group's position was set back by hand: series begin anew, learn from older input, and all \
                     input from here on is forecast again; `foretide reset` does this in good order"
                );
                metrics::POSITION_JUMPS.counter(&[("topic", topic), ("direction", "back")]).increment(1);
                Ok(Self::SetBack(committed))
            }
            (Some(committed), _) => {
                if let Some(restored) = evidence.restored.filter(|restored| set_by_hand && *restored < committed) {
                    tracing::warn!(
                        %topic, partition = number, offset = committed, state = restored,
                        "the group's position was set forward by hand: the input in between is learnt from and not \
                         forecast; `foretide reset` does this in good order"
                    );
                    metrics::POSITION_JUMPS.counter(&[("topic", topic), ("direction", "forward")]).increment(1);
                }
                Ok(Self::At(committed))
            }
            (None, None) if added => {
                tracing::info!(
                    %topic, partition = number, offset = range.start,
                    "the partition was added to a topic that is read already; it is served from its oldest record. \
                     Series whose keys have moved here begin anew; their last open slot in the old partition is \
                     forecast when they end there (series_ttl). Set repartition = true to keep series together"
                );
                Ok(Self::At(range.start))
            }
            (None, None) => Ok(Self::First),
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
