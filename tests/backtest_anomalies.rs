//! `foretide backtest` says which values are anomalous: equal incidents each, a series at rest that moves once, a
//! missing job and one at another time. The series are made here, of the kinds of `../shared/cases/data`, whose files
//! are read, too, where they exist.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write, fs, path::Path, process::Command};

use serde_json::Value;

/// A uniform number between -1 and 1, the same every time.
fn noise(step: usize) -> f64 {
    let mut bits = (step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((bits ^ (bits >> 27)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// The rows at which a file begins to be anomalous.
fn alarms(file: &Path) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("forecasts.jsonl");
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
    backtest.arg("backtest").arg(file).args(["--no-training", "--emit"]).arg(&lines);
    let output = backtest.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut alarms, mut before) = (Vec::new(), false);
    for (row, line) in fs::read_to_string(&lines).unwrap().lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        // After a spike a value has no score, and the alarm lasts.
        let is_anomalous = record["anomalous"].as_bool().unwrap_or(before);
        alarms.extend((is_anomalous && !before).then_some(row));
        before = is_anomalous;
    }
    alarms
}

/// The alarms in a series that is made here, with a value every `interval` seconds, and in the case file where it
/// exists.
fn of_kind(case: &str, interval: usize, values: impl Iterator<Item = f64>) -> Vec<Vec<usize>> {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made.csv");
    let csv = values.enumerate().fold("time,value\n".to_owned(), |mut text, (step, value)| {
        writeln!(text, "{},{value:.2}", 1_704_067_200 + step * interval).unwrap();
        text
    });
    fs::write(&made, csv).unwrap();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/data").join(case);
    [made, shared].iter().filter(|file| file.exists()).map(|file| alarms(file)).collect()
}

#[test]
fn two_equal_incidents_are_both_told() {
    let is_incident = |step: usize| (1500..1503).contains(&step) || (1900..1903).contains(&step);
    let values = (0..2000).map(|step| 50.0 + 5.0 * noise(step) + if is_incident(step) { 200.0 } else { 0.0 });
    for alarms in of_kind("24_simple_anomalies.csv", 5, values) {
        assert!(alarms.ends_with(&[1500, 1900]), "{alarms:?}");
    }
}

#[test]
fn a_flat_series_that_moves_is_told_once() {
    for alarms in of_kind("20b_flat_to_flat.csv", 60, (0..1800).map(|step| f64::from(u8::from(step >= 900)))) {
        assert_eq!(alarms, [900]);
    }
}

#[test]
fn a_missing_job_and_one_at_another_time_are_told() {
    let is_job = |step: usize| matches!(step % 288, 72 | 73) && step / 288 != 5 || matches!(step, 1908 | 1909);
    let values = (0..2016).map(|step| 5.0 + 0.5 * noise(step) + if is_job(step) { 85.0 } else { 0.0 });
    for alarms in of_kind("19_daily_backup.csv", 300, values) {
        assert!(alarms.contains(&1512) && alarms.contains(&1908), "{alarms:?}");
    }
}
