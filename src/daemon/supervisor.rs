//! Waits for the topics, starts the workers, and lets each rejoin its group when it has lost the membership.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::context::Context;
use super::plan::Plan;
use super::shard::{PollOutcome, Shard, ShardError};
use super::trainer::Trainer;
use super::worker::{Worker, join_all};
use super::{lag_monitor, topics};
use crate::{
    broker::BrokerError,
    dashboard::http::Condition,
    telemetry::{LeftOut, LogLimit, ShortDuration, kind_of, metrics},
};

/// Lines about a cluster that is away, or denies access: every worker tries again without end.
static LIMIT: LogLimit = LogLimit::growing();

/// Stack of a shard, the lag monitor and the supervisor, in bytes. The Kafka clients run threads of their own.
pub const STACK_BYTES: usize = 4 << 20;
/// Stack of the trainer, in bytes: candle's backward pass recurses once per operation of the graph.
const TRAINER_STACK_BYTES: usize = 64 << 20;
/// Pause between two looks at topics that do not exist yet.
const TOPICS_WAIT: Duration = Duration::from_secs(2);
/// Pause after the first failure in a row. Each further failure doubles it.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest pause between two attempts.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Pause before the input of a rolled-back transaction is read again; well within the session timeout.
const ROLLED_BACK_WAIT: Duration = Duration::from_millis(200);
/// A shard that serves for so many microseconds without an error, and has nothing to write, counts as permitted again.
const PERMITTED_AFTER: u64 = 10_000_000;
/// The longest that one poll iteration of a shard takes while all is well: a poll, a commit interval, and a
/// transaction with its timeouts. A shard that is silent for longer counts as dead.
const MAX_POLL_ITERATION: Duration = Duration::from_secs(120);

/// How many threads to start, and under which names.
pub struct WorkerPlan {
    pub shards: usize,
    pub trainer: bool,
    pub create_topics: bool,
    /// `<app>.<instance>`: the prefix of the transactional ids.
    pub id_prefix: String,
}

/// Waits for the topics, then starts the other workers and joins them.
///
/// # Errors
/// What a worker ended with, or why one could not be started.
pub fn run(context: &Context, workers: &WorkerPlan) -> Result<(), String> {
    let Some(plan) = wait_for_topics(context, workers.create_topics)? else { return Ok(()) };
    let context = Context { plan: Arc::new(plan), ..context.clone() };
    let failed = |name: &str, error: std::io::Error| format!("cannot start the thread of {name}: {error}");
    let mut running = Vec::new();
    let monitor = Worker::start("lag-monitor", STACK_BYTES, &context, lag_monitor::run);
    running.push(monitor.map_err(|error| failed("lag-monitor", error))?);
    for shard in 0..workers.shards {
        let (name, id) = (format!("shard-{shard}"), format!("{}.{shard}", workers.id_prefix));
        let part = name.clone();
        let shard = Worker::start(&name, STACK_BYTES, &context, move |context| run_shard(context, &part, &id));
        running.push(shard.map_err(|error| failed(&name, error))?);
    }
    if workers.trainer {
        let id = format!("{}.trainer", workers.id_prefix);
        let trainer = Worker::start("trainer", TRAINER_STACK_BYTES, &context, move |context| {
            run_trainer(context, "trainer", &id)
        });
        running.push(trainer.map_err(|error| failed("trainer", error))?);
    }
    join_all(running)
}

