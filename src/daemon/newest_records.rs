//! The newest records of a topic: whether they can be read, and values of some series.

use std::collections::BTreeMap;

use super::observation_scan::{ObservationScan, ScanVisitor, ScannedObservation};
use super::plan::StreamPlan;
use super::reading_order::ReadingOrder;
use super::split_series::WatchedSeries;
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
    /// Series that were found, as far as they are watched.
    pub series: usize,
    /// How many of these are in more than one partition.
    pub split: usize,
    /// One of those, and two of its partitions.
    pub split_example: Option<(String, [i32; 2])>,
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
    let grid = stream.engine.series.grid.clone();
    let (found, places, newest) = (BTreeMap::new(), WatchedSeries::default(), NewestRecords::default());
    let mut looked_at =
        LookedAt { grid, number: 0, judged_from: 0, series, found, places, order, newest, refused: None };
    for number in 0..broker.partitions(topic)?.unwrap_or(0) {
        let partition = Partition { topic: topic.into(), number };
        let (oldest, end) = (broker.offsets(&partition)?.start, stable_end(broker, &partition)?);
        let start = StartPosition::Offset((end - records).max(oldest));
        (looked_at.number, looked_at.judged_from) = (number, end - judged);
        let scan = ObservationScan { broker, stream, partition: &partition };
        scan.run(start, &|| Ok::<_, BrokerError>(()), &mut looked_at)?;
        let refused = looked_at.refused.take();
        looked_at.newest.refused = looked_at.newest.refused.or(refused);
    }
    let LookedAt { found, places, mut newest, .. } = looked_at;
    newest.series = places.count();
    newest.values = found.into_values().map(values_on_grid).collect();
    Ok(newest)
}

/// What is found in the partitions, one after the other.
struct LookedAt<'a> {
    grid: Grid,
    number: i32,
    /// From this offset on, records are judged.
    judged_from: i64,
    /// The most series whose values are kept.
    series: usize,
    /// By series: slots and values.
    found: BTreeMap<String, Vec<(i64, f64)>>,
    places: WatchedSeries,
    order: &'a mut ReadingOrder,
    newest: NewestRecords,
    refused: Option<RefusedRecord>,
}

impl ScanVisitor<BrokerError> for LookedAt<'_> {
    fn observation(&mut self, ScannedObservation { series, reading }: &ScannedObservation<'_>) {
        self.order.observe(series, reading);
        if let Some(partitions) = self.places.observe(series, self.number) {
            self.newest.split += 1;
            self.newest.split_example.get_or_insert_with(|| ((*series).to_owned(), partitions));
        }
        if self.found.contains_key(*series) || self.found.len() < self.series {
            self.found.entry((*series).to_owned()).or_default().push((self.grid.slot(reading.time), reading.value));
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
