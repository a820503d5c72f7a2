//! The transactional producer.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use rdkafka::{
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList},
};

use super::{
    KafkaOptions,
    context::{Deadline, ProducerNotes},
    errors::{self, Remedy},
};
use crate::broker::{BrokerError, Partition, ProducerRecord, Publisher};

/// librdkafka's own waits beside a polling thread are naps of 100 ms; ours are these.
const NAP: Duration = Duration::from_micros(200);

/// A call that has not come back so long after its limit never will.
const GRACE: Duration = Duration::from_secs(5);
/// How long a transaction that broke down may take to be explained.
const HEARSAY: Duration = Duration::from_millis(100);

/// How the client's transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    Yes,
    /// A call failed in it: nothing but an abort is allowed.
    Void,
}

/// A producer with at most one transaction open.
pub(super) struct Transactions {
    // The thread serves delivery reports, for which commits and aborts wait inside librdkafka.
    producer: Arc<ThreadedProducer<ProducerNotes>>,
    transactional_id: String,
    timeout: Duration,
    open: Open,
}

impl Transactions {
    /// Starts a producer and takes the transactional id over: any other client under it is fenced from here on, and
    /// what it left open is aborted.
    pub(super) fn start(options: &KafkaOptions, transactional_id: &str) -> Result<Self, BrokerError> {
        let what = format!("starting the producer {transactional_id}");
        let config = options.producer(transactional_id);
        let created = config.create_with_context(ProducerNotes::default());
        let producer: ThreadedProducer<ProducerNotes> = created.map_err(|error| errors::map(&what, &error))?;
        let made = Self {
            producer: Arc::new(producer),
            transactional_id: transactional_id.to_owned(),
            timeout: options.transaction_timeout,
            open: Open::No,
        };
        let deadline = Deadline::after(options.request_timeout);
        made.insist(&what, &deadline, |left| Some(made.producer.init_transactions(left)))?;
        made.producer.context().complaints.forget();
        Ok(made)
    }

    /// Calls until it works, fails for another reason than passing trouble, does not come back, or time is up.
    fn insist(
        &self,
        what: &str,
        deadline: &Deadline,
        call: impl Fn(Duration) -> Option<Result<(), KafkaError>>,
    ) -> Result<(), BrokerError> {
        loop {
            let Some(answer) = call(deadline.left()) else {
                return Err(BrokerError::Fatal(format!("{what}: the client has stopped answering")));
            };
            let Err(error) = answer else { return Ok(()) };
            let passing = matches!(&error, KafkaError::Transaction(cause) if cause.is_retriable())
                || matches!(error, KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            if !passing || deadline.passed() {
                return Err(self.explain(what, &error));
            }
            std::thread::sleep(NAP);
        }
    }

    /// Maps an error, with the client's own fatal error behind it where there is one.
    fn explain(&self, what: &str, error: &KafkaError) -> BrokerError {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            let remedy = match errors::remedy(code) {
                Some(remedy @ (Remedy::Fenced | Remedy::Forbidden)) => remedy,
                _ => Remedy::Fatal,
            };
            return remedy.with(format!("{what}: transactional id {}: {reason}", self.transactional_id));
        }
        let timed_out = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
        let complaint = if timed_out { self.producer.context().complaints.last() } else { String::new() };
        self.producer.context().complaints.explain(&format!("{what}{complaint}"), error)
    }

