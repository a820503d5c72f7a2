//! `foretide backtest` counts in the days, weeks and months of the calendar: the series are made here, of the kinds of
//! `../shared/cases/data`, whose files are read, too, where they exist.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde_json::Value;

/// What a run over a file says.
struct Run {
    /// On standard error: the step, and how many values were refused.
    about: String,
    report: Value,
    /// The forecast records, in order.
    records: Vec<Value>,
}

impl Run {
    fn of(file: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("forecasts.jsonl");
        let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
        backtest.arg("backtest").arg(file).args(["--no-training", "--json", "--emit"]).arg(&lines).args(arguments);
        let output = backtest.output().unwrap();
        let about = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{about}");
        let records = fs::read_to_string(&lines).unwrap();
        Self {
            about,
            report: serde_json::from_slice(&output.stdout).unwrap(),
            records: records.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    }

    /// The mean absolute error of the forecasts at a horizon.
    fn error(&self, horizon: u64) -> f64 {
        let results = self.report["results"].as_array().unwrap();
        let is_ours = |row: &&Value| row["method"] == "foretide" && row["horizon"] == horizon;
        results.iter().find(is_ours).unwrap()["mae"].as_f64().unwrap()
    }

    /// The steps that the last record forecasts, in a zone.
    fn last_times(&self, zone: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let times = self.records.last().unwrap()["times"].as_array().unwrap();
        let text = |time: &Value| {
            let time = Timestamp::from_millisecond(time.as_i64().unwrap()).unwrap().to_zoned(zone.clone());
            time.strftime("%Y-%m-%d %H:%M").to_string()
        };
        times.iter().map(text).collect()
    }

    /// Origin and first point of each forecast.
    fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        self.records.iter().map(|record| (record["origin"].as_i64().unwrap(), record["point"][0].as_f64().unwrap()))
    }
}

/// A file with these rows, and the case file where it exists.
fn files(folder: &Path, case: &str, rows: impl Iterator<Item = (String, f64)>) -> Vec<PathBuf> {
    let text = rows.fold("time,value\n".to_owned(), |mut text, (time, value)| {
        writeln!(text, "{time},{value}").unwrap();
        text
    });
    let made = folder.join("made.csv");
    fs::write(&made, text).unwrap();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/data").join(case);
    [made, shared].into_iter().filter(|file| file.is_file()).collect()
}

fn date(text: &str) -> Date {
    text.parse().unwrap()
}

/// Dates from `first` on, one every `days` days.
fn dates(first: &str, days: i64, count: i64) -> impl Iterator<Item = Date> + Clone {
    let first = date(first);
    (0..count).map(move |step| first.checked_add((days * step).days()).unwrap())
}

/// Firsts of months from `first` on, one every `months` months.
fn months(first: &str, months: i64, count: i64) -> impl Iterator<Item = Date> {
    let first = date(first);
    (0..count).map(move |step| first.checked_add((months * step).months()).unwrap())
}

