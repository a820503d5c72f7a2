//! Future covariates: values for slots to come, read from a second topic that is partitioned as the input.
//!
//! When serving, a record waits in a [`FutureCovariateFeed`] until a transaction shows it to the engine. The engine
//! notes from which input position on it was seen (a watermark), and the task checkpoint carries that note in the
//! transaction of the first forecasts that could use it. A replay shows the same records at the same positions.
//! Training joins both topics by the timestamps of their records ([`FutureCovariateHistory`]).

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::{FutureCovariatesPlan, StreamPlan};
use crate::broker::{Batch, Broker, BrokerError, Partition, Reader, Record, StartPosition, stable_end};
use crate::engine::{Engine, TaskHandle};
use crate::series::FutureValues;
use crate::snapshot::CovariateWatermark;
use crate::telemetry::{LeftOut, LogLimit};
use crate::time::Grid;
use crate::wire::{DecodeSpecError, Decoder, Rejection};

/// The most records of one read.
const READ_RECORDS: usize = 10_000;
/// The most records that wait to be shown. The reader pauses beyond them.
const MAX_WAITING: usize = 200_000;
/// How long one read of the history waits for records.
const HISTORY_WAIT: Duration = Duration::from_millis(200);

/// Lines about reads that fail, which each transaction tries again.
static READ_LIMIT: LogLimit = LogLimit::growing();

/// A record of the future-covariate topic.
#[derive(Debug, Clone, PartialEq)]
pub struct CovariateRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// The decoded values, or why they cannot be used.
    pub content: Result<KeyedFutureValues, RejectedCovariates>,
}

/// Values for one slot, of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedFutureValues {
    /// The key of their series; empty where they are for all series.
    pub key: String,
    /// The values.
    pub values: FutureValues,
}

/// A record that cannot be used, as its dead letter needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedCovariates {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// Its key, where it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The reason.
    pub rejection: Rejection,
}

impl RejectedCovariates {
    /// The record as it was read.
    pub fn record(&self) -> Record<'_> {
        let (key, payload) = (self.key.as_deref(), self.payload.as_deref());
        Record { offset: self.offset, timestamp: self.timestamp, key, payload }
    }
}

/// Decodes records of the future-covariate topic.
#[derive(Debug)]
pub struct FutureCovariateDecoder {
    decoder: Decoder,
    keyed: bool,
    grid: Grid,
}

impl FutureCovariateDecoder {
    /// For the records that `plan` describes, of a stream on `grid`.
    ///
    /// # Errors
    /// [`BrokerError::Rejected`] where the plan contradicts itself.
    pub fn new(plan: &FutureCovariatesPlan, grid: Grid) -> Result<Self, BrokerError> {
        let wrong = |error: DecodeSpecError| BrokerError::Rejected(error.to_string());
        Ok(Self { decoder: Decoder::new(plan.decode.clone()).map_err(wrong)?, keyed: plan.keyed, grid })
    }

    /// Decodes one record.
    pub fn decode(&mut self, record: Record<'_>) -> CovariateRecord {
        let (mut found, keyed, grid, offset) = (None, self.keyed, &self.grid, record.offset);
        let names = self.decoder.spec().values.clone();
        // The plan names every value as a covariate too, so that each observation carries all of them. The first is
        // enough. Where there are several, the name of its value follows the key.
        let decoded =
            self.decoder.decode(record.key, record.timestamp, record.payload, &mut |series: &str, time, _, values| {
                if found.is_none() {
                    let first = names.iter().zip(values).find(|(_, value)| !value.is_nan()).map(|(name, _)| name);
                    let suffix = first.filter(|_| names.len() > 1).map_or(String::new(), |name| format!(":{name}"));
                    let key = if keyed { series.strip_suffix(&suffix).unwrap_or(series) } else { "" };
                    let values = FutureValues { slot: grid.slot(time), offset, values: values.into() };
                    found = Some(KeyedFutureValues { key: key.to_owned(), values });
                }
            });
        let content = match (decoded, found) {
            (Ok(()), Some(values)) => Ok(values),
            (Ok(()), None) => unreachable!("a record that decodes has delivered a value"),
            (Err(rejection), _) => Err(RejectedCovariates {
                offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                payload: record.payload.map(<[u8]>::to_vec),
                rejection,
            }),
        };
        CovariateRecord { offset, timestamp: record.timestamp, content }
    }
}

