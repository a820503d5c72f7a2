//! Files of an office's load, and runs of the command on them.

use std::{fs, process::Command};

use jiff::{ToSpan, civil::DateTime};
use serde_json::Value;

/// Number of hours in a file.
pub const HOURS: usize = 480;

/// The load of an office by the hour of the day.
pub fn office(hour: usize) -> f64 {
    match hour % 24 {
        8..=16 => 1100.5,
        6 | 7 | 17 | 18 => 40.25,
        19..=21 => 20.5,
        _ => 10.5,
    }
}

/// An hour of the file: its local time and its load.
#[derive(Debug, Clone, Copy)]
pub struct Hour {
    pub number: usize,
    pub time: DateTime,
    pub load: f64,
}

impl Hour {
    /// The time in a `strftime` pattern.
    pub fn at(&self, pattern: &str) -> String {
        self.time.strftime(pattern).to_string()
    }

    /// The time in seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
    }

    /// The load with a decimal comma.
    pub fn with_comma(&self) -> String {
        self.load.to_string().replace('.', ",")
    }
}

/// The hours of twenty days from the middle of a month on, so that there is a 13th.
pub fn hours() -> impl DoubleEndedIterator<Item = Hour> + ExactSizeIterator {
    let start = jiff::civil::date(2024, 1, 15).at(0, 0, 0, 0);
    (0..HOURS).map(move |number| Hour { number, time: start + (number as i64).hours(), load: office(number) })
}

/// A file with a header and a line for each hour.
pub fn file(header: &str, line: impl Fn(Hour) -> String) -> String {
    let lines: String = hours().map(|hour| line(hour) + "\n").collect();
    format!("{header}\n{lines}")
}

/// What the command said of a file.
pub struct Answer {
    pub code: i32,
    pub json: Value,
    pub said: String,
}

impl Answer {
    /// Number of values that were taken.
    pub fn taken(&self) -> u64 {
        self.json["readings"]["taken"].as_u64().unwrap_or(0)
    }

    /// Number of values that had no effect.
    pub fn lost(&self) -> u64 {
        ["refused", "late", "duplicate"].iter().filter_map(|key| self.json["readings"][key].as_u64()).sum()
    }

    /// The error of the forecast of the season before, one step ahead.
    pub fn seasonal_error(&self) -> f64 {
        let results = self.json["results"].as_array().unwrap();
        let seasonal = results.iter().find(|row| row["method"] == "seasonal_naive").unwrap();
        seasonal["mae"].as_f64().unwrap_or(f64::INFINITY)
    }
}

/// Runs the command on a file without training.
pub fn backtest(content: impl AsRef<[u8]>, arguments: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.csv");
    fs::write(&path, content).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretide"));
    command.arg("backtest").arg(&path).args(["--no-training", "--horizon", "1", "--json"]).args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Answer { code: output.status.code().unwrap(), json, said }
}
