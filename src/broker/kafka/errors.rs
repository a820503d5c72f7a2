//! From librdkafka's errors to what must be done about them.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{context::Deadline, denial};
use crate::broker::BrokerError;

/// What must be done about an error: [`BrokerError`] without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Retry,
    Aborted,
    Fenced,
    Denied,
    Forbidden,
    Refused,
    Fatal,
}

impl Remedy {
    pub(super) fn with(self, text: String) -> BrokerError {
        match self {
            Self::Retry => BrokerError::Retriable(text),
            Self::Aborted => BrokerError::Aborted(text),
            Self::Fenced => BrokerError::Fenced(text),
            Self::Denied => BrokerError::Authentication(denial::advised(text)),
            Self::Forbidden => BrokerError::Authorization(denial::advised(text)),
            Self::Refused => BrokerError::Rejected(denial::advised(text)),
            Self::Fatal => BrokerError::Fatal(text),
        }
    }
}

/// What an error code asks for; `None` where it does not say.
pub(super) fn remedy(code: RDKafkaErrorCode) -> Option<Remedy> {
    use RDKafkaErrorCode as C;
    Some(match code {
        // Somebody else has our transactional id, or the group has written us off.
        C::Fenced
        | C::ProducerFenced
        | C::InvalidProducerEpoch
        | C::InvalidProducerIdMapping
        | C::FencedInstanceId
        | C::UnknownMemberId
        | C::FencedMemberEpoch => Remedy::Fenced,
        // The group has moved on, or the broker has lost track of the transaction.
        C::IllegalGeneration
        | C::RebalanceInProgress
        | C::StaleMemberEpoch
        | C::AssignmentLost
        | C::OutOfOrderSequenceNumber
        | C::UnknownProducerId
        | C::GaplessGuarantee
        | C::Inconsistent
        | C::InvalidTransactionalState
        | C::PurgeQueue
        | C::PurgeInflight => Remedy::Aborted,
        C::BrokerTransportFailure
        | C::Resolve
        | C::MessageTimedOut
        | C::AllBrokersDown
        | C::OperationTimedOut
        | C::QueueFull
        | C::ISRInsufficient
        | C::WaitingForCoordinator
        | C::InProgress
        | C::PreviousInProgress
        | C::TimedOutQueue
        | C::WaitCache
        | C::Interrupted
        | C::Retry
        | C::Outdated
        | C::UnknownBroker
        | C::DestroyBroker
        | C::PollExceeded
        | C::LeaderNotAvailable
        | C::NotLeaderForPartition
        | C::RequestTimedOut
        | C::BrokerNotAvailable
        | C::ReplicaNotAvailable
        | C::StaleControllerEpoch
        | C::NetworkException
        | C::CoordinatorLoadInProgress
        | C::CoordinatorNotAvailable
        | C::NotCoordinator
        | C::NotEnoughReplicas
        | C::NotEnoughReplicasAfterAppend
        | C::NotController
        | C::ConcurrentTransactions
        | C::TransactionCoordinatorFenced
        | C::OperationNotAttempted
        | C::KafkaStorageError
        | C::ReassignmentInProgress
        | C::FetchSessionIdNotFound
        | C::InvalidFetchSessionEpoch
        | C::ListenerNotFound
        | C::FencedLeaderEpoch
        | C::UnknownLeaderEpoch
        | C::StaleBrokerEpoch
        | C::OffsetNotAvailable
        | C::MemberIdRequired
        | C::PreferredLeaderNotAvailable
        | C::EligibleLeadersNotAvailable
        | C::UnstableOffsetCommit
        | C::ThrottlingQuotaExceeded
        | C::RebootstrapRequired => Remedy::Retry,
        C::SSL
        | C::Authentication
        | C::SaslAuthenticationFailed
        | C::UnsupportedSASLMechanism
        | C::IllegalSASLState => Remedy::Denied,
        C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed => Remedy::Forbidden,
        C::UnknownPartition
        | C::UnknownTopic
        | C::UnknownTopicOrPartition
        | C::UnknownTopicId
        | C::BadCompression
        | C::InconsistentGroupProtocol
        | C::UnsupportedFeature
        | C::NotConfigured
        | C::InvalidArgument
        | C::AutoOffsetReset
        | C::LogTruncation
        | C::OffsetOutOfRange
        | C::InvalidMessage
        | C::InvalidMessageSize
        | C::MessageSizeTooLarge
        | C::OffsetMetadataTooLarge
        | C::InvalidTopic
        | C::MessageBatchTooLarge
        | C::InvalidGroupId
        | C::InvalidSessionTimeout
        | C::InvalidCommitOffsetSize
        | C::InvalidTimestamp
        | C::UnsupportedVersion
        | C::InvalidPartitions
        | C::InvalidReplicationFactor
        | C::InvalidReplicaAssignment
        | C::InvalidConfig
        | C::InvalidRequest
        | C::UnsupportedForMessageFormat
        | C::PolicyViolation
        | C::InvalidTransactionTimeout
        | C::SecurityDisabled
        | C::UnsupportedCompressionType
        | C::GroupMaxSizeReached
        | C::InvalidRecord
        | C::UnacceptableCredential => Remedy::Refused,
        C::Fatal | C::CriticalSystemResource | C::BrokerDestroy | C::Fail => Remedy::Fatal,
        _ => return None,
    })
}

