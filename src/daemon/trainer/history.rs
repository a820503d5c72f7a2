//! Reads training history back from the input topics, with the decoding and the grid of serving.

use std::{collections::BTreeMap, time::Duration};

use crate::broker::{Broker, BrokerError, Partition, Record, StartPosition, stable_end};
use crate::daemon::future_covariates::FutureCovariateHistory;
use crate::daemon::plan::{StreamPlan, TrainingPlan};
use crate::daemon::reading_order::ReadingOrder;
use crate::daemon::split_series::WATCHED_SERIES;
use crate::series::{Reading, ScaleEstimate, values_on_grid};
use crate::time::EventTime;
use crate::train::{SequenceBuilder, TrainingSequence};
use crate::wire::{Decoder, Rejection, sample};

/// The most records of one read.
const READ_RECORDS: usize = 10_000;
/// How long one read waits for records.
const READ_WAIT: Duration = Duration::from_millis(200);

/// The history of a stream's series.
#[derive(Debug, Default)]
pub struct History {
    /// One sequence of each series whose history is long enough.
    pub sequences: Vec<TrainingSequence>,
    /// The scale of each sequence.
    pub scales: Vec<ScaleEstimate>,
    /// Steps of all sequences together.
    pub steps: usize,
    /// Steps of the longest series, long enough or not.
    pub longest: usize,
    /// Observations of series beyond `training.max_series`.
    pub left_out: u64,
    /// The newest event time, in milliseconds since the Unix epoch.
    pub newest: Option<i64>,
}

/// Reads the records of the last `training.history` milliseconds before `now`, by the records' timestamps, or until
/// `stopped`.
///
/// # Errors
/// The broker's, or [`BrokerError::Rejected`] where the decoding contradicts itself.
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
            let room = training.max_series.saturating_sub(history.sequences.len());
            let mut builders: BTreeMap<String, SequenceBuilder> = BTreeMap::new();
            let mut covariates = FutureCovariateHistory::open(broker, stream, &partition, stopped)?;
            let since = now - training.history;
            let start = if since > 0 { StartPosition::Timestamp(since) } else { StartPosition::Earliest };
            let scan = Scan { broker, stream, partition: &partition, stopped };
            scan.run(start, &mut |timestamp, series, time, value, past_covariates| {
                let future_covariates = covariates.as_of(timestamp, series);
                let reading = Reading { time, timestamp, value, past_covariates };
                history.newest = history.newest.max(Some(time.0));
                if let Some(builder) = builders.get_mut(series) {
                    builder.observe(&reading, future_covariates);
                } else if builders.len() < room {
                    let (spec, network) = (stream.engine.series.clone(), &stream.engine.network);
                    let mut builder = SequenceBuilder::new(spec, network, training.max_steps_per_series);
                    builder.observe(&reading, future_covariates);
                    builders.insert(series.to_owned(), builder);
                } else {
                    history.left_out += 1;
                }
            })?;
            covariates.finish()?;
            history.longest = history.longest.max(builders.values().map(SequenceBuilder::len).max().unwrap_or(0));
            builders.retain(|_, builder| builder.len() >= training.min_steps);
            history.sequences.extend(builders.values().map(SequenceBuilder::to_sequence));
            history.scales.extend(builders.values().filter_map(SequenceBuilder::scale_estimate));
            history.steps += builders.values().map(SequenceBuilder::len).sum::<usize>();
        }
    }
    Ok(history)
}

/// The newest records of a topic.
#[derive(Debug, Default)]
pub struct NewestRecords {
    /// The values of some series, each on the grid (see [`values_on_grid`]).
    pub values: Vec<Vec<f64>>,
    /// How many of the newest records of all partitions were looked at.
    pub records: u64,
    /// How many of these can be read. Deletions count neither here nor there.
    pub readable: u64,
    /// The newest of those that cannot be read.
    pub refused: Option<RefusedRecord>,
    /// Series that were found: the first [`WATCHED_SERIES`] of them.
    pub series: usize,
    /// How many of these are in more than one partition.
    pub split: usize,
    /// One of those, and two of its partitions.
    pub split_example: Option<(String, [i32; 2])>,
}

/// Where a series was first found.
struct Place {
    partition: i32,
    /// Whether it was found in another partition, too.
    is_split: bool,
}

