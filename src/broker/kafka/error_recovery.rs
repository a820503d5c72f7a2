//! Maps librdkafka's errors to recovery actions.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{access_errors, deadline::Deadline};
use crate::broker::errors::BrokerError;

/// How to recover from an error. Each action has its variant of [`BrokerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecoveryAction {
    Retry,
    AbortTransaction,
    /// Another producer has our transactional id.
    Rejoin,
    /// The group has removed this member.
    RejoinGroup,
    Reauthenticate,
    GrantAccess,
    CorrectRequest,
    ReplaceClient,
}

impl RecoveryAction {
    /// The error that asks the caller for this action.
    pub(super) fn error(self, text: String) -> BrokerError {
        match self {
            Self::Retry => BrokerError::Retriable(text),
            Self::AbortTransaction => BrokerError::Aborted(text),
            Self::Rejoin => BrokerError::Fenced(text),
            Self::RejoinGroup => BrokerError::MembershipLost(text),
            Self::Reauthenticate => BrokerError::Authentication(access_errors::with_advice(text)),
            Self::GrantAccess => BrokerError::Authorization(access_errors::with_advice(text)),
            Self::CorrectRequest => BrokerError::Rejected(access_errors::with_advice(text)),
            Self::ReplaceClient => BrokerError::Fatal(text),
        }
    }
}

/// The action for an error code; `None` if the code alone does not decide it.
#[rustfmt::skip] // One arm per action keeps the table readable.
pub(super) fn action_of_code(code: RDKafkaErrorCode) -> Option<RecoveryAction> {
    use RDKafkaErrorCode as C;
    Some(match code {
        C::Fenced | C::ProducerFenced | C::InvalidProducerEpoch | C::FencedInstanceId => RecoveryAction::Rejoin,
        C::InvalidProducerIdMapping | C::UnknownMemberId | C::FencedMemberEpoch => RecoveryAction::RejoinGroup,
        // The group has rebalanced, or the broker has lost the state of the transaction.
        C::IllegalGeneration | C::RebalanceInProgress | C::StaleMemberEpoch | C::AssignmentLost
        | C::OutOfOrderSequenceNumber | C::UnknownProducerId | C::GaplessGuarantee | C::Inconsistent
        | C::InvalidTransactionalState | C::PurgeQueue | C::PurgeInflight => RecoveryAction::AbortTransaction,
        C::BrokerTransportFailure | C::Resolve | C::MessageTimedOut | C::AllBrokersDown | C::OperationTimedOut
        | C::QueueFull | C::ISRInsufficient | C::WaitingForCoordinator | C::InProgress | C::PreviousInProgress
        | C::TimedOutQueue | C::WaitCache | C::Interrupted | C::Retry | C::Outdated | C::UnknownBroker
        | C::DestroyBroker | C::PollExceeded | C::LeaderNotAvailable | C::NotLeaderForPartition | C::RequestTimedOut
        | C::BrokerNotAvailable | C::ReplicaNotAvailable | C::StaleControllerEpoch | C::NetworkException
        | C::CoordinatorLoadInProgress | C::CoordinatorNotAvailable | C::NotCoordinator | C::NotEnoughReplicas
        | C::NotEnoughReplicasAfterAppend | C::NotController | C::ConcurrentTransactions
        | C::TransactionCoordinatorFenced | C::OperationNotAttempted | C::KafkaStorageError
        | C::ReassignmentInProgress | C::FetchSessionIdNotFound | C::InvalidFetchSessionEpoch | C::ListenerNotFound
        | C::FencedLeaderEpoch | C::UnknownLeaderEpoch | C::StaleBrokerEpoch | C::OffsetNotAvailable
        | C::MemberIdRequired | C::PreferredLeaderNotAvailable | C::EligibleLeadersNotAvailable
        | C::UnstableOffsetCommit | C::ThrottlingQuotaExceeded | C::RebootstrapRequired => RecoveryAction::Retry,
        C::SSL | C::Authentication | C::SaslAuthenticationFailed | C::UnsupportedSASLMechanism | C::IllegalSASLState
        => RecoveryAction::Reauthenticate,
        C::TopicAuthorizationFailed | C::GroupAuthorizationFailed | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed => RecoveryAction::GrantAccess,
        C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition | C::UnknownTopicId | C::BadCompression
        | C::InconsistentGroupProtocol | C::UnsupportedFeature | C::NotConfigured | C::InvalidArgument
        | C::AutoOffsetReset | C::LogTruncation | C::OffsetOutOfRange | C::InvalidMessage | C::InvalidMessageSize
        | C::MessageSizeTooLarge | C::OffsetMetadataTooLarge | C::InvalidTopic | C::MessageBatchTooLarge
        | C::InvalidGroupId | C::InvalidSessionTimeout | C::InvalidCommitOffsetSize | C::InvalidTimestamp
        | C::UnsupportedVersion | C::InvalidPartitions | C::InvalidReplicationFactor | C::InvalidReplicaAssignment
        | C::InvalidConfig | C::InvalidRequest | C::UnsupportedForMessageFormat | C::PolicyViolation
        | C::InvalidTransactionTimeout | C::SecurityDisabled | C::UnsupportedCompressionType | C::GroupMaxSizeReached
        | C::InvalidRecord | C::UnacceptableCredential => RecoveryAction::CorrectRequest,
        C::Fatal | C::CriticalSystemResource | C::BrokerDestroy | C::Fail => RecoveryAction::ReplaceClient,
        _ => return None,
    })
}

