//! The trainer: reads history back from the input topics, trains a challenger, and publishes it when it wins.
//!
//! One trainer leads: the one to which its consumer group has given the models topic's only partition. A new leader
//! opens its publisher under the application's one trainer id, which fences whatever an earlier leader still tries to
//! publish; a publication is one transaction, so half a set of weights is never seen.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use super::{
    history,
    models::{ModelWatch, VERSIONS_KEPT},
    plan::{StreamPlan, TrainingPlan},
    supervise::Shared,
};
use crate::{
    broker::{BrokerError, Member, MemberEvent, ProducerRecord, Publisher},
    dashboard::state::{Decision, TrainingOutcome, TrainingStep},
    forecast::StreamPrior,
    nn::Weights,
    telemetry::metrics,
    train::{self, Outcome, Progress, TrainError, TrainSpec, TrainingSequence, Verdict},
    wire::{Manifest, PublishReason, Release},
};

/// How long the trainer waits for news of its seat between rounds.
const SEAT_WAIT: Duration = Duration::from_millis(500);
/// How soon a stream that had too little history, or met trouble, is looked at again.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Of the pause between two rounds the part that is kept also when the forecasts have become worse.
const RESTLESS: u32 = 8;
/// Why weights are taken back.
const WORSE: &str = "they do worse on the newest history than the weights they were trained from";

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("{0}")]
    Published(String),
    #[error("the longest series has {steps} steps of history; training begins at {least}")]
    TooLittle { steps: usize, least: usize },
}

/// Holds a seat and trains while it leads.
pub struct Trainer<'a> {
    shared: &'a Shared,
    seat: Box<dyn Member>,
    leading: Option<Leading>,
    /// `[stream]`
    schedules: Vec<Schedule>,
    rounds: u64,
}

/// When a stream's network is to learn, in microseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
struct Schedule {
    /// The next whole training.
    whole: u64,
    /// The next small one.
    refresh: u64,
    /// From when on one may begin before its time.
    early: u64,
}

impl Schedule {
    /// The forecasts have become worse: what comes soonest comes early.
    fn hurry(&mut self, training: &TrainingPlan) {
        let next = if training.refresh.is_zero() { &mut self.whole } else { &mut self.refresh };
        *next = (*next).min(self.early);
    }

    /// How to learn now, if at all; a whole training goes before a small one.
    fn due(&self, training: &TrainingPlan, now: u64, round: u64) -> Option<TrainSpec> {
        let spec = || TrainSpec { seed: training.spec.seed.wrapping_add(round), ..training.spec.clone() };
        if now >= self.whole {
            Some(spec())
        } else if now >= self.refresh && !training.refresh.is_zero() {
            Some(spec().incremental(training.refresh_updates))
        } else {
            None
        }
    }

    /// A training has ended; the next one like it comes after `wait`.
    fn done(&mut self, training: &TrainingPlan, small: bool, wait: Duration, now: u64) {
        let after = |wait: Duration| now.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        if small {
            self.refresh = after(wait);
        } else {
            (self.whole, self.refresh) = (after(wait), after(training.refresh.min(wait)));
        }
        self.early = after(wait / RESTLESS);
    }
}

struct Leading {
    publisher: Box<dyn Publisher>,
    models: ModelWatch,
}

