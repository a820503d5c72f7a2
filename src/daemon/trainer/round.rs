//! One training round of one stream: history, rollback check, training, verdict.

use std::{cell::RefCell, ops::ControlFlow};

use super::history::StreamHistory;
use super::leadership::{Leader, RoundKeeper};
use super::publication::{Challenger, Champion, count_round, finite, publish};
use super::round_error::RoundError;
use crate::daemon::context::Context;
use crate::daemon::plan::{StreamPlan, TrainingPlan};
use crate::dashboard::state::{Decision, TrainingOutcome, TrainingStep};
use crate::nn::Weights;
use crate::telemetry::metrics;
use crate::train::{self, Outcome, Progress, TrainSpec, TrainingSequence, Verdict};
use crate::wire::PublishReason;

/// One training round of one stream. It publishes at most one set of weights.
pub struct TrainingRound<'a> {
    pub context: &'a Context,
    pub leader: &'a mut Leader,
    pub keeper: RoundKeeper<'a>,
    pub stream: &'a StreamPlan,
    pub training: &'a TrainingPlan,
    /// What this round trains: a full or an incremental training.
    pub spec: &'a TrainSpec,
    /// The history of the stream, as far as earlier rounds have read it.
    pub history: &'a mut StreamHistory,
    /// Rounds that have trained so far, of all streams.
    pub rounds: &'a mut u64,
}

impl TrainingRound<'_> {
    /// Publishes the challenger where it wins, or the champion's parent where the champion has become worse.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub fn run(mut self) -> Result<(), RoundError> {
        let (context, stream) = (self.context, self.stream);
        let name: &str = &stream.engine.name;
        let started = context.clock.monotonic_micros();
        self.catch_up()?;
        let champion = Champion::find(&self.leader.models, stream)?;
        let newest = self.read_history()?;
        let set = self.history.training_set();
        if set.sequences.is_empty() {
            return Err(RoundError::TooLittleHistory { steps: set.longest, min_steps: self.training.min_steps });
        }
        if let Some(parent) = self.better_parent(&champion, &set.sequences)? {
            return self.publish(parent);
        }
        *self.rounds += 1;
        tracing::info!(
            stream = %name, series = set.sequences.len(), steps = set.steps, version = champion.version,
            updates = self.spec.max_updates, "training round started"
        );
        let outcome = self.train(&champion.weights, &set.sequences)?;
        self.record_outcome(&outcome, started);
        let (champion_loss, challenger_loss) = (outcome.champion_loss, outcome.challenger_loss);
        let reason = match outcome.verdict {
            Verdict::Promote => {
                return self.publish(Challenger {
                    weights: outcome.challenger,
                    parent: champion.version,
                    champion_loss,
                    challenger_loss,
                    trained_until: newest,
                    reason: PublishReason::Promotion,
                    prior: train::stream_prior(&stream.engine.forecast, &set.sequences, &set.scales),
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

    /// Reads all weights that are published by now. A transaction that a publisher left open holds it up.
    fn catch_up(&mut self) -> Result<(), RoundError> {
        let ended = RefCell::new(None);
        let stopped = || {
            let keep_on = self.keeper.keep_on();
            let stops = keep_on.is_err();
            *ended.borrow_mut() = keep_on.err();
            stops
        };
        let published = self.leader.models.catch_up(&*self.context.broker, &stopped)?;
        published.map(drop).ok_or_else(|| ended.take().unwrap_or(RoundError::Stopped))
    }

    /// Reads what has arrived since the last round. Returns the newest event time.
    fn read_history(&mut self) -> Result<Option<i64>, RoundError> {
        let Self { context, stream, training, history, keeper, .. } = self;
        let label = ("stream", &*stream.engine.name);
        let now = context.clock.wall_millis();
        let read = history.update(&*context.broker, stream, training, now, &|| keeper.keep_on());
        metrics::TRAINING_LEFT_OUT.counter(&[label]).increment(history.take_left_out());
        metrics::TRAINING_HISTORY_BYTES.gauge(&[label]).set(history.bytes() as f64);
        read.map(|()| history.newest)
    }

    fn publish(&mut self, challenger: Challenger) -> Result<(), RoundError> {
        self.keeper.keep_on()?;
        publish(self.context, self.leader, self.stream, challenger)
    }

    /// The weights that the champion was trained from, where they do clearly better on the newest history.
    fn better_parent(
        &self,
        champion: &Champion,
        sequences: &[TrainingSequence],
    ) -> Result<Option<Challenger>, RoundError> {
        let Some(parent) = champion.promoted_from else { return Ok(None) };
        let network = &self.stream.engine.network;
        let weights = match parent {
            0 => Weights::initial(network),
            parent => match self.leader.models.weights(&self.stream.engine.name, parent, network) {
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

    /// Runs the optimiser, for as long as this instance leads.
    fn train(&self, champion: &Weights, sequences: &[TrainingSequence]) -> Result<Outcome, RoundError> {
        let (context, stream) = (self.context, self.stream);
        let name: &str = &stream.engine.name;
        let mut counted = [0, 0, 0];
        let mut ended = None;
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
            match self.keeper.keep_on() {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    ended = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let outcome = train::train(self.spec, &stream.engine.network, champion, sequences, &mut observe)?;
        ended.map_or(Ok(outcome), Err)
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
