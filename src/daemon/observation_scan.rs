//! A pass over the observations of one partition, decoded as in serving.

use std::time::Duration;

use super::plan::StreamPlan;
use crate::broker::{Broker, BrokerError, Partition, Record, StartPosition, stable_end};
use crate::engine::RecordClock;
use crate::series::Reading;
use crate::wire::{Decoded, Decoder, Rejection};

/// The most records of one read.
const READ_RECORDS: usize = 10_000;
/// How long one read waits for records.
const READ_WAIT: Duration = Duration::from_millis(200);

/// An observation of a record.
#[derive(Debug, Clone, Copy)]
pub struct ScannedObservation<'a> {
    /// The key of its series.
    pub series: &'a str,
    pub reading: Reading<'a>,
}

/// What a scan passes what it finds to.
pub trait ScanVisitor<E> {
    /// Visits an observation. Records that serving rejects have none, or not all.
    fn observation(&mut self, observation: &ScannedObservation<'_>);

    /// Visits a record after its observations, with what its decoding came to. An error ends the scan.
    fn record(&mut self, _record: Record<'_>, _decoded: Result<(), Rejection>) -> Result<(), E> {
        Ok(())
    }
}

/// A pass over the observations of one partition.
pub struct ObservationScan<'a> {
    pub broker: &'a dyn Broker,
    pub stream: &'a StreamPlan,
    pub partition: &'a Partition,
}

impl ObservationScan<'_> {
    /// Reads up to the last stable offset when the scan begins, and returns it: what is behind an open transaction is
    /// not waited for. `keep_on` is called before each read; an error of it ends the scan.
    ///
    /// # Errors
    /// The broker's, those of the visitor and of `keep_on`, or [`BrokerError::Rejected`] where the decoding
    /// contradicts itself.
    pub fn run<E: From<BrokerError>>(
        &self,
        start: StartPosition,
        keep_on: &dyn Fn() -> Result<(), E>,
        visitor: &mut impl ScanVisitor<E>,
    ) -> Result<i64, E> {
        let mut decoder =
            Decoder::new(self.stream.decode.clone()).map_err(|error| BrokerError::Rejected(error.to_string()))?;
        let end = stable_end(self.broker, self.partition)?;
        if matches!(start, StartPosition::Offset(offset) if offset >= end) {
            return Ok(end);
        }
        let mut reader = self.broker.reader(self.partition, start)?;
        let spec = &self.stream.engine.series;
        let mut clock = RecordClock::default();
        while !reader.has_reached(end)? {
            keep_on()?;
            let Some(batch) = reader.read(READ_WAIT, READ_RECORDS)? else { continue };
            for record in batch.iter().filter(|record| record.offset < end) {
                let timestamp = record.timestamp;
                let mut visit = |decoded: Decoded<'_>| {
                    let Decoded::Observation { series, time, timestamp, value, covariates, .. } = decoded else {
                        return;
                    };
                    let partition_time = clock.observe(spec, record.offset, series, time.no_later_than(timestamp));
                    let reading = Reading { time, timestamp, value, partition_time, past_covariates: covariates };
                    visitor.observation(&ScannedObservation { series, reading });
                };
                // A record without a value has no observation.
                let decoded = match record.payload {
                    None => decoder.decode(record.key, timestamp, None, &mut |_, _, _, _| {}),
                    payload => decoder.decode_record(record.key, timestamp, payload, &mut visit),
                };
                visitor.record(record, decoded)?;
            }
        }
        Ok(end)
    }
}
