//! The state of a client's transaction, shared by the Kafka and the in-memory member.

use super::errors::{BrokerError, Result};

/// State of a client's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionState {
    None,
    Open,
    /// A call in it failed: only an abort is allowed.
    Failed,
}

impl TransactionState {
    pub(super) fn require_open(self) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::None => Err(BrokerError::Rejected("no transaction is open".into())),
            Self::Failed => Err(BrokerError::Aborted("an earlier call in it failed".into())),
        }
    }

    pub(super) fn require_none(self) -> Result<()> {
        if self == Self::None { Ok(()) } else { Err(BrokerError::Rejected("a transaction is already open".into())) }
    }
}
