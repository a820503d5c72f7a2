//! Wiring, the event loop, commit, a partition's life.

mod commit;
pub mod forecasts;
pub mod history;
mod intake;
mod known;
mod lookout;
mod models;
mod partition;
pub mod permissions;
pub mod plan;
mod replay;
mod report;
pub mod shard;
#[cfg(test)]
mod simulation;
pub mod sizing;
mod snapshots;
pub mod specs;
mod standby;
pub mod status;
mod supervise;
pub mod topics;
mod trainer;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use crate::dashboard::http::{AppState, Condition, Health, HttpServer, ListenerSpec};
use crate::{
    broker::{Broker, BrokerError},
    env::{Clock, SystemClock},
    settings::{Role, Settings},
    telemetry::Exposition,
};
use plan::Plan;
use status::Status;
use supervise::{Backoff, Shared, Stop, Worker};

/// Shards and watches need little; each rdkafka client brings threads of its own.
const STACK_BYTES: usize = 4 << 20;
/// Training recurses once per operation of the graph (candle): see `train`.
const TRAINER_STACK_BYTES: usize = 64 << 20;
/// How long to wait before the topics are looked at again.
const TOPICS_WAIT: Duration = Duration::from_secs(2);

/// What a thread of the daemon does.
type Work = Box<dyn FnOnce(&Shared) -> Result<(), String> + Send>;

/// Why the daemon could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings ask for something that cannot be had.
    #[error(transparent)]
    Spec(#[from] specs::SpecError),
    /// The Kafka client cannot be set up as the settings say.
    #[error(transparent)]
    Client(BrokerError),
    /// The page cannot be served.
    #[error(transparent)]
    Http(#[from] crate::dashboard::http::ServeError),
    /// The cluster refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// Parts of the daemon died.
    #[error("{0}")]
    Died(String),
    /// The shutdown took too long.
    #[error("not everything had ended after {0:?}; what was not committed will be read again")]
    Deadline(Duration),
}

impl DaemonError {
    /// Whether the configuration must be changed: trying again would not help.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Spec(_) | Self::Client(_) | Self::Http(crate::dashboard::http::ServeError::Certificate { .. })
        )
    }
}

/// A daemon that runs.
pub struct Daemon {
    shared: Shared,
    workers: Vec<Worker>,
    serving: HttpServer,
    close_http: tokio::sync::oneshot::Sender<()>,
    deadline: Duration,
}

impl Daemon {
    /// Starts everything: the page, then, once the topics are there, the shards and the trainer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What keeps it from starting. A cluster that cannot be reached does not: it is tried again, and `/readyz` says so.
    pub async fn start(
        settings: &Settings,
        broker: Arc<dyn Broker>,
        exposition: Exposition,
        instance: &str,
        title: &str,
    ) -> Result<Self, DaemonError> {
        let plan = specs::plan(settings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let health = Arc::new(Health::new(Arc::clone(&clock)));
        let status = Arc::new(Status::default());
        let (close_http, closed) = tokio::sync::oneshot::channel();
        let state = AppState {
            dashboard: Arc::clone(&status.dashboard),
            health: Arc::clone(&health),
            exposition,
            clock: Arc::clone(&clock),
            title: title.into(),
        };
        let door = ListenerSpec::from_settings(&settings.http)?;
        if let Some(caution) = settings.http.security_warning() {
            tracing::warn!("{caution}");
        }
        let serving = crate::dashboard::http::serve(door, state, async {
            // Dropping the sender asks as well.
            let _ = closed.await;
        })
        .await?;
        let shared = Shared { plan: Arc::new(plan), broker, clock, status, health, stop: Stop::default() };
        let deadline = settings.shutdown_deadline.duration();
        let mut daemon = Self { shared, workers: Vec::new(), serving, close_http, deadline };
        daemon.start_workers(settings, instance)?;
        Ok(daemon)
    }

    fn start_workers(&mut self, settings: &Settings, instance: &str) -> Result<(), DaemonError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = if settings.role == Role::Train { 0 } else { specs::shards(settings, cores) };
        let trains =
            settings.role != Role::Score && self.shared.plan.streams.iter().any(|plan| plan.training.is_some());
        let (create, instance) = (settings.kafka.create_topics, instance.to_owned());
        let app = settings.app.clone();
        // One thread waits for the topics and then becomes the parent of the others.
        self.workers.push(Worker::start("supervisor", STACK_BYTES, &self.shared, move |shared| {
            let Some(plan) = wait_for_topics(shared, create)? else { return Ok(()) };
            let shared = Shared { plan: Arc::new(plan), ..shared.clone() };
            let start = |name: &str, stack, work: Work| {
                Worker::start(name, stack, &shared, work).map_err(|error| format!("no thread for {name}: {error}"))
            };
            let mut workers = vec![start("lookout", STACK_BYTES, Box::new(lookout::run))?];
            for shard in 0..shards {
                let (name, id) = (format!("shard-{shard}"), format!("{app}.{instance}.{shard}"));
                let part = name.clone();
                workers.push(start(
                    &name,
                    STACK_BYTES,
                    Box::new(move |shared| supervise::run_shard(shared, &part, &id)),
                )?);
            }
            if trains {
                let id = format!("{app}.{instance}.trainer");
                let work = Box::new(move |shared: &Shared| supervise::run_trainer(shared, "trainer", &id));
                workers.push(start("trainer", TRAINER_STACK_BYTES, work)?);
            }
            let died: Vec<String> = workers.into_iter().filter_map(|worker| worker.join().err()).collect();
            if died.is_empty() { Ok(()) } else { Err(died.join("; ")) }
        })?);
        Ok(())
    }

