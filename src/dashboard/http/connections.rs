//! Limits on connections: how many are open at a time, and how long one may be idle.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use crate::telemetry::metrics;

/// A connection on which no byte moves for this long is closed: its client is gone, or does not read the answer.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// Accepts a limited number of connections at a time. Further ones are closed at once, and counted.
#[derive(Debug, Clone)]
pub(super) struct LimitedAcceptor {
    permits: Arc<Semaphore>,
}

impl LimitedAcceptor {
    /// An acceptor of at most `connections` at a time.
    pub(super) fn new(connections: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections)) }
    }
}

impl<S> Accept<TcpStream, S> for LimitedAcceptor {
    type Stream = IdleTimeout<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok((IdleTimeout::new(stream, permit), service)),
            Err(_) => {
                metrics::HTTP_REFUSED.counter(&[("reason", "connections")]).increment(1);
                Err(io::Error::other("the limit http.connections is reached"))
            }
        })
    }
}

/// A connection that fails with [`io::ErrorKind::TimedOut`] once no byte has moved for [`IDLE_LIMIT`].
#[derive(Debug)]
pub(super) struct IdleTimeout<S> {
    stream: S,
    timer: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> IdleTimeout<S> {
    fn new(stream: S, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, timer: Box::pin(sleep(IDLE_LIMIT)), _permit: permit }
    }

    /// Restarts the timer where the stream was `polled` with a result; checks the timer where it is pending.
    fn check<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.timer.set(sleep(IDLE_LIMIT));
            return polled;
        }
        self.timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.check(context, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
