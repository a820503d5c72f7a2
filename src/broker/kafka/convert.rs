//! Conversions between our types and librdkafka's.

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error_recovery;
use crate::broker::client::CommittedOffset;
use crate::broker::errors::Result;
use crate::broker::records::{Batch, Partition, Record};

/// Appends a copy of `message` to `batch`.
pub(super) fn push(batch: &mut Batch, message: &BorrowedMessage<'_>) {
    batch.push(Record {
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key(),
        payload: message.payload(),
    });
}

/// librdkafka's list of partitions with an offset each.
pub(super) fn partition_list<'a>(
    partitions: impl IntoIterator<Item = (&'a Partition, Offset)>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        let added = list.add_partition_offset(&partition.topic, partition.number, offset);
        added.map_err(|error| error_recovery::broker_error(&partition.to_string(), &error))?;
    }
    Ok(list)
}

/// librdkafka's list of positions to commit, each with its text.
pub(super) fn offset_list<'a>(
    positions: impl IntoIterator<Item = (&'a Partition, i64, &'a str)>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset, metadata) in positions {
        let mut element = list.add_partition(&partition.topic, partition.number);
        element.set_metadata(metadata);
        let set = element.set_offset(Offset::Offset(offset));
        set.map_err(|error| error_recovery::broker_error(&partition.to_string(), &error))?;
    }
    Ok(list)
}

/// The committed position of each partition, in order, from an answer about the offsets of a group.
pub(super) fn committed(answer: &TopicPartitionList, partitions: &[Partition]) -> Vec<Option<CommittedOffset>> {
    let committed = |partition: &Partition| {
        let element = answer.find_partition(&partition.topic, partition.number)?;
        let Offset::Offset(offset) = element.offset() else { return None };
        Some(CommittedOffset { offset, metadata: element.metadata().to_owned() })
    };
    partitions.iter().map(committed).collect()
}
