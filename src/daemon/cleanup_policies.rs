//! What the cleanup policies of the topics mean for the state: state must be kept by key, and input must not lose
//! records that a restore would read again.

use std::collections::BTreeSet;

use super::plan::Plan;
use crate::broker::{Broker, BrokerError, TopicSettings};

/// How a topic deletes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// A newer record deletes older ones with the same key.
    pub compacts: bool,
    /// Records are deleted by age or size.
    pub deletes: bool,
}

impl CleanupPolicy {
    /// The policy that a topic's settings name. `None` where the cluster does not tell.
    fn from_settings(settings: &TopicSettings) -> Option<Self> {
        let policy = settings.get("cleanup.policy")?;
        let names = |word: &str| policy.split(',').any(|part| part.trim() == word);
        Some(Self { compacts: names("compact"), deletes: names("delete") })
    }
}

/// The cleanup policies of topics, in order. `None` where the cluster does not tell.
///
/// # Errors
/// The broker's.
pub fn of_topics(broker: &dyn Broker, topics: &[String]) -> Result<Vec<Option<CleanupPolicy>>, BrokerError> {
    let settings = broker.topic_settings(topics)?;
    Ok(settings.iter().map(|settings| CleanupPolicy::from_settings(settings.as_ref()?)).collect())
}

/// The topics that hold state of Foretide by key.
pub fn keyed_topics(plan: &Plan) -> [String; 2] {
    [plan.state_topic.clone(), plan.models_topic.clone()]
}

/// Why a topic of state cannot have this policy, and the command that corrects it.
pub fn keyed_topic_problem(topic: &str, policy: CleanupPolicy) -> Option<String> {
    if policy.compacts && !policy.deletes {
        return None;
    }
    let found = if policy.compacts { "compact,delete" } else { "delete" };
    Some(format!(
        "the topic {topic:?} has cleanup.policy={found}, which deletes state that is still needed: what is not written \
         for as long as its retention begins anew after a restart; run: kafka-configs.sh --alter --entity-type topics \
         --entity-name {topic} --add-config cleanup.policy=compact"
    ))
}

/// What a compacted input topic means.
pub fn compacted_input_notice(topic: &str) -> String {
    format!(
        "the input topic {topic:?} is compacted: a newer record deletes older ones with the same key, and a restore \
         cannot read these again. Each transaction therefore writes the snapshots of all series that it changes. \
         Records that are deleted before they are read are lost; let min.compaction.lag.ms exceed the longest \
         downtime, or set cleanup.policy=delete"
    )
}

/// What to know where the state topic has another number of partitions than the input topic with the most.
pub fn state_partitions_notice(topic: &str, partitions: i32, widest: i32) -> Option<String> {
    (partitions != widest).then(|| {
        format!(
            "the state topic {topic:?} has {partitions} partitions, the input has {widest}: that works, but its number \
             must never change, since the state of input partition n is in partition n % {partitions}; state that is \
             not found there is rebuilt from the input"
        )
    })
}

/// Logs what is wrong with the cleanup policies and partitions of a plan's topics. Returns the compacted input topics.
///
/// # Errors
/// The broker's.
pub fn report(
    broker: &dyn Broker,
    plan: &Plan,
    state_partitions: i32,
    widest: i32,
) -> Result<BTreeSet<String>, BrokerError> {
    if let Some(notice) = state_partitions_notice(&plan.state_topic, state_partitions, widest) {
        tracing::info!("{notice}");
    }
    let keyed = keyed_topics(plan);
    let inputs = plan.topics();
    let all: Vec<String> = keyed.iter().chain(&inputs).cloned().collect();
    let mut compacted = BTreeSet::new();
    for (topic, policy) in all.iter().zip(of_topics(broker, &all)?) {
        match policy {
            None => tracing::info!(
                %topic, "cannot see the topic's cleanup.policy; permission to describe its settings is missing"
            ),
            Some(policy) if keyed.contains(topic) => {
                if let Some(problem) = keyed_topic_problem(topic, policy) {
                    tracing::error!("{problem}");
                }
            }
            Some(policy) if policy.compacts => {
                tracing::warn!("{}", compacted_input_notice(topic));
                compacted.insert(topic.clone());
            }
            Some(_) => {}
        }
    }
    Ok(compacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Option<CleanupPolicy> {
        CleanupPolicy::from_settings(&TopicSettings::from([("cleanup.policy".into(), text.into())]))
    }

    #[test]
    fn only_compaction_alone_keeps_the_state_of_every_key() {
        assert_eq!(keyed_topic_problem("state", policy("compact").unwrap()), None);
        for text in ["delete", "compact,delete", "delete, compact", ""] {
            let problem = keyed_topic_problem("state", policy(text).unwrap()).unwrap();
            assert!(problem.contains("--add-config cleanup.policy=compact"), "{text}: {problem}");
        }
        assert_eq!(CleanupPolicy::from_settings(&TopicSettings::new()), None);
        assert!(policy("delete,compact").unwrap().compacts);
    }
}
