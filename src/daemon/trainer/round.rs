//! One training round of one stream: history, rollback check, training, verdict.

use std::{ops::ControlFlow, time::Duration};

use super::history;
use super::leadership::Leadership;
use super::publication::{Challenger, Champion, count_round, finite, publish};
use super::round_error::RoundError;
use crate::daemon::context::Context;
use crate::daemon::plan::{StreamPlan, TrainingPlan};
use crate::dashboard::state::{Decision, TrainingOutcome, TrainingStep};
use crate::nn::Weights;
use crate::telemetry::metrics;
use crate::train::{self, Outcome, Progress, TrainError, TrainSpec, TrainingSequence, Verdict};
use crate::wire::PublishReason;

/// The longest rest between two updates of the weights: the group membership must be polled meanwhile.
const MAX_REST: Duration = Duration::from_secs(2);

/// One training round of one stream. It publishes at most one set of weights.
pub struct TrainingRound<'a> {
    pub context: &'a Context,
    /// Whether this trainer still leads.
    pub leadership: &'a mut Leadership,
    pub stream: &'a StreamPlan,
    pub training: &'a TrainingPlan,
    /// What this round trains: a full or an incremental training.
    pub spec: &'a TrainSpec,
    /// Rounds that have trained so far, of all streams.
    pub rounds: &'a mut u64,
}

