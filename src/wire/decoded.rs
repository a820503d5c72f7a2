//! What a record holds, decoded.

use crate::time::EventTime;

/// What a record holds.
#[derive(Debug, Clone, Copy)]
pub enum Decoded<'a> {
    /// An observation.
    Observation {
        /// The name of its series.
        series: &'a str,
        /// The event time.
        time: EventTime,
        /// The timestamp of the record that it was first read from, in milliseconds since the Unix epoch.
        timestamp: Option<i64>,
        /// The value.
        value: f64,
        /// The past covariates, NaN where one is missing.
        covariates: &'a [f64],
        /// Whether the record that it was first read from lies before the start of the stream.
        warm_up: bool,
    },
    /// The end of a series.
    Deleted {
        /// The name of the series.
        series: &'a str,
        /// As for an observation.
        warm_up: bool,
    },
}
