//! Reading history back from the input topics, through the same decoding and the same grid as serving.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::plan::{StreamPlan, TrainingPlan};
use crate::{
    broker::{Broker, BrokerError, From, Partition},
    forecast::{ForecastSpec, Prior},
    series::{Size, newest_steps},
    time::EventTime,
    train::{Lane, LaneBuilder},
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
    pub lanes: Vec<Lane>,
    /// How large the values of each are.
    pub sizes: Vec<Size>,
    /// Steps of all lanes together.
    pub steps: usize,
    /// Steps of the longest series, long enough or not.
    pub longest: usize,
    /// The newest event time, in milliseconds since the Unix epoch.
    pub newest: Option<i64>,
}

impl History {
    /// Where a new series begins, as far as these tell.
    pub fn prior(&self, forecast: &ForecastSpec) -> Option<Arc<Prior>> {
        let targets: Vec<&[f32]> = self.lanes.iter().map(|lane| lane.targets.as_slice()).collect();
        Prior::pool(forecast, &self.sizes, &targets).map(Arc::new)
    }
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
            let mut builders: BTreeMap<String, LaneBuilder> = BTreeMap::new();
            let since = now - training.history;
            let from = if since > 0 { From::Time(since) } else { From::Beginning };
            scan(broker, stream, &partition, from, stopped, &mut |series, time, value, covariates| {
                history.newest = history.newest.max(Some(time.0));
                if let Some(builder) = builders.get_mut(series) {
                    builder.observe(time, value, covariates);
                } else if builders.len() < room {
                    let (spec, network) = (stream.engine.series.clone(), &stream.engine.network);
                    let mut builder = LaneBuilder::new(spec, network, training.max_steps_per_series);
                    builder.observe(time, value, covariates);
                    builders.insert(series.to_owned(), builder);
                }
            })?;
            let long_enough = |builder: &&LaneBuilder| builder.len() >= training.min_steps;
            history.lanes.extend(builders.values().filter(long_enough).map(LaneBuilder::lane));
            history.sizes.extend(builders.values().filter(long_enough).filter_map(LaneBuilder::size));
            history.steps += builders.values().filter(long_enough).map(LaneBuilder::len).sum::<usize>();
            history.longest = history.longest.max(builders.values().map(LaneBuilder::len).max().unwrap_or(0));
        }
    }
    Ok(history)
}

/// The newest values of some series of a stream, each laid out by [`newest_steps`], from the last `records` records
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
            let (begin, end) = broker.offsets(&partition)?;
            let from = From::Offset((end - records).max(begin));
            scan(broker, stream, &partition, from, &|| false, &mut |name, time, value, _| {
                if found.contains_key(name) || found.len() < series {
                    found.entry(name.to_owned()).or_default().push((stream.engine.series.grid.slot(time), value));
                }
            })?;
        }
    }
    Ok(found.into_values().map(newest_steps).collect())
}

/// Visits the observations of a partition's records from a place on to its end, or until `stopped`.
fn scan(
    broker: &dyn Broker,
    stream: &StreamPlan,
    partition: &Partition,
    from: From,
    stopped: &dyn Fn() -> bool,
    visit: &mut impl FnMut(&str, EventTime, f64, &[f64]),
) -> Result<(), BrokerError> {
    let mut decoder = Decoder::new(stream.decode.clone()).map_err(|error| BrokerError::Refused(error.to_string()))?;
    let (_, end) = broker.offsets(partition)?;
    let mut reader = broker.reader(partition, from)?;
    while !stopped() && !reader.reached(end)? {
        let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
        for record in batch.iter().filter(|record| record.offset < end) {
            // What serving refuses is not learnt from either.
            let _refused = decoder.decode(record.key, record.timestamp, record.payload, visit);
        }
    }
    Ok(())
}
