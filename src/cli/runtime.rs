//! The tokio runtime of a command, and the signals that end it.

use std::{
    future::Future,
    io::{self, IsTerminal},
};

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

/// Resolves as [`stop_signal`] does. SIGHUP asks a daemon to read its configuration again, which Foretide cannot: it
/// says so and goes on. Where a terminal started it, SIGHUP says that the terminal is gone, and ends it in good order.
pub(super) fn daemon_stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = stop_signal()?;
    let mut hangup = signal(SignalKind::hangup())?;
    let on_terminal = io::stderr().is_terminal();
    Ok(async move {
        let hung_up = async {
            while hangup.recv().await.is_some() && !on_terminal {
                tracing::warn!(
                    "SIGHUP ignored: the configuration cannot be read again while running; restart to apply changes \
                     (passwords, keys and certificates in files are read again by themselves)"
                );
            }
        };
        tokio::select! {
            () = stop => {}
            () = hung_up => {}
        }
    })
}
