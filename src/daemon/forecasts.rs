//! The rows of an epoch as forecast records.

use super::commit::horizon_times;
use crate::{
    engine::{Engine, Epoch, ForecastRow, TaskHandle},
    time::Grid,
    wire::{Encoder, ForecastRecord},
};

/// Encodes forecasts; keeps what many of them share.
#[derive(Debug, Default)]
pub struct ForecastWriter {
    encoder: Encoder,
    times: Vec<i64>,
    times_of: Option<(TaskHandle, i64)>,
}

impl ForecastWriter {
    /// Writes the record of `row` to `out`, which is emptied first.
    pub fn write(&mut self, engine: &Engine, epoch: &Epoch, row: &ForecastRow, out: &mut Vec<u8>) {
        let id = engine.id(row.task);
        let spec = engine.stream(row.task);
        let (grid, horizon, levels) = (spec.series.grid, spec.forecast.horizon, &spec.forecast.levels);
        if self.times_of != Some((row.task, row.slot)) {
            horizon_times(grid, row.slot, horizon, &mut self.times);
            self.times_of = Some((row.task, row.slot));
        }
        out.clear();
        let record = ForecastRecord {
            stream: &id.stream,
            series: engine.key(row.task, row.series),
            origin: row.origin,
            step: row.slot,
            times: matches!(grid, Grid::Regular { .. }).then_some(&self.times),
            value: row.value,
            point: &epoch.points[row.point..row.point + horizon],
            levels,
            quantiles: &epoch.quantiles[row.quantile..row.quantile + horizon * levels.len()],
            anomaly: row.anomaly,
            weights_version: row.weights_version,
            topic: &id.topic,
            partition: id.partition,
            offset: row.offset,
            scale: row.scale,
        };
        self.encoder.encode(&record, out);
    }
}
