//! What librdkafka calls back: log lines, troubles, rebalances, failed deliveries. Everything is only noted here.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
    topic_partition_list::TopicPartitionList,
    types::RDKafkaRespErr,
    util::Timeout,
};

use super::{
    denial,
    errors::{self, Remedy},
};
use crate::broker::{BrokerError, Partition};

/// A moment after which a call has waited long enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a client call has waited; this room imports nothing of ours"
    )]
    pub(super) fn after(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// The time left; zero when it has passed.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    pub(super) fn passed(&self) -> bool {
        self.left().is_zero()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands librdkafka's log on to ours and keeps the last complaint: it tells why a call timed out.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<String>>,
}

impl Complaints {
    /// The last complaint in brackets, or nothing.
    pub(super) fn last(&self) -> String {
        locked(&self.last).as_ref().map(|line| format!(" ({line})")).unwrap_or_default()
    }

    /// Whether the brokers turn us away, as far as the last complaint tells.
    pub(super) fn turned_away(&self) -> bool {
        locked(&self.last).as_deref().is_some_and(denial::turned_away)
    }

    /// The connection works: what it complained of before explains nothing any more.
    pub(super) fn forget(&self) {
        *locked(&self.last) = None;
    }

    /// Maps an error. Of a call that times out nothing says that the brokers turn us away, but the last complaint.
    pub(super) fn explain(&self, what: &str, error: &KafkaError) -> BrokerError {
        let mapped = errors::map(what, error);
        match (&mapped, locked(&self.last).as_deref()) {
            (BrokerError::Retriable(_) | BrokerError::Authentication(_), Some(line)) if denial::turned_away(line) => {
                Remedy::Denied.with(format!("{what}: {line}"))
            }
            _ => mapped,
        }
    }

    /// What an error event of a consumer asks for; `None` where the client goes on by itself.
    pub(super) fn trouble(&self, what: &str, error: &KafkaError) -> Option<BrokerError> {
        let one_connection =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication));
        match self.explain(what, error) {
            // When no broker is left, another event says so.
            BrokerError::Authentication(_) if one_connection => None,
            BrokerError::Retriable(text) => {
                tracing::debug!(target: "kafka", "{text}");
                None
            }
            other => Some(other),
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let line = without_thread(line);
        match level {
            // Settings of a consumer given to a producer and the like: ours to know.
            _ if facility == "CONFWARN" => tracing::debug!(target: "kafka", "{line}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "kafka", "{facility} {line}");
                *locked(&self.last) = Some(line.to_owned());
            }
            _ => {
                if facility == "FAIL" {
                    *locked(&self.last) = Some(line.to_owned());
                }
                tracing::debug!(target: "kafka", "{facility} {line}");
            }
        }
    }

    fn error(&self, error: &KafkaError, reason: &str) {
        // The end of a partition is what a reader asked to be told, and no complaint.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(target: "kafka", "{error}: {reason}");
        // What a connection complained of says more than that no broker is left.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            locked(&self.last).get_or_insert_with(|| reason.to_owned());
        } else {
            *locked(&self.last) = Some(reason.to_owned());
        }
    }
}

/// "[thrd:NAME]: BROKER/bootstrap: what happened" without the thread, which says nothing to a user.
fn without_thread(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, rest)| rest)
}

/// A group's decision, as it waits to be told to the member's owner.
pub(super) struct Rebalance {
    pub(super) partitions: Vec<Partition>,
    pub(super) change: Change,
    /// The group's generation at the time of the decision: only with it may the owner commit after having heard of it.
    pub(super) metadata: Option<Arc<ConsumerGroupMetadata>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Assigned,
    Revoked,
    Lost,
}

/// The context of every consumer.
#[derive(Default)]
pub(super) struct ConsumerNotes {
    pub(super) complaints: Complaints,
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

impl ConsumerNotes {
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        locked(&self.rebalances).pop_front()
    }

    /// From now on rebalances are answered at once: nobody will ask for them any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for ConsumerNotes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.complaints.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(&error, reason);
    }
}

impl ConsumerContext for ConsumerNotes {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // While it closes, librdkafka takes either call as the leave to drop everything.
            let nothing = TopicPartitionList::new();
            let answer =
                if assigned { consumer.incremental_assign(&nothing) } else { consumer.incremental_unassign(&nothing) };
            if let Err(error) = answer {
                tracing::debug!(target: "kafka", "while closing: {error}");
            }
            return;
        }
        let change = match (assigned, consumer.assignment_lost()) {
            (true, _) => Change::Assigned,
            (false, false) => Change::Revoked,
            (false, true) => Change::Lost,
        };
        let partitions =
            list.elements().iter().map(|element| partition(element.topic(), element.partition())).collect();
        let metadata = consumer.group_metadata().map(Arc::new);
        locked(&self.rebalances).push_back(Rebalance { partitions, change, metadata });
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_secs(1))
    }
}

/// The context of every producer.
#[derive(Default)]
pub(super) struct ProducerNotes {
    pub(super) complaints: Complaints,
    failed: Mutex<Option<(Remedy, String)>>,
    any_failed: AtomicBool,
}

impl ProducerNotes {
    /// Why the first delivery failed, or why the brokers did not take one into the transaction, since the last
    /// [`ProducerNotes::forget`].
    pub(super) fn failure(&self) -> Option<BrokerError> {
        if !self.any_failed.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.failed).as_ref().map(|(remedy, text)| remedy.with(text.clone()))
    }

    fn note(&self, remedy: Remedy, text: String) {
        locked(&self.failed).get_or_insert((remedy, text));
        self.any_failed.store(true, Ordering::Release);
    }

    pub(super) fn forget(&self) {
        *locked(&self.failed) = None;
        self.any_failed.store(false, Ordering::Release);
    }
}

impl ClientContext for ProducerNotes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Only this line says which topic may not be written; afterwards the transaction is just in a wrong state.
        if facility == "ADDPARTS" && denial::forbidden(line) {
            self.note(Remedy::Forbidden, format!("writing: {}", without_thread(line)));
        }
        self.complaints.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(&error, reason);
    }
}

impl ProducerContext for ProducerNotes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        // What an abort throws away is no news.
        let purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        if purged {
            return;
        }
        let bytes = message.key_len() + message.payload_len();
        let place = format!("writing {bytes} bytes to {}[{}]", message.topic(), message.partition());
        self.note(errors::of(error), format!("{place}: {error}"));
    }
}

/// A partition by names.
pub(super) fn partition(topic: &str, number: i32) -> Partition {
    Partition { topic: Arc::from(topic), number }
}