/// A record that cannot be read.
#[derive(Debug)]
pub struct RefusedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The beginning of its value.
    pub sample: String,
    /// Why it cannot be read.
    pub rejection: Rejection,
}

/// The last `records` records of each partition of a topic of `stream`: values of at most `series` series, and how many
/// of the newest `judged` records of each partition can be read. All of them are added to `order`.
pub fn newest_records(
    broker: &dyn Broker,
    stream: &StreamPlan,
    topic: &str,
    (records, judged): (i64, i64),
    series: usize,
    order: &mut ReadingOrder,
) -> Result<NewestRecords, BrokerError> {
    let mut found: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    let mut newest = NewestRecords::default();
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for number in 0..broker.partitions(topic)?.unwrap_or(0) {
        let partition = Partition { topic: topic.into(), number };
        let (oldest, end) = (broker.offsets(&partition)?.start, stable_end(broker, &partition)?);
        let start = StartPosition::Offset((end - records).max(oldest));
        let scan = Scan { broker, stream, partition: &partition, stopped: &|| false };
        let mut refused = None;
        scan.run_records(
            start,
            &mut |timestamp, name, time, value, _| {
                order.observe(name, &Reading { timestamp, ..Reading::new(time, value) });
                let room = places.len() < WATCHED_SERIES;
                match places.get_mut(name) {
                    Some(place) if place.partition != number && !place.is_split => {
                        place.is_split = true;
                        newest.split += 1;
                        let example = || (name.to_owned(), [place.partition, number]);
                        newest.split_example.get_or_insert_with(example);
                    }
                    Some(_) => {}
                    None if room => {
                        places.insert(name.to_owned(), Place { partition: number, is_split: false });
                    }
                    None => {}
                }
                if found.contains_key(name) || found.len() < series {
                    found.entry(name.to_owned()).or_default().push((stream.engine.series.grid.slot(time), value));
                }
            },
            &mut |record, decoded| {
                if record.offset < end - judged {
                    return;
                }
                match decoded {
                    Err(rejection) if rejection.reason.is_refusal() => {
                        let (offset, sample) = (record.offset, sample(record.payload));
                        refused = Some(RefusedRecord { partition: number, offset, sample, rejection });
                    }
                    Err(_) => return,
                    Ok(()) => newest.readable += 1,
                }
                newest.records += 1;
            },
        )?;
        newest.refused = newest.refused.or(refused);
    }
    newest.series = places.len();
    newest.values = found.into_values().map(values_on_grid).collect();
    Ok(newest)
}

/// A pass over the observations of one partition, up to the last stable offset when the pass begins: what is behind an
/// open transaction is not waited for.
struct Scan<'a> {
    broker: &'a dyn Broker,
    stream: &'a StreamPlan,
    partition: &'a Partition,
    stopped: &'a dyn Fn() -> bool,
}

impl Scan<'_> {
    /// Visits each observation: its record's timestamp, series, time, value, past covariates. Records that serving
    /// rejects are not learnt from either.
    fn run(
        &self,
        start: StartPosition,
        visit: &mut impl FnMut(Option<i64>, &str, EventTime, f64, &[f64]),
    ) -> Result<(), BrokerError> {
        self.run_records(start, visit, &mut |_, _| {})
    }

    /// [`Self::run`], and visits each record after its observations, with what its decoding came to.
    fn run_records(
        &self,
        start: StartPosition,
        visit: &mut impl FnMut(Option<i64>, &str, EventTime, f64, &[f64]),
        visit_record: &mut impl FnMut(Record<'_>, Result<(), Rejection>),
    ) -> Result<(), BrokerError> {
        let mut decoder =
            Decoder::new(self.stream.decode.clone()).map_err(|error| BrokerError::Rejected(error.to_string()))?;
        let end = stable_end(self.broker, self.partition)?;
        let mut reader = self.broker.reader(self.partition, start)?;
        while !(self.stopped)() && !reader.has_reached(end)? {
            let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
            for record in batch.iter().filter(|record| record.offset < end) {
                let mut visit = |series: &str, time, value, covariates: &[f64]| {
                    visit(record.timestamp, series, time, value, covariates);
                };
                let decoded = decoder.decode(record.key, record.timestamp, record.payload, &mut visit);
                visit_record(record, decoded);
            }
        }
        Ok(())
    }
}
