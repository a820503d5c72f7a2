//! What the group knows of an assigned partition: its committed position, who has set it, and whether the partition
//! was there when the group first read the topic.
//!
//! Each commit of a partition carries a text that names the partitions which its topic had then. A partition beyond
//! them was added later: nobody has passed over its records. A position without the text was set by hand.

use std::collections::BTreeMap;

use crate::broker::{Broker, BrokerError, CommittedOffset, Partition};
use crate::daemon::plan::Plan;

const METADATA_PREFIX: &str = "foretide partitions=";
const EMIT_FROM: &str = " emit_from=";

/// The position of the group in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPosition {
    /// The committed offset.
    pub committed: Option<i64>,
    /// Whether somebody else than a member has committed it.
    pub set_by_hand: bool,
    /// Partitions of the topic when the group first read it.
    pub first_partitions: i32,
    /// Whether the group has read other partitions of the topic before this one was added.
    pub added: bool,
    /// The first offset that is forecast, where what is read is copied to a repartition topic.
    pub copies_emit_from: Option<i64>,
}

/// What is known of a topic from all of its partitions.
#[derive(Clone, Copy)]
struct TopicPosition {
    first_partitions: Option<i32>,
    partitions: i32,
    /// Whether the group has a position in any partition.
    read_before: bool,
}

/// The text that commits carry.
pub fn commit_metadata(first_partitions: i32) -> String {
    format!("{METADATA_PREFIX}{first_partitions}")
}

/// The text that commits of a partition carry whose observations are copied to a repartition topic: it also holds the
/// first offset that is forecast.
pub fn copies_commit_metadata(first_partitions: i32, emit_from: i64) -> String {
    format!("{METADATA_PREFIX}{first_partitions}{EMIT_FROM}{emit_from}")
}

fn first_partitions(committed: &CommittedOffset) -> Option<i32> {
    let text = committed.metadata.strip_prefix(METADATA_PREFIX)?;
    text.split_once(EMIT_FROM).map_or(text, |(partitions, _)| partitions).parse().ok()
}

fn copies_emit_from(committed: &CommittedOffset) -> Option<i64> {
    committed.metadata.strip_prefix(METADATA_PREFIX)?.split_once(EMIT_FROM)?.1.parse().ok()
}

/// The positions of assigned partitions, in order, with what the group has `committed` of each.
///
/// # Errors
/// The broker's.
pub fn group_positions(
    plan: &Plan,
    broker: &dyn Broker,
    partitions: &[Partition],
    committed: &[Option<CommittedOffset>],
) -> Result<Vec<GroupPosition>, BrokerError> {
    let mut topics: BTreeMap<&str, TopicPosition> = BTreeMap::new();
    for (partition, committed) in partitions.iter().zip(committed) {
        let known = committed.as_ref().and_then(first_partitions).is_some();
        if !known && !topics.contains_key(&*partition.topic) {
            topics.insert(&partition.topic, topic_position(plan, broker, &partition.topic)?);
        }
    }
    let position = |(partition, committed): (&Partition, &Option<CommittedOffset>)| {
        let own = committed.as_ref().and_then(first_partitions);
        let topic = topics.get(&*partition.topic).filter(|_| own.is_none());
        let of_topic = topic.map_or(1, |topic| topic.first_partitions.unwrap_or(topic.partitions));
        let was_there = |topic: &TopicPosition| topic.first_partitions.is_some_and(|first| partition.number < first);
        GroupPosition {
            committed: committed.as_ref().map(|committed| committed.offset),
            set_by_hand: committed.is_some() && own.is_none(),
            first_partitions: own.unwrap_or(of_topic),
            copies_emit_from: committed.as_ref().and_then(copies_emit_from),
            added: committed.is_none() && topic.is_some_and(|topic| topic.read_before && !was_there(topic)),
        }
    };
    Ok(partitions.iter().zip(committed).map(position).collect())
}

fn topic_position(plan: &Plan, broker: &dyn Broker, topic: &str) -> Result<TopicPosition, BrokerError> {
    let partitions = broker.partitions(topic)?.unwrap_or(1);
    let all: Vec<Partition> = (0..partitions).map(|number| Partition::new(topic, number)).collect();
    let committed = broker.group_offsets(&plan.app, &all)?;
    Ok(TopicPosition {
        first_partitions: committed.iter().flatten().find_map(first_partitions),
        partitions,
        read_before: committed.iter().any(Option::is_some),
    })
}
