//! The weights that serve, and the publication of those that replace them.

use std::{sync::Arc, time::Duration};

use super::{leadership::Leader, round_error::RoundError};
use crate::broker::{Broker, BrokerError, Partition, ProducerRecord, StartPosition, stable_end};
use crate::daemon::context::Context;
use crate::daemon::model_subscription::{ModelSubscription, VERSIONS_KEPT};
use crate::daemon::plan::StreamPlan;
use crate::dashboard::state::{Decision, TrainingOutcome};
use crate::forecast::StreamPrior;
use crate::nn::Weights;
use crate::telemetry::metrics;
use crate::wire::{Manifest, PublishReason, Release};

/// The newest versions are kept in any case.
const NEWEST_KEPT: usize = VERSIONS_KEPT as usize;
/// The most bytes of the versions of one stream that are kept for replays.
const MAX_BYTES: u64 = 128 << 20;
/// A published version serves within this time, in milliseconds; it also covers clocks that differ.
const ACTIVATION_MILLIS: i64 = 3_600_000;
/// How long a read of a partition's oldest record waits.
const READ_WAIT: Duration = Duration::from_secs(2);

/// Why weights are rolled back, as the dashboard shows it.
const ROLLBACK_REASON: &str = "on the newest history they do worse than the weights they were trained from";

/// The weights that serve.
pub struct Champion {
    /// Their version; 0 for the initial weights.
    pub version: u64,
    pub weights: Weights,
    /// The version they were trained from, where they are a promotion.
    pub promoted_from: Option<u64>,
    pub prior: Option<Arc<StreamPrior>>,
}

impl Champion {
    /// The newest weights that are published for the configured network, or the initial ones.
    ///
    /// # Errors
    /// [`RoundError::Weights`] where the published ones are unusable.
    pub fn find(models: &ModelSubscription, stream: &StreamPlan) -> Result<Self, RoundError> {
        let network = &stream.engine.network;
        let name: &str = &stream.engine.name;
        let fits = |manifest: &&Manifest| manifest.release.fingerprint == network.fingerprint();
        let Some(release) = models.registry.versions(name).rev().find(fits).map(|manifest| &manifest.release) else {
            return Ok(Self { version: 0, weights: Weights::initial(network), promoted_from: None, prior: None });
        };
        let weights = models.weights(name, release.version, network).map_err(RoundError::Weights)?;
        let promoted_from = (release.reason == PublishReason::Promotion).then_some(release.parent);
        Ok(Self { version: release.version, weights, promoted_from, prior: release.prior.clone() })
    }
}

/// Weights that are to replace the champion.
pub struct Challenger {
    pub weights: Weights,
    /// The version they were trained from, or which they restore.
    pub parent: u64,
    /// Validation loss of the champion.
    pub champion_loss: f64,
    /// Validation loss of these weights.
    pub challenger_loss: f64,
    /// The newest event time that they were trained on, in milliseconds since the Unix epoch.
    pub trained_until: Option<i64>,
    /// Whether they are promoted or rolled back to.
    pub reason: PublishReason,
    pub prior: Option<Arc<StreamPrior>>,
}

/// Publishes weights as the next version, in one transaction, and deletes versions that no replay can need any more. A
/// reader never sees half a set of weights.
///
/// # Errors
/// The broker's, or [`RoundError::Weights`] where the weights cannot be encoded.
pub fn publish(
    context: &Context,
    leader: &mut Leader,
    stream: &StreamPlan,
    challenger: Challenger,
) -> Result<(), RoundError> {
    let name: &str = &stream.engine.name;
    let at = context.clock.wall_millis();
    let registry = &leader.models.registry;
    let version = registry.active(name).map_or(0, |manifest| manifest.release.version) + 1;
    let Challenger { champion_loss, challenger_loss, reason, .. } = challenger;
    let release = Release {
        stream: name.to_owned(),
        version,
        parent: challenger.parent,
        fingerprint: stream.engine.network.fingerprint(),
        created: at,
        trained_until: challenger.trained_until,
        champion_loss: finite(champion_loss),
        challenger_loss: finite(challenger_loss),
        reason,
        prior: challenger.prior,
    };
    let encoding = |error: &dyn std::fmt::Display| RoundError::Weights(error.to_string());
    let bytes = challenger.weights.to_bytes().map_err(|error| encoding(&error))?;
    let records = Manifest::new(release, &bytes).records(&bytes).map_err(|error| encoding(&error))?;
    let newest_first: Vec<&Manifest> = registry.versions(name).rev().collect();
    let oldest_input =
        if newest_first.len() > NEWEST_KEPT { oldest_input(&*context.broker, stream)? } else { i64::MIN };
    let expired: Vec<String> = expired(&newest_first, oldest_input).iter().flat_map(|old| old.keys()).collect();
    let new = records.iter().map(|(key, payload)| (key, Some(payload.as_slice())));
    let outgoing: Vec<ProducerRecord<'_>> = new
        .chain(expired.iter().map(|key| (key, None)))
        .map(|(key, payload)| ProducerRecord {
            topic: &context.plan.models_topic,
            partition: Some(0),
            key: Some(key.as_bytes()),
            payload,
            headers: &[],
        })
        .collect();
    leader.publisher.publish(&outgoing)?;
    let (metric, outcome, decision) = match reason {
        PublishReason::Promotion => (metrics::PROMOTIONS, "promoted", Decision::Promoted),
        PublishReason::Rollback => (metrics::ROLLBACKS, "rolled_back", Decision::RolledBack(ROLLBACK_REASON.into())),
    };
    metric.counter(&[("stream", name)]).increment(1);
    count_round(stream, outcome);
    tracing::info!(stream = name, version, champion_loss, challenger_loss, outcome, "weights published");
    context.status.dashboard.record_training_outcome(TrainingOutcome {
        stream: name.to_owned(),
        at,
        version,
        decision,
        champion_loss: finite(champion_loss),
        challenger_loss: finite(challenger_loss),
    });
    Ok(())
}

