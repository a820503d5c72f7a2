//! Reading history back from the input topics, through the same decoding and the same grid as serving.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    known::{Numbers, Teller, Told},
    plan::{StreamPlan, TrainingPlan},
};
use crate::{
    broker::{Broker, BrokerError, Partition, Reader, StartPosition},
    series::{FutureCovariateSpec, FutureCovariateTable, FutureValues, ScaleEstimate, values_on_grid},
    time::{EventTime, Grid},
    train::{SequenceBuilder, TrainingSequence},
    wire::Decoder,
};

/// Records read at a time.
const READ_RECORDS: usize = 10_000;
/// How long to wait for the next records.
const READ_WAIT: Duration = Duration::from_millis(200);

/// The history of a stream's series.
#[derive(Debug, Default)]
pub struct History {
    /// One lane for each series whose history is long enough.
    pub lanes: Vec<TrainingSequence>,
    /// How large the values of each are.
    pub sizes: Vec<ScaleEstimate>,
    /// Steps of all lanes together.
    pub steps: usize,
    /// Steps of the longest series, long enough or not.
    pub longest: usize,
    /// Observations of series that there was no room for.
    pub left_out: u64,
    /// The newest event time, in milliseconds since the Unix epoch.
    pub newest: Option<i64>,
}

/// Reads the records of the last `training.history` milliseconds (by the records' timestamps) up to now, or until
/// `stopped`.
///
/// # Errors
/// What the broker answers, or a decoding that contradicts itself.
pub fn read(
    broker: &dyn Broker,
    stream: &StreamPlan,
    training: &TrainingPlan,
    now: i64,
    stopped: &dyn Fn() -> bool,
) -> Result<History, BrokerError> {
    let mut history = History::default();
    for topic in &stream.topics {
        for number in 0..broker.partitions(topic)?.unwrap_or(0) {
            let partition = Partition { topic: topic.as_str().into(), number };
            let room = training.max_series.saturating_sub(history.lanes.len());
            let mut builders: BTreeMap<String, SequenceBuilder> = BTreeMap::new();
            let mut foreseen = Foreseen::open(broker, stream, number, stopped)?;
            let since = now - training.history;
            let from = if since > 0 { StartPosition::Timestamp(since) } else { StartPosition::Earliest };
            scan(broker, stream, &partition, from, stopped, &mut |timestamp, series, time, value, covariates| {
                let outlook = foreseen.by(timestamp, series);
                history.newest = history.newest.max(Some(time.0));
                if let Some(builder) = builders.get_mut(series) {
                    builder.observe(time, value, covariates, outlook);
                } else if builders.len() < room {
                    let (spec, network) = (stream.engine.series.clone(), &stream.engine.network);
                    let mut builder = SequenceBuilder::new(spec, network, training.max_steps_per_series);
                    builder.observe(time, value, covariates, outlook);
                    builders.insert(series.to_owned(), builder);
                } else {
                    history.left_out += 1;
                }
            })?;
            foreseen.trouble.take().map_or(Ok(()), Err)?;
            let long_enough = |builder: &&SequenceBuilder| builder.len() >= training.min_steps;
            history.lanes.extend(builders.values().filter(long_enough).map(SequenceBuilder::to_sequence));
            history.sizes.extend(builders.values().filter(long_enough).filter_map(SequenceBuilder::scale_estimate));
            history.steps += builders.values().filter(long_enough).map(SequenceBuilder::len).sum::<usize>();
            history.longest = history.longest.max(builders.values().map(SequenceBuilder::len).max().unwrap_or(0));
        }
    }
    Ok(history)
}

/// The newest values of some series of a stream, each laid out by [`values_on_grid`], from the last `records` records
/// of each partition of its first topic, at most `series` of them.
///
/// # Errors
/// As [`read`].
pub fn newest_values(
    broker: &dyn Broker,
    stream: &StreamPlan,
    records: i64,
    series: usize,
) -> Result<Vec<Vec<f64>>, BrokerError> {
    let mut found: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for topic in stream.topics.iter().take(1) {
        for number in 0..broker.partitions(topic)?.unwrap_or(0) {
            let partition = Partition { topic: topic.as_str().into(), number };
            let offsets = broker.offsets(&partition)?;
            let (begin, end) = (offsets.start, offsets.end);
            let from = StartPosition::Offset((end - records).max(begin));
            scan(broker, stream, &partition, from, &|| false, &mut |_, name, time, value, _| {
                if found.contains_key(name) || found.len() < series {
                    found.entry(name.to_owned()).or_default().push((stream.engine.series.grid.slot(time), value));
                }
            })?;
        }
    }
    Ok(found.into_values().map(values_on_grid).collect())
}

