//! The history of a stream's series, read from the input topics with the decoding and the grid of serving. It is read
//! once, and each round of training reads only what has arrived since.

use std::collections::BTreeMap;

use super::round_error::RoundError;
use super::sample::{Origin, SeriesSample, TrainingSet};
use crate::broker::{Broker, BrokerError, Partition, Record, StartPosition};
use crate::daemon::future_covariates::FutureCovariateHistory;
use crate::daemon::observation_scan::{ObservationScan, ScanVisitor, ScannedObservation};
use crate::daemon::plan::{StreamPlan, TrainingPlan};
use crate::daemon::restore::holds;
use crate::series::{FutureCovariateSpec, FutureCovariateTable};
use crate::wire::{Rejection, TopicFingerprint};

/// The history of one stream.
pub struct StreamHistory {
    sample: SeriesSample,
    partitions: BTreeMap<Origin, PartitionHistory>,
    /// The newest event time, in milliseconds since the Unix epoch.
    pub newest: Option<i64>,
}

/// What was read of one partition.
#[derive(Default)]
struct PartitionHistory {
    /// The next record to be read; `None` before the first round.
    next: Option<i64>,
    /// The newest record that was read.
    last_read: Option<TopicFingerprint>,
    covariates: FutureCovariateHistory,
    /// The future covariates of all series, where they have no keys.
    shared: FutureCovariateTable,
}

impl StreamHistory {
    /// Nothing is read yet.
    pub fn new(stream: &StreamPlan, training: &TrainingPlan) -> Self {
        Self { sample: SeriesSample::new(stream, training), partitions: BTreeMap::new(), newest: None }
    }

    /// Reads what has arrived since the last time; at first, the records of the last `training.history` milliseconds
    /// before `now`, by their timestamps. Drops what is older. `keep_on` is called before each read; where its error
    /// or another one ends the reading, the next call continues.
    ///
    /// # Errors
    /// The broker's, those of `keep_on`, or [`BrokerError::Rejected`] where the decoding contradicts itself.
    pub fn update(
        &mut self,
        broker: &dyn Broker,
        stream: &StreamPlan,
        training: &TrainingPlan,
        now: i64,
        keep_on: &dyn Fn() -> Result<(), RoundError>,
    ) -> Result<(), RoundError> {
        let since = now - training.history;
        self.sample.drop_before(since);
        for (index, topic) in stream.topics.iter().enumerate() {
            for number in 0..broker.partitions(topic)?.unwrap_or(0) {
                let (origin, partition) = ((index, number), Partition { topic: topic.as_str().into(), number });
                let history = self.partitions.entry(origin).or_default();
                if history.is_recreated(broker, &partition)? {
                    tracing::info!(
                        topic,
                        partition = number,
                        "the topic was deleted and recreated; training reads its history anew"
                    );
                    *history = PartitionHistory::default();
                    self.sample.drop_origin(origin);
                }
                let start = match history.next {
                    Some(next) => StartPosition::Offset(next),
                    None if since > 0 => StartPosition::Timestamp(since),
                    None => StartPosition::Earliest,
                };
                history.covariates.begin(broker, stream, &partition)?;
                let scan = ObservationScan { broker, stream, partition: &partition };
                let (sample, newest) = (&mut self.sample, &mut self.newest);
                let future = stream.engine.series.extra.future_covariates.clone();
                let mut reading = PartitionReading { origin, now, future, history, sample, newest, failed: None };
                let end = scan.run(start, keep_on, &mut reading)?;
                history.next = history.next.max(Some(end));
            }
        }
        Ok(())
    }

    /// What a training learns from. It shares the memory of the history: it should be dropped before the next update.
    pub fn training_set(&self) -> TrainingSet {
        self.sample.training_set()
    }

    /// Observations since the last call of series that are not in the sample.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.sample.left_out)
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        let partition = |history: &PartitionHistory| history.shared.heap_bytes() + history.covariates.bytes();
        self.sample.bytes() + self.partitions.values().map(partition).sum::<usize>()
    }
}

impl PartitionHistory {
    /// Whether the topic is another one than that which was read.
    fn is_recreated(&self, broker: &dyn Broker, partition: &Partition) -> Result<bool, BrokerError> {
        let Some(next) = self.next else { return Ok(false) };
        let range = broker.offsets(partition)?;
        match self.last_read {
            _ if range.end < next => Ok(true),
            Some(last) if range.end > next && last.offset >= range.start => Ok(!holds(broker, partition, last)?),
            _ => Ok(false),
        }
    }
}

/// Passes what a partition holds to the sample.
struct PartitionReading<'a> {
    origin: Origin,
    now: i64,
    future: FutureCovariateSpec,
    history: &'a mut PartitionHistory,
    sample: &'a mut SeriesSample,
    newest: &'a mut Option<i64>,
    /// Why future covariates cannot be read.
    failed: Option<BrokerError>,
}

impl ScanVisitor<RoundError> for PartitionReading<'_> {
    fn observation(&mut self, observation: &ScannedObservation<'_>) {
        let Self { origin, now, future, sample, .. } = self;
        let PartitionHistory { covariates, shared, .. } = &mut *self.history;
        let arrived = observation.reading.timestamp.unwrap_or(*now);
        let known = covariates.advance(observation.reading.timestamp, &mut |found| {
            if future.keyed {
                sample.insert_future_values(*origin, arrived, &found.key, found.values);
            } else {
                shared.insert(found.values, future.max_slots);
            }
        });
        self.failed = self.failed.take().or(known.err());
        *self.newest = (*self.newest).max(Some(observation.reading.time.0));
        sample.observe(*origin, arrived, observation, Some(shared));
    }

    fn record(&mut self, record: Record<'_>, _: Result<(), Rejection>) -> Result<(), RoundError> {
        self.history.next = Some(record.offset + 1);
        if let Some(timestamp) = record.timestamp {
            self.history.last_read = Some(TopicFingerprint { offset: record.offset, timestamp });
        }
        self.failed.take().map_or(Ok(()), |error| Err(error.into()))
    }
}
