//! The weights that serve, and the publication of those that replace them.

use std::sync::Arc;

use super::{leadership::Leader, round_error::RoundError};
use crate::broker::ProducerRecord;
use crate::daemon::context::Context;
use crate::daemon::model_subscription::{ModelSubscription, VERSIONS_KEPT};
use crate::daemon::plan::StreamPlan;
use crate::dashboard::state::{Decision, TrainingOutcome};
use crate::forecast::StreamPrior;
use crate::nn::Weights;
use crate::telemetry::metrics;
use crate::wire::{Manifest, PublishReason, Release};

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

/// Publishes weights as the next version, in one transaction, and deletes the oldest version. A reader never sees half
/// a set of weights.
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
    let expired: Vec<String> = registry
        .versions(name)
        .rev()
        .skip(usize::try_from(VERSIONS_KEPT).unwrap_or(usize::MAX))
        .flat_map(Manifest::keys)
        .collect();
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

/// Counts a training round by its outcome.
pub fn count_round(stream: &StreamPlan, outcome: &str) {
    metrics::TRAINING_ROUNDS.counter(&[("stream", &stream.engine.name), ("outcome", outcome)]).increment(1);
}

/// `None` for a loss that is not a number, or infinite.
pub fn finite(loss: f64) -> Option<f64> {
    loss.is_finite().then_some(loss)
}
