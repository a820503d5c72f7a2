//! Encodes the forecasts of a transaction as records.

use crate::engine::{Engine, ForecastRow, StreamSpec, TaskHandle, Transaction};
use crate::time::{EventTime, Grid};
use crate::wire::{CopyOrigin, ForecastEncoder, ForecastRecord, HorizonAggregate, ThresholdCrossing};

/// Typical bytes of the time, and of each number, of one step of a forecast record.
const STEP_BYTES: [u64; 2] = [14, 10];
/// Typical bytes of a forecast record beyond its steps.
const RECORD_BYTES: u64 = 500;

/// About how many bytes a forecast record of `stream` has: a time, a mean and the quantiles for each output.
pub fn forecast_bytes(stream: &StreamSpec) -> u64 {
    let [time, number] = STEP_BYTES;
    let numbers = stream.forecast.levels.len() as u64 + 1;
    RECORD_BYTES + stream.forecast.outputs() as u64 * (time + numbers * number)
}

/// The times that a forecast is for. Many rows of a transaction share them.
#[derive(Debug, Default)]
pub struct ForecastTimes {
    times: Vec<i64>,
    of: Option<(TaskHandle, i64)>,
}

impl ForecastTimes {
    /// The labels of the slots that `row` forecasts, in milliseconds since the Unix epoch: in the daemon, their starts.
    /// Of an aggregate, that of the horizon's last slot. Empty on an irregular grid.
    pub fn of(&mut self, engine: &Engine, row: &ForecastRow) -> &[i64] {
        if self.of != Some((row.task, row.slot)) {
            let spec = engine.stream(row.task);
            self.times.clear();
            if spec.series.grid != Grid::Irregular {
                let slots = (row.slot..).skip(*spec.forecast.leads().start()).take(spec.forecast.outputs());
                let labels = slots.map(|slot| spec.series.grid.label(slot));
                self.times.extend(labels.map(|EventTime(label)| label));
            }
            self.of = Some((row.task, row.slot));
        }
        &self.times
    }
}

/// Encodes forecasts, and reuses what many of them share.
#[derive(Debug, Default)]
pub struct ForecastWriter {
    encoder: ForecastEncoder,
    times: ForecastTimes,
}

impl ForecastWriter {
    /// Writes the record of `row` to `out`, which is cleared first. `copied` is the record that the input of the row is
    /// a copy of, if it is one.
    pub fn write(
        &mut self,
        engine: &Engine,
        output: &Transaction,
        row: &ForecastRow,
        copied: Option<CopyOrigin<'_>>,
        out: &mut Vec<u8>,
    ) {
        let id = engine.id(row.task);
        let spec = engine.stream(row.task);
        let (forecast, outputs) = (&spec.forecast, spec.forecast.outputs());
        let times = self.times.of(engine, row);
        out.clear();
        let read = CopyOrigin { topic: &id.topic, partition: id.partition, offset: row.offset };
        let CopyOrigin { topic, partition, offset } = copied.unwrap_or(read);
        let record = ForecastRecord {
            stream: &id.stream,
            series: engine.key(row.task, row.series),
            origin: row.origin,
            step: row.slot,
            times: (spec.series.grid != Grid::Irregular).then_some(times),
            value: row.value,
            absent: row.absent,
            point: &output.points[row.point..row.point + outputs],
            levels: &forecast.levels,
            quantiles: &output.quantiles[row.quantile..row.quantile + outputs * forecast.levels.len()],
            anomaly: row.anomaly.map(|anomaly| anomaly.score),
            anomalous: row.anomaly.map(|anomaly| anomaly.anomalous),
            aggregate: forecast.target.map(|target| HorizonAggregate {
                of: target.name(),
                steps: forecast.horizon,
                crossing: forecast
                    .threshold
                    .zip(row.crossing)
                    .map(|(threshold, probability)| ThresholdCrossing { threshold, probability }),
            }),
            weights_version: row.weights_version,
            topic,
            partition,
            offset,
            scale: row.scale,
            bounds: row.bounds.range(),
        };
        self.encoder.encode(&record, out);
    }
}