impl<'a> Trainer<'a> {
    /// Takes a seat in the trainers' group.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn join(shared: &'a Shared, transactional_id: &str) -> Result<Self, BrokerError> {
        let plan = &shared.plan;
        let group = format!("{}.trainer", plan.app);
        let seat = shared.broker.join(&group, transactional_id, std::slice::from_ref(&plan.models_topic))?;
        Ok(Self { shared, seat, leading: None, schedules: vec![Schedule::default(); plan.streams.len()], rounds: 0 })
    }

    /// Does one round: news of the seat, and a stream's training where one is due.
    ///
    /// # Errors
    /// When the seat is lost or the broker refuses.
    pub fn turn(&mut self) -> Result<(), BrokerError> {
        self.attend(SEAT_WAIT)?;
        let plan = Arc::clone(&self.shared.plan);
        for (index, stream) in plan.streams.iter().enumerate() {
            let Some(training) = &stream.training else { continue };
            let now = self.shared.clock.monotonic_micros();
            if self.shared.status.take_drift(&stream.engine.name) {
                self.schedules[index].hurry(training);
            }
            if self.leading.is_none() || self.shared.stop.asked() {
                continue;
            }
            let Some(how) = self.schedules[index].due(training, now, self.rounds) else { continue };
            let small = how.replay.is_some();
            let every = if small { training.refresh } else { training.every };
            let wait = match self.round(stream, training, &how) {
                Ok(()) => every,
                Err(RoundError::TooLittle { steps, least }) => {
                    tracing::debug!(stream = %stream.engine.name, steps, least, "too little history to train on yet");
                    count(stream, "skipped");
                    TRY_AGAIN.min(every)
                }
                Err(RoundError::Broker(
                    error @ (BrokerError::Fenced(_)
                    | BrokerError::Authentication(_)
                    | BrokerError::Authorization(_)
                    | BrokerError::Fatal(_)),
                )) => return Err(error),
                Err(error) => {
                    tracing::warn!(stream = %stream.engine.name, %error, "a round of training came to nothing");
                    count(stream, "failed");
                    TRY_AGAIN.max(every / 4)
                }
            };
            let now = self.shared.clock.monotonic_micros();
            self.schedules[index].done(training, small, wait, now);
        }
        Ok(())
    }

    /// Gives the seat back.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn leave(mut self) -> Result<(), BrokerError> {
        self.seat.leave()
    }

    /// Hears what the group says.
    fn attend(&mut self, wait: Duration) -> Result<(), BrokerError> {
        match self.seat.poll(wait, 1)? {
            Some(MemberEvent::Assigned(partitions)) if !partitions.is_empty() => {
                let broker = &self.shared.broker;
                let publisher = broker.publisher(&format!("{}.trainer", self.shared.plan.app))?;
                let models = ModelWatch::open(&self.shared.plan.models_topic, &**broker)?;
                self.leading = Some(Leading { publisher, models });
                tracing::info!("this instance leads the training");
            }
            Some(MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) => {
                if !partitions.is_empty() {
                    self.leading = None;
                    tracing::info!("another instance leads the training");
                }
                self.seat.release(&partitions)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn round(&mut self, stream: &StreamPlan, training: &TrainingPlan, how: &TrainSpec) -> Result<(), RoundError> {
        let name: &str = &stream.engine.name;
        let started = self.shared.clock.monotonic_micros();
        let Some(leading) = &mut self.leading else { return Ok(()) };
        let stop = &self.shared.stop;
        if leading.models.catch_up(&*self.shared.broker, &|| stop.asked())?.is_none() {
            return Ok(());
        }
        let champion = champion(&leading.models, stream)?;
        let now = self.shared.clock.wall_millis();
        let history = history::read(&*self.shared.broker, stream, training, now, &|| stop.asked())?;
        metrics::TRAINING_LEFT_OUT.counter(&[("stream", name)]).increment(history.left_out);
        if history.lanes.is_empty() {
            return Err(RoundError::TooLittle { steps: history.longest, least: training.min_steps });
        }
        let champion = match self.worse_than_its_parent(stream, training, champion, &history.lanes)? {
            Ok(champion) => champion,
            Err(rolled_back) => return self.publish(stream, rolled_back),
        };
        self.rounds += 1;
        tracing::info!(
            stream = name,
            series = history.lanes.len(),
            steps = history.steps,
            left_out = history.left_out,
            version = champion.version,
            updates = how.max_updates,
            "training"
        );
        let outcome = self.train(stream, training.cpu_share, how, &champion.weights, &history.lanes)?;
        self.count_outcome(stream, &outcome, started);
        if outcome.interrupted {
            return Ok(());
        }
        let verdict = match outcome.verdict {
            Verdict::Promote => {
                let challenger = Challenger {
                    weights: outcome.challenger,
                    parent: champion.version,
                    champion_loss: outcome.champion_loss,
                    challenger_loss: outcome.challenger_loss,
                    trained_until: history.newest,
                    reason: PublishReason::Promotion,
                    prior: train::stream_prior(&stream.engine.forecast, &history.lanes, &history.sizes),
                };
                return self.publish(stream, challenger);
            }
            Verdict::Reject(why) => why,
        };
        tracing::info!(stream = name, %verdict, "the challenger is refused");
        metrics::REFUSALS.counter(&[("stream", name), ("reason", verdict.name())]).increment(1);
        count(stream, "refused");
        self.shared.status.dashboard.record_training_outcome(TrainingOutcome {
            stream: name.to_owned(),
            at: self.shared.clock.wall_millis(),
            version: champion.version,
            decision: Decision::Refused(verdict.to_string()),
            champion_loss: finite(outcome.champion_loss),
            challenger_loss: finite(outcome.challenger_loss),
        });
        Ok(())
    }

    /// Runs the optimiser, telling the outside how it goes, and keeping the seat. Stops early when the seat is lost or the
    /// process ends.
    fn train(
        &mut self,
        stream: &StreamPlan,
        cpu_share: f64,
        how: &TrainSpec,
        champion: &Weights,
        lanes: &[TrainingSequence],
    ) -> Result<Outcome, TrainError> {
        let name: &str = &stream.engine.name;
        let round = self.rounds;
        let shared = self.shared;
        let mut told = [0, 0, 0];
        let mut resumed = shared.clock.monotonic_micros();
        let mut observe = |progress: &Progress| {
            metrics::TRAINING_LOSS.gauge(&[("stream", name)]).set(progress.loss);
            metrics::GRADIENT_NORM.gauge(&[("stream", name)]).set(progress.gradient_norm);
            metrics::CLIPPED_GRADIENT_NORM.gauge(&[("stream", name)]).set(progress.clipped_gradient_norm);
            let counts = [progress.update, progress.clipped, progress.skipped_non_finite];
            let counters = [metrics::TRAINING_STEPS, metrics::TRAINING_CLIPPED, metrics::TRAINING_SKIPPED];
            for ((metric, count), told) in counters.iter().zip(counts).zip(&mut told) {
                metric.counter(&[("stream", name)]).increment((count - *told) as u64);
                *told = count;
            }
            shared.status.dashboard.record_training_step(
                name,
                TrainingStep {
                    at: shared.clock.wall_millis(),
                    round,
                    step: progress.update as u64,
                    steps: progress.max_updates as u64,
                    loss: progress.loss,
                    gradient_norm: progress.gradient_norm,
                },
            );
            shared.health.beat("trainer");
            let worked = shared.clock.monotonic_micros().saturating_sub(resumed);
            shared.stop.sleep(rest(worked, cpu_share));
            resumed = shared.clock.monotonic_micros();
            let lost = self.attend(Duration::ZERO).is_err() || self.leading.is_none();
            if shared.stop.asked() || lost { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        train::train(how, &stream.engine.network, champion, lanes, &mut observe)
    }

    /// The champion, or, when the weights it was trained from do clearly better on the newest history, those to go
    /// back to.
    fn worse_than_its_parent(
        &self,
        stream: &StreamPlan,
        training: &TrainingPlan,
        champion: Champion,
        lanes: &[TrainingSequence],
    ) -> Result<Result<Champion, Challenger>, RoundError> {
        let (Some(parent), Some(leading)) = (champion.promoted_from, &self.leading) else { return Ok(Ok(champion)) };
        let network = &stream.engine.network;
        let weights = match parent {
            0 => Weights::initial(network),
            parent => match leading.models.weights(&stream.engine.name, parent, network) {
                Ok(weights) => weights,
                Err(_) => return Ok(Ok(champion)),
            },
        };
        let compared = train::compare(&training.spec, network, &champion.weights, &weights, lanes)?;
        if compared.verdict != Verdict::Promote {
            return Ok(Ok(champion));
        }
        tracing::warn!(
            stream = %stream.engine.name,
            version = champion.version, loss = compared.champion_loss, parent, parent_loss = compared.challenger_loss,
            "the serving weights do worse on the newest history than those they were trained from; rolling back"
        );
        Ok(Err(Challenger {
            weights,
            parent,
            champion_loss: compared.champion_loss,
            challenger_loss: compared.challenger_loss,
            trained_until: None,
            reason: PublishReason::Rollback,
            prior: champion.prior,
        }))
    }

    fn publish(&mut self, stream: &StreamPlan, challenger: Challenger) -> Result<(), RoundError> {
        let name: &str = &stream.engine.name;
        let Some(leading) = &mut self.leading else { return Ok(()) };
        let at = self.shared.clock.wall_millis();
        let version = leading.models.shelf.active(name).map_or(0, |manifest| manifest.release.version) + 1;
        let release = Release {
            stream: name.to_owned(),
            version,
            parent: challenger.parent,
            fingerprint: stream.engine.network.fingerprint(),
            created: at,
            trained_until: challenger.trained_until,
            champion_loss: finite(challenger.champion_loss),
            challenger_loss: finite(challenger.challenger_loss),
            reason: challenger.reason,
            prior: challenger.prior,
        };
        let published = |error: &dyn std::fmt::Display| RoundError::Published(error.to_string());
        let bytes = challenger.weights.to_bytes().map_err(|error| published(&error))?;
        let records = Manifest::new(release, &bytes).records(&bytes).map_err(|error| published(&error))?;
        let gone: Vec<String> = leading
            .models
            .shelf
            .versions(name)
            .rev()
            .skip(usize::try_from(VERSIONS_KEPT).unwrap_or(usize::MAX))
            .flat_map(Manifest::keys)
            .collect();
        let new = records.iter().map(|(key, payload)| (key, Some(payload.as_slice())));
        let outgoing: Vec<ProducerRecord<'_>> = new
            .chain(gone.iter().map(|key| (key, None)))
            .map(|(key, payload)| ProducerRecord {
                topic: &self.shared.plan.models_topic,
                partition: Some(0),
                key: Some(key.as_bytes()),
                payload,
                headers: &[],
            })
            .collect();
        leading.publisher.publish(&outgoing)?;
        let (metric, outcome, decision) = match challenger.reason {
            PublishReason::Promotion => (metrics::PROMOTIONS, "promoted", Decision::Promoted),
            PublishReason::Rollback => (metrics::ROLLBACKS, "rolled_back", Decision::RolledBack(WORSE.into())),
        };
        metric.counter(&[("stream", name)]).increment(1);
        count(stream, outcome);
        let (champion_loss, challenger_loss) = (challenger.champion_loss, challenger.challenger_loss);
        tracing::info!(stream = name, version, champion_loss, challenger_loss, outcome, "weights published");
        self.shared.status.dashboard.record_training_outcome(TrainingOutcome {
            stream: name.to_owned(),
            at,
            version,
            decision,
            champion_loss: finite(champion_loss),
            challenger_loss: finite(challenger_loss),
        });
        Ok(())
    }

    fn count_outcome(&self, stream: &StreamPlan, outcome: &Outcome, started: u64) {
        let label = ("stream", &*stream.engine.name);
        let seconds = self.shared.clock.monotonic_micros().saturating_sub(started) as f64 / 1e6;
        metrics::TRAINING_SECONDS.sum(&[label]).increment(seconds);
        metrics::HELD_OUT_LOSS.gauge(&[label, ("weights", "champion")]).set(outcome.champion_loss);
        metrics::HELD_OUT_LOSS.gauge(&[label, ("weights", "challenger")]).set(outcome.challenger_loss);
        let fit = outcome.fit;
        for (weights, loss) in [("champion", fit.champion), ("challenger", fit.challenger), ("newest", fit.newest)] {
            metrics::FIT_LOSS.gauge(&[label, ("weights", weights)]).set(loss);
        }
    }
}

/// How long to rest after so many microseconds of computing, so that it takes `share` of the time; never so long that the seat
/// would be lost.
fn rest(worked: u64, share: f64) -> Duration {
    Duration::from_micros((worked as f64 * (1.0 / share - 1.0)) as u64).min(Duration::from_secs(2))
}

struct Champion {
    version: u64,
    weights: Weights,
    /// Where it is a promotion: the version it was trained from.
    promoted_from: Option<u64>,
    prior: Option<Arc<StreamPrior>>,
}

struct Challenger {
    weights: Weights,
    parent: u64,
    champion_loss: f64,
    challenger_loss: f64,
    trained_until: Option<i64>,
    reason: PublishReason,
    prior: Option<Arc<StreamPrior>>,
}

/// The weights that serve: the newest published for the configured network, or the initial ones.
fn champion(models: &ModelWatch, stream: &StreamPlan) -> Result<Champion, RoundError> {
    let network = &stream.engine.network;
    let name: &str = &stream.engine.name;
    let fitting = |manifest: &&Manifest| manifest.release.fingerprint == network.fingerprint();
    let Some(release) = models.shelf.versions(name).rev().find(fitting).map(|manifest| &manifest.release) else {
        return Ok(Champion { version: 0, weights: Weights::initial(network), promoted_from: None, prior: None });
    };
    let weights = models.weights(name, release.version, network).map_err(RoundError::Published)?;
    let promoted_from = (release.reason == PublishReason::Promotion).then_some(release.parent);
    Ok(Champion { version: release.version, weights, promoted_from, prior: release.prior.clone() })
}

fn count(stream: &StreamPlan, outcome: &str) {
    metrics::TRAINING_ROUNDS.counter(&[("stream", &stream.engine.name), ("outcome", outcome)]).increment(1);
}

fn finite(loss: f64) -> Option<f64> {
    loss.is_finite().then_some(loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_trainings_come_between_whole_ones_and_early_when_forecasts_have_become_worse() {
        let mut training = TrainingPlan {
            history: 0,
            every: Duration::from_secs(60),
            refresh: Duration::from_secs(8),
            refresh_updates: 5,
            cpu_share: 1.0,
            min_steps: 0,
            max_series: 1,
            max_steps_per_series: 1,
            spec: TrainSpec::default(),
        };
        let second = 1_000_000;
        let updates = |schedule: &Schedule, training: &TrainingPlan, at: u64| {
            schedule.due(training, at * second, 0).map(|how| how.max_updates)
        };
        let mut schedule = Schedule::default();
        assert_eq!(updates(&schedule, &training, 0), Some(1000), "first a whole one");
        schedule.done(&training, false, training.every, 10 * second);
        assert_eq!([17, 18].map(|at| updates(&schedule, &training, at)), [None, Some(5)]);
        schedule.done(&training, true, training.refresh, 20 * second);
        schedule.hurry(&training);
        assert_eq!(
            [20, 21].map(|at| updates(&schedule, &training, at)),
            [None, Some(5)],
            "an eighth of the pause is kept"
        );
        assert_eq!(updates(&schedule, &training, 70), Some(1000));
        training.refresh = Duration::ZERO;
        assert_eq!(updates(&schedule, &training, 69), None);
        schedule.hurry(&training);
        assert_eq!(updates(&schedule, &training, 21), Some(1000), "without small ones the whole one comes early");
    }

    #[test]
    fn rests_make_up_the_share() {
        assert_eq!(rest(1000, 1.0), Duration::ZERO);
        assert_eq!(rest(1000, 0.25), Duration::from_micros(3000));
        assert_eq!(rest(60_000_000, 0.05), Duration::from_secs(2));
    }
}
