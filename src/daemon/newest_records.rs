//! The newest records of a topic: whether they can be read, and values of some series.

use std::collections::BTreeMap;

use super::observation_scan::{ObservationScan, ScanVisitor, ScannedObservation};
use super::plan::StreamPlan;
use super::reading_order::ReadingOrder;
use super::split_series::WATCHED_SERIES;
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
    let grid = stream.engine.series.grid;
    let (found, places, newest) = (BTreeMap::new(), BTreeMap::new(), NewestRecords::default());
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
    newest.series = places.len();
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
    /// By series.
    places: BTreeMap<String, Place>,
    order: &'a mut ReadingOrder,
    newest: NewestRecords,
    refused: Option<RefusedRecord>,
}

impl LookedAt<'_> {
    /// Notes that a series is in this partition.
    fn place(&mut self, series: &str) {
        let room = self.places.len() < WATCHED_SERIES;
        match self.places.get_mut(series) {
            Some(place) if place.partition != self.number && !place.is_split => {
                place.is_split = true;
                self.newest.split += 1;
                let example = || (series.to_owned(), [place.partition, self.number]);
                self.newest.split_example.get_or_insert_with(example);
            }
            None if room => {
                self.places.insert(series.to_owned(), Place { partition: self.number, is_split: false });
            }
            _ => {}
        }
    }
}

impl ScanVisitor<BrokerError> for LookedAt<'_> {
    fn observation(&mut self, ScannedObservation { series, reading }: &ScannedObservation<'_>) {
        self.order.observe(series, reading);
        self.place(series);
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
