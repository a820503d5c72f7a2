//! What streams refuse: a limited log line for each stream and reason, and which streams are degraded.
//!
//! A stream is degraded while it refuses at least half of its newest records: of the newest 100, or a few more, since
//! transactions count whole. It takes at least 20 records to say so. Deletions and duplicates do not count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::broker::{Partition, Record};
use crate::dashboard::http::{Condition, Health};
use crate::telemetry::{LeftOut, LogLimit, metrics};
use crate::wire::{Rejection, sample};

/// Records that decide whether a stream is degraded.
pub const NEWEST_RECORDS: u64 = 100;
/// With fewer records than this no stream is degraded.
const FEWEST_RECORDS: u64 = 20;

/// Lines about refused records, by stream and reason.
static LIMIT: LogLimit = LogLimit::growing();

/// Whether so many refused records of the newest `records` are too many.
pub fn too_many(refused: u64, records: u64) -> bool {
    records > 0 && 2 * refused >= records
}

/// Warns of a refused record. `now` is in microseconds of the monotonic clock.
pub fn warn(stream: &str, rejection: &Rejection, partition: &Partition, record: Record<'_>, now: u64) {
    let reason = rejection.reason;
    if !reason.is_refusal() {
        return;
    }
    let Some(LeftOut(left_out)) = LIMIT.admit(&format!("{stream}/{reason}"), now) else { return };
    tracing::warn!(
        stream, %reason, topic = %partition.topic, partition = partition.number, offset = record.offset,
        detail = %rejection.detail, sample = %sample(record.payload), left_out,
        "a record is refused and goes to the dead-letter topic; {}", reason.advice()
    );
}

/// The newest records of all streams. Shared by all shards.
#[derive(Debug, Default)]
pub struct Refusals {
    streams: Mutex<BTreeMap<String, NewestRecords>>,
}

/// The newest records of one stream.
#[derive(Debug, Default)]
struct NewestRecords {
    /// Records and refused records of each transaction, the newest last.
    transactions: VecDeque<(u64, u64)>,
    records: u64,
    refused: u64,
    /// Why the last one was refused.
    last: String,
    /// Whether the log has reported it as degraded.
    reported: bool,
}

impl Refusals {
    /// Adds the records of a committed transaction, how many of them were refused, and why the last one was.
    pub fn record(&self, stream: &str, records: u64, refused: u64, last: Option<&Rejection>) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = match streams.get_mut(stream) {
            Some(newest) => newest,
            None => streams.entry(stream.to_owned()).or_default(),
        };
        newest.add(records, refused);
        if let Some(last) = last {
            newest.last = last.to_string();
        }
    }

    /// Reports which streams are degraded: to the metrics, to `health`, and changes to the log. What is known of a
    /// stream is forgotten while this instance `serves` no partition of it: others may read it well.
    pub fn report(&self, health: &Health, serves: impl Fn(&str) -> bool) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for (stream, newest) in streams.iter_mut() {
            if !serves(stream) {
                *newest = NewestRecords { reported: newest.reported, ..NewestRecords::default() };
            }
            let (part, degraded) = (format!("stream {stream}"), newest.degraded());
            metrics::DEGRADED.gauge(&[("stream", stream)]).set(f64::from(u8::from(degraded.is_some())));
            match degraded {
                Some(reason) => {
                    if !newest.reported {
                        tracing::warn!(stream, %reason, "stream is degraded: it refuses most of its newest records");
                    }
                    newest.reported = true;
                    health.set(&part, Condition::Degraded(reason));
                }
                None if newest.reported => {
                    let serves = newest.records > 0;
                    tracing::info!(stream, serves, "stream is no longer degraded here");
                    newest.reported = false;
                    health.forget(&part);
                }
                None => {}
            }
        }
    }
}

impl NewestRecords {
    fn add(&mut self, records: u64, refused: u64) {
        if records == 0 {
            return;
        }
        self.transactions.push_back((records, refused));
        self.records += records;
        self.refused += refused;
        while let Some((oldest, refused)) = self.transactions.front().copied() {
            if self.records - oldest < NEWEST_RECORDS {
                break;
            }
            self.transactions.pop_front();
            self.records -= oldest;
            self.refused -= refused;
        }
    }

    /// Why the stream is degraded, if it is.
    fn degraded(&self) -> Option<String> {
        let Self { records, refused, last, .. } = self;
        (*records >= FEWEST_RECORDS && too_many(*refused, *records))
            .then(|| format!("{refused} of its newest {records} records were refused; the last one: {last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RejectionReason;

    #[test]
    fn half_of_the_newest_hundred_records_make_a_stream_degraded() {
        let mut newest = NewestRecords::default();
        newest.add(19, 19);
        assert_eq!(newest.degraded(), None, "too few to say");
        newest.add(1, 1);
        assert!(newest.degraded().is_some());
        newest.add(21, 0);
        assert_eq!(newest.degraded(), None, "20 of 41");
    }

    #[test]
    fn only_the_newest_transactions_count() {
        let mut newest = NewestRecords::default();
        newest.add(10_000, 10_000);
        newest.add(99, 0);
        assert!(newest.degraded().is_some(), "the big one still belongs to the newest hundred");
        newest.add(1, 0);
        assert_eq!((newest.records, newest.degraded()), (100, None));
        (0..1000).for_each(|_| newest.add(1, 1));
        assert_eq!((newest.transactions.len(), newest.refused), (100, 100));
    }

    #[test]
    fn a_stream_is_reported_while_it_is_degraded() {
        let health = Health::new(std::sync::Arc::new(crate::env::ManualClock::default()));
        health.set("shard-0", Condition::Ready);
        let refusals = Refusals::default();
        refusals.record("meters", 50, 50, Some(&Rejection::new(RejectionReason::BrokenJson, "expected '{'")));
        refusals.report(&health, |_| true);
        let ready = health.ready();
        let reason = "50 of its newest 50 records were refused; the last one: broken_json: expected '{'";
        assert!(ready.ok && ready.reason.ends_with(reason), "{ready:?}");
        refusals.record("meters", 100, 0, None);
        refusals.report(&health, |_| true);
        assert_eq!(health.ready().reason, "ready");
        refusals.record("meters", 100, 100, None);
        refusals.report(&health, |_| true);
        assert!(!health.ready().degraded.is_empty());
        refusals.report(&health, |stream| stream != "meters");
        assert_eq!(health.ready().reason, "ready", "its partitions have moved to another instance");
    }
}
