//! Checks the input topics, and creates the output topics where that is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::cleanup_policies;
use super::plan::{Plan, RepartitionPlan};
use crate::broker::{Broker, BrokerError, TopicSpec};
use crate::settings::Role;

/// The largest record of any output topic, in bytes: Kafka's default.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// The topics of a plan that exist in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// The input topics.
    pub inputs: Inputs,
    /// Partitions of the state topic.
    pub state_partitions: i32,
    /// Input topics that are compacted.
    pub compacted_inputs: BTreeSet<String>,
}

/// The input topics of a plan: which can be read, and why the others cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Partitions of the topics that can be read.
    pub readable: BTreeMap<String, i32>,
    /// Why the others cannot be read yet.
    pub missing: BTreeMap<String, String>,
}

/// Looks for the input topics. A topic can be read if it exists, and if the future-covariate topics of all streams that
/// read it exist and have as many partitions.
///
/// # Errors
/// Where none can be read: [`BrokerError::Retriable`] while topics do not exist, [`BrokerError::Rejected`] where their
/// partitions do not fit. Else the broker's.
pub fn inputs(broker: &dyn Broker, plan: &Plan) -> Result<Inputs, BrokerError> {
    let mut inputs = Inputs::default();
    let (mut reason, mut mismatched) = (None, false);
    for topic in plan.topics() {
        let found = match broker.partitions(&topic)? {
            None => Err(missing_input(broker, plan, &topic)?),
            Some(partitions) => match covariate_problem(broker, plan, &topic, partitions)? {
                Some((problem, mismatch)) => {
                    mismatched |= mismatch;
                    Err(problem)
                }
                None => Ok(partitions),
            },
        };
        match found {
            Ok(partitions) => drop(inputs.readable.insert(topic, partitions)),
            Err(problem) => {
                reason.get_or_insert_with(|| problem.clone());
                inputs.missing.insert(topic, problem);
            }
        }
    }
    match reason {
        Some(reason) if inputs.readable.is_empty() && mismatched => Err(BrokerError::Rejected(reason)),
        Some(reason) if inputs.readable.is_empty() => Err(BrokerError::Retriable(reason)),
        _ => Ok(inputs),
    }
}

/// Why a topic that does not exist cannot be read: a repartition topic waits for the input topics.
fn missing_input(broker: &dyn Broker, plan: &Plan, topic: &String) -> Result<String, BrokerError> {
    let mut missing = topic;
    let repartition = plan.repartition_topics().find(|repartition| repartition.topic == *topic);
    for source in repartition.iter().flat_map(|repartition| &repartition.sources) {
        if broker.partitions(source)?.is_none() {
            missing = source;
            break;
        }
    }
    Ok(match repartition {
        Some(_) if missing == topic => format!("the repartition topic {topic:?} does not exist yet"),
        _ => format!("the input topic {missing:?} does not exist; create it, or correct its name"),
    })
}

/// Why the future covariates of the streams that read a topic cannot be read, and whether partitions do not fit.
fn covariate_problem(
    broker: &dyn Broker,
    plan: &Plan,
    topic: &String,
    partitions: i32,
) -> Result<Option<(String, bool)>, BrokerError> {
    for (stream, _) in plan.streams_of(topic) {
        let Some(covariates) = &plan.streams[stream].future_covariates else { continue };
        let Some(found) = broker.partitions(&covariates.topic)? else {
            let problem = format!(
                "the future-covariate topic {:?} does not exist; create it, or correct its name",
                covariates.topic
            );
            return Ok(Some((problem, false)));
        };
        if let Some(mismatch) = partition_count_mismatch(&covariates.topic, found, [(topic, partitions)]) {
            return Ok(Some((mismatch, true)));
        }
    }
    Ok(None)
}

/// Checks all topics, creates missing output topics where `create` allows it, and logs what endangers the state.
///
/// # Errors
/// Those of [`inputs`], [`BrokerError::Rejected`] with the command to run where an output topic is missing and may not
/// be created, or the broker's.
pub fn prepare(broker: &dyn Broker, plan: &Plan, create: bool) -> Result<Topics, BrokerError> {
    create_repartition_topics(broker, plan)?;
    let inputs = inputs(broker, plan)?;
    let widest = inputs.readable.values().copied().max().unwrap_or(1);
    for output in output_topics(plan, widest) {
        if broker.partitions(&output.name)?.is_none() {
            create_missing(broker, &output, create)?;
        }
    }
    let state_partitions = broker.partitions(&plan.state_topic)?.unwrap_or(1);
    let compacted_inputs = cleanup_policies::report(broker, plan, state_partitions, widest)?;
    Ok(Topics { inputs, state_partitions, compacted_inputs })
}

/// Creates the repartition topics that are missing, as far as their input topics exist.
///
/// # Errors
/// [`BrokerError::Rejected`] with the command to run where one may not be created, or the broker's.
pub fn create_repartition_topics(broker: &dyn Broker, plan: &Plan) -> Result<(), BrokerError> {
    for repartition in plan.repartition_topics() {
        if broker.partitions(&repartition.topic)?.is_some() {
            continue;
        }
        if let Some(topic) = repartition_topic(broker, repartition)? {
            create_missing(broker, &topic, repartition.create)?;
        }
    }
    Ok(())
}

/// Creates a missing topic where `create` allows it.
fn create_missing(broker: &dyn Broker, topic: &TopicSpec, create: bool) -> Result<(), BrokerError> {
    if !create {
        return Err(BrokerError::Rejected(missing_topic_message(topic)));
    }
    tracing::info!(topic = %topic.name, partitions = topic.partitions, compacted = topic.compacted, "creating topic");
    broker.create(topic)
}

/// A repartition topic, with as many partitions as the largest of its input topics; `None` while none of these exists.
///
/// # Errors
/// The broker's.
pub fn repartition_topic(broker: &dyn Broker, plan: &RepartitionPlan) -> Result<Option<TopicSpec>, BrokerError> {
    let mut partitions = None;
    for source in &plan.sources {
        partitions = partitions.max(broker.partitions(source)?);
    }
    let name = plan.topic.clone();
    // Copies of old records would otherwise be deleted by the age of the records.
    let topic = |partitions| TopicSpec {
        name,
        partitions,
        compacted: false,
        log_append_time: true,
        max_record_bytes: MAX_RECORD_BYTES,
    };
    Ok(partitions.map(topic))
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
    let is_repartition = plan.repartition_topics().any(|repartition| repartition.topic == *topic);
    is_repartition || topic == plan.models_topic || (role != Role::Train && topic == plan.state_topic)
}

/// The topics that Foretide writes. State and forecast topics get `partitions` partitions.
pub fn output_topics(plan: &Plan, partitions: i32) -> Vec<TopicSpec> {
    let topic = |name: &str, partitions, compacted| TopicSpec {
        name: name.to_owned(),
        partitions,
        compacted,
        log_append_time: false,
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
    let policy = match topic {
        TopicSpec { compacted: true, .. } => "compact --config compression.type=zstd",
        TopicSpec { log_append_time: true, .. } => "delete --config message.timestamp.type=LogAppendTime",
        _ => "delete",
    };
    format!(
        "the topic {:?} does not exist and kafka.create_topics is false; run: kafka-topics.sh --create --topic {} \
         --partitions {} --config cleanup.policy={policy}",
        topic.name, topic.name, topic.partitions
    )
}
