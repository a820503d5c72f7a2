//! Ctrl-C on the terminal: the first one asks for an orderly end, the second one ends at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::runtime::stop_signal;

/// Exit code after a second interrupt: 128 plus the number of SIGINT, as shells report it.
const ABORTED: i32 = 130;

/// A flag that the first interrupt sets.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen, on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses a thread or a signal handler.
    pub(super) fn listen() -> io::Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let first = {
            let _inside = runtime.enter();
            stop_signal()?
        };
        let flag = Arc::clone(&requested);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                first.await;
                flag.store(true, Ordering::Relaxed);
                if let Ok(second) = stop_signal() {
                    second.await;
                    std::process::exit(ABORTED);
                }
            });
        })?;
        Ok(Self(requested))
    }

    /// Whether an end was requested.
    pub(super) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