    /// Where the page and the metrics are.
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// What it does, as the page shows it.
    pub fn status(&self) -> &Arc<Status> {
        &self.shared.status
    }

    /// Whether every part does its work.
    pub fn ready(&self) -> bool {
        self.shared.health.ready().ok
    }

    /// Waits until `until` resolves or a part dies, then ends everything in good order.
    ///
    /// # Errors
    /// What died, or that the deadline has passed.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), DaemonError> {
        let stop = self.shared.stop.clone();
        let asked = async {
            while !stop.asked() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = until => {}
            () = asked => {}
        }
        self.shutdown().await
    }

    /// Lets every part finish what it is at.
    ///
    /// # Errors
    /// What died, or that the deadline has passed.
    pub async fn shutdown(self) -> Result<(), DaemonError> {
        tracing::info!("stopping: open work is finished and committed");
        self.shared.stop.ask();
        let mut left = self.deadline;
        let pause = Duration::from_millis(20);
        while !self.workers.iter().all(Worker::ended) {
            if left.is_zero() {
                return Err(DaemonError::Deadline(self.deadline));
            }
            tokio::time::sleep(pause).await;
            left = left.saturating_sub(pause);
        }
        let died: Vec<String> = self.workers.into_iter().filter_map(|worker| worker.join().err()).collect();
        // A receiver that is gone has closed already.
        let _ = self.close_http.send(());
        self.serving.wait().await;
        if died.is_empty() { Ok(()) } else { Err(DaemonError::Died(died.join("; "))) }
    }
}

/// Waits until the cluster lets us in, the input topics exist and the others are made. `None` when the process is stopped
/// first.
fn wait_for_topics(shared: &Shared, create: bool) -> Result<Option<Plan>, String> {
    let mut said = String::new();
    let mut backoff = Backoff::default();
    while !shared.stop.asked() {
        match topics::prepare(&*shared.broker, &shared.plan, create) {
            Ok(found) => {
                shared.health.forget("topics");
                let plan = Plan { state_partitions: found.state_partitions, ..(*shared.plan).clone() };
                return Ok(Some(plan));
            }
            Err(BrokerError::Retriable(why) | BrokerError::Aborted(why) | BrokerError::Fenced(why)) => {
                if said != why {
                    tracing::warn!("{why}");
                    shared.health.set("topics", Condition::Waiting(why.clone()));
                    said = why;
                }
                shared.stop.sleep(TOPICS_WAIT);
            }
            Err(error @ (BrokerError::Authentication(_) | BrokerError::Authorization(_))) => {
                let pause = backoff.pause();
                tracing::error!(%error, again_in = ?pause, "nothing is served before somebody mends this");
                shared.health.set("topics", Condition::Waiting(error.to_string()));
                shared.stop.sleep(pause);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(None)
}
