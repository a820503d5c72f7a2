//! The topics: inputs must be there, outputs are made where that is allowed.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::{
    broker::{Broker, BrokerError, TopicSpec},
    settings::Role,
};

/// Records of the models topic hold at most this much, with room for Kafka's own framing.
const MODEL_RECORD_BYTES: usize = 1 << 20;
/// Snapshots and forecasts stay under Kafka's own default.
const RECORD_BYTES: usize = 1 << 20;

/// What a cluster has of what a plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Input topics and their partitions.
    pub inputs: BTreeMap<String, i32>,
    /// Partitions of the state topic.
    pub state_partitions: i32,
}

/// Looks at the topics and creates what is missing, where `create` allows it.
///
/// # Errors
/// [`BrokerError::Retry`] while an input topic does not exist, [`BrokerError::Refused`] with what to run where a topic is missing and may not be
/// made, or what the broker answers.
pub fn prepare(broker: &dyn Broker, plan: &Plan, create: bool) -> Result<Topics, BrokerError> {
    let mut inputs = BTreeMap::new();
    for topic in plan.topics() {
        let partitions = input_partitions(broker, &topic)?;
        inputs.insert(topic, partitions);
    }
    for (stream, known) in plan.streams.iter().filter_map(|stream| Some((stream, stream.future_covariates.as_ref()?))) {
        let partitions = broker.partitions(&known.topic)?.ok_or_else(|| {
            let topic = &known.topic;
            BrokerError::Retriable(format!(
                "the topic {topic:?} of what is known in advance does not exist yet; create it, or correct its name"
            ))
        })?;
        if let Some(why) =
            partition_count_mismatch(&known.topic, partitions, stream.topics.iter().map(|topic| (topic, inputs[topic])))
        {
            return Err(BrokerError::Rejected(why));
        }
    }
    let widest = inputs.values().copied().max().unwrap_or(1);
    for needed in output_topics(plan, widest) {
        if broker.partitions(&needed.name)?.is_some() {
            continue;
        }
        if !create {
            return Err(BrokerError::Rejected(missing_topic_message(&needed)));
        }
        tracing::info!(topic = needed.name, partitions = needed.partitions, compacted = needed.compacted, "creating");
        broker.create(&needed)?;
    }
    let state_partitions = broker.partitions(&plan.state_topic)?.unwrap_or(1);
    Ok(Topics { inputs, state_partitions })
}

/// The partitions of an input topic.
///
/// # Errors
/// [`BrokerError::Retry`] while it does not exist: it may be on its way to being made, or made anew.
pub fn input_partitions(broker: &dyn Broker, topic: &str) -> Result<i32, BrokerError> {
    broker.partitions(topic)?.ok_or_else(|| {
        BrokerError::Retriable(format!("the input topic {topic:?} does not exist; create it, or correct its name"))
    })
}

/// Why a topic of what is known in advance does not fit its input topics: their records must meet in the same partitions.
pub fn partition_count_mismatch<'a>(
    topic: &str,
    partitions: i32,
    inputs: impl IntoIterator<Item = (&'a String, i32)>,
) -> Option<String> {
    let (input, count) = inputs.into_iter().find(|(_, count)| *count != partitions)?;
    Some(format!(
        "the topic {topic:?} of what is known in advance has {partitions} partitions; expected {count}, as the input topic {input:?}: \
         what is told of a series must lie in its partition"
    ))
}

/// Whether an instance in `role` reads a topic that Foretide writes.
pub fn reads_own_topic(plan: &Plan, role: Role, topic: &str) -> bool {
    topic == plan.models_topic || (role != Role::Train && topic == plan.state_topic)
}

/// The topics that Foretide writes.
pub fn output_topics(plan: &Plan, partitions: i32) -> Vec<TopicSpec> {
    let topic = |name: &str, partitions, compacted, max_record_bytes| TopicSpec {
        name: name.to_owned(),
        partitions,
        compacted,
        max_record_bytes,
    };
    let mut topics = vec![
        topic(&plan.state_topic, partitions, true, RECORD_BYTES),
        topic(&plan.models_topic, 1, true, MODEL_RECORD_BYTES),
        topic(&plan.dead_letter_topic, 1, false, RECORD_BYTES),
    ];
    for stream in &plan.streams {
        if topics.iter().all(|known| known.name != stream.forecasts_topic) {
            topics.push(topic(&stream.forecasts_topic, partitions, false, RECORD_BYTES));
        }
    }
    topics
}

/// What to run for a topic that is missing and may not be made.
pub fn missing_topic_message(topic: &TopicSpec) -> String {
    let policy = if topic.compacted { "compact --config compression.type=zstd" } else { "delete" };
    format!(
        "the topic {:?} does not exist and kafka.create_topics is false; run: kafka-topics.sh --create --topic {} --partitions {} --config cleanup.policy={policy}",
        topic.name, topic.name, topic.partitions
    )
}
