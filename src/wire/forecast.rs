//! Forecasts to JSON (schema 1, `docs/forecast.schema.json`).

use crate::time::EventTime;

/// The version of the record's schema. Fields may be added under the same version; nothing else may change.
pub const SCHEMA: u32 = 1;

/// One forecast of one series, as it is written to the forecasts topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastRecord<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The series' key; also the record's key.
    pub series: &'a str,
    /// The time of the newest closed slot: the start of the slot on a regular grid, its time on an irregular one.
    pub origin: EventTime,
    /// The number of the newest closed slot.
    pub step: i64,
    /// The time of each horizon in milliseconds since the Unix epoch, `[horizon]`; `None` on an irregular grid.
    pub times: Option<&'a [i64]>,
    /// The value of the newest closed slot.
    pub value: f64,
    /// The point path, `[horizon]`.
    pub point: &'a [f64],
    /// The quantile levels, sorted, between 0 and 1.
    pub levels: &'a [f32],
    /// The quantiles, `[horizon][level]`.
    pub quantiles: &'a [f64],
    /// How unusual the value is; `None` while that cannot be said.
    pub anomaly: Option<f32>,
    /// The version of the weights that made the forecast.
    pub weights_version: u64,
    /// The input topic.
    pub topic: &'a str,
    /// The input partition.
    pub partition: i32,
    /// The offset of the record that closed the slot.
    pub offset: i64,
    /// The series' scale, positive: point and quantiles are rounded to about a ten-thousandth of it.
    pub scale: f64,
}

/// Writes forecasts. What it keeps between records changes no byte of them.
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encoder {
    /// An encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the record's JSON to `out`, replacing what it holds.
    pub fn encode(&mut self, record: &ForecastRecord<'_>, out: &mut Vec<u8>) {
        let _ = (record, out);
        unimplemented!("merged next")
    }
}