/// The code of an error, if it has one.
fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // rdkafka's own function has no case for this one.
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// The action for any of librdkafka's errors. If the code does not decide it, the flags of a transaction error do
/// (fatal, must be aborted, retriable).
pub(super) fn action(error: &KafkaError) -> RecoveryAction {
    use RecoveryAction as Action;
    if let KafkaError::Transaction(transaction) = error {
        let by_code = action_of_code(transaction.code());
        return if transaction.is_fatal() {
            by_code
                .filter(|action| matches!(action, Action::Rejoin | Action::RejoinGroup | Action::GrantAccess))
                .unwrap_or(Action::ReplaceClient)
        } else if transaction.txn_requires_abort() {
            by_code.unwrap_or(Action::AbortTransaction)
        } else if transaction.is_retriable() {
            Action::Retry
        } else {
            by_code.unwrap_or(Action::ReplaceClient)
        };
    }
    match error {
        KafkaError::MessageConsumptionFatal(code) => match action_of_code(*code) {
            Some(action @ (Action::Rejoin | Action::RejoinGroup)) => action,
            _ => Action::ReplaceClient,
        },
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => Action::CorrectRequest,
        error => code(error).and_then(action_of_code).unwrap_or(Action::ReplaceClient),
    }
}

/// Whether a repeated call may succeed.
pub(super) fn is_retriable(error: &KafkaError) -> bool {
    action(error) == RecoveryAction::Retry
}

/// Repeats a request until it succeeds, fails with an error that is not retriable, or `limit` is over. A new partition,
/// for example, has no leader at first.
pub(super) fn retry<T>(limit: Duration, request: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Deadline::after(limit);
    loop {
        let answer = request(deadline.remaining());
        if !answer.as_ref().err().is_some_and(is_retriable) || deadline.has_passed() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20).min(deadline.remaining()));
    }
}

/// Converts an error; `operation` says what failed, and where ("reading temperatures[3]").
pub(super) fn broker_error(operation: &str, error: &KafkaError) -> BrokerError {
    let text = match error {
        KafkaError::Transaction(transaction) => transaction.string(),
        // Leaves out the value of the property, which may be a secret.
        KafkaError::ClientConfig(_, reason, ..) => reason.clone(),
        error => error.to_string(),
    };
    action(error).error(format!("{operation}: {text}"))
}

/// Converts an error code.
pub(super) fn broker_error_of_code(operation: &str, code: RDKafkaErrorCode) -> BrokerError {
    action_of_code(code).unwrap_or(RecoveryAction::ReplaceClient).error(format!("{operation}: {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_code_has_its_recovery_action() {
        use RDKafkaErrorCode as C;
        use RecoveryAction as Action;
        #[rustfmt::skip]
        let table: [(Action, &[C]); 8] = [
            (Action::Rejoin, &[C::Fenced, C::ProducerFenced, C::InvalidProducerEpoch]),
            (Action::RejoinGroup, &[C::UnknownMemberId, C::InvalidProducerIdMapping]),
            (Action::AbortTransaction, &[C::IllegalGeneration, C::RebalanceInProgress, C::OutOfOrderSequenceNumber]),
            (Action::Retry, &[C::BrokerTransportFailure, C::AllBrokersDown, C::OperationTimedOut, C::MessageTimedOut,
                C::NotEnoughReplicas, C::ConcurrentTransactions, C::UnstableOffsetCommit]),
            (Action::CorrectRequest, &[C::UnknownTopicOrPartition, C::UnknownTopic, C::MessageSizeTooLarge,
                C::OffsetOutOfRange]),
            (Action::GrantAccess, &[C::TopicAuthorizationFailed, C::TransactionalIdAuthorizationFailed]),
            (Action::Reauthenticate, &[C::SaslAuthenticationFailed, C::Authentication, C::SSL]),
            (Action::ReplaceClient, &[C::Fatal]),
        ];
        for (expected, code) in
            table.into_iter().flat_map(|(action, codes)| codes.iter().map(move |code| (action, *code)))
        {
            assert_eq!(action_of_code(code), Some(expected), "{code:?}");
            let mapped = broker_error("writing out[0]", &KafkaError::MessageProduction(code));
            assert_eq!(std::mem::discriminant(&mapped), std::mem::discriminant(&expected.error(String::new())));
            assert!(mapped.to_string().contains("writing out[0]"), "{mapped}");
        }
    }

    #[test]
    fn an_admin_request_that_times_out_is_retriable() {
        let mapped = broker_error("creating topic out", &KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
        assert!(matches!(mapped, BrokerError::Retriable(_)), "{mapped}");
    }

    #[test]
    fn an_unknown_error_replaces_the_client_instead_of_looping() {
        assert_eq!(action_of_code(RDKafkaErrorCode::Unknown), None);
        let mapped = broker_error("polling", &KafkaError::MessageConsumption(RDKafkaErrorCode::Unknown));
        assert!(matches!(mapped, BrokerError::Fatal(_)));
    }

    #[test]
    fn a_fatal_consumer_error_stays_fatal_unless_the_member_is_fenced() {
        let fatal = |code| broker_error("polling", &KafkaError::MessageConsumptionFatal(code));
        assert!(matches!(fatal(RDKafkaErrorCode::FencedInstanceId), BrokerError::Fenced(_)));
        assert!(matches!(fatal(RDKafkaErrorCode::RequestTimedOut), BrokerError::Fatal(_)));
    }

    #[test]
    fn a_password_that_cannot_be_set_is_not_printed() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("ssl.key.password", "hunter2").set("no.such.property", "1");
        let refused = config.create::<rdkafka::consumer::BaseConsumer>().err().unwrap();
        let mapped = broker_error("starting the client", &refused);
        assert!(matches!(mapped, BrokerError::Rejected(_)));
        assert!(mapped.to_string().contains("no.such.property") && !mapped.to_string().contains("hunter2"), "{mapped}");
    }
}
