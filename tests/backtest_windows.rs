//! `foretide backtest --windows` and `--cold-start`: right scores, and no forecast sees what comes after its origin.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const LEVELS: [&str; 11] = ["0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95"];

fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).arg("backtest").args(arguments).output().unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Writes hourly rows of series called a, b, …; a series without a value in a row has a gap there.
fn write(file: &str, series: &[Vec<Option<f64>>]) {
    let names: Vec<String> = (b'a'..).take(series.len()).map(|name| char::from(name).to_string()).collect();
    let mut text = format!("time,{}\n", names.join(","));
    for row in 0..series[0].len() {
        text += &(1_700_000_000 / 3600 * 3600 + 3600 * row).to_string();
        for values in series {
            text += &values[row].map_or_else(|| ",".to_owned(), |value| format!(",{value}"));
        }
        text.push('\n');
    }
    fs::write(file, text).unwrap();
}

/// A wave with a period of eight steps and pseudorandom noise.
fn noisy_wave(rows: usize, level: f64) -> Vec<Option<f64>> {
    let value = |row: usize| {
        let noise = ((row * 7919 + 13) % 101) as f64 / 101.0;
        Some(level + 5.0 * (row as f64 * std::f64::consts::TAU / 8.0).sin() + noise)
    };
    (0..rows).map(value).collect()
}

/// The JSON object and the lines of the windows.
fn windows(file: &str, more: &[&str]) -> (Value, Vec<Value>) {
    let lines = format!("{file}.jsonl");
    let output = foretide(&[&[file, "--json", "--emit-windows", lines.as_str()], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = fs::read_to_string(&lines).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (serde_json::from_slice(&output.stdout).unwrap(), lines)
}

fn near(value: &Value, expected: f64) {
    let number = value.as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!((number - expected).abs() < 1e-9 * expected.abs().max(1.0), "{number}, expected {expected}");
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn the_seasonal_naive_scores_equal_those_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "steps.csv");
    // A season of two steps; two windows of two steps: 8, 6 and 9, 10 from the origins 5 and 6.
    write(&file, &[[2.0, 1.0, 4.0, 2.0, 4.0, 5.0, 8.0, 6.0, 9.0, 10.0].map(Some).to_vec()]);
    let options = ["--season", "2", "--no-training", "--quantiles", "0.1,0.5,0.9", "--windows", "2", "--horizon", "2"];
    let (json, lines) = windows(&file, &options);
    let naive = &json["seasonal_naive"];
    // Differences over a season before the first window: 2, 1, 0, 3, so a unit of 1.5; before the second also 4, 1,
    // so 11/6.
    near(&lines[0]["naive_error"], 1.5);
    near(&lines[1]["naive_error"], 11.0 / 6.0);
    // Forecasts 4, 5 of 8, 6 and 8, 6 of 9, 10: errors 4, 1, 1, 4.
    assert_eq!(numbers(&lines[0]["seasonal_naive"]["point"]), [4.0, 5.0]);
    assert_eq!(numbers(&lines[1]["seasonal_naive"]["point"]), [8.0, 6.0]);
    near(&naive["mase"], (5.0 / 1.5 + 5.0 / (11.0 / 6.0)) / 4.0);
    near(&naive["nd"], 10.0 / 33.0);
    // Quantiles .1, .5, .9 of the differences 0, 1, 2, 3: 0.3, 1.5, 2.7; of 0, 1, 1, 2, 3, 4: 0.5, 1.5, 3.5.
    let expected = [([4.3, 5.3], [5.5, 6.5], [6.7, 7.7]), ([8.5, 6.5], [9.5, 7.5], [11.5, 9.5])];
    for (line, (low, median, high)) in lines.iter().zip(expected) {
        let quantiles = &line["seasonal_naive"]["quantiles"];
        for (level, expected) in [("0.1", low), ("0.5", median), ("0.9", high)] {
            let path = numbers(&quantiles[level]);
            assert!(path.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9), "{level}: {path:?}");
        }
    }
    // Pinball losses of the targets 8, 6, 9, 10. At .1: .37, .07, .05, .35; at .5: 1.25, .25, .25, 1.25; at .9: 1.17,
    // .17, .25, .45.
    let losses = (0.37 + 0.07 + 0.05 + 0.35) + (1.25 + 0.25 + 0.25 + 1.25) + (1.17 + 0.17 + 0.25 + 0.45);
    near(&naive["weighted_quantile_loss"], 2.0 * losses / 3.0 / 33.0);
    assert_eq!(json["loss_levels"], serde_json::json!(["0.1", "0.5", "0.9"]));
    // Inside 80 %: 6 of 5.3 to 7.7, and 9 of 8.5 to 11.5.
    near(&naive["interval_coverage"]["0.80"], 0.5);
    near(&naive["mean_width"]["0.80"], (2.4 + 2.4 + 3.0 + 3.0) / 4.0);
    near(&naive["relative_width"]["0.80"], 10.8 / 33.0);
    // At or below: none up to .1; 6 and 9 up to .5, and so up to .9.
    for (level, share) in [("0.1", 0.0), ("0.5", 0.5), ("0.9", 0.5)] {
        near(&naive["coverage"][level], share);
    }
    assert_eq!((&json["windows"], &json["horizon"], &json["forecasts"]), (&2.into(), &2.into(), &2.into()));
    assert!(json["by_series"].is_null(), "one series needs no table of series");
}

