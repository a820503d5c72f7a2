//! Passes polled records to the engine: decoded, and no more of them than one transaction may hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::{Batch, Partition, Record};
use crate::daemon::plan::{Plan, StreamPlan};
use crate::daemon::restore::AssignedPartition;
use crate::engine::{Acceptance, Engine, Observation, TaskHandle};
use crate::wire::{Decoder, Rejection};

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
    pub fn accept(&mut self, inbox: &mut Vec<Batch>, rejected: &mut Vec<RejectedRecord>) -> Accepted {
        let Self { plan, max_bytes, engine, decoders, partitions } = self;
        let mut accepted = Accepted::default();
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
                    let (stream, decoder) = (&plan.streams[task.stream], &mut decoders[task.stream]);
                    for record in chunk.clone() {
                        if let Some(rejection) = accept_record(engine, task.handle, stream, decoder, batch, record) {
                            let offset = batch.get(record).map_or(i64::MAX, |record| record.offset);
                            let warm_up = offset < engine.emit_from(task.handle);
                            let stream = task.stream;
                            rejected.push(RejectedRecord { batch: index, record, stream, rejection, warm_up });
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

/// Passes one record to the engine. Returns why it could not be used, or only in part.
fn accept_record(
    engine: &mut Engine,
    task: TaskHandle,
    stream: &StreamPlan,
    decoder: &mut Decoder,
    batch: &Batch,
    index: usize,
) -> Option<Rejection> {
    let Record { offset, timestamp, key, payload } = batch.get(index)?;
    if payload.is_none() {
        return decoder.decode_tombstone(key, &mut |series| engine.delete(task, offset, series)).err();
    }
    let mut rejection = None;
    let decoded = decoder.decode(key, timestamp, payload, &mut |series: &str, time, value, covariates| match engine
        .accept(task, &Observation { offset, series, time, timestamp, value, covariates })
    {
        Acceptance::Accepted | Acceptance::AlreadyApplied => {}
        Acceptance::Late { by } => rejection = Some(Rejection::late(series, by)),
        Acceptance::Duplicate => rejection = Some(Rejection::duplicate(series)),
        Acceptance::Ahead(ahead) => rejection = Some(Rejection::ahead(series, time, timestamp, &ahead)),
        Acceptance::SeriesLimit => {
            rejection = Some(Rejection::series_limit(series, stream.engine.max_series));
        }
    });
    decoded.err().or(rejection)
}
