//! What is known in advance: the records of a second topic, partitioned as the input, which tell of slots to come.
//!
//! A record waits here until an epoch shows it to the engine, which notes from which input position on it was seen; the
//! next task record carries that note, in the transaction of the first forecasts that could see it. A replay shows the
//! same records at the same positions.

use std::{collections::VecDeque, time::Duration};

use super::plan::FutureCovariatesPlan;
use crate::{
    broker::{Batch, Broker, BrokerError, Partition, Reader, Record, StartPosition},
    engine::{Engine, TaskHandle},
    series::FutureValues,
    snapshot::CovariateWatermark,
    time::EventTime,
    wire::{DecodeSpecError, Decoder, Rejection},
};

/// Records that one look takes, at most.
const READ_RECORDS: usize = 10_000;
/// Records that may wait to be shown; beyond them the reader waits too.
const MOST_WAITING: usize = 200_000;

/// One record of the second topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its place in the partition.
    pub offset: i64,
    /// Its timestamp in milliseconds, where it has one.
    pub timestamp: Option<i64>,
    /// What it tells, or why it cannot be used.
    pub what: Result<Numbers, Letter>,
}

/// What is told of one slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// The key of the series that it tells of; of no meaning where it tells of all.
    pub key: String,
    /// The time of the slot.
    pub time: EventTime,
    /// In the order of the configuration; NaN where one is missing.
    pub numbers: Vec<f64>,
}

/// A record that cannot be used, as a dead letter keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Why.
    pub refusal: Rejection,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
}

/// Reads records of the second topic.
#[derive(Debug)]
pub struct Teller {
    decoder: Decoder,
    keyed: bool,
}

impl Teller {
    /// Prepares for records as the plan says.
    ///
    /// # Errors
    /// Where the plan contradicts itself.
    pub fn new(plan: &FutureCovariatesPlan) -> Result<Self, DecodeSpecError> {
        Ok(Self { decoder: Decoder::new(plan.decode.clone())?, keyed: plan.keyed })
    }

    /// What a record tells.
    pub fn told(&mut self, record: Record<'_>) -> Told {
        let (mut found, keyed) = (None, self.keyed);
        let names = self.decoder.spec().values.clone();
        // All numbers come with each of them that is there; the first is enough, and what follows the key is its name.
        let decoded =
            self.decoder.decode(record.key, record.timestamp, record.payload, &mut |series: &str, time, _, numbers| {
                if found.is_none() {
                    let first = names.iter().zip(numbers).find(|(_, number)| !number.is_nan()).map(|(name, _)| name);
                    let suffix = first.filter(|_| names.len() > 1).map_or(String::new(), |name| format!(":{name}"));
                    let key = if keyed { series.strip_suffix(&suffix).unwrap_or(series) } else { "" };
                    found = Some(Numbers { key: key.to_owned(), time, numbers: numbers.to_vec() });
                }
            });
        let what = match (decoded, found) {
            (Ok(()), Some(numbers)) => Ok(numbers),
            (Ok(()), None) => unreachable!("a record that is good has delivered something"),
            (Err(refusal), _) => Err(letter(refusal, record)),
        };
        Told { offset: record.offset, timestamp: record.timestamp, what }
    }
}

fn letter(refusal: Rejection, record: Record<'_>) -> Letter {
    Letter { refusal, key: record.key.map(<[u8]>::to_vec), payload: record.payload.map(<[u8]>::to_vec) }
}

/// What one task knows in advance, on its way to the engine.
pub struct Feed {
    /// The partition of the second topic.
    pub partition: Partition,
    reader: Box<dyn Reader>,
    teller: Teller,
    waiting: VecDeque<Told>,
    /// The next record to be read.
    next: i64,
    /// A replay needs the records before this one ...
    needed: i64,
    /// ... and those that were there when it was opened end here.
    end: i64,
    /// Refused and not yet written as dead letters.
    pub letters: Vec<(i64, Option<i64>, Letter)>,
}

