//! The running daemon: starts the dashboard and the supervisor, and stops everything in order.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::context::Context;
use super::initial_metrics;
use super::specs;
use super::status::Status;
use super::supervisor::{self, WorkerPlan};
use super::worker::{Worker, join_all};
use crate::broker::{Broker, BrokerError};
use crate::dashboard::http::{self, AppState, Health, HttpServer, ListenerSpec};
use crate::env::{Clock, SystemClock};
use crate::settings::{Role, Settings};
use crate::telemetry::Exposition;

/// Why the daemon cannot start, or has to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings ask for something impossible.
    #[error(transparent)]
    Spec(#[from] specs::SpecError),
    /// The Kafka client rejects its options.
    #[error(transparent)]
    Client(BrokerError),
    /// The dashboard cannot be served.
    #[error(transparent)]
    Http(#[from] http::ServeError),
    /// The cluster rejects a request.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The operating system starts no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Workers failed.
    #[error("{0}")]
    Worker(String),
    /// The shutdown took too long.
    #[error(
        "workers are still running {} s after the shutdown began; input that is not committed will be read again",
        .0.as_secs_f64()
    )]
    Deadline(Duration),
}

impl DaemonError {
    /// Whether the configuration must be changed, so that trying again would not help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Spec(_) | Self::Client(_) | Self::Http(http::ServeError::Certificate { .. }))
    }
}

/// A running daemon. Dropping it stops the workers without waiting for them.
pub struct Daemon {
    context: Context,
    supervisor: Worker,
    server: HttpServer,
    close_http: tokio::sync::oneshot::Sender<()>,
    shutdown_deadline: Duration,
    _shutdown_on_drop: DropGuard,
}

impl Daemon {
    /// Starts the dashboard and, once the topics exist, the shards and the trainer. Must be called within a
    /// multi-threaded tokio runtime, whose timer ends the workers' pauses.
    ///
    /// # Errors
    /// What prevents the start. An unreachable cluster does not: it is tried again, and `/readyz` says so.
    pub async fn start(
        settings: &Settings,
        broker: Arc<dyn Broker>,
        exposition: Exposition,
        instance: &str,
        title: &str,
    ) -> Result<Self, DaemonError> {
        let plan = specs::plan(settings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        initial_metrics::create(&plan, clock.wall_millis());
        let health = Arc::new(Health::new(Arc::clone(&clock)));
        let status = Arc::new(Status::default());
        let (close_http, closed) = tokio::sync::oneshot::channel();
        let app_state = AppState {
            dashboard: Arc::clone(&status.dashboard),
            health: Arc::clone(&health),
            exposition,
            clock: Arc::clone(&clock),
            title: title.into(),
        };
        let listener = ListenerSpec::from_settings(&settings.http)?;
        if let Some(warning) = settings.http.security_warning() {
            tracing::warn!("{warning}");
        }
        let server = http::serve(listener, app_state, async {
            // A dropped sender closes the server as well.
            let _ = closed.await;
        })
        .await?;
        let shutdown = CancellationToken::new();
        let _shutdown_on_drop = shutdown.clone().drop_guard();
        let runtime = tokio::runtime::Handle::current();
        let context = Context { plan: Arc::new(plan), broker, clock, status, health, shutdown, runtime };
        let workers = worker_plan(settings, &context, instance);
        let supervisor = Worker::start("supervisor", supervisor::STACK_BYTES, &context, move |context| {
            supervisor::run(context, &workers)
        })?;
        let shutdown_deadline = settings.shutdown_deadline.duration();
        Ok(Self { context, supervisor, server, close_http, shutdown_deadline, _shutdown_on_drop })
    }

    /// Where the dashboard and the metrics are served.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Where the tasks stand, and the dashboard's state.
    pub fn status(&self) -> &Arc<Status> {
        &self.context.status
    }

    /// Waits until `until` resolves or a worker ends, then shuts down.
    pub async fn run(self, until: impl Future<Output = ()>) -> Result<(), DaemonError> {
        self.context.shutdown.run_until_cancelled(until).await;
        self.shutdown().await
    }

    /// Stops every worker after its open transaction, then the dashboard.
    ///
    /// # Errors
    /// [`DaemonError::Worker`] with what workers ended with, [`DaemonError::Deadline`] when they do not end in time.
    pub async fn shutdown(self) -> Result<(), DaemonError> {
        tracing::info!("shutting down; open transactions are committed first");
        self.context.shutdown.cancel();
        if tokio::time::timeout(self.shutdown_deadline, self.supervisor.finished()).await.is_err() {
            return Err(DaemonError::Deadline(self.shutdown_deadline));
        }
        let joined = join_all(vec![self.supervisor]);
        // A receiver that is gone has closed the server already.
        let _ = self.close_http.send(());
        self.server.wait().await;
        joined.map_err(DaemonError::Worker)
    }
}

fn worker_plan(settings: &Settings, context: &Context, instance: &str) -> WorkerPlan {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    WorkerPlan {
        shards: if settings.role == Role::Train { 0 } else { specs::shards(settings, cores) },
        trainer: settings.role != Role::Score && context.plan.streams.iter().any(|stream| stream.training.is_some()),
        create_topics: settings.kafka.create_topics,
        shard_patience: specs::shard_patience(settings),
        id_prefix: format!("{}.{instance}", settings.app),
    }
}