/// Midnight of a date in a zone, with its offset.
fn midnight(date: Date, zone: &str) -> String {
    date.to_zoned(TimeZone::get(zone).unwrap()).unwrap().strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// Visits by the day of the week, from Monday.
fn visits(date: Date) -> f64 {
    [100.0, 110.0, 120.0, 130.0, 140.0, 60.0, 40.0][usize::from(date.weekday().to_monday_zero_offset() as u8)]
}

/// Sales by the month.
fn sales(date: Date) -> f64 {
    [50.0, 40.0, 60.0, 70.0, 90.0, 120.0, 150.0, 160.0, 110.0, 80.0, 60.0, 200.0][date.month() as usize - 1]
}

#[test]
fn days_of_any_zone_are_taken_as_dates_and_as_midnights() {
    for zone in ["Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"] {
        let folder = tempfile::tempdir().unwrap();
        let days = dates("2023-01-01", 1, 731);
        let as_dates = days.clone().map(|day| (day.to_string(), visits(day)));
        let case = if zone == "Europe/London" { "02_daily_dates.csv" } else { "" };
        for file in files(folder.path(), case, as_dates) {
            for arguments in [&["--horizon", "6"][..], &["--horizon", "6", "--time-zone", zone]] {
                assert_daily(&Run::of(&file, arguments), "");
            }
        }
        let as_midnights = days.map(|day| (midnight(day, zone), visits(day)));
        let case = if zone == "Europe/London" { "02b_daily_london_offsets.csv" } else { "" };
        for file in files(folder.path(), case, as_midnights) {
            assert_daily(&Run::of(&file, &["--horizon", "6"]), zone);
            assert_daily(&Run::of(&file, &["--horizon", "6", "--time-zone", zone]), zone);
        }
    }
}

/// All 731 days are taken and forecast without error.
fn assert_daily(run: &Run, zone: &str) {
    assert!(run.about.contains("731 rows, step 1d, season 7 steps") && !run.about.contains("refused"), "{}", run.about);
    assert_eq!((run.records.len(), run.error(1), run.error(6)), (731, 0.0, 0.0));
    if !zone.is_empty() {
        let expected = ["2025-01-01", "2025-01-02", "2025-01-03"].map(|day| format!("{day} 00:00"));
        assert_eq!(run.last_times(zone)[..3], expected);
    }
}

#[test]
fn months_stamped_first_or_last_are_months() {
    let folder = tempfile::tempdir().unwrap();
    let first = || months("2005-01-01", 1, 240);
    let stamped_first = files(folder.path(), "03_monthly_first.csv", first().map(|day| (day.to_string(), sales(day))));
    for file in stamped_first {
        let run = Run::of(&file, &["--horizon", "6"]);
        assert_monthly(&run);
        assert_eq!(run.last_times("UTC")[..2], ["2025-01-01 00:00", "2025-02-01 00:00"]);
    }
    let last = first().map(|day| (day.last_of_month().to_string(), sales(day)));
    for file in files(folder.path(), "03b_monthly_last.csv", last) {
        let run = Run::of(&file, &["--horizon", "6"]);
        assert_monthly(&run);
        assert_eq!(run.last_times("UTC")[..3], ["2025-01-31 00:00", "2025-02-28 00:00", "2025-03-31 00:00"]);
    }
    let midnights = first().map(|day| (midnight(day, "Europe/London"), sales(day)));
    for file in files(folder.path(), "", midnights) {
        let run = Run::of(&file, &["--horizon", "6", "--interval", "1mo"]);
        assert_monthly(&run);
        assert_eq!(run.last_times("Europe/London")[..2], ["2025-01-01 00:00", "2025-02-01 00:00"]);
    }
}

/// All 240 months are taken and forecast without error.
fn assert_monthly(run: &Run) {
    let about = &run.about;
    assert!(about.contains("240 rows, step 1mo, season 12 steps") && !about.contains("refused"), "{about}");
    assert!(
        run.records.len() == 240 && run.error(1) < 0.01 && run.error(6) < 0.01,
        "{} {}",
        run.error(1),
        run.error(6)
    );
}

#[test]
fn weeks_quarters_and_years_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = |rows: &mut dyn Iterator<Item = (String, f64)>, arguments: &[&str]| {
        Run::of(&files(folder.path(), "", rows)[0], &[&["--horizon", "4"], arguments].concat())
    };
    let weekly =
        || dates("2015-01-04", 7, 470).map(|day| (midnight(day, "Europe/Berlin"), f64::from(day.day_of_year())));
    let weeks = run(&mut weekly(), &["--time-zone", "Europe/Berlin"]);
    assert!(weeks.about.contains("step 1w, season 52 steps") && !weeks.about.contains("refused"), "{}", weeks.about);
    assert_eq!(weeks.last_times("Europe/Berlin")[0], "2024-01-07 00:00", "Sundays, as in the file");
    let mondays = run(&mut weekly(), &["--time-zone", "Europe/Berlin", "--week-starts", "monday"]);
    assert_eq!((mondays.records.len(), mondays.about.contains("refused")), (470, false));
    let quarterly = months("2000-03-01", 3, 100).map(|day| (day.last_of_month().to_string(), sales(day)));
    let quarters = run(&mut { quarterly }, &[]);
    assert!(quarters.about.contains("step 3mo, season 4 steps") && quarters.error(4) < 0.01, "{}", quarters.about);
    assert_eq!(quarters.last_times("UTC")[..2], ["2025-03-31 00:00", "2025-06-30 00:00"]);
    let yearly = months("1950-01-01", 12, 75).map(|day| (day.to_string(), 100.0 + f64::from(day.year())));
    let years = run(&mut { yearly }, &[]);
    assert!(years.about.contains("step 1y, no season") && !years.about.contains("refused"), "{}", years.about);
    assert_eq!(years.last_times("UTC")[..2], ["2025-01-01 00:00", "2026-01-01 00:00"]);
}

