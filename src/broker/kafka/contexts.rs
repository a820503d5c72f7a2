//! Callbacks of librdkafka: log lines, errors, rebalances and failed deliveries. They only record what happened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Message};

use super::access_errors;
use super::error_recovery::{self, RecoveryAction};
use super::last_error::{LastClientError, without_thread};
use crate::broker::{errors::BrokerError, records::Partition};

/// The most characters of a record's key that a message quotes.
const KEY_CHARS: usize = 60;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rebalance that the member has not yet reported to its caller.
pub(super) struct Rebalance {
    pub(super) partitions: Vec<Partition>,
    pub(super) change: Change,
    /// The group's generation at the time of the rebalance. The member commits under it once it has reported the event.
    pub(super) metadata: Option<Arc<ConsumerGroupMetadata>>,
}

/// What a rebalance does with its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Assign,
    Revoke,
    Lose,
}

/// The context of every consumer.
#[derive(Default)]
pub(super) struct ConsumerCallbacks {
    pub(super) last_error: LastClientError,
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

impl ConsumerCallbacks {
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).pop_front()
    }

    /// Answers every further rebalance at once: the member reports no more events.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for ConsumerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.last_error.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.record(&error, reason);
    }
}

impl ConsumerContext for ConsumerCallbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // While it closes, librdkafka drops the whole assignment on either call.
            let nothing = TopicPartitionList::new();
            let answer =
                if assigned { consumer.incremental_assign(&nothing) } else { consumer.incremental_unassign(&nothing) };
            if let Err(error) = answer {
                tracing::debug!(target: "kafka", %error, "cannot answer a rebalance while closing");
            }
            return;
        }
        let change = match (assigned, consumer.assignment_lost()) {
            (true, _) => Change::Assign,
            (false, false) => Change::Revoke,
            (false, true) => Change::Lose,
        };
        let elements = list.elements();
        let partitions = elements.iter().map(|element| Partition::new(element.topic(), element.partition())).collect();
        let metadata = consumer.group_metadata().map(Arc::new);
        lock(&self.rebalances).push_back(Rebalance { partitions, change, metadata });
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_secs(1))
    }
}

/// A failure in the open transaction.
enum DeliveryFailure {
    /// The broker refuses a record for this topic.
    Refused {
        topic: String,
        too_large: bool,
        why: String,
    },
    /// No acknowledgement came in time.
    TimedOut(String),
    Other(RecoveryAction, String),
}

impl DeliveryFailure {
    /// The failure of a delivery to `topic`; `operation` says of which record.
    fn new(error: &KafkaError, topic: &str, operation: &str) -> Self {
        use RDKafkaErrorCode as C;
        let text = format!("{operation}: {error}");
        match (error.rdkafka_error_code(), error_recovery::action(error)) {
            (Some(C::MessageTimedOut), _) => Self::TimedOut(text),
            (code, RecoveryAction::CorrectRequest) => {
                let too_large =
                    matches!(code, Some(C::MessageSizeTooLarge | C::InvalidMessageSize | C::MessageBatchTooLarge));
                let missing = matches!(code, Some(C::UnknownTopic | C::UnknownTopicOrPartition | C::UnknownPartition));
                let advice = if too_large {
                    "raise the topic's max.message.bytes, or lower kafka.properties \"batch.size\"".to_owned()
                } else if missing {
                    format!("create topic {topic}")
                } else {
                    format!("check the settings of topic {topic} and the clocks of broker and client")
                };
                let why = format!("{text}; {advice}");
                Self::Refused { topic: topic.to_owned(), too_large, why }
            }
            (_, action) => Self::Other(action, text),
        }
    }

    fn error(&self) -> BrokerError {
        match self {
            Self::Refused { topic, too_large, why } => {
                BrokerError::Refused { topic: topic.clone(), too_large: *too_large, why: why.clone() }
            }
            Self::TimedOut(text) => BrokerError::TimedOut(text.clone()),
            Self::Other(action, text) => action.error(text.clone()),
        }
    }
}

/// The context of every producer.
#[derive(Default)]
pub(super) struct ProducerCallbacks {
    pub(super) last_error: LastClientError,
    failure: Mutex<Option<DeliveryFailure>>,
    has_failed: AtomicBool,
    /// Whether a record of the transaction was not acknowledged.
    unacknowledged: AtomicBool,
    /// The longest pause that a broker has lately asked for because of a quota, in milliseconds.
    throttle: AtomicU64,
}

/// The part of librdkafka's statistics that tells of quotas.
#[derive(serde::Deserialize)]
struct Statistics {
    brokers: BTreeMap<String, BrokerStatistics>,
}

#[derive(serde::Deserialize)]
struct BrokerStatistics {
    throttle: Option<ThrottleWindow>,
}

#[derive(serde::Deserialize)]
struct ThrottleWindow {
    max: u64,
}

impl ProducerCallbacks {
    /// The longest pause that a broker has lately asked for because of a quota, in milliseconds; 0 without one.
    pub(super) fn throttle_millis(&self) -> u64 {
        self.throttle.load(Ordering::Relaxed)
    }

    /// The first failed delivery, or denied write, since the last [`ProducerCallbacks::clear_failure`].
    pub(super) fn failure(&self) -> Option<BrokerError> {
        if !self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.failure).as_ref().map(DeliveryFailure::error)
    }

    fn record_failure(&self, failure: DeliveryFailure) {
        lock(&self.failure).get_or_insert(failure);
        self.has_failed.store(true, Ordering::Release);
    }

    /// Whether a record since the last [`ProducerCallbacks::clear_failure`] was not acknowledged: an abort may have
    /// dropped it from the queue.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.unacknowledged.load(Ordering::Acquire)
    }

    pub(super) fn clear_failure(&self) {
        self.unacknowledged.store(false, Ordering::Release);
        *lock(&self.failure) = None;
        self.has_failed.store(false, Ordering::Release);
    }
}

impl ClientContext for ProducerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Only this line names the topic that may not be written. Later errors only report a wrong transaction state.
        if facility == "ADDPARTS" && access_errors::is_authorization_failure(line) {
            let text = format!("writing: {}", without_thread(line));
            self.record_failure(DeliveryFailure::Other(RecoveryAction::GrantAccess, text));
        }
        self.last_error.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.record(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) {
            let windows = statistics.brokers.values().filter_map(|broker| broker.throttle.as_ref());
            self.throttle.store(windows.map(|window| window.max).max().unwrap_or(0), Ordering::Relaxed);
        }
    }
}

impl ProducerContext for ProducerCallbacks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        self.unacknowledged.store(true, Ordering::Release);
        // An abort purges the queue.
        let purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        if purged {
            return;
        }
        let bytes = message.key_len() + message.payload_len();
        let key =
            String::from_utf8_lossy(message.key().unwrap_or_default()).chars().take(KEY_CHARS).collect::<String>();
        let operation = format!("writing {bytes} bytes to {}[{}], key {key:?}", message.topic(), message.partition());
        self.record_failure(DeliveryFailure::new(error, message.topic(), &operation));
    }
}