impl TrainingRound<'_> {
    /// Publishes the challenger where it wins, or the champion's parent where the champion has become worse.
    pub fn run(mut self) -> Result<(), RoundError> {
        let (context, stream) = (self.context, self.stream);
        let name: &str = &stream.engine.name;
        let started = context.clock.monotonic_micros();
        let Some(leader) = &mut self.leadership.leader else { return Ok(()) };
        let stopped = || context.stopping();
        if leader.models.catch_up(&*context.broker, &stopped)?.is_none() {
            return Ok(());
        }
        let champion = Champion::find(&leader.models, stream)?;
        let now = context.clock.wall_millis();
        let history = history::read(&*context.broker, stream, self.training, now, &stopped)?;
        metrics::TRAINING_LEFT_OUT.counter(&[("stream", name)]).increment(history.left_out);
        if history.sequences.is_empty() {
            return Err(RoundError::TooLittleHistory { steps: history.longest, min_steps: self.training.min_steps });
        }
        if let Some(parent) = self.better_parent(&champion, &history.sequences)? {
            return self.publish(parent);
        }
        *self.rounds += 1;
        tracing::info!(
            stream = %name, series = history.sequences.len(), steps = history.steps, left_out = history.left_out,
            version = champion.version, updates = self.spec.max_updates, "training round started"
        );
        let outcome = self.train(&champion.weights, &history.sequences)?;
        self.record_outcome(&outcome, started);
        if outcome.interrupted {
            return Ok(());
        }
        let (champion_loss, challenger_loss) = (outcome.champion_loss, outcome.challenger_loss);
        let reason = match outcome.verdict {
            Verdict::Promote => {
                return self.publish(Challenger {
                    weights: outcome.challenger,
                    parent: champion.version,
                    champion_loss,
                    challenger_loss,
                    trained_until: history.newest,
                    reason: PublishReason::Promotion,
                    prior: train::stream_prior(&stream.engine.forecast, &history.sequences, &history.scales),
                });
            }
            Verdict::Reject(reason) => reason,
        };
        tracing::info!(
            stream = name, version = champion.version, %reason, "challenger rejected; the champion keeps serving"
        );
        metrics::REFUSALS.counter(&[("stream", name), ("reason", reason.name())]).increment(1);
        count_round(stream, "refused");
        context.status.dashboard.record_training_outcome(TrainingOutcome {
            stream: name.to_owned(),
            at: context.clock.wall_millis(),
            version: champion.version,
            decision: Decision::Refused(reason.to_string()),
            champion_loss: finite(champion_loss),
            challenger_loss: finite(challenger_loss),
        });
        Ok(())
    }

    fn publish(&mut self, challenger: Challenger) -> Result<(), RoundError> {
        match &mut self.leadership.leader {
            Some(leader) => publish(self.context, leader, self.stream, challenger),
            None => Ok(()),
        }
    }

    /// The weights that the champion was trained from, where they do clearly better on the newest history.
    fn better_parent(
        &self,
        champion: &Champion,
        sequences: &[TrainingSequence],
    ) -> Result<Option<Challenger>, RoundError> {
        let (Some(parent), Some(leader)) = (champion.promoted_from, &self.leadership.leader) else { return Ok(None) };
        let network = &self.stream.engine.network;
        let weights = match parent {
            0 => Weights::initial(network),
            parent => match leader.models.weights(&self.stream.engine.name, parent, network) {
                Ok(weights) => weights,
                // They were deleted since, or belong to another network: there is nothing to roll back to.
                Err(_) => return Ok(None),
            },
        };
        let compared = train::compare(&self.training.spec, network, &champion.weights, &weights, sequences)?;
        if compared.verdict != Verdict::Promote {
            return Ok(None);
        }
        tracing::warn!(
            stream = %self.stream.engine.name, version = champion.version, loss = compared.champion_loss, parent,
            parent_loss = compared.challenger_loss,
            "the serving weights do worse on the newest history than the weights they were trained from; rolling back"
        );
        Ok(Some(Challenger {
            weights,
            parent,
            champion_loss: compared.champion_loss,
            challenger_loss: compared.challenger_loss,
            trained_until: None,
            reason: PublishReason::Rollback,
            prior: champion.prior.clone(),
        }))
    }

    /// Runs the optimiser. Stops early when another trainer leads, or the process stops.
    fn train(&mut self, champion: &Weights, sequences: &[TrainingSequence]) -> Result<Outcome, TrainError> {
        let (context, stream, cpu_share) = (self.context, self.stream, self.training.cpu_share);
        let leadership = &mut *self.leadership;
        let name: &str = &stream.engine.name;
        let mut counted = [0, 0, 0];
        let mut resumed_at = context.clock.monotonic_micros();
        let mut observe = |progress: &Progress| {
            metrics::TRAINING_LOSS.gauge(&[("stream", name)]).set(progress.loss);
            metrics::GRADIENT_NORM.gauge(&[("stream", name)]).set(progress.gradient_norm);
            metrics::CLIPPED_GRADIENT_NORM.gauge(&[("stream", name)]).set(progress.clipped_gradient_norm);
            let counts = [progress.update, progress.clipped, progress.skipped_non_finite];
            let counters = [metrics::TRAINING_STEPS, metrics::TRAINING_CLIPPED, metrics::TRAINING_SKIPPED];
            for ((metric, count), counted) in counters.iter().zip(counts).zip(&mut counted) {
                metric.counter(&[("stream", name)]).increment((count - *counted) as u64);
                *counted = count;
            }
            context.status.dashboard.record_training_step(
                name,
                TrainingStep {
                    at: context.clock.wall_millis(),
                    step: progress.update as u64,
                    steps: progress.max_updates as u64,
                    loss: progress.loss,
                },
            );
            context.health.beat("trainer");
            let worked = context.clock.monotonic_micros().saturating_sub(resumed_at);
            context.pause(rest(worked, cpu_share));
            resumed_at = context.clock.monotonic_micros();
            let lost = leadership.poll(context, Duration::ZERO).is_err() || leadership.leader.is_none();
            if context.stopping() || lost { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        train::train(self.spec, &stream.engine.network, champion, sequences, &mut observe)
    }

    fn record_outcome(&self, outcome: &Outcome, started: u64) {
        let label = ("stream", &*self.stream.engine.name);
        let seconds = self.context.clock.monotonic_micros().saturating_sub(started) as f64 / 1e6;
        metrics::TRAINING_SECONDS.sum(&[label]).increment(seconds);
        metrics::VALIDATION_LOSS.gauge(&[label, ("weights", "champion")]).set(outcome.champion_loss);
        metrics::VALIDATION_LOSS.gauge(&[label, ("weights", "challenger")]).set(outcome.challenger_loss);
        let fit = outcome.fit;
        for (weights, loss) in [("champion", fit.champion), ("challenger", fit.challenger), ("newest", fit.newest)] {
            metrics::FIT_LOSS.gauge(&[label, ("weights", weights)]).set(loss);
        }
    }
}

/// How long to rest after so many microseconds of computing, so that computing takes `share` of the time.
fn rest(worked: u64, share: f64) -> Duration {
    Duration::from_micros((worked as f64 * (1.0 / share - 1.0)) as u64).min(MAX_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_make_up_the_cpu_share() {
        assert_eq!(rest(1000, 1.0), Duration::ZERO);
        assert_eq!(rest(1000, 0.25), Duration::from_micros(3000));
        assert_eq!(rest(60_000_000, 0.05), Duration::from_secs(2));
    }
}
