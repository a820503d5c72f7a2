//! The server: listens, answers, and ends in good order.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use axum_server::{Handle, Server, tls_rustls::RustlsAcceptor};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    app_state::AppState,
    connections::{IDLE_LIMIT, LimitedAcceptor},
    error::ServeError,
    listener::ListenerSpec,
    routes,
};

/// How often the dashboard samples its rates and curves.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The metrics recorder moves its samples into buckets once in so many of the dashboard's samples.
const UPKEEP_SAMPLES: u64 = 5;
/// Most time of a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long open connections may go on after shutdown was requested.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    /// Where it listens, with the actual port.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Waits until the server has ended. It ends when its shutdown is requested.
    pub async fn wait(self) {
        // An error says that the task panicked: nothing is served any more in either case.
        drop(self.task.await);
    }
}

/// The routes of a server with this token and these limits.
pub fn router(spec: &ListenerSpec, state: AppState) -> axum::Router {
    routes::router(state, spec.token.clone(), spec.body_bytes)
}

/// Serves until `shutdown` resolves. Must be called within a tokio runtime.
///
/// # Errors
/// When the address cannot be parsed or bound; the message says what to do.
pub async fn serve(
    spec: ListenerSpec,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<HttpServer, ServeError> {
    let router = router(&spec, state.clone());
    let ListenerSpec { listen, tls, connections, .. } = spec;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&listen)
        .await
        .map_err(|error| ServeError::Address { listen: listen.clone(), reason: error.to_string() })?
        .collect();
    let cannot_bind = |source: io::Error| ServeError::Bind { listen: listen.clone(), source };
    let listener = TcpListener::bind(addresses.as_slice()).await.map_err(cannot_bind)?;
    let address = listener.local_addr().map_err(cannot_bind)?;
    let handle = Handle::new();
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .http1_only()
        .handle(handle.clone())
        .first_request_timeout(IDLE_LIMIT)
        .accept_error_handler(|client, error| {
            tracing::debug!(client = client.map(tracing::field::display), %error, "connection refused");
        });
    server.http_builder().http1().header_read_timeout(IDLE_LIMIT);
    let (acceptor, service) = (LimitedAcceptor::new(connections), router.into_make_service());
    let mut background = vec![tokio::spawn(sample(state))];
    let server: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match tls {
        None => Box::pin(server.acceptor(acceptor).serve(service)),
        Some(certificate) => {
            let tls = RustlsAcceptor::new(certificate.config()).handshake_timeout(HANDSHAKE_LIMIT).acceptor(acceptor);
            background.push(tokio::spawn(certificate.watch()));
            Box::pin(server.acceptor(tls).serve(service))
        }
    };
    let task = tokio::spawn(async move {
        let mut server = tokio::spawn(server);
        tokio::select! {
            () = shutdown => {
                // A browser may keep its connection open. It must not delay the end of the daemon.
                handle.graceful_shutdown(Some(DRAIN_LIMIT));
                drop(server.await);
            }
            _ = &mut server => {}
        }
        background.iter().for_each(JoinHandle::abort);
    });
    Ok(HttpServer { address, task })
}

/// Samples the dashboard and keeps the metrics recorder small.
async fn sample(state: AppState) {
    let mut timer = tokio::time::interval(SAMPLE_INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for count in 1u64.. {
        timer.tick().await;
        state.dashboard.sample(state.clock.wall_millis());
        if count.is_multiple_of(UPKEEP_SAMPLES) {
            state.exposition.upkeep();
        }
    }
}
