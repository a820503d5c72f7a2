//! `foretide backtest` keeps to `--minimum`, `--maximum` and `--integer` in every record that it writes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fmt::Write, fs, path::Path, process::Command};

use serde_json::Value;

/// A gauge that nears its end at 99.98765, and falls back: a number that rounding would take beyond.
const END: &str = "99.98765";

/// Runs a backtest of the file with these arguments, and returns its records, one by one.
fn records(folder: &Path, file: &Path, arguments: &[&str]) -> Vec<Value> {
    let lines = folder.join("forecasts.jsonl");
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
    backtest.arg("backtest").arg(file).args(["--no-training", "--horizon", "12", "--emit"]).arg(&lines);
    let output = backtest.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(&lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All quantiles of a record, by level and then by lead.
fn quantiles(record: &Value) -> Vec<Vec<f64>> {
    let numbers = |path: &Value| path.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    record["quantiles"].as_object().unwrap().values().map(numbers).collect()
}

fn points(record: &Value) -> Vec<f64> {
    record["point"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn no_record_has_a_number_beyond_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("series.csv");
    let text = (0..400).fold("time,gauge,stock\n".to_owned(), |mut text, row| {
        let gauge = 100.0 - 70.0 * (-f64::from(row % 150) / 30.0).exp() - 0.013 * f64::from(row % 7);
        writeln!(text, "{},{gauge:.3},{}", 1_700_000_000 + 3600 * row, 120 - 3 * (row % 41)).unwrap();
        text
    });
    fs::write(&file, text).unwrap();
    let end: f64 = END.parse().unwrap();
    let leaves = |record: &Value| {
        let mut numbers = quantiles(record).into_iter().flatten().chain(points(record));
        numbers.any(|number| !(0.0..=end).contains(&number))
    };
    let free = records(folder.path(), &file, &[]);
    assert!(free.iter().any(leaves), "without bounds, forecasts go beyond them");
    let bounded = records(folder.path(), &file, &["--minimum", "0", "--maximum", END, "--integer"]);
    assert_eq!(bounded.len(), free.len());
    let whole = |record: &Value| quantiles(record).into_iter().flatten().all(|quantile| quantile.fract() == 0.0);
    assert!(bounded.iter().all(|record| !leaves(record) && whole(record)));
    assert!(bounded.iter().flat_map(points).any(|point| point.fract() != 0.0), "a mean may have a fraction");
    let bounded = records(folder.path(), &file, &["--minimum", "0", "--maximum", END]);
    assert!(bounded.iter().all(|record| !leaves(record)));
    let reaches = bounded.iter().flat_map(quantiles).flatten().any(|quantile| quantile == end);
    assert!(reaches, "a bound with more decimals than the record is written in full");
    for record in &bounded {
        let levels = quantiles(record);
        let ordered = levels.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(low, high)| low <= high));
        assert!(ordered, "{record}");
    }
}

#[test]
fn bounds_without_a_value_between_them_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("series.csv");
    fs::write(&file, (0..60).fold("time,load\n".to_owned(), |text, row| text + &format!("{},1\n", 60 * row))).unwrap();
    let nothing = "no value lies between --minimum and --maximum";
    for (arguments, code, expected) in [
        (&["--minimum", "2", "--maximum", "1"][..], 64, nothing),
        (&["--minimum", "0.2", "--maximum", "0.8", "--integer"], 64, nothing),
        (&["--maximum", "inf"], 2, "expected a finite number"),
    ] {
        let mut backtest = Command::new(env!("CARGO_BIN_EXE_foretide"));
        backtest.arg("backtest").arg(&file).args(["--no-training", "--horizon", "2"]).args(arguments);
        let output = backtest.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && stderr.contains(expected), "{:?}: {stderr}", output.status);
    }
}
