//! Anomalies as a text table.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

use super::anomalies::Anomaly;
use super::report_format::significant;

/// Anomalies as a text table, with times in `zone`.
pub fn anomaly_table(anomalies: &[Anomaly], zone: &TimeZone) -> String {
    if anomalies.is_empty() {
        return "no anomalies\n".to_owned();
    }
    let mut out = format!(
        "{} anomalous values\n{:<24}{:<20}{:>12}{:>26}{:>8}\n",
        anomalies.len(),
        "time",
        "series",
        "value",
        "expected",
        "score"
    );
    for anomaly in anomalies {
        let time = Timestamp::from_millisecond(anomaly.time.0).map_or_else(
            |_| anomaly.time.0.to_string(),
            |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.f").to_string(),
        );
        let expected = anomaly.expected.map_or_else(
            || "-".to_owned(),
            |[lower, upper]| format!("{} to {}", significant(lower), significant(upper)),
        );
        let (series, value, score) = (&anomaly.series, significant(anomaly.value), anomaly.score);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{time:<24}{series:<20}{value:>12}{expected:>26}{score:>8.4}");
    }
    out
}
