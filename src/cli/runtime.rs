//! The tokio runtime of a command, and the signals that end it.

use std::{future::Future, io};

/// Starts a runtime for HTTP, signals and timers. Two threads are enough for them.
pub(super) fn start() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("http").enable_all().build()
}

/// Resolves on SIGTERM and on Ctrl-C (SIGINT).
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