/// Waits until the input topics exist and the output topics are created. `None` when the process stops first.
fn wait_for_topics(context: &Context, create: bool) -> Result<Option<Plan>, String> {
    let mut delays = retry_delays();
    while !context.stopping() {
        match topics::prepare(&*context.broker, &context.plan, create) {
            Ok(found) => {
                context.health.forget("topics");
                let topics::Topics { state_partitions, compacted_inputs, .. } = found;
                return Ok(Some(Plan { state_partitions, compacted_inputs, ..(*context.plan).clone() }));
            }
            Err(BrokerError::Retriable(why) | BrokerError::Aborted(why) | BrokerError::Fenced(why)) => {
                if let Some(LeftOut(left_out)) = LIMIT.admit(kind_of(&why), context.clock.monotonic_micros()) {
                    let retry_in = ShortDuration(TOPICS_WAIT);
                    tracing::warn!(error = %why, %retry_in, left_out, "topics are not ready; retrying");
                }
                context.health.set("topics", Condition::Waiting(why));
                context.pause(TOPICS_WAIT);
            }
            Err(error @ (BrokerError::Authentication(_) | BrokerError::Authorization(_))) => {
                let delay = next_delay(&mut delays);
                if let Some(LeftOut(left_out)) = admit(context, &error, delay) {
                    tracing::error!(
                        %error, retry_in = %ShortDuration(delay), left_out,
                        "the cluster denies access; serving begins once it is granted"
                    );
                }
                context.health.set("topics", Condition::Waiting(error.to_string()));
                context.pause(delay);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(None)
}

/// Delays that double from [`MIN_RETRY_DELAY`] to [`MAX_RETRY_DELAY`], without end.
fn retry_delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(MIN_RETRY_DELAY)
        .with_max_delay(MAX_RETRY_DELAY)
        .without_max_times()
        .build()
}

fn next_delay(delays: &mut ExponentialBackoff) -> Duration {
    delays.next().unwrap_or(MAX_RETRY_DELAY)
}

/// What a worker remembers from one group membership to the next.
struct RejoinState {
    delays: ExponentialBackoff,
    /// What the cluster denies, until a commit, or [`PERMITTED_AFTER`] without an error.
    denied: Option<String>,
}

impl Default for RejoinState {
    fn default() -> Self {
        Self { delays: retry_delays(), denied: None }
    }
}

/// Runs a shard: joins the group, serves, and joins again whenever the membership is lost.
fn run_shard(context: &Context, name: &str, transactional_id: &str) -> Result<(), String> {
    let mut rejoin = RejoinState::default();
    context.health.expect_beats(name, MAX_POLL_ITERATION);
    while !context.stopping() {
        let why = rejoin.denied.clone().unwrap_or_else(|| "joining the consumer group".into());
        context.health.set(name, Condition::Waiting(why));
        match serve(context, name, transactional_id, &mut rejoin) {
            Ok(()) | Err(ShardError::Stopped) => return Ok(()),
            Err(ShardError::Broker(error)) => {
                if matches!(error, BrokerError::Fenced(_)) {
                    metrics::TRANSACTIONS.counter(&[("outcome", "fenced")]).increment(1);
                }
                wait_to_rejoin(context, name, error, &mut rejoin)?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Whether this error, which is tried again after `delay`, may be logged. All workers lose a cluster at once, so that
/// one line stands for them. What is denied has lines of its own, which show that the pauses grow.
fn admit(context: &Context, error: &BrokerError, delay: Duration) -> Option<LeftOut> {
    let text = error.to_string();
    let kind = match error {
        BrokerError::Authorization(_) => format!("{text} {}", ShortDuration(delay)),
        BrokerError::Authentication(_) => format!("{} {}", kind_of(&text), ShortDuration(delay)),
        _ => kind_of(&text).to_owned(),
    };
    LIMIT.admit(&kind, context.clock.monotonic_micros())
}

/// Logs why the membership is lost, and waits until it is time to join again.
///
/// # Errors
/// The error itself, where joining again would not help.
fn wait_to_rejoin(context: &Context, name: &str, error: BrokerError, rejoin: &mut RejoinState) -> Result<(), String> {
    let delay = next_delay(&mut rejoin.delays);
    let (text, retry_in, admitted) = (error.to_string(), ShortDuration(delay), admit(context, &error, delay));
    match error {
        BrokerError::Rejected(_) => return Err(text),
        BrokerError::Authentication(_) | BrokerError::Authorization(_) => {
            if let Some(LeftOut(left_out)) = admitted {
                tracing::error!(
                    part = name, %error, %retry_in, left_out,
                    "the cluster denies access; this worker is idle until it is granted"
                );
            }
            rejoin.denied = Some(text.clone());
        }
        BrokerError::Fenced(_) | BrokerError::Retriable(_) | BrokerError::Aborted(_) | BrokerError::Fatal(_) => {
            if let Some(LeftOut(left_out)) = admitted {
                tracing::warn!(
                    part = name, %error, %retry_in, left_out, "lost consumer group membership; rejoining"
                );
            }
        }
    }
    context.health.set(name, Condition::Waiting(text));
    context.pause(delay);
    Ok(())
}

fn serve(context: &Context, name: &str, transactional_id: &str, rejoin: &mut RejoinState) -> Result<(), ShardError> {
    let mut shard = Shard::join(
        Arc::clone(&context.plan),
        Arc::clone(&context.broker),
        Arc::clone(&context.clock),
        Arc::clone(&context.status),
        transactional_id,
        &|| context.stopping(),
    )?;
    let mut serving_since = None;
    while !context.stopping() {
        let outcome = shard.poll()?;
        let now = context.clock.monotonic_micros();
        let serving = shard.serving();
        serving_since = serving_since.filter(|_| serving).or(serving.then_some(now));
        if outcome == PollOutcome::Committed {
            *rejoin = RejoinState::default();
        } else if serving_since.is_some_and(|since| now - since >= PERMITTED_AFTER) {
            rejoin.denied = None;
        }
        let condition = match &rejoin.denied {
            Some(denied) => Condition::Waiting(denied.clone()),
            None if serving => Condition::Ready,
            None => Condition::Waiting(shard.waits_for().into()),
        };
        context.health.set(name, condition);
        if outcome == PollOutcome::RolledBack {
            context.pause(ROLLED_BACK_WAIT);
        }
    }
    Ok(shard.leave()?)
}

/// Runs the trainer: joins the trainers' group, trains while it leads, and joins again whenever the membership is lost.
fn run_trainer(context: &Context, name: &str, transactional_id: &str) -> Result<(), String> {
    let mut rejoin = RejoinState::default();
    while !context.stopping() {
        match train(context, name, transactional_id) {
            Ok(()) => return Ok(()),
            Err(error) => wait_to_rejoin(context, name, error, &mut rejoin)?,
        }
    }
    Ok(())
}

fn train(context: &Context, name: &str, transactional_id: &str) -> Result<(), BrokerError> {
    let mut trainer = Trainer::join(context, transactional_id)?;
    context.health.set(name, Condition::Ready);
    while !context.stopping() {
        trainer.poll()?;
        context.health.beat(name);
    }
    trainer.leave()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_double_up_to_half_a_minute_and_never_end() {
        let delays: Vec<u128> = retry_delays().take(8).map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }
}
