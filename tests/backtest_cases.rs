//! `foretide backtest` forecasts seasons rightly after outages and clock changes. The series are made here, of the
//! kinds of `../shared/cases/data`, whose files are read, too, where they exist.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write, fs, path::Path, process::Command};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

const HOUR: i64 = 3_600_000;

/// The load of an office by the hour of the day.
fn office(hour: i64) -> f64 {
    match hour {
        8..=10 | 12..=15 => 100.0,
        11 | 16 => 90.0,
        7 => 80.0,
        17 => 60.0,
        6 | 18 => 40.0,
        19 => 30.0,
        20 | 21 => 20.0,
        _ => 10.0,
    }
}

/// Noise of deviation 5, the same every time.
fn noise(hour: i64) -> f64 {
    let part = |salt: i64| {
        let mut bits = (hour * 12 + salt + 1).cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 27)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    5.0 * ((0..12).map(part).sum::<f64>() - 6.0)
}

fn hour_of(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond() / HOUR
}

/// Writes hourly values of these hours since 1970.
fn csv(values: impl Iterator<Item = (i64, f64)>) -> String {
    values.fold("time,load\n".to_owned(), |mut text, (hour, value)| {
        writeln!(text, "{},{value:.2}", hour * 3600).unwrap();
        text
    })
}

/// One forecast: the hour of its origin, and its points.
struct Forecast {
    hour: i64,
    points: Vec<f64>,
}

/// The forecasts of 24 hours from each row of a file; training takes no part.
fn forecasts(file: &Path, zone: &str) -> Vec<Forecast> {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("forecasts.jsonl");
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
    backtest.arg("backtest").arg(file).args(["--no-training", "--horizon", "24", "--time-zone", zone]);
    let output = backtest.arg("--emit").arg(&lines).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let forecast = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let points = record["point"].as_array().unwrap().iter().map(|point| point.as_f64().unwrap()).collect();
        Forecast { hour: record["origin"].as_i64().unwrap().div_euclid(HOUR), points }
    };
    fs::read_to_string(&lines).unwrap().lines().map(forecast).collect()
}

/// The forecasts of a series that is made here, and of the case file where it exists.
fn of_kind(case: &str, zone: &str, values: impl Iterator<Item = (i64, f64)>) -> Vec<Vec<Forecast>> {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made.csv");
    fs::write(&made, csv(values)).unwrap();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/data").join(case);
    [made, shared].iter().filter(|file| file.exists()).map(|file| forecasts(file, zone)).collect()
}

/// The mean absolute error of a forecast against the office's load at the hours of `zone`.
fn error(forecast: &Forecast, zone: &TimeZone, leads: usize) -> f64 {
    let hour = |slot: i64| i64::from(Timestamp::from_second(slot * 3600).unwrap().to_zoned(zone.clone()).hour());
    let errors = (forecast.hour + 1..).zip(&forecast.points[..leads]);
    errors.map(|(slot, point)| (point - office(hour(slot))).abs()).sum::<f64>() / leads as f64
}

/// The first forecasts after each gap, and the last one before it.
fn around_gaps(forecasts: &[Forecast]) -> Vec<(&Forecast, &[Forecast])> {
    let ends = (1..forecasts.len()).filter(|at| forecasts[*at].hour > forecasts[at - 1].hour + 1);
    ends.map(|at| (&forecasts[at - 1], &forecasts[at..forecasts.len().min(at + 24)])).collect()
}

#[test]
fn after_outages_of_hours_forecasts_are_as_good_as_before() {
    let start = hour_of("2024-01-01T00:00:00Z");
    let hours = (0..30 * 24).filter(|hour| !(300..312).contains(hour) && !(510..534).contains(hour));
    let values = hours.map(|hour| (start + hour, office(hour % 24) + noise(hour)));
    for forecasts in of_kind("29_outage_12h_and_24h.csv", "UTC", values) {
        let gaps = around_gaps(&forecasts);
        assert_eq!(gaps.len(), 2);
        for (before, after) in gaps {
            let before = error(before, &TimeZone::UTC, 24);
            for forecast in after {
                let after = error(forecast, &TimeZone::UTC, 24);
                assert!(after < before.max(3.0) + 1.5, "{after} after {before}");
            }
        }
    }
}

#[test]
fn the_first_day_after_months_without_values_is_forecast() {
    let start = hour_of("2024-01-01T00:00:00Z");
    let hours = (0..60 * 24).chain(210 * 24 + 5..215 * 24);
    let values = hours.map(|hour| (start + hour, office(hour % 24)));
    for forecasts in of_kind("18_restart_after_months.csv", "UTC", values) {
        let gaps = around_gaps(&forecasts);
        assert_eq!(gaps.len(), 1);
        for forecast in gaps[0].1 {
            assert!(error(forecast, &TimeZone::UTC, 24) < 1.0, "{:?}", forecast.points);
        }
    }
}

#[test]
fn a_change_of_the_clocks_costs_no_day() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let (start, change) = (hour_of("2024-02-05T00:00:00Z"), hour_of("2024-03-31T01:00:00Z"));
    let local = |slot: i64| (slot + if slot < change { 1 } else { 2 }) % 24;
    let values = (start..start + 75 * 24).map(|slot| (slot, office(local(slot)) + noise(slot)));
    for forecasts in of_kind("01e_dst_spring_noise.csv", "Europe/Berlin", values) {
        let day = |from: i64| {
            let of_day = forecasts.iter().filter(|forecast| (from..from + 24).contains(&forecast.hour));
            of_day.map(|forecast| error(forecast, &berlin, 1)).sum::<f64>() / 24.0
        };
        let week = (1..=7).map(|back| day(change - 24 * back)).sum::<f64>() / 7.0;
        for after in 0..7 {
            let day = day(change - 2 + 24 * after);
            assert!(day < 1.5 * week.max(1.5), "{day} on day {after}, {week} in the week before");
        }
    }
}