impl Feed {
    /// Opens the second topic where a replay needs it: at the oldest record of which something was held, or at its beginning. What
    /// is `recorded` of a topic that was made anew since is forgotten.
    ///
    /// # Errors
    /// What the broker answers, or a decoding that contradicts itself.
    pub fn open(
        broker: &dyn Broker,
        plan: &FutureCovariatesPlan,
        input: &Partition,
        recorded: &mut Vec<CovariateWatermark>,
    ) -> Result<Self, BrokerError> {
        let partition = Partition { topic: plan.topic.as_str().into(), number: input.number };
        let offsets = broker.offsets(&partition)?;
        let (oldest, end) = (offsets.start, offsets.end);
        let mut needed = recorded.last().map_or(0, |watermark| watermark.next);
        if needed > end {
            tracing::warn!(
                %partition, needed, end,
                "the topic of what is known in advance ends before what was seen of it: it was made anew, and is seen from its beginning"
            );
            recorded.clear();
            needed = 0;
        }
        let from = recorded.first().map(|watermark| watermark.oldest);
        if let Some(from) = from.filter(|from| *from < oldest) {
            tracing::warn!(
                %partition, from, oldest,
                "retention has eaten numbers known in advance that the restore wanted to read again; what it rebuilds may differ from before"
            );
        }
        let reader = broker.reader(&partition, from.map_or(StartPosition::Earliest, StartPosition::Offset))?;
        let teller = Teller::new(plan).map_err(|error| BrokerError::Rejected(error.to_string()))?;
        let (waiting, letters) = (VecDeque::new(), Vec::new());
        Ok(Self { partition, reader, teller, waiting, next: from.unwrap_or(oldest), needed, end, letters })
    }

    /// Reads on, for at most `wait`. Whether all is in that was there at the start, or as much as may wait.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn fill(&mut self, wait: Duration) -> Result<bool, BrokerError> {
        if self.waiting.len() >= MOST_WAITING && self.next >= self.needed {
            return Ok(true);
        }
        let Some(batch) = self.reader.read(wait, READ_RECORDS)? else { return self.reader.has_reached(self.end) };
        self.take(&batch);
        Ok(self.next >= self.end)
    }

    fn take(&mut self, batch: &Batch) {
        let told = batch.iter().filter(|record| record.offset >= self.next);
        self.waiting.extend(told.map(|record| self.teller.told(record)));
        self.next = batch.next_offset().unwrap_or(self.next).max(self.next);
    }

    /// Shows the engine what has come, but for what is dated after `newest`, the newest input: between two epochs.
    ///
    /// # Errors
    /// What the broker answers.
    pub fn show(&mut self, engine: &mut Engine, task: TaskHandle, newest: Option<i64>) -> Result<(), BrokerError> {
        match self.fill(Duration::ZERO) {
            // Passing trouble: it is seen by a later epoch.
            Err(BrokerError::Retriable(why)) => {
                tracing::warn!(partition = %self.partition, why, "nothing is read of it now")
            }
            read => drop(read?),
        }
        let later = |told: &Told| told.timestamp.zip(newest).is_some_and(|(told, newest)| told > newest);
        let mut until = None;
        while self.waiting.front().is_some_and(|told| !later(told)) {
            let Some(told) = self.waiting.pop_front() else { break };
            until = Some(told.offset + 1);
            self.tell(engine, task, told);
        }
        if let Some(until) = until {
            engine.advance_watermark(task, until);
        }
        Ok(())
    }

    /// Shows the engine what a replay must see now. It has been read already.
    pub fn show_again(&mut self, engine: &mut Engine, task: TaskHandle, watermark: CovariateWatermark) {
        while self.waiting.front().is_some_and(|told| told.offset < watermark.next) {
            let Some(told) = self.waiting.pop_front() else { break };
            self.tell(engine, task, told);
        }
        // Those were written the first time.
        self.letters.clear();
        if !engine.confirm_watermark(task, watermark) {
            tracing::warn!(
                partition = %self.partition, until = watermark.next,
                "numbers known in advance that were seen here are not in the topic any more; what the restore rebuilds may differ \
                 from before. Let the topic keep its records for longer than checkpoint_interval and the slots that they tell of, \
                 without compaction"
            );
        }
    }

    fn tell(&mut self, engine: &mut Engine, task: TaskHandle, told: Told) {
        let Told { offset, timestamp, what } = told;
        match what {
            Ok(Numbers { key, time, numbers }) => {
                let slot = engine.stream(task).series.grid.slot(time);
                let values = FutureValues { slot, offset, values: numbers.into() };
                if !engine.insert_future_values(task, &key, values) {
                    let refusal = Rejection::series_limit(&key, engine.stream(task).max_series);
                    self.letters.push((
                        offset,
                        timestamp,
                        Letter { refusal, key: Some(key.into_bytes()), payload: None },
                    ));
                }
            }
            Err(letter) => self.letters.push((offset, timestamp, letter)),
        }
    }
}
