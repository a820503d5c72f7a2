//! The trainer: reads history from the input topics, trains a challenger, and publishes it when it beats the champion.

mod history;
mod leadership;
mod publication;
mod round;
mod round_error;
mod sample;
mod schedule;

use std::{sync::Arc, time::Duration};

use super::context::Context;
use super::plan::{StreamPlan, TrainingPlan};
use crate::{
    broker::BrokerError,
    telemetry::{LeftOut, LogLimit, ShortDuration},
    train::TrainSpec,
};
pub use history::StreamHistory;
use leadership::{Leader, Leadership, RoundKeeper};
use publication::count_round;
use round::TrainingRound;
pub use round_error::RoundError;
use schedule::TrainingSchedule;

/// How long a poll waits for the group to change the leader.
const LEADERSHIP_WAIT: Duration = Duration::from_millis(500);
/// Pause before a stream with too little history, or with an error, is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(15);

/// Lines about rounds that fail, by stream.
static FAILURE_LIMIT: LogLimit = LogLimit::growing();

/// A member of the trainers' group, which trains while it leads.
pub struct Trainer<'a> {
    context: &'a Context,
    leadership: Leadership,
    /// Set while this trainer leads.
    leader: Option<Leader>,
    /// By the stream's index in the plan.
    schedules: Vec<TrainingSchedule>,
    /// By the stream's index in the plan: what rounds have read. Kept while this trainer leads.
    histories: Vec<Option<StreamHistory>>,
    rounds: u64,
}

impl<'a> Trainer<'a> {
    pub fn join(context: &'a Context, transactional_id: &str) -> Result<Self, BrokerError> {
        let leadership = Leadership::join(context, transactional_id)?;
        let streams = context.plan.streams.len();
        let (schedules, histories) = (vec![TrainingSchedule::default(); streams], (0..streams).map(|_| None).collect());
        Ok(Self { context, leadership, leader: None, schedules, histories, rounds: 0 })
    }

    /// Polls the group, and trains each stream that is due.
    pub fn poll(&mut self) -> Result<(), BrokerError> {
        self.leadership.poll(LEADERSHIP_WAIT)?;
        if !self.leadership.leads {
            self.leader = None;
            self.histories.iter_mut().for_each(|history| *history = None);
        } else if self.leader.is_none() {
            self.leader = Some(Leader::open(self.context)?);
        }
        let plan = Arc::clone(&self.context.plan);
        for (index, stream) in plan.streams.iter().enumerate() {
            let Some(training) = &stream.training else { continue };
            let now = self.context.clock.monotonic_micros();
            if self.context.status.take_drift(&stream.engine.name) {
                self.schedules[index].bring_forward(training);
            }
            if !self.leadership.leads || self.context.stopping() {
                continue;
            }
            let Some(spec) = self.schedules[index].due(training, now, self.rounds) else { continue };
            let wait = self.train(index, stream, training, &spec)?;
            let now = self.context.clock.monotonic_micros();
            self.schedules[index].completed(training, spec.replay.is_some(), wait, now);
        }
        Ok(())
    }

    pub fn leave(self) -> Result<(), BrokerError> {
        self.leadership.leave()
    }

    /// Runs a round. Returns the pause until the next one of its kind.
    fn train(
        &mut self,
        index: usize,
        stream: &StreamPlan,
        training: &TrainingPlan,
        spec: &TrainSpec,
    ) -> Result<Duration, BrokerError> {
        let every = if spec.replay.is_some() { training.refresh } else { training.every };
        let Self { context, leadership, leader, histories, rounds, .. } = self;
        let (context, Some(leader)) = (*context, leader) else { return Ok(every) };
        let name = &*stream.engine.name;
        let history = histories[index].get_or_insert_with(|| StreamHistory::new(stream, training));
        let keeper = RoundKeeper::new(context, leadership, training.cpu_share);
        match (TrainingRound { context, leader, keeper, stream, training, spec, history, rounds }).run() {
            Ok(()) => Ok(every),
            Err(RoundError::Stopped) => Ok(every),
            Err(RoundError::LeadershipLost) => {
                tracing::info!(stream = name, "training round abandoned: another instance became the training leader");
                count_round(stream, "abandoned");
                self.leader = None;
                // Where this instance leads again, it trains at once.
                Ok(Duration::ZERO)
            }
            Err(RoundError::TooLittleHistory { steps, min_steps }) => {
                tracing::debug!(stream = name, steps, min_steps, "too little history to train on yet");
                count_round(stream, "skipped");
                Ok(RETRY_PAUSE.min(every))
            }
            Err(RoundError::Broker(
                error @ (BrokerError::Fenced(_)
                | BrokerError::MembershipLost(_)
                | BrokerError::OutcomeUnknown(_)
                | BrokerError::Authentication(_)
                | BrokerError::Authorization(_)
                | BrokerError::Fatal(_)),
            )) => Err(error),
            Err(error) => {
                let retry_in = RETRY_PAUSE.max(every / 4);
                if let Some(LeftOut(left_out)) = FAILURE_LIMIT.admit(name, context.clock.monotonic_micros()) {
                    tracing::warn!(
                        stream = name, %error, retry_in = %ShortDuration(retry_in), left_out,
                        "training round failed; retrying"
                    );
                }
                count_round(stream, "failed");
                Ok(retry_in)
            }
        }
    }
}
