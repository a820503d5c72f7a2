//! Planned faults: calls that fail, pause, or deliver records out of order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use foretide::broker::{BrokerError, Result};

/// A call that can fail by plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `Broker::join`.
    Join,
    /// `Member::poll`.
    Poll,
    /// `Member::committed_offsets`.
    Committed,
    /// `Member::begin`.
    Begin,
    /// `Member::send`.
    Send,
    /// `Member::commit`, before it has any effect. A crash here leaves the offsets pending in the open transaction,
    /// like a client that dies after sending the offsets and before ending the transaction.
    Commit,
    /// `Member::commit`, after its effect: the answer is lost. It counts only commits that got this far. Whatever the
    /// fault, the transaction is committed.
    CommitAnswer,
    /// `Member::abort`, before it has any effect.
    Abort,
    /// `Member::abort`, after its effect: the answer is lost.
    AbortAnswer,
    /// `Broker::offsets`.
    Offsets,
    /// `Broker::reader`.
    Open,
    /// `Reader::read`.
    Read,
    /// `Publisher::publish`, before it has any effect.
    Publish,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// [`BrokerError::Retriable`].
    Retry,
    /// [`BrokerError::Aborted`].
    Aborted,
    /// [`BrokerError::TimedOut`]; where the answer of a commit is lost, [`BrokerError::OutcomeUnknown`].
    TimedOut,
    /// [`BrokerError::Fenced`]. The member or publisher is fenced from then on and its transaction is aborted.
    Fenced,
    /// The process crashes: this call and every later call of its clients return [`BrokerError::Fatal`] `("crashed")`.
    Crashed,
}

impl Fault {
    /// The error that the call returns.
    pub fn error(self) -> BrokerError {
        match self {
            Self::Retry => BrokerError::Retriable("a planned fault".into()),
            Self::Aborted => BrokerError::Aborted("a planned fault".into()),
            Self::TimedOut => BrokerError::TimedOut("a planned fault".into()),
            Self::Fenced => BrokerError::Fenced("a planned fault".into()),
            Self::Crashed => BrokerError::Fatal("crashed".into()),
        }
    }
}

/// How a poll delivers records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Number of partitions to skip in the round-robin order.
    pub skip: usize,
    /// Maximum number of records; 0 makes the poll return nothing.
    pub max_records: usize,
}

/// A call that pauses, like a process stopped by a signal, while the rest of the cluster continues.
#[derive(Debug)]
pub struct Pause {
    /// Receives a message when the call begins.
    pub reached: mpsc::Sender<()>,
    /// The call continues after a message, or when the sender is dropped.
    pub go: mpsc::Receiver<()>,
}

/// The planned faults of one process. Clones share the plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug)]
struct PlannedPause {
    operation: Operation,
    call: u64,
    pause: Pause,
}

#[derive(Debug, Default)]
struct Plan {
    /// Calls so far.
    calls: BTreeMap<Operation, u64>,
    planned: BTreeMap<(Operation, u64), Fault>,
    outage: u64,
    pause: Option<PlannedPause>,
    deliveries: VecDeque<Delivery>,
    crashed: bool,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans `fault` for the `call`-th call of `operation`, counted from 1 since the start of the process.
    pub fn at(&self, operation: Operation, call: u64, fault: Fault) {
        self.lock().planned.insert((operation, call), fault);
    }

    /// Plans `fault` for the next call of `operation`.
    pub fn next(&self, operation: Operation, fault: Fault) {
        let mut plan = self.lock();
        let call = plan.calls.get(&operation).copied().unwrap_or(0) + 1;
        plan.planned.insert((operation, call), fault);
    }

    /// Plans an outage of the whole cluster: the next `calls` calls fail with [`Fault::Retry`].
    pub fn outage(&self, calls: u64) {
        self.lock().outage = calls;
    }

    /// Plans a pause before the `call`-th call of `operation`. It replaces any other planned pause.
    pub fn pause_at(&self, operation: Operation, call: u64, pause: Pause) {
        self.lock().pause = Some(PlannedPause { operation, call, pause });
    }

    /// Cancels a pause that no call has reached.
    pub fn cancel_pause(&self) {
        self.lock().pause = None;
    }

    /// Plans the delivery of one more poll. Polls without a plan deliver in round-robin order.
    pub fn deliver(&self, delivery: Delivery) {
        self.lock().deliveries.push_back(delivery);
    }

    pub(super) fn next_delivery(&self) -> Option<Delivery> {
        self.lock().deliveries.pop_front()
    }

    /// The number of calls of `operation` so far.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Crashes the process now.
    pub fn crash(&self) {
        self.lock().crashed = true;
    }

    /// Whether the process has crashed.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Cancels all planned faults. A crashed process stays crashed.
    pub fn clear(&self) {
        let mut plan = self.lock();
        plan.planned.clear();
        plan.outage = 0;
        plan.deliveries.clear();
    }

    /// Counts a call, pauses it if planned, and returns its planned fault.
    pub(super) fn count(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.lock();
        let call = {
            let calls = plan.calls.entry(operation).or_insert(0);
            *calls += 1;
            *calls
        };
        if plan.pause.as_ref().is_some_and(|planned| (planned.operation, planned.call) == (operation, call)) {
            let pause = plan.pause.take();
            drop(plan);
            if let Some(PlannedPause { pause: Pause { reached, go }, .. }) = pause {
                // Without a waiting test the call continues.
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

    /// Counts a call and returns its planned fault as an error.
    pub(super) fn strike(&self, operation: Operation) -> Result<()> {
        self.count(operation).map_or(Ok(()), |fault| Err(fault.error()))
    }

    /// Fails if the process has crashed.
    pub(super) fn check_alive(&self) -> Result<()> {
        if self.crashed() { Err(Fault::Crashed.error()) } else { Ok(()) }
    }
}
