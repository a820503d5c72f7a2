//! The newest records of a topic: whether they can be read, and values of some series.

use std::collections::BTreeMap;

use super::observation_scan::{ObservationScan, ScanVisitor, ScannedObservation};
use super::plan::StreamPlan;
use crate::broker::{Broker, BrokerError, Partition, Record, StartPosition, stable_end};
use crate::series::values_on_grid;
use crate::time::Grid;
use crate::wire::{Rejection, sample};

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
/// of the newest `judged` records of each partition can be read.
pub fn newest_records(
    broker: &dyn Broker,
    stream: &StreamPlan,
    topic: &str,
    (records, judged): (i64, i64),
    series: usize,
) -> Result<NewestRecords, BrokerError> {
    let mut found: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    let mut newest = NewestRecords::default();
    for number in 0..broker.partitions(topic)?.unwrap_or(0) {
        let partition = Partition { topic: topic.into(), number };
        let (oldest, end) = (broker.offsets(&partition)?.start, stable_end(broker, &partition)?);
        let start = StartPosition::Offset((end - records).max(oldest));
        let grid = stream.engine.series.grid;
        let judged_from = end - judged;
        let mut looked_at = LookedAt { grid, number, judged_from, series, found, newest, refused: None };
        let scan = ObservationScan { broker, stream, partition: &partition };
        scan.run(start, &|| Ok::<_, BrokerError>(()), &mut looked_at)?;
        (found, newest) = (looked_at.found, looked_at.newest);
        newest.refused = newest.refused.or(looked_at.refused);
    }
    newest.values = found.into_values().map(values_on_grid).collect();
    Ok(newest)
}

/// What is found in a partition, after what was found in those before it.
struct LookedAt {
    grid: Grid,
    number: i32,
    /// From this offset on, records are judged.
    judged_from: i64,
    /// The most series whose values are kept.
    series: usize,
    /// By series: slots and values.
    found: BTreeMap<String, Vec<(i64, f64)>>,
    newest: NewestRecords,
    refused: Option<RefusedRecord>,
}

impl ScanVisitor<BrokerError> for LookedAt {
    fn observation(&mut self, ScannedObservation { series, time, value, .. }: &ScannedObservation<'_>) {
        if self.found.contains_key(*series) || self.found.len() < self.series {
            self.found.entry((*series).to_owned()).or_default().push((self.grid.slot(*time), *value));
        }
    }

    fn record(&mut self, record: Record<'_>, decoded: Result<(), Rejection>) -> Result<(), BrokerError> {
        if record.offset < self.judged_from {
            return Ok(());
        }
        match decoded {
            Err(rejection) if rejection.reason.is_refusal() => {
                let (offset, sample) = (record.offset, sample(record.payload));
                self.refused = Some(RefusedRecord { partition: self.number, offset, sample, rejection });
            }
            Err(_) => return Ok(()),
            Ok(()) => self.newest.readable += 1,
        }
        self.newest.records += 1;
        Ok(())
    }
}
