//! The thread that trains, and its connection to whoever watches.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::spec::{Progress, TrainError};

/// Stack of a training thread, in bytes: candle's backward pass recurses once per operation.
pub(super) const STACK: usize = 256 << 20;

/// The training thread's connection to its observer.
pub(super) struct Observer {
    progress: Sender<Progress>,
    answers: Receiver<bool>,
}

impl Observer {
    /// Reports progress; whether to stop.
    pub(super) fn stops(&self, progress: Progress) -> bool {
        self.progress.send(progress).is_err() || self.answers.recv().unwrap_or(true)
    }
}

/// Runs `work` on a thread with a large stack and at most `threads` helpers, and calls `observe` on this thread for
/// whatever progress it reports.
pub(super) fn train_on_thread<T: Send>(
    threads: usize,
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    work: impl FnOnce(Observer) -> Result<T, TrainError> + Send,
) -> Result<T, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|thread| format!("train-{thread}"))
        .build()
        .map_err(|error| TrainError::Thread(error.to_string()))?;
    let (progress_sender, progress) = channel();
    let (answer, answers) = channel();
    std::thread::scope(|scope| {
        let trainer = std::thread::Builder::new()
            .name("train".to_owned())
            .spawn_scoped(scope, || {
                let observer = Observer { progress: progress_sender, answers };
                // candle's matrix products use the thread pool that they are called in.
                pool.install(|| work(observer))
            })
            .map_err(|error| TrainError::Thread(error.to_string()))?;
        while let Ok(progress) = progress.recv() {
            // Sending fails where the trainer has ended; its result says why.
            _ = answer.send(observe(&progress).is_break());
        }
        trainer.join().unwrap_or_else(|_| Err(TrainError::Thread("it panicked".to_owned())))
    })
}
