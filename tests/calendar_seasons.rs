//! Seasons of the calendar help: a year of daily values, a quarter, working days, school terms.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write, fs, process::Command};

use jiff::{ToSpan, civil::Date};
use serde_json::Value;

/// Noise of deviation `1`, the same every time.
fn noise(step: i64) -> f64 {
    let part = |salt: i64| {
        let mut bits = (step * 12 + salt + 1).cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((bits ^ (bits >> 27)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..12).map(part).sum::<f64>() - 6.0
}

/// The mean absolute error of the forecasts of a file at the longest horizon; training takes no part.
fn error(csv: &str, horizon: u32, arguments: &[&str]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("series.csv");
    fs::write(&file, csv).unwrap();
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
    backtest.arg("backtest").arg(&file).args(["--no-training", "--json", "--horizon", &horizon.to_string()]);
    let output = backtest.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_ours = |row: &&Value| row["method"] == "foretide" && row["horizon"] == horizon;
    report["results"].as_array().unwrap().iter().find(is_ours).unwrap()["mae"].as_f64().unwrap()
}

/// Daily or monthly rows from a date on.
fn csv(header: &str, dates: impl Iterator<Item = Date>, row: impl Fn(i64, Date) -> String) -> String {
    (0..).zip(dates).fold(format!("{header}\n"), |mut text, (step, date)| {
        writeln!(text, "{date},{}", row(step, date)).unwrap();
        text
    })
}

fn days(first: &str, count: i64) -> impl Iterator<Item = Date> {
    let first: Date = first.parse().unwrap();
    (0..count).map(move |day| first.checked_add(day.days()).unwrap())
}

fn months(first: &str, count: i64) -> impl Iterator<Item = Date> {
    let first: Date = first.parse().unwrap();
    (0..count).map(move |month| first.checked_add(month.months()).unwrap())
}

fn is_weekend(date: Date) -> bool {
    date.weekday().to_monday_zero_offset() >= 5
}

#[test]
fn a_year_of_daily_values() {
    // A shop at a beach, whose summer begins and ends at once.
    let visitors = |step: i64, date: Date| match date.day_of_year() {
        160..=250 => 100.0 + noise(step),
        _ => 20.0 + noise(step),
    };
    let csv = csv("day,visitors", days("2017-01-01", 7 * 365), |step, date| format!("{:.2}", visitors(step, date)));
    let scored = ["--score-rows", "1095..2555"];
    let year = error(&csv, 28, &[&["--season", "365"], &scored[..]].concat());
    let week = error(&csv, 28, &[&["--season", "7"], &scored[..]].concat());
    assert!(year < 0.6 * week, "season of a year {year}, of a week {week}");
}

#[test]
fn a_quarter_of_months() {
    // Bills are paid in the last month of a quarter. Two years are too short for a season of a year.
    let paid = |step: i64, date: Date| if date.month() % 3 == 0 { 100.0 + noise(step) } else { 20.0 + noise(step) };
    let csv = csv("month,paid", months("2022-01-01", 30), |step, date| format!("{:.2}", paid(step, date)));
    let quarter = error(&csv, 3, &["--season", "3", "--score-rows", "9..30"]);
    let year = error(&csv, 3, &["--score-rows", "9..30"]);
    assert!(quarter < 0.7 * year, "season of a quarter {quarter}, of a year {year}");
}

#[test]
fn working_days_of_months() {
    let working = |first: Date| {
        let month = (0..i64::from(first.days_in_month())).map(|day| first.checked_add(day.days()).unwrap());
        month.filter(|day| !is_weekend(*day)).count()
    };
    let csv = csv("month,hours,working_days", months("2000-01-01", 288), |step, date| {
        format!("{:.2},{}", 8.0 * working(date) as f64 + noise(step), working(date))
    });
    let known = error(&csv, 3, &["--future-covariates", "working_days"]);
    let unknown = error(&csv, 3, &["--columns", "hours"]);
    assert!(known < 0.7 * unknown, "with working days {known}, without {unknown}");
}

#[test]
fn school_terms_of_days() {
    // Holidays begin and end on other days every year.
    let is_term = |date: Date| {
        let (day, shift) = (i64::from(date.day_of_year()), i64::from(date.year()) * 7 % 23);
        ![(1, 6), (95 + shift, 108 + shift), (170 + shift, 215 + shift), (290 - shift, 300 - shift), (356, 366)]
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&day))
    };
    let meals = |step: i64, date: Date| match (is_weekend(date), is_term(date)) {
        (true, _) => 5.0 + noise(step),
        (false, true) => 100.0 + noise(step),
        (false, false) => 30.0 + noise(step),
    };
    let csv = csv("day,meals,term", days("2019-01-01", 5 * 365), |step, date| {
        format!("{:.2},{}", meals(step, date), i32::from(is_term(date)))
    });
    let known = error(&csv, 7, &["--future-covariates", "term"]);
    let unknown = error(&csv, 7, &["--columns", "meals"]);
    assert!(known < 0.8 * unknown, "with terms {known}, without {unknown}");
}
