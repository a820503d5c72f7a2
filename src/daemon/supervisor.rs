//! Waits for the topics, starts the workers, and lets each rejoin its group when it has lost the membership.

use std::{sync::Arc, time::Duration};

use super::context::Context;
use super::plan::Plan;
use super::rejoin::{RejoinState, next_delay, retry_delays};
use super::shard::{PollOutcome, Shard, ShardError};
use super::trainer::Trainer;
use super::worker::{Worker, join_all};
use super::{lag_monitor, topics};
use crate::{
    broker::BrokerError,
    dashboard::http::Condition,
    env::lower_thread_priority,
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
/// Pause before the input of a rolled-back transaction is read again; well within the session timeout.
const ROLLED_BACK_WAIT: Duration = Duration::from_millis(200);
/// A shard that serves for so many microseconds without an error, and has nothing to write, counts as permitted again.
const PERMITTED_AFTER: u64 = 10_000_000;

/// How many threads to start, and under which names.
pub struct WorkerPlan {
    pub shards: usize,
    pub trainer: bool,
    pub create_topics: bool,
    /// A shard that is silent for longer counts as dead.
    pub shard_patience: Duration,
    /// `<app>.<instance>`: the prefix of the transactional ids, one for each worker.
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
        let patience = workers.shard_patience;
        let run = move |context: &Context| run_shard(context, &part, &id, patience);
        let shard = Worker::start(&name, STACK_BYTES, &context, run);
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
            Err(
                BrokerError::Retriable(why)
                | BrokerError::Aborted(why)
                | BrokerError::Fenced(why)
                | BrokerError::MembershipLost(why),
            ) => {
                if let Some(LeftOut(left_out)) = LIMIT.admit(kind_of(&why), context.clock.monotonic_micros()) {
                    let retry_in = ShortDuration(TOPICS_WAIT);
                    tracing::warn!(error = %why, %retry_in, left_out, "topics are not ready; retrying");
                }
                context.health.set("topics", Condition::Waiting(why));
                context.pause(TOPICS_WAIT);
            }
            // Access may be granted, a missing topic created, and a policy changed, while this waits.
            Err(error) => {
                let delay = next_delay(&mut delays);
                let event = "topics cannot be used; serving begins once they can";
                if let Some(LeftOut(left_out)) = admit(context, event, &error, delay) {
                    tracing::error!(%error, retry_in = %ShortDuration(delay), left_out, "{event}");
                }
                context.health.set("topics", Condition::Waiting(error.to_string()));
                context.pause(delay);
            }
        }
    }
    Ok(None)
}

