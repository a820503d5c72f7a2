//! Passes polled records to the engine: decoded, and no more of them than one transaction may hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::{Batch, Partition, Record};
use crate::daemon::plan::{Plan, StreamPlan};
use crate::daemon::restore::AssignedPartition;
use crate::engine::{Acceptance, Deletion, Engine, Observation, TaskHandle};
use crate::settings::Late;
use crate::wire::{Decoded, Decoder, Rejection};

/// Records between two checks of the transaction's size. One record that ends a gap closes every slot of it.
const CHUNK_RECORDS: usize = 16;

/// A record that could not be used, or only in part.
#[derive(Debug)]
pub struct RejectedRecord {
    /// The index of its batch in the inbox.
    pub batch: usize,
    /// Its index in the batch.
    pub record: usize,
    /// The index in the plan of the stream that rejected it.
    pub stream: usize,
    pub rejection: Rejection,
    /// Whether it lies before the start of the stream, so that no dead letter is written.
    pub warm_up: bool,
}

/// What came late, or again, of one stream.
#[derive(Debug, Clone, Default)]
pub struct LateReadings {
    /// How far behind the watermark of its series each late one was, in milliseconds.
    pub by: Vec<i64>,
    /// How many readings were there already.
    pub duplicates: u64,
}

/// Records that the engine did not accept, or only in part, and readings that came late.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Those that become dead letters.
    pub records: Vec<RejectedRecord>,
    /// By the stream's index in the plan; streams without any may be missing.
    pub late: Vec<LateReadings>,
}

impl Rejected {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.records.clear();
        self.late.clear();
    }
}

/// What [`Intake::accept`] has accepted.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Records of the transaction.
    pub records: usize,
    /// Partitions of which records did not fit. They are read again.
    pub unread: BTreeSet<Partition>,
}

/// Decodes polled records, and passes the observations to the engine.
pub struct Intake<'a> {
    pub plan: &'a Plan,
    /// The most bytes of the transaction. One chunk of records is accepted in any case.
    pub max_bytes: usize,
    pub engine: &'a mut Engine,
    pub decoders: &'a mut [Decoder],
    /// The assigned partitions. Records of those that are not running are ignored.
    pub partitions: &'a BTreeMap<Partition, AssignedPartition>,
}

impl Intake<'_> {
    /// Opens a transaction of the engine and passes it as much of the inbox as it may hold. The rest leaves the inbox.
    pub fn accept(&mut self, inbox: &mut Vec<Batch>, rejected: &mut Rejected) -> Accepted {
        let Self { plan, max_bytes, engine, decoders, partitions } = self;
        let mut accepted = Accepted::default();
        rejected.late.resize(plan.streams.len(), LateReadings::default());
        engine.begin(true);
        for index in 0..inbox.len() {
            let batch = &mut inbox[index];
            let Some(assigned) = partitions.get(&batch.partition).filter(|assigned| assigned.running()) else {
                continue;
            };
            for task in &assigned.tasks {
                engine.activate(task.handle, engine.newest_version(&plan.streams[task.stream].engine.name));
            }
            let mut next = 0;
            while next < batch.len() {
                if engine.open_bytes() >= *max_bytes {
                    batch.truncate(next);
                    accepted.unread.insert(batch.partition.clone());
                    accepted.unread.extend(inbox.drain(index + 1..).map(|batch| batch.partition));
                    return accepted;
                }
                let chunk = next..(next + CHUNK_RECORDS).min(batch.len());
                for task in &assigned.tasks {
                    let mut reader = RecordReader {
                        engine,
                        task: task.handle,
                        stream: &plan.streams[task.stream],
                        decoder: &mut decoders[task.stream],
                        late: &mut rejected.late[task.stream],
                    };
                    for record in chunk.clone() {
                        if let Some((rejection, warm_up)) = batch.get(record).and_then(|record| reader.read(record)) {
                            let stream = task.stream;
                            rejected.records.push(RejectedRecord { batch: index, record, stream, rejection, warm_up });
                        }
                    }
                    if let Some(last) = batch.get(chunk.end - 1) {
                        engine.advance(task.handle, last.offset + 1);
                    }
                }
                next = chunk.end;
                accepted.records += chunk.len();
            }
        }
        accepted
    }
}

/// Passes the records of one task to the engine.
struct RecordReader<'a> {
    engine: &'a mut Engine,
    task: TaskHandle,
    stream: &'a StreamPlan,
    decoder: &'a mut Decoder,
    late: &'a mut LateReadings,
}

impl RecordReader<'_> {
    /// Passes one record to the engine. Returns why it is rejected, if it is, and whether it lies before the start of
    /// the stream.
    fn read(&mut self, record: Record<'_>) -> Option<(Rejection, bool)> {
        let Self { engine, task, stream, decoder, late } = self;
        let Record { offset, timestamp, key, payload } = record;
        let mut warm_up = offset < engine.emit_from(*task);
        let mut rejection = None;
        let mut accept = |decoded: Decoded<'_>| {
            let (series, time, timestamp, value, covariates) = match decoded {
                Decoded::Observation { series, time, timestamp, value, covariates, warm_up: before_start } => {
                    warm_up |= before_start;
                    (series, time, timestamp, value, covariates)
                }
                Decoded::Deleted { series, warm_up: before_start } => {
                    warm_up |= before_start;
                    return engine.delete(*task, &Deletion { offset, series, warm_up });
                }
            };
            match engine.accept(*task, &Observation { offset, series, time, timestamp, value, covariates, warm_up }) {
                Acceptance::Accepted | Acceptance::AlreadyApplied => {}
                Acceptance::Late { .. } | Acceptance::Corrected { .. } | Acceptance::Duplicate { .. } if warm_up => {}
                Acceptance::Corrected { by } => late.by.push(by),
                Acceptance::Late { by } => {
                    late.by.push(by);
                    if stream.late != Late::Drop {
                        rejection = Some(Rejection::late(series, by));
                    }
                }
                Acceptance::Duplicate { is_first } => {
                    late.duplicates += 1;
                    if is_first {
                        rejection = Some(Rejection::duplicate(series));
                    }
                }
                Acceptance::ImplausibleTime(ahead) => {
                    rejection = Some(Rejection::ahead(series, time, timestamp, &ahead));
                }
                Acceptance::SeriesLimit => {
                    rejection = Some(Rejection::series_limit(series, stream.engine.max_series));
                }
            }
        };
        let decoded = decoder.decode_record(key, timestamp, payload, &mut accept);
        decoded.err().or(rejection).map(|rejection| (rejection, warm_up))
    }
}
