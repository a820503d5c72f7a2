//! The transactional producer, and the publisher built on it.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::contexts::ProducerCallbacks;
use super::convert::offset_list;
use super::deadline::Deadline;
use super::error_recovery::{self, RecoveryAction};
use super::offset_query;
use super::options::KafkaOptions;
use crate::broker::client::{CommittedOffset, Publisher};
use crate::broker::errors::{BrokerError, Result};
use crate::broker::records::{Partition, ProducerRecord};
use crate::broker::transaction_state::TransactionState;

/// Pause between two looks at the producer. librdkafka's own waits beside a polling thread take 100 ms each.
const POLL_PAUSE: Duration = Duration::from_micros(200);

/// A call that has not returned this long after its time limit never will.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// How long to wait for the client's log to name the cause of a failed transaction.
const CAUSE_WAIT: Duration = Duration::from_millis(100);

/// Tenths of the transaction timeout in which the brokers must have acknowledged all records. The rest is for the
/// commit, or for the abort: we abort a slow transaction before the broker does, which would fence this producer.
const ACKNOWLEDGED_TENTHS: u32 = 8;

/// A producer with at most one open transaction.
///
/// A failed transaction may have requests under way: sent, and not answered. After its abort, librdkafka gives the
/// sequence numbers of their records to other records (`rd_kafka_toppar_purge_queues`). The broker would then take a
/// late request for part of the next transaction, and a record of the next transaction for the repetition of an aborted
/// one, which it drops. The next transaction therefore begins with a new epoch of the producer: the broker refuses
/// everything older. (Java's client does so after each transaction, KIP-890.) librdkafka 2.12 gets one by a new client
/// only.
pub(super) struct TransactionalProducer {
    // The producer's own thread serves delivery reports. Commits and aborts inside librdkafka wait for them.
    producer: Arc<ThreadedProducer<ProducerCallbacks>>,
    transactional_id: String,
    options: KafkaOptions,
    /// When the broker aborts the newest transaction, unless it has ended.
    deadline: Deadline,
    /// When its records must have been acknowledged.
    acknowledged: Deadline,
    state: TransactionState,
    /// Whether the next transaction needs a new epoch.
    unanswered: bool,
}

impl TransactionalProducer {
    /// Starts a producer. This fences any other producer with the same transactional id and aborts its open
    /// transaction.
    pub(super) fn start(options: &KafkaOptions, transactional_id: &str) -> Result<Self> {
        let operation = format!("starting the producer {transactional_id}");
        let config = options.producer(transactional_id);
        let created = config.create_with_context(ProducerCallbacks::default());
        let producer: ThreadedProducer<ProducerCallbacks> =
            created.map_err(|error| error_recovery::broker_error(&operation, &error))?;
        let started = Self {
            producer: Arc::new(producer),
            transactional_id: transactional_id.to_owned(),
            options: options.clone(),
            deadline: Deadline::after(options.transaction_timeout),
            acknowledged: Deadline::after(options.transaction_timeout),
            state: TransactionState::None,
            unanswered: false,
        };
        let deadline = Deadline::after(options.request_timeout);
        started.retry(&operation, &deadline, |left| Some(started.producer.init_transactions(left)))?;
        started.callbacks().last_error.clear();
        Ok(started)
    }

    fn callbacks(&self) -> &ProducerCallbacks {
        self.producer.context()
    }