/// Visits the observations of a partition's records, each with its record's timestamp, from a place on to its end, or until
/// `stopped`.
fn scan(
    broker: &dyn Broker,
    stream: &StreamPlan,
    partition: &Partition,
    from: StartPosition,
    stopped: &dyn Fn() -> bool,
    visit: &mut impl FnMut(Option<i64>, &str, EventTime, f64, &[f64]),
) -> Result<(), BrokerError> {
    let mut decoder = Decoder::new(stream.decode.clone()).map_err(|error| BrokerError::Rejected(error.to_string()))?;
    let end = broker.offsets(partition)?.end;
    let mut reader = broker.reader(partition, from)?;
    while !stopped() && !reader.has_reached(end)? {
        let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
        for record in batch.iter().filter(|record| record.offset < end) {
            // What serving refuses is not learnt from either.
            let mut visit = |series: &str, time, value, covariates: &[f64]| {
                visit(record.timestamp, series, time, value, covariates);
            };
            let _refused = decoder.decode(record.key, record.timestamp, record.payload, &mut visit);
        }
    }
    Ok(())
}

/// What was told in advance by the time of each record, by the timestamps of both. The second topic is read beside the
/// first, so that little of it waits.
struct Foreseen<'a> {
    known: FutureCovariateSpec,
    grid: Grid,
    most_keys: usize,
    source: Option<Source>,
    stopped: &'a dyn Fn() -> bool,
    told: VecDeque<Told>,
    by_key: BTreeMap<String, FutureCovariateTable>,
    /// Why reading has ended before its time.
    trouble: Option<BrokerError>,
}

/// A partition of the second topic, up to where it ended at first.
struct Source {
    reader: Box<dyn Reader>,
    teller: Teller,
    end: i64,
}

impl Source {
    fn read(&mut self, stopped: &dyn Fn() -> bool) -> Result<Option<Vec<Told>>, BrokerError> {
        while !stopped() && !self.reader.has_reached(self.end)? {
            let Some(batch) = self.reader.read(READ_WAIT, READ_RECORDS)? else { continue };
            let before = batch.iter().filter(|record| record.offset < self.end);
            return Ok(Some(before.map(|record| self.teller.told(record)).collect()));
        }
        Ok(None)
    }
}

impl<'a> Foreseen<'a> {
    /// Opens what the second topic tells of a partition; nothing where there is no such topic.
    fn open(
        broker: &dyn Broker,
        stream: &StreamPlan,
        number: i32,
        stopped: &'a dyn Fn() -> bool,
    ) -> Result<Self, BrokerError> {
        let mut foreseen = Self {
            known: stream.engine.series.extra.future_covariates.clone(),
            grid: stream.engine.series.grid,
            most_keys: stream.engine.max_series,
            source: None,
            stopped,
            told: VecDeque::new(),
            by_key: BTreeMap::new(),
            trouble: None,
        };
        if let Some(plan) = &stream.future_covariates {
            let teller = Teller::new(plan).map_err(|error| BrokerError::Rejected(error.to_string()))?;
            let partition = Partition { topic: plan.topic.as_str().into(), number };
            let end = broker.offsets(&partition)?.end;
            foreseen.source = Some(Source { reader: broker.reader(&partition, StartPosition::Earliest)?, teller, end });
        }
        Ok(foreseen)
    }

    /// What is told of a series by the time of a record.
    fn by(&mut self, timestamp: Option<i64>, series: &str) -> Option<&FutureCovariateTable> {
        let later = |told: &Told| told.timestamp.zip(timestamp).is_some_and(|(told, now)| told > now);
        while self.told.front().map_or_else(|| self.source.is_some(), |told| !later(told)) {
            if self.told.is_empty() {
                self.read_on();
                continue;
            }
            let Some(Told { offset, what: Ok(Numbers { key, time, numbers }), .. }) = self.told.pop_front() else {
                continue;
            };
            if self.by_key.len() < self.most_keys || self.by_key.contains_key(&key) {
                let outlook = self.by_key.entry(key).or_default();
                let values = FutureValues { slot: self.grid.slot(time), offset, values: numbers.into() };
                outlook.insert(values, self.known.max_slots);
            }
        }
        self.by_key.get(self.known.key_of(series))
    }

    /// Reads more of the second topic, if there is more.
    fn read_on(&mut self) {
        match self.source.as_mut().map(|source| source.read(self.stopped)) {
            Some(Ok(Some(told))) => self.told.extend(told),
            end => {
                self.source = None;
                self.trouble = end.and_then(Result::err);
            }
        }
    }
}
