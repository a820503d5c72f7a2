//! Trouble on command.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    /// `Member::abort`.
    Abort,
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
            Self::Retry => BrokerError::Retry("a fault on command".into()),
            Self::Aborted => BrokerError::Aborted("a fault on command".into()),
            Self::Fenced => BrokerError::Fenced("a fault on command".into()),
            Self::Crashed => BrokerError::Fatal("crashed".into()),
        }
    }
}

/// The faults planned for one process; clones share the plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    calls: BTreeMap<Operation, u64>,
    planned: BTreeMap<(Operation, u64), Fault>,
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
        self.lock().planned.clear();
    }

    /// Counts a call and returns the fault planned for it.
    pub(super) fn count(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.lock();
        if plan.crashed {
            return Some(Fault::Crashed);
        }
        let call = {
            let calls = plan.calls.entry(operation).or_insert(0);
            *calls += 1;
            *calls
        };
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
