//! An interrupt from the terminal: the first asks for an orderly end, the second ends at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Exit code after a second interrupt: 128 and the signal's number, as shells have it.
const ABORTED: i32 = 130;

/// Whether an end was asked for.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread of its own.
    ///
    /// # Errors
    /// Where the system gives no thread or no signals.
    pub(super) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let first = {
            let _inside = runtime.enter();
            super::asked_to_stop()?
        };
        let flag = Arc::clone(&asked);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                first.await;
                flag.store(true, Ordering::Relaxed);
                if let Ok(second) = super::asked_to_stop() {
                    second.await;
                    std::process::exit(ABORTED);
                }
            });
        })?;
        Ok(Self(asked))
    }

    /// Whether an end was asked for.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