#[test]
fn foretide_scores_equal_those_computed_from_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "waves.csv");
    let mut series = [noisy_wave(400, 20.0), noisy_wave(400, -50.0)];
    // A gap at an origin of series a (row 399 - 3 * 5), one at a target of b, and b ends earlier.
    series[0][384] = None;
    series[1][390] = None;
    series[1][395..].fill(None);
    write(&file, &series);
    let options = ["--season", "8", "--no-training", "--windows", "4", "--horizon", "5"];
    let (json, lines) = windows(&file, &options);
    let places: Vec<(&str, i64)> =
        lines.iter().map(|line| (line["series"].as_str().unwrap(), line["window"].as_i64().unwrap())).collect();
    assert_eq!(places, [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]);
    // From a gap there is no forecast: that of the step before counts, and its last step twice.
    let steps = |line: &Value| line["step"].as_i64().unwrap() - line["forecast_step"].as_i64().unwrap();
    assert_eq!(lines.iter().map(steps).collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0, 0, 0]);
    let median = numbers(&lines[1]["point"]);
    assert!(median[3] == median[4] && median[2] != median[3], "{median:?}");
    let first_step = lines[0]["step"].as_i64().unwrap() - 379;
    let (mut all, mut of_b) = ([0.0; 4], [0.0; 4]);
    for line in &lines {
        let row = usize::try_from(line["step"].as_i64().unwrap() - first_step).unwrap();
        let values = &series[usize::from(line["series"] == "b")];
        let targets: Vec<Option<f64>> = values[row + 1..=row + 5].to_vec();
        let found: Vec<Option<f64>> = line["target"].as_array().unwrap().iter().map(Value::as_f64).collect();
        // The parser of serde_json may miss the nearest number by a bit.
        let is_near = |(one, other): (&Option<f64>, &Option<f64>)| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() < 1e-9,
            _ => one == other,
        };
        assert!(found.iter().zip(&targets).all(is_near), "{found:?}, expected {targets:?}");
        assert_eq!(line["origin"].as_i64().unwrap(), line["step"].as_i64().unwrap() * 3_600_000);
        let differences: Vec<f64> = (8..=row).filter_map(|row| Some((values[row]? - values[row - 8]?).abs())).collect();
        let unit = differences.iter().sum::<f64>() / differences.len() as f64;
        near(&line["naive_error"], unit);
        let paths = LEVELS.map(|level| numbers(&line["quantiles"][level]));
        assert_eq!(paths[5], numbers(&line["point"]), "the point is the median");
        for (lead, target) in targets.iter().enumerate() {
            let Some(target) = target else { continue };
            let quantiles: Vec<f64> = paths.iter().map(|path| path[lead]).collect();
            let losses = LEVELS.iter().zip(&quantiles).skip(1).take(9).map(|(level, quantile)| {
                let (level, error) = (level.parse::<f64>().unwrap(), target - quantile);
                if error > 0.0 { level * error } else { (level - 1.0) * error }
            });
            let inside = f64::from(u8::from((quantiles[1]..=quantiles[9]).contains(target)));
            let add = [(target - quantiles[5]).abs() / unit, 2.0 * losses.sum::<f64>() / 9.0, target.abs(), inside];
            for (at, more) in add.into_iter().enumerate() {
                all[at] += more;
                of_b[at] += if line["series"] == "b" { more } else { 0.0 };
            }
        }
    }
    // 20 targets of a, of which one is a gap; 20 of b, of which one is.
    near(&json["targets"], 38.0);
    near(&json["mase"], all[0] / 38.0);
    near(&json["weighted_quantile_loss"], all[1] / all[2]);
    near(&json["interval_coverage"]["0.80"], all[3] / 38.0);
    let by_series = json["by_series"].as_array().unwrap();
    assert_eq!((by_series.len(), &by_series[1]["series"]), (2, &"b".into()));
    near(&by_series[1]["mase"], of_b[0] / 19.0);
    near(&by_series[1]["weighted_quantile_loss"], of_b[1] / of_b[2]);
    let naive = &json["seasonal_naive"];
    for key in ["mase", "weighted_quantile_loss", "nd"] {
        near(&json["ratio"][key], json[key].as_f64().unwrap() / naive[key].as_f64().unwrap());
    }
    let table = foretide(&[&[file.as_str()], &options[..]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    let shown = ["2 series, 4 windows of 5 steps, 8 forecasts", "seasonal naive", "ratio", "in 90 %", "naive WQL"];
    assert!(shown.iter().all(|word| table.contains(word)), "{table}");
}

#[test]
fn values_after_an_origin_change_no_window_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, changed) = (path(folder.path(), "one.csv"), path(folder.path(), "other.csv"));
    let mut series = [noisy_wave(300, 20.0), noisy_wave(300, 60.0)];
    series[0][269] = None; // the origin of a's third window from the end
    write(&file, &series);
    // From row 280 on, which is the second window from the end, all is different.
    for values in &mut series {
        for value in &mut values[280..] {
            *value = value.map(|value| 1000.0 - 7.0 * value);
        }
    }
    write(&changed, &series);
    // The network is trained before and within the windows, and the weights that it learnt there serve on.
    let training = ["--hidden", "8", "--train-at", "150,270,285", "--train-updates", "20"];
    let asked = [&["--season", "8", "--windows", "5", "--horizon", "10"], &training[..]].concat();
    let [(_, one), (_, other)] = [&file, &changed].map(|file| windows(file, &asked));
    let names = |lines: &[Value]| -> Vec<(String, i64)> {
        let name = |line: &Value| (line["series"].as_str().unwrap().to_owned(), line["window"].as_i64().unwrap());
        lines.iter().map(name).collect()
    };
    assert_eq!(names(&one), names(&other));
    let mut compared = 0;
    for (one, other) in one.iter().zip(&other) {
        let window = one["window"].as_i64().unwrap();
        let is_same = one == other;
        assert_eq!(is_same, window < 3, "window {window} of {}", one["series"]);
        // The origin of window 3 is row 279: only its targets differ.
        if window == 3 {
            for key in ["point", "quantiles", "naive_error"] {
                assert_eq!(one[key], other[key]);
            }
            assert_ne!(one["target"], other["target"]);
        }
        compared += 1;
    }
    assert!(compared >= 9, "{compared}");
}

