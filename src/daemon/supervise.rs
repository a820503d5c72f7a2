//! The threads of a process: shards, trainer and watch, and how they are stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    plan::Plan,
    report,
    shard::{Shard, ShardEnd, Turn},
    status::Status,
    trainer::Trainer,
};
use crate::{
    broker::{Broker, BrokerError},
    dashboard::http::{Condition, Health},
    env::Clock,
};

/// The pause after a first failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long passing trouble is given before a rolled-back epoch is read again; well within the session's timeout.
const ROLLED_BACK_WAIT: Duration = Duration::from_millis(200);
/// Served for so long without trouble, a shard that had nothing to write counts as permitted what was denied before.
const QUIET: u64 = 10_000_000;
/// A turn takes this long at the most while all is well: poll, a commit interval, a transaction with its timeouts.
const BEAT: Duration = Duration::from_secs(120);

/// Asks every thread to finish what it is at and to end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps for `duration`, or until it is asked.
    pub fn sleep(&self, duration: Duration) {
        let slice = Duration::from_millis(50);
        let mut left = duration;
        while !self.asked() && !left.is_zero() {
            std::thread::sleep(left.min(slice));
            left = left.saturating_sub(slice);
        }
    }
}

/// Pauses between attempts: each failure in a row doubles the next one.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    /// How long to wait after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// What a part remembers from one seat to the next.
#[derive(Debug, Default)]
struct Seats {
    backoff: Backoff,
    /// What the cluster has denied, until a commit or a quiet while shows that it no longer does: a new seat alone shows nothing.
    denied: Option<String>,
}

/// What every thread of a process shares.
#[derive(Clone)]
pub struct Shared {
    /// The settings, turned into specifications.
    pub plan: Arc<Plan>,
    /// The cluster.
    pub broker: Arc<dyn Broker>,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// What the outside may know.
    pub status: Arc<Status>,
    /// What `/livez` and `/readyz` answer from.
    pub health: Arc<Health>,
    /// The end of all of it.
    pub stop: Stop,
}

/// A running thread and its name.
pub struct Worker {
    name: String,
    handle: JoinHandle<Result<(), String>>,
}

impl Worker {
    /// Starts a thread. Its error, and a panic of it, stop the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &str,
        stack_bytes: usize,
        shared: &Shared,
        work: impl FnOnce(&Shared) -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let own = shared.clone();
        let part = name.to_owned();
        let handle = std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(move || {
            let _last = StopOnDrop(own.stop.clone());
            let ended = work(&own);
            if let Err(error) = &ended {
                tracing::error!(part, error, "stopping");
                own.health.set(&part, Condition::Dead(error.clone()));
            }
            ended
        })?;
        Ok(Self { name: name.to_owned(), handle })
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it died of.
    pub fn join(self) -> Result<(), String> {
        match self.handle.join() {
            Ok(ended) => ended.map_err(|error| format!("{}: {error}", self.name)),
            Err(_) => Err(format!("{} panicked; this is a fault in Foretide, please report it", self.name)),
        }
    }
}

/// One part that ends ends all: a daemon that serves half of its streams must not look healthy.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// Runs one shard: takes a seat, works, and takes a new seat when the old one is lost.
///
/// # Errors
/// When a new seat would not help.
pub fn run_shard(shared: &Shared, name: &str, transactional_id: &str) -> Result<(), String> {
    let mut seats = Seats::default();
    shared.health.expect_beats(name, BEAT);
    while !shared.stop.asked() {
        let why = seats.denied.clone().unwrap_or_else(|| "taking a seat in the consumer group".into());
        shared.health.set(name, Condition::Waiting(why));
        match serve(shared, name, transactional_id, &mut seats) {
            Ok(()) | Err(ShardEnd::Stopped) => return Ok(()),
            Err(ShardEnd::Broker(error)) => {
                if matches!(error, BrokerError::Fenced(_)) {
                    report::fenced();
                }
                seat_lost(shared, name, error, &mut seats)?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Says why a seat is lost, and waits until it is time to take a new one.
///
/// # Errors
/// The error itself, where a new seat would not help.
fn seat_lost(shared: &Shared, name: &str, error: BrokerError, seats: &mut Seats) -> Result<(), String> {
    let pause = seats.backoff.pause();
    match error {
        BrokerError::Rejected(_) => return Err(error.to_string()),
        BrokerError::Authentication(_) | BrokerError::Authorization(_) => {
            tracing::error!(part = name, %error, again_in = ?pause, "no seat before somebody mends this");
            seats.denied = Some(error.to_string());
        }
        BrokerError::Fenced(_) | BrokerError::Retriable(_) | BrokerError::Aborted(_) | BrokerError::Fatal(_) => {
            tracing::warn!(part = name, %error, again_in = ?pause, "the seat is lost; taking a new one");
        }
    }
    shared.health.set(name, Condition::Waiting(error.to_string()));
    shared.stop.sleep(pause);
    Ok(())
}

fn serve(shared: &Shared, name: &str, transactional_id: &str, seats: &mut Seats) -> Result<(), ShardEnd> {
    let mut shard = Shard::join(
        Arc::clone(&shared.plan),
        Arc::clone(&shared.broker),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.status),
        transactional_id,
        &|| shared.stop.asked(),
    )?;
    let mut served_since = None;
    while !shared.stop.asked() {
        let turn = shard.turn()?;
        let now = shared.clock.monotonic_micros();
        let serving = shard.serving();
        served_since = served_since.filter(|_| serving).or(serving.then_some(now));
        if turn == Turn::Committed {
            *seats = Seats::default();
        } else if served_since.is_some_and(|since| now - since >= QUIET) {
            seats.denied = None;
        }
        shared.health.set(
            name,
            match &seats.denied {
                Some(denied) => Condition::Waiting(denied.clone()),
                None if serving => Condition::Ready,
                None => Condition::Waiting("restoring partitions".into()),
            },
        );
        if turn == Turn::RolledBack {
            shared.stop.sleep(ROLLED_BACK_WAIT);
        }
    }
    Ok(shard.leave()?)
}

/// Runs the trainer: takes a seat, trains while it leads, and takes a new seat when the old one is lost.
///
/// # Errors
/// When a new seat would not help.
pub fn run_trainer(shared: &Shared, name: &str, transactional_id: &str) -> Result<(), String> {
    let mut seats = Seats::default();
    while !shared.stop.asked() {
        match train(shared, name, transactional_id) {
            Ok(()) => return Ok(()),
            Err(error) => seat_lost(shared, name, error, &mut seats)?,
        }
    }
    Ok(())
}

fn train(shared: &Shared, name: &str, transactional_id: &str) -> Result<(), BrokerError> {
    let mut trainer = Trainer::join(shared, transactional_id)?;
    shared.health.set(name, Condition::Ready);
    while !shared.stop.asked() {
        trainer.turn()?;
        shared.health.beat(name);
    }
    trainer.leave()
}
