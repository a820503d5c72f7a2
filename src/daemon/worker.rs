//! Named threads. The end of one stops the process.

use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::dashboard::http::Condition;

/// A running thread.
pub struct Worker {
    name: String,
    handle: JoinHandle<Result<(), String>>,
    finished: CancellationToken,
}

impl Worker {
    /// Starts a thread. Its end stops the process: a daemon that serves half of its streams must not look healthy.
    pub fn start(
        name: &str,
        stack_bytes: usize,
        context: &Context,
        work: impl FnOnce(&Context) -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (own, part) = (context.clone(), name.to_owned());
        let finished = CancellationToken::new();
        let guard = finished.clone().drop_guard();
        let handle = std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(move || {
            // Dropped also when the work panics.
            let _guards = (own.shutdown.clone().drop_guard(), guard);
            let result = work(&own);
            if let Err(error) = &result {
                tracing::error!(part, error, "worker failed; stopping the process");
                own.health.set(&part, Condition::Dead(error.clone()));
            }
            result
        })?;
        Ok(Self { name: name.to_owned(), handle, finished })
    }

    /// Resolves once the work has ended.
    pub async fn finished(&self) {
        self.finished.cancelled().await;
    }

    /// Blocks until the thread ends.
    ///
    /// # Errors
    /// The error or the panic that ended it, with the worker's name.
    pub fn join(self) -> Result<(), String> {
        match self.handle.join() {
            Ok(result) => result.map_err(|error| format!("{}: {error}", self.name)),
            Err(_) => Err(format!("{} panicked; this is a bug in Foretide, please report it", self.name)),
        }
    }
}

/// Joins all workers.
///
/// # Errors
/// What the failed ones ended with, separated by semicolons.
pub fn join_all(workers: Vec<Worker>) -> Result<(), String> {
    let failures: Vec<String> = workers.into_iter().filter_map(|worker| worker.join().err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}