#[test]
fn shifts_begin_at_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    // Two readings a day, each in the shift that begins at six o'clock or at six in the evening of Berlin.
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let rows = dates("2024-02-01", 1, 120).flat_map(|day| {
        [(6, visits(day)), (18, visits(day) / 2.0)].map(|(hour, value)| {
            (day.at(hour, 0, 0, 0).to_zoned(berlin.clone()).unwrap().timestamp().to_string(), value)
        })
    });
    let arguments = ["--horizon", "4", "--time-zone", "Europe/Berlin", "--origin", "06:00", "--season", "14"];
    let run = Run::of(&files(folder.path(), "", rows)[0], &arguments);
    assert!(run.about.contains("step 12h") && !run.about.contains("refused"), "{}", run.about);
    assert_eq!(run.last_times("Europe/Berlin")[..2], ["2024-05-31 06:00", "2024-05-31 18:00"]);
    assert_eq!(run.error(4), 0.0, "over the change of the clocks");
}

#[test]
fn holidays_of_daily_values_are_forecast_from_the_second_one_on() {
    const HOLIDAYS: [&str; 23] = [
        "2023-01-01",
        "2023-04-10",
        "2023-05-01",
        "2023-05-29",
        "2023-06-14",
        "2023-08-15",
        "2023-10-03",
        "2023-11-01",
        "2023-12-06",
        "2023-12-25",
        "2023-12-26",
        "2024-01-01",
        "2024-02-14",
        "2024-04-01",
        "2024-05-01",
        "2024-05-20",
        "2024-06-12",
        "2024-08-15",
        "2024-10-03",
        "2024-11-01",
        "2024-12-05",
        "2024-12-25",
        "2024-12-26",
    ];
    let is_holiday = |day: Date| HOLIDAYS.contains(&&*day.to_string());
    let truth = |day: Date| if is_holiday(day) { 5.0 } else { visits(day) };
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("holidays.csv");
    fs::write(&list, format!("date\n{}\n", HOLIDAYS.join("\n"))).unwrap();
    let rows = dates("2023-01-01", 1, 731).map(|day| (day.to_string(), truth(day)));
    for file in files(folder.path(), "02d_daily_holidays.csv", rows) {
        for holidays in [["--holidays", &*HOLIDAYS.join(",")], ["--holidays-file", list.to_str().unwrap()]] {
            let run = Run::of(&file, &[&["--horizon", "7"], &holidays[..]].concat());
            for (origin, point) in run.points() {
                let next =
                    Timestamp::from_millisecond(origin).unwrap().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
                if is_holiday(next) && next > date("2023-04-10") {
                    assert!((point - 5.0).abs() < 6.0, "{next}: {point}");
                }
            }
            assert!(run.error(1) < 2.0 && run.error(7) < 3.0, "{} {}", run.error(1), run.error(7));
        }
    }
}
