//! The way of what was polled into the engine: decoded, placed, and no more of it than one epoch may hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    commit::Refused,
    partition::PartitionLife,
    plan::{Plan, StreamPlan},
};
use crate::{
    broker::{Batch, Partition},
    engine::{Acceptance, Engine, Observation, TaskHandle},
    wire::{Decoder, Rejection},
};

/// Records between two looks at how large the epoch has become: one that ends a gap closes all slots of the gap.
const PIECE: usize = 16;

/// What [`take_in`] came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// Records that the epoch holds.
    pub records: usize,
    /// Partitions of which records were left out, to be read again.
    pub left: BTreeSet<Partition>,
}

/// Opens an epoch and takes the inbox through the engine, as far as the epoch may hold it; the rest leaves the inbox.
pub fn take_in(
    plan: &Plan,
    engine: &mut Engine,
    decoders: &mut [Decoder],
    partitions: &BTreeMap<Partition, PartitionLife>,
    inbox: &mut Vec<Batch>,
    refused: &mut Vec<Refused>,
) -> Taken {
    let mut taken = Taken::default();
    engine.begin(true);
    for place in 0..inbox.len() {
        let batch = &mut inbox[place];
        let Some(life) = partitions.get(&batch.partition).filter(|life| life.running()) else { continue };
        for served in &life.served {
            engine.activate(served.task, engine.newest_version(&plan.streams[served.stream].engine.name));
        }
        let mut next = 0;
        while next < batch.len() {
            if engine.open_bytes() >= plan.max_transaction_bytes {
                batch.truncate(next);
                taken.left.insert(batch.partition.clone());
                taken.left.extend(inbox.drain(place + 1..).map(|batch| batch.partition));
                return taken;
            }
            let piece = next..(next + PIECE).min(batch.len());
            for served in &life.served {
                let (stream, decoder) = (&plan.streams[served.stream], &mut decoders[served.stream]);
                for index in piece.clone() {
                    if let Some(refusal) = take_record(engine, served.task, stream, decoder, batch, index) {
                        refused.push(Refused { batch: place, record: index, stream: served.stream, refusal });
                    }
                }
                if let Some(last) = batch.get(piece.end - 1) {
                    engine.advance(served.task, last.offset + 1);
                }
            }
            next = piece.end;
            taken.records += piece.len();
        }
    }
    taken
}

/// Takes one record through the engine; why it could not be used, or not wholly.
fn take_record(
    engine: &mut Engine,
    task: TaskHandle,
    stream: &StreamPlan,
    decoder: &mut Decoder,
    batch: &Batch,
    index: usize,
) -> Option<Rejection> {
    let record = batch.get(index)?;
    let mut turned_away = None;
    let decoded =
        decoder.decode(record.key, record.timestamp, record.payload, &mut |series: &str, time, value, covariates| {
            match engine.accept(task, &Observation { offset: record.offset, series, time, value, covariates }) {
                Acceptance::Accepted | Acceptance::AlreadyApplied => {}
                Acceptance::Late { by } => turned_away = Some(Rejection::late(series, by)),
                Acceptance::Duplicate => turned_away = Some(Rejection::duplicate(series)),
                Acceptance::SeriesLimit => {
                    turned_away = Some(Rejection::series_limit(series, stream.engine.max_series));
                }
            }
        });
    decoded.err().or(turned_away)
}