/// Runs a shard: joins the group, serves, and joins again whenever the membership is lost.
fn run_shard(context: &Context, name: &str, transactional_id: &str, patience: Duration) -> Result<(), String> {
    let mut context = context.clone();
    let mut rejoin = RejoinState::default();
    context.health.expect_beats(name, patience);
    while !context.stopping() {
        let why = rejoin.obstacle.clone().unwrap_or_else(|| "joining the consumer group".into());
        context.health.set(name, Condition::Waiting(why));
        match serve(&context, name, transactional_id, &mut rejoin) {
            Ok(Ended::Stopped) | Err(ShardError::Stopped) => return Ok(()),
            Ok(Ended::InputAppeared) => {
                tracing::info!(part = name, "a missing input topic can be read now; rejoining to serve it");
                match topics::prepare(&*context.broker, &context.plan, false) {
                    Ok(topics::Topics { compacted_inputs, .. }) => {
                        context.plan = Arc::new(Plan { compacted_inputs, ..(*context.plan).clone() });
                    }
                    Err(error) => tracing::debug!(%error, "cannot look at the cleanup policies again"),
                }
            }
            Err(ShardError::Broker(error)) => {
                if let BrokerError::Fenced(_) | BrokerError::MembershipLost(_) = error {
                    metrics::TRANSACTIONS.counter(&[("outcome", "fenced")]).increment(1);
                }
                wait_to_rejoin(&context, name, transactional_id, &error, &mut rejoin);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Whether this error, which means `event` and is tried again after `delay`, may be logged. All workers lose a cluster
/// at once, so that one line stands for them. What is denied has lines of its own, which show that the pauses grow.
fn admit(context: &Context, event: &str, error: &BrokerError, delay: Duration) -> Option<LeftOut> {
    let text = error.to_string();
    let kind = match error {
        BrokerError::Authorization(_) => format!("{text} {}", ShortDuration(delay)),
        BrokerError::Authentication(_) => format!("{} {}", kind_of(&text), ShortDuration(delay)),
        _ => format!("{event}: {}", kind_of(&text)),
    };
    LIMIT.admit(&kind, context.clock.monotonic_micros())
}

/// What an error means for a worker, in words. `conflict`: another process has the same instance name.
fn membership_event(error: &BrokerError, conflict: bool) -> &'static str {
    match error {
        BrokerError::Fenced(_) if conflict => "fenced again and again",
        BrokerError::Fenced(_) => "fenced by another producer; rejoining",
        BrokerError::Authentication(_) | BrokerError::Authorization(_) => {
            "the cluster denies access; this worker is idle until it is granted"
        }
        BrokerError::Rejected(_) | BrokerError::Refused { .. } => {
            "the cluster refuses a request; this worker waits and tries again"
        }
        BrokerError::TimedOut(_) | BrokerError::OutcomeUnknown(_) => {
            "a transaction did not end in time; rejoining with smaller transactions"
        }
        BrokerError::MembershipLost(_)
        | BrokerError::Retriable(_)
        | BrokerError::Aborted(_)
        | BrokerError::Fatal(_) => "lost consumer group membership; rejoining",
    }
}

/// Logs why the membership is lost, and waits until it is time to join again.
fn wait_to_rejoin(context: &Context, name: &str, id: &str, error: &BrokerError, rejoin: &mut RejoinState) {
    let mut reason = error.to_string();
    let (delay, conflict) = match error {
        BrokerError::Fenced(_) => rejoin.fenced(context.clock.monotonic_micros()),
        _ => (rejoin.next_delay(), false),
    };
    if conflict {
        reason = format!(
            "another process uses the transactional id {id:?}, which is made of `app` and `instance`; give each \
             process its own `instance` ({error})"
        );
    }
    let transient = match error {
        BrokerError::Fenced(_) => !conflict,
        BrokerError::MembershipLost(_) | BrokerError::Retriable(_) => true,
        BrokerError::Aborted(_) | BrokerError::Fatal(_) => true,
        _ => false,
    };
    let (event, retry_in) = (membership_event(error, conflict), ShortDuration(delay));
    if let Some(LeftOut(left_out)) = admit(context, event, error, delay) {
        if transient {
            tracing::warn!(part = name, error = reason, %retry_in, left_out, "{event}");
        } else {
            tracing::error!(part = name, error = reason, %retry_in, left_out, "{event}");
        }
    }
    if !transient {
        rejoin.obstacle = Some(reason.clone());
    }
    context.health.set(name, Condition::Waiting(reason));
    context.pause(delay);
}

/// Why a shard has left the group.
enum Ended {
    /// The process stops.
    Stopped,
    /// An input topic that was missing can be read now.
    InputAppeared,
}

/// Serves until the process stops, or until a new shard can serve more.
fn serve(context: &Context, name: &str, transactional_id: &str, rejoin: &mut RejoinState) -> Result<Ended, ShardError> {
    let mut shard = Shard::join(
        Arc::clone(&context.plan),
        Arc::clone(&context.broker),
        Arc::clone(&context.clock),
        Arc::clone(&context.status),
        transactional_id,
        &|| context.stopping(),
    )?;
    if let Some(limit) = rejoin.limit {
        shard.set_transaction_limit(limit);
    }
    report_missing_inputs(context, &shard);
    let mut serving_since = None;
    while !context.stopping() {
        if shard.input_appeared() {
            shard.leave()?;
            return Ok(Ended::InputAppeared);
        }
        let outcome = shard.poll();
        rejoin.limit = Some(shard.transaction_limit());
        let outcome = outcome?;
        let now = context.clock.monotonic_micros();
        let serving = shard.serving();
        serving_since = serving_since.filter(|_| serving).or(serving.then_some(now));
        if outcome == PollOutcome::Committed {
            rejoin.committed();
        } else if serving_since.is_some_and(|since| now - since >= PERMITTED_AFTER) {
            rejoin.obstacle = None;
        }
        let condition = match shard.obstacle().or_else(|| rejoin.obstacle.clone()) {
            Some(obstacle) => Condition::Waiting(obstacle),
            None if serving => Condition::Ready,
            None => Condition::Waiting(shard.waits_for().into()),
        };
        context.health.set(name, condition);
        if outcome == PollOutcome::RolledBack {
            context.pause(ROLLED_BACK_WAIT);
        }
    }
    shard.leave()?;
    Ok(Ended::Stopped)
}

/// Reports to `/readyz` and the page which input topics a shard does not serve.
fn report_missing_inputs(context: &Context, shard: &Shard) {
    for topic in context.plan.topics() {
        let part = format!("topic {topic}");
        match shard.missing_inputs().get(&topic) {
            Some(reason) => context.health.set(&part, Condition::Degraded(reason.clone())),
            None => context.health.forget(&part),
        }
    }
}

/// Runs the trainer: joins the trainers' group, trains while it leads, and joins again whenever the membership is lost.
fn run_trainer(context: &Context, name: &str, transactional_id: &str) -> Result<(), String> {
    // Forecasts do not wait for training.
    if let Err(error) = lower_thread_priority() {
        tracing::warn!(%error, "training runs with the priority of serving");
    }
    let mut rejoin = RejoinState::default();
    while !context.stopping() {
        match train(context, name, transactional_id) {
            Ok(()) => return Ok(()),
            Err(error) => wait_to_rejoin(context, name, transactional_id, &error, &mut rejoin),
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
