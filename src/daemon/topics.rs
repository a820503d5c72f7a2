//! Checks the input topics, and creates the output topics where that is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::{cleanup_policies, plan::Plan};
use crate::broker::{Broker, BrokerError, TopicSpec};
use crate::settings::Role;

/// The largest record of any output topic, in bytes: Kafka's default.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// The topics of a plan that exist in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Input topics and their partitions.
    pub inputs: BTreeMap<String, i32>,
    /// Partitions of the state topic.
    pub state_partitions: i32,
    /// Input topics that are compacted.
    pub compacted_inputs: BTreeSet<String>,
}

/// Checks all topics, creates missing output topics where `create` allows it, and logs what endangers the state.
///
/// # Errors [`BrokerError::Retriable`] while an input topic does not exist, [`BrokerError::Rejected`] with the command
/// to run where an output topic is missing and may not be created, or the broker's.
pub fn prepare(broker: &dyn Broker, plan: &Plan, create: bool) -> Result<Topics, BrokerError> {
    let mut inputs = BTreeMap::new();
    for topic in plan.topics() {
        let partitions = input_partitions(broker, &topic)?;
        inputs.insert(topic, partitions);
    }
    for (stream, covariates) in
        plan.streams.iter().filter_map(|stream| Some((stream, stream.future_covariates.as_ref()?)))
    {
        let partitions = broker.partitions(&covariates.topic)?.ok_or_else(|| {
            let topic = &covariates.topic;
            BrokerError::Retriable(format!(
                "the future-covariate topic {topic:?} does not exist; create it, or correct its name"
            ))
        })?;
        let counts = stream.topics.iter().map(|topic| (topic, inputs[topic]));
        if let Some(mismatch) = partition_count_mismatch(&covariates.topic, partitions, counts) {
            return Err(BrokerError::Rejected(mismatch));
        }
    }
    let widest = inputs.values().copied().max().unwrap_or(1);
    for output in output_topics(plan, widest) {
        if broker.partitions(&output.name)?.is_some() {
            continue;
        }
        if !create {
            return Err(BrokerError::Rejected(missing_topic_message(&output)));
        }
        tracing::info!(
            topic = %output.name, partitions = output.partitions, compacted = output.compacted, "creating topic"
        );
        broker.create(&output)?;
    }
    let state_partitions = broker.partitions(&plan.state_topic)?.unwrap_or(1);
    let compacted_inputs = cleanup_policies::report(broker, plan, state_partitions, widest)?;
    Ok(Topics { inputs, state_partitions, compacted_inputs })
}

/// The partitions of an input topic.
///
/// # Errors
/// [`BrokerError::Retriable`] while it does not exist: it may be created, or recreated, at this moment.
pub fn input_partitions(broker: &dyn Broker, topic: &str) -> Result<i32, BrokerError> {
    broker.partitions(topic)?.ok_or_else(|| {
        BrokerError::Retriable(format!("the input topic {topic:?} does not exist; create it, or correct its name"))
    })
}

/// Why a future-covariate topic does not fit its input topics: both need the same number of partitions.
pub fn partition_count_mismatch<'a>(
    topic: &str,
    partitions: i32,
    inputs: impl IntoIterator<Item = (&'a String, i32)>,
) -> Option<String> {
    let (input, count) = inputs.into_iter().find(|(_, count)| *count != partitions)?;
    Some(format!(
        "the future-covariate topic {topic:?} has {partitions} partitions; expected {count}, as the input topic \
         {input:?}: the records of a series must be in the same partition of both"
    ))
}

/// Whether an instance in `role` reads a topic that Foretide writes.
pub fn reads_own_topic(plan: &Plan, role: Role, topic: &str) -> bool {
    topic == plan.models_topic || (role != Role::Train && topic == plan.state_topic)
}

/// The topics that Foretide writes. State and forecast topics get `partitions` partitions.
pub fn output_topics(plan: &Plan, partitions: i32) -> Vec<TopicSpec> {
    let topic = |name: &str, partitions, compacted| TopicSpec {
        name: name.to_owned(),
        partitions,
        compacted,
        max_record_bytes: MAX_RECORD_BYTES,
    };
    let mut topics = vec![
        topic(&plan.state_topic, partitions, true),
        topic(&plan.models_topic, 1, true),
        topic(&plan.dead_letter_topic, 1, false),
    ];
    for stream in &plan.streams {
        if topics.iter().all(|other| other.name != stream.forecasts_topic) {
            topics.push(topic(&stream.forecasts_topic, partitions, false));
        }
    }
    topics
}

/// The command that creates a topic which is missing and may not be created.
pub fn missing_topic_message(topic: &TopicSpec) -> String {
    let policy = if topic.compacted { "compact --config compression.type=zstd" } else { "delete" };
    format!(
        "the topic {:?} does not exist and kafka.create_topics is false; run: kafka-topics.sh --create --topic {} \
         --partitions {} --config cleanup.policy={policy}",
        topic.name, topic.name, topic.partitions
    )
}
