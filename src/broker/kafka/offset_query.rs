//! Asks for offsets of many partitions at once.
//!
//! librdkafka's look-up of timestamps sends one ListOffsets request to each broker. It passes its "timestamps" on as
//! they are, so the special values of that request work as well: [`Offset::End`] asks for the end. The client's
//! isolation level decides whether that is the last stable offset or the high watermark.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::contexts::ConsumerCallbacks;
use super::convert;
use super::error_recovery;
use super::options::KafkaOptions;
use super::reader_pool::ReaderClient;
use crate::broker::client::CommittedOffset;
use crate::broker::errors::BrokerError;
use crate::broker::records::Partition;

/// Offsets of partitions, in order; `None` where no record is as young as the timestamp `at`.
pub(super) fn offsets_at(
    client: &ReaderClient,
    partitions: &[Partition],
    at: Offset,
    timeout: Duration,
) -> Result<Vec<Option<i64>>, KafkaError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        asked.add_partition_offset(&partition.topic, partition.number, at)?;
    }
    let answer = client.offsets_for_times(asked, timeout)?;
    let offset = |element: TopicPartitionListElem<'_>| {
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    };
    answer.elements().into_iter().map(offset).collect()
}

/// Ends of partitions, in order: last stable offsets or high watermarks, as the client's isolation level says.
pub(super) fn ends(client: &ReaderClient, partitions: &[Partition], timeout: Duration) -> Result<Vec<i64>, KafkaError> {
    let offsets = offsets_at(client, partitions, Offset::End, timeout)?;
    // A partition without an answer has no leader at this moment.
    let missing = KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable);
    offsets.into_iter().collect::<Option<Vec<i64>>>().ok_or(missing)
}

/// A client that asks for the offsets of a group, or sets them, and is no member of it. `operation` is for messages.
pub(super) fn group_client(options: &KafkaOptions, group: &str, operation: &str) -> Result<ReaderClient, BrokerError> {
    let created = options.group_query(group).create_with_context(ConsumerCallbacks::default());
    created.map_err(|error| error_recovery::broker_error(operation, &error))
}

/// The committed positions of the group of `client`, in order. A client that reads committed records waits for
/// transactions that may still change them.
pub(super) fn committed(
    client: &ReaderClient,
    partitions: &[Partition],
    timeout: Duration,
) -> Result<Vec<Option<CommittedOffset>>, KafkaError> {
    let mut request = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        request.add_partition(&partition.topic, partition.number);
    }
    let answer = error_recovery::retry(timeout, |left| {
        let answer = client.committed_offsets(request.clone(), left)?;
        answer.elements().iter().try_for_each(|element| element.error())?;
        Ok(answer)
    })?;
    Ok(convert::committed(&answer, partitions))
}
