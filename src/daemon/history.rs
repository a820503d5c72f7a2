//! Reading history back from the input topics, through the same decoding and the same grid as serving.

use std::{collections::BTreeMap, time::Duration};

use super::plan::{StreamPlan, TrainingPlan};
use crate::{
    broker::{Broker, BrokerError, From, Partition},
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
    /// Steps of all lanes together.
    pub steps: usize,
    /// Steps of the longest series, long enough or not.
    pub longest: usize,
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
    let mut decoder = Decoder::new(stream.decode.clone()).map_err(|error| BrokerError::Refused(error.to_string()))?;
    let mut history = History::default();
    for topic in &stream.topics {
        for number in 0..broker.partitions(topic)?.unwrap_or(0) {
            let partition = Partition { topic: topic.as_str().into(), number };
            let room = training.max_series.saturating_sub(history.lanes.len());
            let mut builders: BTreeMap<String, LaneBuilder> = BTreeMap::new();
            let (_, end) = broker.offsets(&partition)?;
            let since = now - training.history;
            let from = if since > 0 { From::Time(since) } else { From::Beginning };
            let mut reader = broker.reader(&partition, from)?;
            while !stopped() && !reader.reached(end)? {
                let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
                for record in batch.iter().filter(|record| record.offset < end) {
                    // What serving refuses is not learnt from either.
                    let _refused = decoder.decode(
                        record.key,
                        record.timestamp,
                        record.payload,
                        &mut |series: &str, time, value, covariates| {
                            history.newest = history.newest.max(Some(time.0));
                            if let Some(builder) = builders.get_mut(series) {
                                builder.observe(time, value, covariates);
                            } else if builders.len() < room {
                                let (spec, network) = (stream.engine.series.clone(), &stream.engine.network);
                                let mut builder = LaneBuilder::new(spec, network, training.max_steps_per_series);
                                builder.observe(time, value, covariates);
                                builders.insert(series.to_owned(), builder);
                            }
                        },
                    );
                }
            }
            let long_enough = |builder: &&LaneBuilder| builder.len() >= training.min_steps;
            history.lanes.extend(builders.values().filter(long_enough).map(LaneBuilder::lane));
            history.steps += builders.values().filter(long_enough).map(LaneBuilder::len).sum::<usize>();
            history.longest = history.longest.max(builders.values().map(LaneBuilder::len).max().unwrap_or(0));
        }
    }
    Ok(history)
}