#[test]
fn a_series_without_room_for_all_windows_is_scored_in_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "short.csv");
    let mut series = [noisy_wave(60, 20.0), noisy_wave(60, 60.0)];
    series[1][..35].fill(None);
    write(&file, &series);
    let (json, lines) = windows(&file, &["--no-training", "--windows", "4", "--horizon", "10"]);
    // Series b has 25 values, from row 35: windows from the origins 39 and 49 only.
    let of_b: Vec<i64> =
        lines.iter().filter(|line| line["series"] == "b").map(|line| line["window"].as_i64().unwrap()).collect();
    assert_eq!((of_b, lines.len()), (vec![2, 3], 6));
    assert_eq!((&json["without_values"], &json["not_forecast"]), (&2.into(), &0.into()));
    let output = foretide(&[&file, "--no-training", "--windows", "1", "--horizon", "60"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(error.contains("the longest series has 60 values; expected at least 61"), "{error}");
}

#[test]
fn wrong_arguments_say_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "wave.csv");
    write(&file, &[noisy_wave(100, 20.0)]);
    for (arguments, expected) in [
        (&["--windows", "0"][..], "\"0\" is not a number of windows; expected 1 or more"),
        (&["--windows", "two"], "expected 1 or more"),
        (&["--windows", "2", "--score-rows", "0..50"], "cannot be used with"),
        (&["--windows", "2", "--cold-start"], "cannot be used with"),
        (&["--emit-windows", "file"], "--windows"),
        (&["--cold-start", "--no-training", "--score-rows", "70..100"], "expected at least two values in a series"),
        (
            &["--windows", "2", "--strategy", "many_to_one", "--target", "mean"],
            "expected a strategy that forecasts every step",
        ),
    ] {
        let output = foretide(&[&[file.as_str()], arguments].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_cold_start_is_scored_by_the_observations_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "young.csv");
    // Series b begins 30 rows later, with a gap after its first value.
    let mut series = [noisy_wave(120, 20.0), noisy_wave(120, 60.0)];
    series[1][..30].fill(None);
    series[1][31] = None;
    write(&file, &series);
    let options = ["--cold-start", "--season", "8", "--horizon", "4", "--weights", "none"];
    let output = foretide(&[&[file.as_str(), "--json"], &options[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = json["cold_start"].as_array().unwrap();
    let seen: Vec<u64> = results.iter().map(|row| row["observations_seen"].as_u64().unwrap()).collect();
    assert_eq!(seen, [1, 4, 16, 64]);
    assert!(results.iter().all(|row| row["forecasts"] == 2), "{json}");
    // By hand: the last value and the value a season ago, in units of the deviation of all values of the series.
    let deviations = series.each_ref().map(|values| {
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt()
    });
    for (row, origins) in results.iter().zip([[0, 30], [3, 34], [15, 46], [63, 94]]) {
        let (mut last, mut seasonal, mut count) = (0.0, 0.0, 0.0);
        for ((values, deviation), origin) in series.iter().zip(deviations).zip(origins) {
            for target in origin + 1..=origin + 4 {
                let Some(value) = values[target] else { continue };
                let newest = values[origin].unwrap();
                let season_ago = target.checked_sub(8).and_then(|row| values[row]).unwrap_or(newest);
                last += (value - newest).abs() / deviation;
                seasonal += (value - season_ago).abs() / deviation;
                count += 1.0;
            }
        }
        near(&row["last_value"], last / count);
        near(&row["seasonal_naive"], seasonal / count);
        let better = if last <= seasonal { "last_value" } else { "seasonal_naive" };
        assert_eq!(row["better_naive"], better);
        let mae = row["mae"].as_f64().unwrap();
        near(&row["mae_ratio"], mae / (last.min(seasonal) / count));
        assert!(row["quantile_loss"].as_f64().unwrap() > 0.0 && row["coverage"]["0.80"].is_number(), "{row}");
    }
    // The first value says nothing of what follows.
    near(&results[0]["mae_ratio"], 1.0);
    let later = foretide(&[&[file.as_str(), "--json", "--score-rows", "30..120"], &options[..]].concat());
    let later: Value = serde_json::from_slice(&later.stdout).unwrap();
    assert_eq!(later["cold_start"][0]["forecasts"], 1, "only b begins in these rows");
    let table = foretide(&[&[file.as_str()], &options[..]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("last value") && table.contains("in 80 %") && table.contains("64"), "{table}");
}
