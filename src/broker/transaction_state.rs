//! The state of a client's transaction.

use super::errors::{BrokerError, Result};

/// State of a client's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// No transaction is open.
    None,
    /// A transaction is open.
    Open,
    /// A call in it failed: only an abort is allowed.
    Failed,
}

impl TransactionState {
    /// Checks that a transaction is open and can be committed.
    ///
    /// # Errors
    /// [`BrokerError::Rejected`] where none is open, [`BrokerError::Aborted`] where it can only be aborted.
    pub fn require_open(self) -> Result<()> {
        match self {
            Self::Open => Ok(()),
            Self::None => Err(BrokerError::Rejected("no transaction is open".into())),
            Self::Failed => Err(BrokerError::Aborted("an earlier call in it failed".into())),
        }
    }

    /// Checks that no transaction is open.
    ///
    /// # Errors
    /// [`BrokerError::Rejected`] where one is.
    pub fn require_none(self) -> Result<()> {
        if self == Self::None { Ok(()) } else { Err(BrokerError::Rejected("a transaction is already open".into())) }
    }
}
