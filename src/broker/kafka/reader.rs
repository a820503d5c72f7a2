//! A reader on one partition.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
    topic_partition_list::Offset,
};

use super::{
    KafkaOptions, Probe,
    context::{ConsumerNotes, Deadline},
    errors,
    member::push,
    producer::list,
};
use crate::broker::{Batch, BrokerError, From, Partition, Reader};

/// A batch is full with so many bytes, however few records that are.
const BATCH_BYTES: usize = 8 << 20;

/// Most clients that are kept for the next reader.
const MOST_IDLE: usize = 8;
/// One that no reader has wanted for so long is let go,
const IDLE: Duration = Duration::from_secs(30);
/// but for as many as the trainer needs at once: for the input, and for what is known in advance beside it.
const KEPT: usize = 2;

type Client = BaseConsumer<ConsumerNotes>;

/// Clients whose readers are done. Making one, with its connections and threads, takes longer than reading a small
/// partition, and a restore may read thousands. The trainer reads history now and then, and the threads of ever new
/// clients would fill all of glibc's arenas one after the other (docs/BENCHMARKS.md, "An hour's soak").
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(Arc<Client>, Deadline)>>);

impl Idle {
    fn take(&self) -> Option<Arc<Client>> {
        let (client, _) = self.clients().pop()?;
        client.context().complaints.forget();
        Some(client)
    }

    fn keep(&self, client: Arc<Client>) {
        let mut clients = self.clients();
        if clients.len() < MOST_IDLE {
            clients.push((client, Deadline::after(IDLE)));
        }
    }

    /// Lets those go that nobody has wanted for a while.
    pub(super) fn tidy(&self) {
        let gone: Vec<_> = {
            let mut clients = self.clients();
            let from = clients.len().min(KEPT);
            clients.extract_if(from.., |(_, until)| until.passed()).collect()
        };
        // Its end takes a while: not under the lock.
        drop(gone);
    }

    /// Lets all go: what one met, such as a password that was changed, the others would meet as well.
    fn give_up(&self) {
        let gone = std::mem::take(&mut *self.clients());
        drop(gone);
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Client>, Deadline)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the end of a partition by librdkafka's end-of-partition event, which comes when a fetch has reached the last
/// stable offset, whatever markers, aborted records or gaps lie before it. The event does not say at which offset, so
/// the last stable offset is asked for *before* the fetching begins: the first event after it proves that everything
/// below has been passed.
pub(super) struct KafkaReader {
    consumer: Arc<Client>,
    idle: Arc<Idle>,
    probe: Arc<Probe>,
    partition: Partition,
    request_timeout: Duration,
    /// The next offset to be delivered.
    next: i64,
    /// Everything below this has been passed.
    passed: i64,
    /// What the next end-of-partition event will prove to have been passed.
    stable: i64,
    /// Whether that event has come.
    ended: bool,
    /// It met trouble: its client is of no use to another reader.
    troubled: bool,
}

impl KafkaReader {
    pub(super) fn open(
        options: &KafkaOptions,
        (probe, idle): (Arc<Probe>, Arc<Idle>),
        partition: &Partition,
        from: From,
    ) -> Result<Self, BrokerError> {
        let (oldest, _) = probe.offsets(partition)?;
        let what = format!("reading {partition}");
        let created = || options.reader().create_with_context(ConsumerNotes::default()).map(Arc::new);
        let consumer = idle.take().map_or_else(created, Ok).map_err(|error| errors::map(&what, &error))?;
        let mut reader = Self {
            consumer,
            idle,
            probe,
            partition: partition.clone(),
            request_timeout: options.request_timeout,
            next: 0,
            passed: 0,
            stable: 0,
            ended: false,
            troubled: true,
        };
        let start = match from {
            From::Beginning => oldest,
            From::Offset(offset) => reader.probe.inside(partition, offset)?,
            From::Time(millis) => reader.at_time(millis)?,
        };
        reader.fetch_from(start)?;
        reader.troubled = false;
        Ok(reader)
    }

    fn explain(&self, error: &KafkaError) -> BrokerError {
        let timed_out = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
        let complaint = if timed_out { self.consumer.context().complaints.last() } else { String::new() };
        self.consumer.context().complaints.explain(&format!("reading {}{complaint}", self.partition), error)
    }

    fn at_time(&self, millis: i64) -> Result<i64, BrokerError> {
        let asked = list([(&self.partition, Offset::Offset(millis))])?;
        let answer = errors::insist(self.request_timeout, |left| {
            let answer = self.consumer.offsets_for_times(asked.clone(), left)?;
            let elements = answer.elements();
            let element = elements.first();
            element.map_or(Ok(()), |element| element.error())?;
            Ok(element.map(|element| element.offset()))
        });
        match answer.map_err(|error| self.explain(&error))? {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => self.last_stable(),
        }
    }

