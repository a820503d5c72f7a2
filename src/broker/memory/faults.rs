//! Trouble on command.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use crate::broker::BrokerError;

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `Broker::join`.
    Join,
    /// `Member::poll`.
    Poll,
    /// `Member::committed`.
    Committed,
    /// `Member::begin`.
    Begin,
    /// `Member::send`.
    Send,
    /// `Member::commit`, before anything has taken effect. A crash here leaves the offsets pending in the open
    /// transaction, as a client does that dies between sending them and ending the transaction.
    Commit,
    /// `Member::commit`, after everything has taken effect: the answer is lost. Counted only for commits that got
    /// this far; whatever the fault, the transaction is committed.
    CommitAnswer,
    /// `Member::abort`, before anything has taken effect.
    Abort,
    /// `Member::abort`, after everything has taken effect: the answer is lost.
    AbortAnswer,
    /// `Broker::offsets`.
    Offsets,
    /// `Broker::reader`.
    Open,
    /// `Reader::read`.
    Read,
    /// `Publisher::publish`, before anything has taken effect.
    Publish,
}

/// What happens to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// [`BrokerError::Retry`].
    Retry,
    /// [`BrokerError::Aborted`].
    Aborted,
    /// [`BrokerError::Fenced`]; a member or publisher really is fenced from then on and its transaction aborted.
    Fenced,
    /// The process dies: this call and every later one of its clients return [`BrokerError::Fatal`] `("crashed")`.
    Crashed,
}

impl Fault {
    /// The error that the caller sees.
    pub fn error(self) -> BrokerError {
        match self {
            Self::Retry => BrokerError::Retriable("a fault on command".into()),
            Self::Aborted => BrokerError::Aborted("a fault on command".into()),
            Self::Fenced => BrokerError::Fenced("a fault on command".into()),
            Self::Crashed => BrokerError::Fatal("crashed".into()),
        }
    }
}

/// How a poll hands records out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// So many partitions are passed over before their turn.
    pub skip: usize,
    /// So many records at the most; 0 is a poll that comes back with nothing.
    pub max_records: usize,
}

/// A call that stands still: the process sleeps in it, as one does that is stopped by a signal, while the world goes on.
#[derive(Debug)]
pub struct Pause {
    /// Is told when the call is reached.
    pub reached: mpsc::Sender<()>,
    /// The call goes on when something comes here, or when the other end is dropped.
    pub go: mpsc::Receiver<()>,
}

/// The faults planned for one process; clones share the plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    calls: BTreeMap<Operation, u64>,
    planned: BTreeMap<(Operation, u64), Fault>,
    outage: u64,
    pause: Option<(Operation, u64, Pause)>,
    deliveries: VecDeque<Delivery>,
    crashed: bool,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the `call`-th call (the first is 1, counted from the start of the process) of `operation` meet `fault`.
    pub fn at(&self, operation: Operation, call: u64, fault: Fault) {
        self.lock().planned.insert((operation, call), fault);
    }

    /// Lets the next call of `operation` meet `fault`.
    pub fn next(&self, operation: Operation, fault: Fault) {
        let mut plan = self.lock();
        let call = plan.calls.get(&operation).copied().unwrap_or(0) + 1;
        plan.planned.insert((operation, call), fault);
    }

    /// Lets every call fail with [`Fault::Retry`] until `calls` of them have: the whole cluster is out of reach.
    pub fn outage(&self, calls: u64) {
        self.lock().outage = calls;
    }

    /// Lets the `call`-th call of `operation` stand still before it does anything. One pause is planned at a time.
    pub fn pause_at(&self, operation: Operation, call: u64, pause: Pause) {
        self.lock().pause = Some((operation, call, pause));
    }

    /// Takes back a pause that has not been reached.
    pub fn forget_pause(&self) {
        self.lock().pause = None;
    }

    /// Says how one of the polls to come delivers; those after the last that was said do so in turn.
    pub fn deliver(&self, delivery: Delivery) {
        self.lock().deliveries.push_back(delivery);
    }

    pub(super) fn next_delivery(&self) -> Option<Delivery> {
        self.lock().deliveries.pop_front()
    }

    /// How many calls of `operation` the process has made.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Kills the process now.
    pub fn crash(&self) {
        self.lock().crashed = true;
    }

    /// Whether the process is dead.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Takes back every fault that has not struck yet. The dead stay dead.
    pub fn clear(&self) {
        let mut plan = self.lock();
        plan.planned.clear();
        plan.outage = 0;
        plan.deliveries.clear();
    }

    /// Counts a call and returns the fault planned for it.
    pub(super) fn count(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.lock();
        let call = {
            let calls = plan.calls.entry(operation).or_insert(0);
            *calls += 1;
            *calls
        };
        if plan.pause.as_ref().is_some_and(|(at, number, _)| (*at, *number) == (operation, call)) {
            let pause = plan.pause.take();
            drop(plan);
            if let Some((_, _, Pause { reached, go })) = pause {
                // Where nobody waits any more the call goes on.
                if reached.send(()).is_ok() {
                    let _woken = go.recv();
                }
            }
            plan = self.lock();
        }
        if plan.crashed {
            return Some(Fault::Crashed);
        }
        if plan.outage > 0 {
            plan.outage -= 1;
            return Some(Fault::Retry);
        }
        let fault = plan.planned.remove(&(operation, call));
        plan.crashed = fault == Some(Fault::Crashed);
        fault
    }

    /// Counts a call for which the fault has no effect but its error.
    pub(super) fn strike(&self, operation: Operation) -> Result<(), BrokerError> {
        self.count(operation).map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// Fails where the process is dead.
    pub(super) fn alive(&self) -> Result<(), BrokerError> {
        if self.crashed() { Err(Fault::Crashed.error()) } else { Ok(()) }
    }
}