    pub(super) fn begin(&mut self) -> Result<(), BrokerError> {
        if self.open != Open::No {
            return Err(BrokerError::Rejected("a transaction is open already".into()));
        }
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.explain("beginning a transaction", &error))?;
        self.producer.context().forget();
        self.open = Open::Yes;
        Ok(())
    }

    fn require_open(&self) -> Result<(), BrokerError> {
        match self.open {
            Open::Yes => Ok(()),
            Open::No => Err(BrokerError::Rejected("no transaction is open".into())),
            Open::Void => Err(BrokerError::Aborted("an earlier call in it failed".into())),
        }
    }

    pub(super) fn send(&mut self, record: ProducerRecord<'_>) -> Result<(), BrokerError> {
        self.require_open()?;
        self.try_send(record).inspect_err(|_| self.open = Open::Void)
    }

    fn try_send(&self, record: ProducerRecord<'_>) -> Result<(), BrokerError> {
        let notes = self.producer.context();
        notes.failure().map_or(Ok(()), Err)?;
        let mut rest = BaseRecord::<[u8], [u8]>::to(record.topic);
        rest.partition = record.partition;
        rest.key = record.key;
        rest.payload = record.payload;
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |headers: OwnedHeaders, (key, value): &(&str, &[u8])| {
                headers.insert(Header { key, value: Some(*value) })
            };
            rest.headers = Some(record.headers.iter().fold(empty, add));
        }
        let mut deadline = None;
        loop {
            let Err((error, same)) = self.producer.send(rest) else { return Ok(()) };
            let code = error.rdkafka_error_code();
            let place = || match record.partition {
                Some(partition) => format!("writing to {}[{partition}]", record.topic),
                None => format!("writing to {}", record.topic),
            };
            match code {
                Some(RDKafkaErrorCode::QueueFull)
                    if !deadline.get_or_insert_with(|| Deadline::after(self.timeout)).passed() =>
                {
                    notes.failure().map_or(Ok(()), Err)?;
                    std::thread::sleep(NAP);
                    rest = same;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let bytes = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
                    return Err(errors::map(&format!("{}: a record of {bytes} bytes", place()), &error));
                }
                // The transaction broke down behind our back.
                Some(RDKafkaErrorCode::State) if self.producer.client().fatal_error().is_none() => {
                    let void = || BrokerError::Aborted(format!("{}: {error}", place()));
                    return Err(self.heard().unwrap_or_else(void));
                }
                _ => return Err(self.explain(&place(), &error)),
            }
        }
    }

    /// Why the transaction broke down: another thread hears it, from the client's log.
    fn heard(&self) -> Option<BrokerError> {
        let deadline = Deadline::after(HEARSAY);
        loop {
            let failure = self.producer.context().failure();
            if failure.is_some() || deadline.passed() {
                return failure;
            }
            std::thread::sleep(NAP);
        }
    }

    /// Commits; `offsets` go with it under the group's generation that `metadata` tells.
    pub(super) fn commit(
        &mut self,
        offsets: &[(Partition, i64)],
        metadata: Option<&Arc<ConsumerGroupMetadata>>,
    ) -> Result<(), BrokerError> {
        self.require_open()?;
        let done = self.try_commit(offsets, metadata).map_err(|error| match error {
            // Neither call says which topic; the log does.
            BrokerError::Authorization(_) => self.heard().unwrap_or(error),
            error => error,
        });
        self.open = if done.is_ok() { Open::No } else { Open::Void };
        done
    }

    fn try_commit(
        &self,
        offsets: &[(Partition, i64)],
        metadata: Option<&Arc<ConsumerGroupMetadata>>,
    ) -> Result<(), BrokerError> {
        let deadline = Deadline::after(self.timeout);
        if !offsets.is_empty() {
            let Some(metadata) = metadata else {
                return Err(BrokerError::Aborted("committing offsets without a seat in the group".into()));
            };
            // The records are on their way meanwhile.
            let list = Arc::new(list(offsets.iter().map(|(partition, offset)| (partition, Offset::Offset(*offset))))?);
            self.insist("committing offsets", &deadline, |left| self.send_offsets(&list, metadata, left))?;
        }
        let notes = self.producer.context();
        while self.producer.in_flight_count() > 0 {
            notes.failure().map_or(Ok(()), Err)?;
            if deadline.passed() {
                let count = self.producer.in_flight_count();
                let complaint = notes.complaints.last();
                return Err(BrokerError::Retriable(format!("{count} records were not taken in time{complaint}")));
            }
            std::thread::sleep(NAP);
        }
        notes.failure().map_or(Ok(()), Err)?;
        let ended = self.insist("committing", &deadline, |left| Some(self.producer.commit_transaction(left)));
        ended.inspect(|()| notes.complaints.forget()).map_err(|error| match error {
            // Asked for and not answered: nobody here can tell what became of it.
            BrokerError::Retriable(text) => BrokerError::Fatal(format!("the outcome of a commit is unknown: {text}")),
            other => other,
        })
    }

    /// Adds the offsets to the transaction, on a thread of its own: librdkafka 2.12 waits for ever where the answer gets lost
    /// as coordinators move (seen under chaos; in `rd_kafka_txn_op_req0`). None then: such a client is given up, with its
    /// threads.
    fn send_offsets(
        &self,
        list: &Arc<TopicPartitionList>,
        metadata: &Arc<ConsumerGroupMetadata>,
        left: Duration,
    ) -> Option<Result<(), KafkaError>> {
        let (answer, answered) = mpsc::sync_channel(1);
        let producer = Arc::clone(&self.producer);
        let (list, metadata) = (Arc::clone(list), Arc::clone(metadata));
        std::thread::spawn(move || {
            // Where nobody waits any more, nobody wants to know.
            _ = answer.send(producer.send_offsets_to_transaction(&list, &metadata, left));
        });
        answered.recv_timeout(left + GRACE).ok()
    }

    pub(super) fn abort(&mut self) -> Result<(), BrokerError> {
        if self.open == Open::No {
            return Ok(());
        }
        let deadline = Deadline::after(self.timeout);
        self.insist("aborting", &deadline, |left| Some(self.producer.abort_transaction(left)))?;
        self.producer.context().forget();
        self.open = Open::No;
        Ok(())
    }
}

/// librdkafka's list of partitions.
pub(super) fn list<'a>(
    partitions: impl IntoIterator<Item = (&'a Partition, Offset)>,
) -> Result<TopicPartitionList, BrokerError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        let added = list.add_partition_offset(&partition.topic, partition.number, offset);
        added.map_err(|error| errors::map(&partition.to_string(), &error))?;
    }
    Ok(list)
}

/// Writes in transactions of its own.
pub(super) struct KafkaPublisher {
    pub(super) transactions: Transactions,
}

impl Publisher for KafkaPublisher {
    fn publish(&mut self, records: &[ProducerRecord<'_>]) -> Result<(), BrokerError> {
        self.transactions.begin()?;
        let sent = records.iter().try_for_each(|record| self.transactions.send(*record));
        let done = sent.and_then(|()| self.transactions.commit(&[], None));
        if let Err(error) = done {
            // The first error says what happened; what the abort adds is only that it happened again.
            if let Err(second) = self.transactions.abort() {
                tracing::debug!(target: "kafka", "aborting after {error}: {second}");
            }
            return Err(error);
        }
        Ok(())
    }
}