/// The error's code, where it has one.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The binding's own function leaves this one out.
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// The remedy of any of librdkafka's errors. What it knows of a transaction's fate (fatal, to be aborted, to be tried
/// again) fills in where the code does not say.
pub(super) fn of(error: &KafkaError) -> Remedy {
    if let KafkaError::Transaction(transaction) = error {
        let known = remedy(transaction.code());
        return if transaction.is_fatal() {
            known.filter(|known| matches!(known, Remedy::Fenced | Remedy::Forbidden)).unwrap_or(Remedy::Fatal)
        } else if transaction.txn_requires_abort() {
            known.unwrap_or(Remedy::Aborted)
        } else if transaction.is_retriable() {
            Remedy::Retry
        } else {
            known.unwrap_or(Remedy::Fatal)
        };
    }
    match error {
        KafkaError::MessageConsumptionFatal(code) if remedy(*code) != Some(Remedy::Fenced) => Remedy::Fatal,
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => Remedy::Refused,
        error => code(error).and_then(remedy).unwrap_or(Remedy::Fatal),
    }
}

/// Whether an error may be gone when the call is made again.
pub(super) fn passing(error: &KafkaError) -> bool {
    of(error) == Remedy::Retry
}

/// Asks until there is an answer, an error that waiting does not cure, or time is up: a partition that has just been
/// created has no leader yet, a group's coordinator has to be found first.
pub(super) fn insist<T>(limit: Duration, ask: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Deadline::after(limit);
    loop {
        let answer = ask(deadline.left());
        if !answer.as_ref().err().is_some_and(passing) || deadline.passed() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20).min(deadline.left()));
    }
}

/// Maps an error; `what` names the deed and its place ("reading temperatures[3]").
pub(super) fn map(what: &str, error: &KafkaError) -> BrokerError {
    let text = match error {
        KafkaError::Transaction(transaction) => transaction.string(),
        // The value may be a secret.
        KafkaError::ClientConfig(_, reason, ..) => reason.clone(),
        error => error.to_string(),
    };
    of(error).with(format!("{what}: {text}"))
}

/// Maps an error code.
pub(super) fn map_code(what: &str, code: RDKafkaErrorCode) -> BrokerError {
    remedy(code).unwrap_or(Remedy::Fatal).with(format!("{what}: {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ask_for_the_right_deed() {
        use RDKafkaErrorCode as C;
        let table = [
            (C::Fenced, Remedy::Fenced),
            (C::ProducerFenced, Remedy::Fenced),
            (C::InvalidProducerEpoch, Remedy::Fenced),
            (C::UnknownMemberId, Remedy::Fenced),
            (C::IllegalGeneration, Remedy::Aborted),
            (C::RebalanceInProgress, Remedy::Aborted),
            (C::OutOfOrderSequenceNumber, Remedy::Aborted),
            (C::BrokerTransportFailure, Remedy::Retry),
            (C::AllBrokersDown, Remedy::Retry),
            (C::OperationTimedOut, Remedy::Retry),
            (C::MessageTimedOut, Remedy::Retry),
            (C::NotEnoughReplicas, Remedy::Retry),
            (C::ConcurrentTransactions, Remedy::Retry),
            (C::UnstableOffsetCommit, Remedy::Retry),
            (C::UnknownTopicOrPartition, Remedy::Refused),
            (C::UnknownTopic, Remedy::Refused),
            (C::MessageSizeTooLarge, Remedy::Refused),
            (C::TopicAuthorizationFailed, Remedy::Forbidden),
            (C::TransactionalIdAuthorizationFailed, Remedy::Forbidden),
            (C::SaslAuthenticationFailed, Remedy::Denied),
            (C::Authentication, Remedy::Denied),
            (C::SSL, Remedy::Denied),
            (C::OffsetOutOfRange, Remedy::Refused),
            (C::Fatal, Remedy::Fatal),
        ];
        for (code, expected) in table {
            assert_eq!(remedy(code), Some(expected), "{code:?}");
            let mapped = map("writing out[0]", &KafkaError::MessageProduction(code));
            assert_eq!(std::mem::discriminant(&mapped), std::mem::discriminant(&expected.with(String::new())));
            assert!(mapped.to_string().contains("writing out[0]"), "{mapped}");
        }
    }

    #[test]
    fn a_question_to_the_cluster_that_times_out_may_be_asked_again() {
        let mapped = map("creating topic out", &KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
        assert!(matches!(mapped, BrokerError::Retriable(_)), "{mapped}");
    }

    #[test]
    fn what_is_not_known_stops_the_client_rather_than_looping() {
        assert_eq!(remedy(RDKafkaErrorCode::Unknown), None);
        let mapped = map("polling", &KafkaError::MessageConsumption(RDKafkaErrorCode::Unknown));
        assert!(matches!(mapped, BrokerError::Fatal(_)));
    }

    #[test]
    fn a_fatal_consumer_error_stays_fatal_unless_it_is_a_fence() {
        let fatal = |code| map("polling", &KafkaError::MessageConsumptionFatal(code));
        assert!(matches!(fatal(RDKafkaErrorCode::FencedInstanceId), BrokerError::Fenced(_)));
        assert!(matches!(fatal(RDKafkaErrorCode::RequestTimedOut), BrokerError::Fatal(_)));
    }

    #[test]
    fn a_password_that_cannot_be_set_is_not_printed() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("ssl.key.password", "hunter2").set("no.such.property", "1");
        let refused = config.create::<rdkafka::consumer::BaseConsumer>().err().unwrap();
        let mapped = map("starting the client", &refused);
        assert!(matches!(mapped, BrokerError::Rejected(_)));
        assert!(mapped.to_string().contains("no.such.property") && !mapped.to_string().contains("hunter2"), "{mapped}");
    }
}