/// Reads the future covariates of one task, and shows them to the engine.
pub struct FutureCovariateFeed {
    /// The partition of the future-covariate topic.
    pub partition: Partition,
    reader: Box<dyn Reader>,
    decoder: FutureCovariateDecoder,
    waiting: VecDeque<CovariateRecord>,
    /// The offset of the next record to be read.
    next: i64,
    /// A replay needs the records before this offset.
    replay_end: i64,
    /// The last stable offset of the topic when the feed was opened.
    end: i64,
    /// Rejected records that are not yet written as dead letters.
    pub dead_letters: Vec<RejectedCovariates>,
}

impl FutureCovariateFeed {
    /// Opens the topic where a replay needs it: at the oldest record of which the `watermarks` of the task checkpoint
    /// still hold values, or at the topic's beginning. Clears the watermarks where the topic was recreated since.
    ///
    /// # Errors
    /// The broker's, or [`BrokerError::Rejected`] where the plan contradicts itself.
    pub fn open(
        broker: &dyn Broker,
        stream: &StreamPlan,
        plan: &FutureCovariatesPlan,
        input: &Partition,
        watermarks: &mut Vec<CovariateWatermark>,
    ) -> Result<Self, BrokerError> {
        let partition = Partition { topic: plan.topic.as_str().into(), number: input.number };
        let (topic, number) = (&*partition.topic, partition.number);
        let range = broker.offsets(&partition)?;
        let mut replay_end = watermarks.last().map_or(0, |watermark| watermark.next);
        if replay_end > range.end {
            tracing::warn!(
                %topic, partition = number, offset = replay_end, end = range.end,
                "the future-covariate topic was deleted and recreated; reading it from its beginning"
            );
            watermarks.clear();
            replay_end = 0;
        }
        let oldest_needed = watermarks.first().map(|watermark| watermark.oldest);
        if let Some(offset) = oldest_needed.filter(|offset| *offset < range.start) {
            tracing::warn!(
                %topic, partition = number, offset, oldest = range.start,
                "retention deleted future-covariate records that the restore needs; forecasts may differ from before. \
                 Let the topic keep its records for longer than checkpoint_interval"
            );
        }
        let reader = broker.reader(&partition, oldest_needed.map_or(StartPosition::Earliest, StartPosition::Offset))?;
        Ok(Self {
            reader,
            decoder: FutureCovariateDecoder::new(plan, stream.engine.series.grid.clone())?,
            waiting: VecDeque::new(),
            next: oldest_needed.unwrap_or(range.start),
            replay_end,
            end: stable_end(broker, &partition)?,
            dead_letters: Vec::new(),
            partition,
        })
    }

    /// Reads on, for at most `wait`. Returns whether it is at the end that the topic had at first, or may not read on.
    pub fn fill(&mut self, wait: Duration) -> Result<bool, BrokerError> {
        if self.waiting.len() >= MAX_WAITING && self.next >= self.replay_end {
            return Ok(true);
        }
        let Some(batch) = self.reader.read(wait, READ_RECORDS)? else { return self.reader.has_reached(self.end) };
        self.push(&batch);
        Ok(self.next >= self.end)
    }

    fn push(&mut self, batch: &Batch) {
        let unread = batch.iter().filter(|record| record.offset >= self.next);
        self.waiting.extend(unread.map(|record| self.decoder.decode(record)));
        self.next = batch.next_offset().unwrap_or(self.next).max(self.next);
    }

    /// Shows the engine the records that have arrived, except those with a later timestamp than `newest`, the newest
    /// input record. Must be called between two transactions. `now` is in microseconds of the monotonic clock.
    pub fn show_arrived(
        &mut self,
        engine: &mut Engine,
        task: TaskHandle,
        newest: Option<i64>,
        now: u64,
    ) -> Result<(), BrokerError> {
        match self.fill(Duration::ZERO) {
            Err(BrokerError::Retriable(error)) => {
                let Partition { topic, number } = &self.partition;
                if let Some(LeftOut(left_out)) = READ_LIMIT.admit(topic, now) {
                    tracing::warn!(
                        topic = %topic, partition = number, %error, left_out,
                        "cannot read future covariates; retrying before the next transaction"
                    );
                }
            }
            filled => drop(filled?),
        }
        let mut next = None;
        while self.waiting.front().is_some_and(|record| !is_later(record, newest)) {
            let Some(record) = self.waiting.pop_front() else { break };
            next = Some(record.offset + 1);
            self.show(engine, task, record);
        }
        if let Some(next) = next {
            engine.advance_watermark(task, next);
        }
        Ok(())
    }

