//! A simulated replica: a shard with its own handle on the cluster, which may be paused inside a call.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::memory::{MemoryCluster, Operation, Pause};
use foretide::daemon::shard::{PollOutcome, Shard, ShardError};

pub struct Replica {
    pub shard: Shard,
    pub process: MemoryCluster,
    pub id: String,
}

/// A replica that is paused inside a call to the broker. Meanwhile its session may expire, and another replica may
/// take its partitions or its transactional id. Then it resumes and makes the call.
pub struct PausedReplica {
    pub process: MemoryCluster,
    pub id: String,
    thread: JoinHandle<(Shard, Result<PollOutcome, ShardError>)>,
    resume: Sender<()>,
}

/// The outcome of a poll iteration that may have been paused.
pub enum PauseAttempt {
    Finished(Box<Replica>, Result<PollOutcome, ShardError>),
    Paused(PausedReplica),
}

impl Replica {
    /// Runs a poll iteration that pauses at the `calls`-th call of `operation` from now.
    pub fn poll_and_pause(self, operation: Operation, calls: u64) -> PauseAttempt {
        let Self { mut shard, process, id } = self;
        let (reached, notified): (Sender<()>, Receiver<()>) = channel();
        let (resume, go) = channel();
        let faults = process.faults().clone();
        faults.pause_at(operation, faults.calls(operation) + calls, Pause { reached, go });
        let thread = std::thread::spawn(move || {
            let outcome = shard.poll();
            faults.cancel_pause();
            (shard, outcome)
        });
        let paused = PausedReplica { process, id, thread, resume };
        // The sender is dropped when the iteration ends without the call.
        match notified.recv() {
            Ok(()) => PauseAttempt::Paused(paused),
            Err(_) => {
                let (replica, outcome) = paused.resume();
                PauseAttempt::Finished(Box::new(replica), outcome)
            }
        }
    }
}

impl PausedReplica {
    /// Runs the poll iteration to its end.
    pub fn resume(self) -> (Replica, Result<PollOutcome, ShardError>) {
        drop(self.resume);
        let (shard, outcome) = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (Replica { shard, process: self.process, id: self.id }, outcome)
    }
}
