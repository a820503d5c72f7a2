//! The daemon's window: `/metrics`, `/livez`, `/readyz`, and the page with its data.

mod door;
mod health;
mod limited;
mod routes;
mod tls;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

pub use door::ListenerSpec;
pub use health::{Condition, Health, Verdict};

use super::state::DashboardState;
use crate::env::Clock;
use crate::telemetry::Exposition;
use limited::Limited;

/// How often the board's rates and curves are sampled.
const TICK: Duration = Duration::from_secs(1);
/// How often the recorder's samples are moved into their buckets.
const UPKEEP_TICKS: u64 = 5;
/// How long open connections may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// What the server shows. Cheap to clone.
#[derive(Clone)]
pub struct Window {
    /// The picture behind the page.
    pub dashboard: Arc<DashboardState>,
    /// What `/livez` and `/readyz` answer from.
    pub health: Arc<Health>,
    /// What `/metrics` answers with.
    pub exposition: Exposition,
    /// The clock for the board's samples.
    pub clock: Arc<dyn Clock>,
    /// Said in the page's head, e.g. "demo" or the application's name.
    pub title: Arc<str>,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address could not be understood or looked up.
    #[error(
        "cannot listen on {listen:?}: {reason}; expected ADDRESS:PORT, such as 127.0.0.1:9464 or [::]:9464 (port 0 takes a free one)"
    )]
    Address {
        /// What was asked for.
        listen: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is not to be had.
    #[error("cannot listen on {listen}: {source}; {hint}")]
    Bind {
        /// What was asked for.
        listen: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Certificate or key cannot be used.
    #[error(
        "http.{setting}: {}: {reason}; expected PEM, a certificate and the key that belongs to it", file.display()
    )]
    Certificate {
        /// The key of the configuration.
        setting: &'static str,
        /// The file that it names.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A server that runs.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens, with the port that was really taken.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    /// Waits until it has ended after its shutdown was asked for.
    pub async fn wait(self) {
        // It ends by itself or has panicked; in both cases nothing is served any more.
        drop(self.task.await);
    }
}

/// What answers behind the door.
pub fn router(door: &ListenerSpec, window: Window) -> axum::Router {
    routes::router(window, door.token.clone(), door.body_bytes)
}

/// Answers those who come until `asked` to stop.
fn answer(
    listener: impl axum::serve::Listener<Addr = SocketAddr>,
    router: axum::Router,
    asked: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> {
    Box::pin(axum::serve(listener, router).with_graceful_shutdown(asked).into_future())
}

/// Listens at the door and serves until `shutdown` resolves; must be called within a tokio runtime.
///
/// # Errors
/// When the address is not one, or not to be had; the message says what to do.
pub async fn serve(
    door: ListenerSpec,
    window: Window,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Serving, ServeError> {
    let router = router(&door, window.clone());
    let ListenerSpec { listen, tls, connections, .. } = door;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&listen)
        .await
        .map_err(|error| ServeError::Address { listen: listen.clone(), reason: error.to_string() })?
        .collect();
    let bound = |source: std::io::Error| ServeError::Bind { listen: listen.clone(), hint: hint(source.kind()), source };
    let listener = tokio::net::TcpListener::bind(addresses.as_slice()).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let ticker = tokio::spawn(tick(window));
    let mut asked = stopped.clone();
    let asked = async move { drop(asked.changed().await) };
    let server = match tls {
        None => answer(Limited::new(listener, connections), router, asked),
        Some(config) => {
            let listener = tls::TlsListener::start(listener, address, config);
            answer(Limited::new(listener, connections), router, asked)
        }
    };
    let task = tokio::spawn(async move {
        let mut server = tokio::spawn(server);
        tokio::select! {
            () = shutdown => {}
            _ = &mut server => {}
        }
        let _ = stop.send(true);
        drop(stopped);
        // A browser that keeps its connection open must not hold the daemon up.
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
        }
        ticker.abort();
    });
    Ok(Serving { address, task })
}

async fn tick(window: Window) {
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for count in 1u64.. {
        timer.tick().await;
        window.dashboard.tick(window.clock.wall_millis());
        if count.is_multiple_of(UPKEEP_TICKS) {
            window.exposition.upkeep();
        }
    }
}

fn hint(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port (0 takes a free one)"
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use 127.0.0.1 for this machine only, 0.0.0.0 for all of its addresses"
        }
        _ => "choose another address",
    }
}

#[cfg(test)]
mod tests;