    /// Shows the engine the records below a recorded watermark, which must be read already.
    pub fn show_until(&mut self, engine: &mut Engine, task: TaskHandle, watermark: CovariateWatermark) {
        while self.waiting.front().is_some_and(|record| record.offset < watermark.next) {
            let Some(record) = self.waiting.pop_front() else { break };
            self.show(engine, task, record);
        }
        // Their dead letters were written when they were first read.
        self.dead_letters.clear();
        if !engine.confirm_watermark(task, watermark) {
            let Partition { topic, number } = &self.partition;
            tracing::warn!(
                topic = %topic, partition = number, offset = watermark.next,
                "the topic no longer holds future covariates that were used here; forecasts may differ from before. \
                 Let it keep its records for longer than checkpoint_interval and their slots, without compaction"
            );
        }
    }

    fn show(&mut self, engine: &mut Engine, task: TaskHandle, record: CovariateRecord) {
        let CovariateRecord { offset, timestamp, content } = record;
        match content {
            Ok(KeyedFutureValues { key, values }) => {
                if !engine.insert_future_values(task, &key, values) {
                    let rejection = Rejection::series_limit(&key, engine.stream(task).max_series);
                    let key = Some(key.into_bytes());
                    self.dead_letters.push(RejectedCovariates { offset, timestamp, key, payload: None, rejection });
                }
            }
            Err(rejected) => self.dead_letters.push(rejected),
        }
    }
}

/// Whether a record is dated after `now`. Where one of them has no timestamp, it is not.
fn is_later(record: &CovariateRecord, now: Option<i64>) -> bool {
    record.timestamp.zip(now).is_some_and(|(timestamp, now)| timestamp > now)
}

/// Joins the future covariates of one input partition by the timestamps of the records, for training: what was known
/// at an input record are those that are dated no later. The topic is read along with the input, so that few of its
/// records wait, and only once: each round of training goes on where the last one stopped.
#[derive(Default)]
pub struct FutureCovariateHistory {
    /// `None` before a round, and once the topic is read to the end that it had when the round began.
    feed: Option<FutureCovariateFeed>,
    waiting: VecDeque<CovariateRecord>,
    /// The next record to be read; `None` before the first round.
    next: Option<i64>,
}

impl FutureCovariateHistory {
    /// Begins a round. Does nothing where the stream has no future covariates.
    ///
    /// # Errors
    /// The broker's, or [`BrokerError::Rejected`] where the plan contradicts itself.
    pub fn begin(&mut self, broker: &dyn Broker, stream: &StreamPlan, input: &Partition) -> Result<(), BrokerError> {
        let Some(plan) = &stream.future_covariates else { return Ok(()) };
        let read_so_far = |next| CovariateWatermark { position: 0, oldest: next, next, digest: 0 };
        let mut watermarks: Vec<CovariateWatermark> = self.next.map(read_so_far).into_iter().collect();
        let feed = FutureCovariateFeed::open(broker, stream, plan, input, &mut watermarks)?;
        self.next = Some(feed.next);
        self.feed = Some(feed);
        Ok(())
    }

    /// Passes on the values that were known at the timestamp of an input record, and were not passed on before.
    ///
    /// # Errors
    /// The broker's. The next round continues after the records that were read.
    pub fn advance(
        &mut self,
        timestamp: Option<i64>,
        insert: &mut dyn FnMut(KeyedFutureValues),
    ) -> Result<(), BrokerError> {
        while self.waiting.front().map_or_else(|| self.feed.is_some(), |record| !is_later(record, timestamp)) {
            match self.waiting.pop_front() {
                None => self.read_more()?,
                Some(CovariateRecord { content: Ok(values), .. }) => insert(values),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn read_more(&mut self) -> Result<(), BrokerError> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        let done = feed.fill(HISTORY_WAIT);
        let end = feed.end;
        self.waiting.extend(feed.waiting.drain(..).filter(|record| record.offset < end));
        self.next = Some(feed.next.min(end).max(self.next.unwrap_or(0)));
        if !matches!(done, Ok(false)) {
            self.feed = None;
        }
        done.map(drop)
    }

    /// Bytes of the records that wait.
    pub fn bytes(&self) -> usize {
        let values = |record: &CovariateRecord| record.content.as_ref().map_or(0, |values| values.key.len() + 64);
        self.waiting.iter().map(|record| size_of::<CovariateRecord>() + values(record)).sum()
    }
}