    /// Repeats a call until it succeeds, fails with an error that is not retriable, or the deadline passes. `None` from
    /// the call means that it did not return.
    fn retry(
        &self,
        operation: &str,
        deadline: &Deadline,
        call: impl Fn(Duration) -> Option<Result<(), KafkaError>>,
    ) -> Result<()> {
        loop {
            let Some(answer) = call(deadline.remaining()) else {
                return Err(BrokerError::Fatal(format!("{operation}: the client no longer responds")));
            };
            let Err(error) = answer else { return Ok(()) };
            let retriable = matches!(&error, KafkaError::Transaction(cause) if cause.is_retriable())
                || matches!(error, KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            if !retriable || deadline.has_passed() {
                return Err(self.explain(operation, &error));
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Converts an error. A fatal error of the client takes precedence.
    fn explain(&self, operation: &str, error: &KafkaError) -> BrokerError {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            let action = match error_recovery::action_of_code(code) {
                Some(action @ (RecoveryAction::Rejoin | RecoveryAction::RejoinGroup | RecoveryAction::GrantAccess)) => {
                    action
                }
                _ => RecoveryAction::ReplaceClient,
            };
            return action.error(format!("{operation}: transactional id {}: {reason}", self.transactional_id));
        }
        self.callbacks().last_error.explain_timeout(operation, error)
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.state.require_none()?;
        if self.unanswered {
            *self = Self::start(&self.options, &self.transactional_id)?;
        }
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.explain("beginning a transaction", &error))?;
        self.callbacks().clear_failure();
        self.deadline = Deadline::after(self.options.transaction_timeout);
        self.acknowledged = Deadline::after(self.options.transaction_timeout * ACKNOWLEDGED_TENTHS / 10);
        self.state = TransactionState::Open;
        Ok(())
    }

    /// The first failure of the open transaction.
    fn check_failure(&self) -> Result<()> {
        self.callbacks().failure().map_or(Ok(()), Err)
    }

    pub(super) fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        self.state.require_open()?;
        let sent = self.try_send(record).map_err(|error| self.blame_timeout(error));
        sent.inspect_err(|_| self.state = TransactionState::Failed)
    }

    /// A transaction that has taken too long is the cause of what followed. The broker aborts it at its timeout, and
    /// then answers as if a newer producer had fenced this one.
    fn blame_timeout(&self, error: BrokerError) -> BrokerError {
        let limit = format!("within kafka.transaction_timeout ({:?})", self.options.transaction_timeout);
        let why = match error {
            BrokerError::TimedOut(why) => why,
            BrokerError::Retriable(why) if self.acknowledged.has_passed() => {
                format!("{why}; the brokers do not take so much {limit}")
            }
            BrokerError::Fenced(why) if self.deadline.has_passed() => {
                format!("the broker aborted it, since it did not end {limit} ({why})")
            }
            other => return other,
        };
        BrokerError::TimedOut(match self.callbacks().throttle_millis() {
            0 => why,
            millis => format!("{why}; the brokers throttle this client by up to {millis} ms: a quota is exceeded"),
        })
    }

    fn try_send(&self, record: ProducerRecord<'_>) -> Result<()> {
        self.check_failure()?;
        let mut unsent = BaseRecord::<[u8], [u8]>::to(record.topic);
        unsent.partition = record.partition;
        unsent.key = record.key;
        unsent.payload = record.payload;
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |headers: OwnedHeaders, (key, value): &(&str, &[u8])| {
                headers.insert(Header { key, value: Some(*value) })
            };
            unsent.headers = Some(record.headers.iter().fold(empty, add));
        }
        loop {
            let Err((error, returned)) = self.producer.send(unsent) else { return Ok(()) };
            let operation = || match record.partition {
                Some(partition) => format!("writing to {}[{partition}]", record.topic),
                None => format!("writing to {}", record.topic),
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) if !self.acknowledged.has_passed() => {
                    self.check_failure()?;
                    std::thread::sleep(POLL_PAUSE);
                    unsent = returned;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let why = format!("{}: a record of {} bytes: {error}", operation(), record.bytes());
                    return Err(BrokerError::Refused { topic: record.topic.to_owned(), too_large: true, why });
                }
                // The transaction failed in the background.
                Some(RDKafkaErrorCode::State) if self.producer.client().fatal_error().is_none() => {
                    let aborted = || BrokerError::Aborted(format!("{}: {error}", operation()));
                    return Err(self.wait_for_cause().unwrap_or_else(aborted));
                }
                _ => return Err(self.explain(&operation(), &error)),
            }
        }
    }

    /// The cause of a failed transaction. The callbacks record it on another thread.
    fn wait_for_cause(&self) -> Option<BrokerError> {
        let deadline = Deadline::after(CAUSE_WAIT);
        loop {
            let failure = self.callbacks().failure();
            if failure.is_some() || deadline.has_passed() {
                return failure;
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Commits the transaction together with `offsets`, under the group generation in `metadata`.
    pub(super) fn commit(
        &mut self,
        offsets: TopicPartitionList,
        metadata: Option<&Arc<ConsumerGroupMetadata>>,
    ) -> Result<()> {
        self.state.require_open()?;
        let result = self.try_commit(offsets, metadata).map_err(|error| match error {
            // Only the client's log names the topic.
            BrokerError::Authorization(_) => self.wait_for_cause().unwrap_or(error),
            error => self.blame_timeout(error),
        });
        self.state = if result.is_ok() { TransactionState::None } else { TransactionState::Failed };
        result
    }

    fn try_commit(&self, offsets: TopicPartitionList, metadata: Option<&Arc<ConsumerGroupMetadata>>) -> Result<()> {
        if offsets.count() > 0 {
            let Some(metadata) = metadata else {
                return Err(BrokerError::Aborted("committing offsets without a group membership".into()));
            };
            // The brokers receive the records meanwhile.
            let list = Arc::new(offsets);
            self.retry("committing offsets", &self.acknowledged, |left| self.send_offsets(&list, metadata, left))?;
        }
        let callbacks = self.callbacks();
        while self.producer.in_flight_count() > 0 {
            self.check_failure()?;
            if self.acknowledged.has_passed() {
                let count = self.producer.in_flight_count();
                let last_error = callbacks.last_error.suffix();
                return Err(BrokerError::Retriable(format!("{count} records are not acknowledged yet{last_error}")));
            }
            std::thread::sleep(POLL_PAUSE);
        }
        self.check_failure()?;
        let ended = self.retry("committing", &self.deadline, |left| Some(self.producer.commit_transaction(left)));
        ended.inspect(|()| callbacks.last_error.clear()).map_err(|error| match error {
            // The broker may have committed it.
            BrokerError::Retriable(text) => BrokerError::OutcomeUnknown(text),
            other => other,
        })
    }

    /// Adds the offsets to the transaction, on a thread of its own. librdkafka 2.12 waits forever if the answer is lost
    /// while coordinators move (in `rd_kafka_txn_op_req0`; chaos tests met it). `None` then: the caller drops the
    /// client and leaves its threads behind.
    fn send_offsets(
        &self,
        list: &Arc<TopicPartitionList>,
        metadata: &Arc<ConsumerGroupMetadata>,
        left: Duration,
    ) -> Option<Result<(), KafkaError>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let producer = Arc::clone(&self.producer);
        let (list, metadata) = (Arc::clone(list), Arc::clone(metadata));
        std::thread::spawn(move || {
            // The receiver may have given up.
            _ = sender.send(producer.send_offsets_to_transaction(&list, &metadata, left));
        });
        receiver.recv_timeout(left + CALL_GRACE).ok()
    }

    pub(super) fn abort(&mut self) -> Result<()> {
        if self.state == TransactionState::None {
            return Ok(());
        }
        let deadline = Deadline::after(self.options.transaction_timeout);
        let aborted = self.retry("aborting", &deadline, |left| Some(self.producer.abort_transaction(left)));
        aborted.map_err(|error| self.blame_timeout(error))?;
        self.unanswered = self.state == TransactionState::Failed || self.callbacks().has_unacknowledged();
        self.callbacks().clear_failure();
        self.state = TransactionState::None;
        Ok(())
    }
}

/// Writes each list of records in a transaction.
pub(super) struct KafkaPublisher {
    producer: TransactionalProducer,
    options: KafkaOptions,
}

impl KafkaPublisher {
    pub(super) fn new(producer: TransactionalProducer, options: KafkaOptions) -> Self {
        Self { producer, options }
    }

    /// How somebody who is no member commits positions of a group.
    fn outsider(&self, group: &str) -> Result<Arc<ConsumerGroupMetadata>> {
        let operation = format!("setting positions of group {group}");
        let client = offset_query::group_client(&self.options, group, &operation)?;
        let metadata = client.group_metadata().map(Arc::new);
        metadata.ok_or_else(|| BrokerError::Fatal(format!("{operation}: the client has no group metadata")))
    }
}

impl Publisher for KafkaPublisher {
    fn publish_with_offsets(
        &mut self,
        records: &[ProducerRecord<'_>],
        group: &str,
        positions: &[(Partition, CommittedOffset)],
    ) -> Result<()> {
        let metadata = if positions.is_empty() { None } else { Some(self.outsider(group)?) };
        let offsets = positions.iter().map(|(partition, at)| (partition, at.offset, at.metadata.as_str()));
        let offsets = offset_list(offsets)?;
        self.producer.begin()?;
        let sent = records.iter().try_for_each(|record| self.producer.send(*record));
        let committed = sent.and_then(|()| self.producer.commit(offsets, metadata.as_ref()));
        if let Err(error) = committed {
            // The first error says what failed; an error of the abort would only repeat it.
            if let Err(second) = self.producer.abort() {
                tracing::debug!(target: "kafka", error = %second, cause = %error, "cannot abort a failed publication");
            }
            return Err(error);
        }
        Ok(())
    }
}