    /// The last stable offset now: this consumer's isolation makes it the end that it is told.
    fn last_stable(&self) -> Result<i64, BrokerError> {
        let partition = &self.partition;
        let answer = errors::insist(self.request_timeout, |left| {
            self.consumer.fetch_watermarks(&partition.topic, partition.number, left)
        });
        answer.map(|(_, stable)| stable).map_err(|error| self.explain(&error))
    }

    /// Begins to fetch (again), so that an end-of-partition event will come (again).
    fn fetch_from(&mut self, offset: i64) -> Result<(), BrokerError> {
        self.stable = self.last_stable()?;
        self.ended = false;
        self.next = offset;
        self.passed = self.passed.max(offset);
        let one = list([(&self.partition, Offset::Offset(offset))])?;
        self.consumer.assign(&one).map_err(|error| self.explain(&error))
    }

    fn fill(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>, BrokerError> {
        let deadline = Deadline::after(timeout);
        let mut batch: Option<Batch> = None;
        let room = |batch: &Batch| batch.len() < max_records.max(1) && batch.bytes() < BATCH_BYTES;
        while batch.as_ref().is_none_or(room) {
            let wait = if batch.is_some() { Duration::ZERO } else { deadline.left() };
            match self.consumer.poll(wait) {
                // What the reader before had asked for.
                Some(Ok(message)) if !self.asked(&message) => {}
                Some(Ok(message)) => {
                    push(batch.get_or_insert_with(|| Batch::new(self.partition.clone())), &message);
                }
                Some(Err(KafkaError::PartitionEOF(number))) if number != self.partition.number => {}
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.passed = self.passed.max(self.stable);
                    self.ended = true;
                    break;
                }
                Some(Err(error)) => self.trouble(&error)?,
                None if batch.is_some() || deadline.passed() => break,
                None => {}
            }
        }
        if let Some(next) = batch.as_ref().and_then(Batch::next_offset) {
            self.consumer.context().complaints.forget();
            self.next = next;
            self.passed = self.passed.max(next);
        }
        Ok(batch)
    }

    fn trouble(&mut self, error: &KafkaError) -> Result<(), BrokerError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let at = self.probe.inside(&self.partition, self.next)?;
                self.fetch_from(at)
            }
            // The group's name is only for show: nothing is ever asked of its coordinator.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(()),
            _ => {
                let what = format!("reading {}", self.partition);
                self.consumer.context().complaints.trouble(&what, error).map_or(Ok(()), Err)
            }
        }
    }
}

impl Reader for KafkaReader {
    fn read(&mut self, timeout: Duration, max_records: usize) -> Result<Option<Batch>, BrokerError> {
        self.fill(timeout, max_records).inspect_err(|_| self.troubled = true)
    }

    fn has_reached(&mut self, end: i64) -> Result<bool, BrokerError> {
        self.passes(end).inspect_err(|_| self.troubled = true)
    }
}

impl Drop for KafkaReader {
    /// Keeps the client for another reader, with nothing of this one left in it.
    fn drop(&mut self) {
        if self.troubled {
            self.idle.give_up();
        } else if self.consumer.unassign().is_ok() {
            while self.consumer.poll(Duration::ZERO).is_some() {}
            self.idle.keep(Arc::clone(&self.consumer));
        }
    }
}

impl KafkaReader {
    fn asked(&self, message: &BorrowedMessage<'_>) -> bool {
        message.partition() == self.partition.number && message.topic() == &*self.partition.topic
    }

    fn passes(&mut self, end: i64) -> Result<bool, BrokerError> {
        if self.passed >= end {
            return Ok(true);
        }
        if self.ended && self.last_stable()? >= end {
            // An open transaction held the end back and is decided now; whether that brings records, a fetch will tell.
            self.fetch_from(self.next)?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_idle_clients_stay_and_the_others_go() {
        let idle = Idle::default();
        let client = || {
            let config = KafkaOptions::new("127.0.0.1:1").reader();
            Arc::new(config.create_with_context(ConsumerNotes::default()).expect("a client"))
        };
        for kept in [0, 1, KEPT, KEPT + 2] {
            idle.clients().clear();
            idle.clients().extend((0..kept).map(|_| (client(), Deadline::after(Duration::ZERO))));
            idle.tidy();
            assert_eq!(idle.clients().len(), kept.min(KEPT));
        }
    }
}
