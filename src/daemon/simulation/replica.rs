//! A replica in the simulation: a shard over its own process' handle on the cluster, awake or asleep in the middle of a call.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use crate::{
    broker::memory::{MemoryCluster, Operation, Pause},
    daemon::shard::{Shard, ShardEnd, Turn},
};

pub struct Replica {
    pub shard: Shard,
    pub process: MemoryCluster,
    pub id: String,
}

/// A replica that stands still inside a call to the broker. The world goes on without it, its session may expire, another may
/// take its partitions or its transactional id; then it wakes and does what it was about to do.
pub struct Sleeper {
    pub process: MemoryCluster,
    pub id: String,
    thread: JoinHandle<(Shard, Result<Turn, ShardEnd>)>,
    wake: Sender<()>,
}

/// What became of a turn that may have fallen asleep.
pub enum Attempt {
    Ended(Box<Replica>, Result<Turn, ShardEnd>),
    Asleep(Sleeper),
}

impl Replica {
    /// A turn that falls asleep when it makes the `ahead`-th call of `operation` from now on.
    pub fn turn_asleep(self, operation: Operation, ahead: u64) -> Attempt {
        let Self { mut shard, process, id } = self;
        let (reached, told): (Sender<()>, Receiver<()>) = channel();
        let (wake, go) = channel();
        let faults = process.faults().clone();
        faults.pause_at(operation, faults.calls(operation) + ahead, Pause { reached, go });
        let thread = std::thread::spawn(move || {
            let turn = shard.turn();
            faults.cancel_pause();
            (shard, turn)
        });
        let sleeper = Sleeper { process, id, thread, wake };
        // Nobody is left to tell when the turn ended without reaching the call.
        match told.recv() {
            Ok(()) => Attempt::Asleep(sleeper),
            Err(_) => {
                let (replica, turn) = sleeper.wake();
                Attempt::Ended(Box::new(replica), turn)
            }
        }
    }
}

impl Sleeper {
    /// Lets it go on to the end of its turn.
    pub fn wake(self) -> (Replica, Result<Turn, ShardEnd>) {
        drop(self.wake);
        let (shard, turn) = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (Replica { shard, process: self.process, id: self.id }, turn)
    }
}