/// The versions that no replay can need any more, or for which there is no room. A replay needs the weights that served
/// a record of the input: those that were replaced before the oldest record of the input was written served none.
fn expired<'a>(newest_first: &[&'a Manifest], oldest_input: i64) -> Vec<&'a Manifest> {
    let mut bytes = 0_u64;
    let replaced_at = newest_first.iter().map(|newer| newer.release.created);
    let old = newest_first.iter().zip(std::iter::once(i64::MAX).chain(replaced_at)).enumerate();
    old.filter(|(at, (version, replaced_at))| {
        bytes += version.bytes;
        let is_needed = replaced_at.saturating_add(ACTIVATION_MILLIS) >= oldest_input && bytes <= MAX_BYTES;
        *at >= NEWEST_KEPT && !is_needed
    })
    .map(|(_, (version, _))| *version)
    .collect()
}

/// The timestamp of the oldest record of a stream's input, in milliseconds since the Unix epoch: `i64::MAX` where there
/// is none, `i64::MIN` where it is not known.
fn oldest_input(broker: &dyn Broker, stream: &StreamPlan) -> Result<i64, BrokerError> {
    let mut oldest = i64::MAX;
    for topic in &stream.topics {
        for number in 0..broker.partitions(topic)?.unwrap_or(0) {
            let partition = Partition { topic: topic.as_str().into(), number };
            let end = stable_end(broker, &partition)?;
            let mut reader = broker.reader(&partition, StartPosition::Earliest)?;
            if let Some(batch) = reader.read(READ_WAIT, 1)? {
                let first = batch.get(0).and_then(|record| record.timestamp);
                oldest = oldest.min(first.unwrap_or(i64::MIN));
            } else if !reader.has_reached(end)? {
                oldest = i64::MIN;
            }
        }
    }
    Ok(oldest)
}

/// Counts a training round by its outcome.
pub fn count_round(stream: &StreamPlan, outcome: &str) {
    metrics::TRAINING_ROUNDS.counter(&[("stream", &stream.engine.name), ("outcome", outcome)]).increment(1);
}

/// `None` for a loss that is not a number, or infinite.
pub fn finite(loss: f64) -> Option<f64> {
    loss.is_finite().then_some(loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version of some megabytes that was published at an hour.
    fn manifest(version: u64, hour: i64, megabytes: u64) -> Manifest {
        let release = Release {
            stream: "s".into(),
            version,
            parent: version - 1,
            fingerprint: 1,
            created: hour * 3_600_000,
            trained_until: None,
            champion_loss: None,
            challenger_loss: None,
            reason: PublishReason::Promotion,
            prior: None,
        };
        Manifest { bytes: megabytes << 20, ..Manifest::new(release, &[]) }
    }

    #[test]
    fn versions_are_kept_for_as_long_as_the_input_may_be_replayed() {
        // One version an hour.
        let expired = |megabytes, oldest_input| {
            let all: Vec<Manifest> = (1..=30).map(|version| manifest(version, version as i64, megabytes)).collect();
            let newest_first: Vec<&Manifest> = all.iter().rev().collect();
            let versions = expired(&newest_first, oldest_input).into_iter().map(|old| old.release.version);
            versions.collect::<Vec<_>>()
        };
        assert_eq!(expired(1, i64::MIN), [0_u64; 0], "the input is kept for ever");
        // Version 8 served until hour 9, and an hour more at most.
        assert_eq!(expired(1, 10 * 3_600_000), (1..=7).rev().collect::<Vec<_>>());
        assert_eq!(expired(1, i64::MAX), (1..=22).rev().collect::<Vec<_>>(), "the newest are always kept");
        assert_eq!(expired(10, i64::MIN), (1..=18).rev().collect::<Vec<_>>(), "128 MiB hold twelve");
        assert_eq!(expired(100, i64::MIN), (1..=22).rev().collect::<Vec<_>>());
    }
}
