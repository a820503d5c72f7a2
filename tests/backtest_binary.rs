//! The built binary `foretide backtest`: its output and exit codes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs, io,
    path::Path,
    process::{Command, Output},
};

use flate2::read::GzDecoder;
use serde_json::Value;

fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).arg("backtest").args(arguments).output().unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Two hourly series with a daily season.
fn file(folder: &Path, rows: usize) -> String {
    let mut text = String::from("time,load,wind\n");
    for row in 0..rows {
        let day = (row as f64 * std::f64::consts::TAU / 24.0).sin();
        let noise = ((row * 7919 + 13) % 101) as f64 / 101.0;
        text += &format!("{},{},{}\n", 1_700_000_000 + 3600 * row, 50.0 + 10.0 * day + noise, noise * 8.0);
    }
    let file = path(folder, "two.csv");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn json_output_is_one_object_with_the_documented_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (file, emit) = (file(folder.path(), 300), path(folder.path(), "out.jsonl"));
    let rows = ["--scale-rows", "0..100", "--score-rows", "120..300"];
    let asked =
        ["--horizon", "12", "--report", "12,1", "--no-training", "--json", "--emit", &emit, "--topic", "meters"];
    let output = foretide(&[&[file.as_str()], &rows[..], &asked[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["series"], &json["origins"]), (&2.into(), &(300 - 120 - 12 + 1).into()));
    assert!(json["seconds"].as_f64().unwrap() > 0.0);
    let results = json["results"].as_array().unwrap();
    let named: Vec<(&str, u64)> =
        results.iter().map(|row| (row["method"].as_str().unwrap(), row["horizon"].as_u64().unwrap())).collect();
    let methods = ["foretide", "last_value", "seasonal_naive"];
    let expected: Vec<(&str, u64)> =
        [1, 12].into_iter().flat_map(|horizon| methods.map(|name| (name, horizon))).collect();
    assert_eq!(named, expected);
    for row in results {
        let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["coverage", "horizon", "mae", "mase", "method", "mse", "smape", "wql"]);
        assert!(["mse", "mae", "mase", "smape", "wql"].iter().all(|key| row[key].as_f64().unwrap() > 0.0), "{row}");
        let coverage: Vec<&String> = row["coverage"].as_object().unwrap().keys().collect();
        let expected: &[&str] = if row["method"] == "foretide" { &["0.80", "0.90"] } else { &[] };
        assert_eq!(coverage, expected);
    }
    let records = fs::read_to_string(&emit).unwrap();
    assert_eq!(records.lines().count(), 600);
    let last: Value = serde_json::from_str(records.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["series"], &last["input"]["topic"], &last["input"]["offset"]),
        (&"wind".into(), &"meters".into(), &299.into())
    );
}

#[test]
fn a_comparison_shows_every_part_with_the_errors_of_its_own_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), 600);
    let asked = ["--horizon", "6", "--hidden", "8", "--train-at", "300", "--train-updates", "60", "--json"];
    let run = |more: &[&str]| {
        let output = foretide(&[&[file.as_str()], &asked[..], more].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), stderr.matches("trained before row").count())
    };
    let (compared, trained) = run(&["--compare"]);
    assert_eq!(trained, 1, "the parts share one training");
    let results = compared["results"].as_array().unwrap();
    let named: Vec<(&str, u64)> =
        results.iter().map(|row| (row["method"].as_str().unwrap(), row["horizon"].as_u64().unwrap())).collect();
    let methods = ["foretide", "network_alone", "untrained", "last_value", "seasonal_naive"];
    let expected: Vec<(&str, u64)> =
        [1, 6].into_iter().flat_map(|horizon| methods.map(|name| (name, horizon))).collect();
    assert_eq!(named, expected);
    let keys: Vec<&String> = results[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["coverage", "horizon", "mae", "mase", "method", "microseconds", "mse", "smape", "wql"]);
    // Each part has the same errors as a run of its own.
    let without_training: Vec<&str> = asked.into_iter().filter(|word| !matches!(*word, "--train-at" | "300")).collect();
    let untrained = foretide(&[&[file.as_str()], &without_training[..], &["--no-training"]].concat());
    let untrained: Value = serde_json::from_slice(&untrained.stdout).unwrap();
    for (part, single) in [(0, run(&[]).0), (1, run(&["--network-alone"]).0), (2, untrained)] {
        for (horizon, place) in [(0, 0), (1, 3)] {
            let (ours, alone) = (&results[5 * horizon + part], &single["results"][place]);
            assert_eq!((&ours["mse"], &ours["coverage"]), (&alone["mse"], &alone["coverage"]), "{part}");
            assert!(ours["microseconds"].as_f64().unwrap() > 0.0);
        }
    }
    assert_ne!(results[0]["mse"], results[1]["mse"]);
    let table = foretide(&[&file, "--compare", "--no-training"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(["foretide", "last value", "seasonal naive", "µs"].iter().all(|word| table.contains(word)), "{table}");
    assert!(!table.contains("network alone") && !table.contains("Untrained"), "{table}");
}

#[test]
fn a_table_is_printed_and_plots_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), 300);
    for (name, start) in [("plot.svg", &b"<svg"[..]), ("plot.png", b"\x89PNG")] {
        let plot = path(folder.path(), name);
        let output = foretide(&[&file, "--no-training", "--plot", &plot, "--plot-series", "wind"]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            table.starts_with("2 series, ") && table.contains("seasonal naive") && table.contains("in 80 %"),
            "{table}"
        );
        let drawn = fs::read(&plot).unwrap();
        assert!(drawn.starts_with(start) && drawn.len() > 5000, "{name}: {} bytes", drawn.len());
    }
}

#[test]
fn training_is_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), 600);
    let asked = ["--horizon", "6", "--hidden", "8", "--train-at", "400", "--train-updates", "20", "--json"];
    let runs = [0, 1].map(|_| {
        let output = foretide(&[&[file.as_str()], &asked[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.contains("trained before row 400, 20 updates"), "{stderr}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["results"].clone()
    });
    assert_eq!(runs[0], runs[1]);
}

/// Training and test files of the M4 format: 30 series with a period of eight steps, and their next 2 values.
fn m4_files(folder: &Path) -> [String; 2] {
    m4_files_followed_by(folder, |value| value)
}

fn m4_files_followed_by(folder: &Path, follow: impl Fn(f64) -> f64) -> [String; 2] {
    let (mut train, mut test) = ("name,1,2,3\n".to_owned(), "name,1,2\n".to_owned());
    for series in 0..30 {
        let length = 150 + 7 * series;
        let noise = |step: usize| ((step * 7919 + 13) % 101) as f64 / 101.0;
        let value = |step: usize| 50.0 + series as f64 + 10.0 * ((step % 8) as f64 - 4.0).abs() + noise(step);
        let cells = |values: Vec<f64>| -> String { values.iter().map(|value| format!(",{value}")).collect() };
        let values = |steps: std::ops::Range<usize>| steps.map(|step| value(step + series));
        train += &format!("W{series}{}\n", cells(values(0..length).collect()));
        test += &format!("W{series}{}\n", cells(values(length..length + 2).map(&follow).collect()));
    }
    let files = [path(folder, "train.csv"), path(folder, "test.csv")];
    fs::write(&files[0], train).unwrap();
    fs::write(&files[1], test).unwrap();
    files
}

#[test]
fn each_m4_series_is_forecast_once() {
    let folder = tempfile::tempdir().unwrap();
    let [train, test] = m4_files(folder.path());
    let run = |more: &[&str]| {
        let output = foretide(&[&["--m4", train.as_str(), test.as_str(), "--horizon", "2"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // The linear expert learns the wave without a season and without training; Naive2 is the last value then.
    let untrained = run(&["--no-training", "--json"]);
    assert!(untrained.starts_with("{\"smape\":") && untrained.ends_with("}\n"), "{untrained}");
    let learnt = run(&["--hidden", "8", "--train-updates", "100", "--train-at", "352", "--network-alone", "--json"]);
    let [untrained, learnt]: [Value; 2] = [untrained, learnt].map(|text| serde_json::from_str(&text).unwrap());
    for json in [&untrained, &learnt] {
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["mase", "owa", "smape"]);
    }
    for json in [&untrained, &learnt] {
        assert!(json["owa"].as_f64().unwrap() < 0.9, "{json}");
    }
    let table = run(&["--no-training"]);
    assert!(table.contains("Naive2") && table.contains("foretide"), "{table}");
    // With a season Naive2 is better, so the relative errors are larger.
    let seasonal: Value = serde_json::from_str(&run(&["--no-training", "--period", "8", "--json"])).unwrap();
    assert!(seasonal["owa"].as_f64().unwrap() > untrained["owa"].as_f64().unwrap(), "{seasonal}");
}

#[test]
fn m4_test_values_change_no_forecast_of_their_series() {
    let folder = tempfile::tempdir().unwrap();
    let forecasts = |follow: fn(f64) -> f64| {
        let ([train, test], emit) = (m4_files_followed_by(folder.path(), follow), path(folder.path(), "out.jsonl"));
        let asked = ["--horizon", "2", "--hidden", "4", "--train-updates", "10", "--emit", emit.as_str()];
        let output = foretide(&[&["--m4", train.as_str(), test.as_str()], &asked[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.contains("trained before row 352, 10 updates"), "{stderr}");
        let records = fs::read_to_string(&emit).unwrap();
        let step = |record: &str| serde_json::from_str::<Value>(record).unwrap()["step"].as_u64().unwrap();
        records.lines().filter(|record| step(record) < 353).map(str::to_owned).collect::<Vec<_>>()
    };
    let forecast = forecasts(|value| value);
    assert!(forecast.len() > 30 * 150);
    assert_eq!(forecast, forecasts(|value| -9.0 * value));
}

#[test]
fn long_gaps_of_a_wave_are_imputed_better_than_by_linear_interpolation() {
    let folder = tempfile::tempdir().unwrap();
    let wave = path(folder.path(), "wave.csv");
    let mut text = String::from("time,wave\n");
    for row in 0..700 {
        let value = 20.0 + 5.0 * (row as f64 * std::f64::consts::TAU / 24.0).sin();
        text += &format!("{},{value}\n", 1_700_000_000 + 3600 * row);
    }
    fs::write(&wave, text).unwrap();
    let asked = ["--impute", "--impute-gaps", "9..12", "--cell", "lstm", "--hidden", "6", "--score-rows", "400..700"];
    let run = |more: &[&str]| {
        let output = foretide(&[&[wave.as_str()], &asked[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&["--no-training"]);
    let row = |name: &str| table.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start().to_owned();
    assert!(table.contains("values hidden in gaps of 9..12 steps") && row("foretide") == row("linear interpolation"));
    let json: Value = serde_json::from_str(&run(&["--train-updates", "100", "--json"])).unwrap();
    let imputed = &json["impute"];
    let keys: Vec<&String> = imputed.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["foretide", "gaps", "hidden_values", "last_value", "linear"]);
    assert_eq!(imputed["gaps"], "9..12");
    assert!(imputed["hidden_values"].as_u64().unwrap() > 50);
    let error = |way: &str, name: &str| imputed[way][name].as_f64().unwrap();
    for name in ["mse", "mae"] {
        let (ours, linear, last) = (error("foretide", name), error("linear", name), error("last_value", name));
        assert!(ours < 0.7 * linear && linear < last, "{name}: {imputed}");
    }
}

#[test]
fn errors_say_what_was_expected_and_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), 60);
    let bad = path(folder.path(), "bad.csv");
    fs::write(&bad, "time,x\n2020-01-01 00:00:00,1\n2020-01-01 01:00:00,one\n").unwrap();
    let [train, test] = m4_files(folder.path());
    let cases: [(&[&str], i32, &str); 17] = [
        (&[&good, "--compare", "--network-alone"], 2, "cannot be used with"),
        (&["--horizon", "3"], 2, "<FILE>"),
        (&["--m4", &train, &test, "--horizon", "3"], 65, "it holds 2 values of \"W0\"; expected the 3 values after"),
        (&["--m4", &train, &test, "--season", "8"], 2, "cannot be used with"),
        (&["--m4", &train, "no/such.csv"], 66, "no/such.csv: "),
        (&["no/such.csv"], 66, "no/such.csv: "),
        (&[&bad], 65, "line 3, column \"x\": \"one\"; expected a number"),
        (&[&good, "--report", "30"], 64, "horizon 30 cannot be reported; expected 1 to 24"),
        (&[&good, "--quantiles", "0.1,0.9"], 64, "expected 0.5 among them"),
        (&[&good, "--score-rows", "5..1"], 2, "expected A..B with A < B"),
        (&[&good, "--long"], 2, "--key"),
        (&[&good, "--impute", "--cell", "tcn"], 64, "cell is tcn, expected lstm or gru"),
        (&[&good, "--impute", "--layers", "2"], 64, "network options other than --cell and --hidden"),
        (&[&good, "--impute", "--plot", "x.svg"], 64, "--impute cannot be used with --plot"),
        (&[&good, "--impute"], 64, "expected at least one window of 96; these are the rows before row 12"),
        (&[&good, "--impute", "--impute-gaps", "4..2"], 2, "expected A..B with 1 <= A <= B <= 1024"),
        (&[&good, "--plot", "x.jpg"], 2, "expected a file name that ends in .svg or .png"),
    ];
    for (arguments, code, message) in cases {
        let output = foretide(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

/// Two files in a folder: noise with a level shift in its labelled window, and noise alone.
fn nab_files(folder: &Path) -> [String; 2] {
    fs::create_dir_all(folder.join("data/some")).unwrap();
    let stamp = |row: usize| format!("2024-01-{:02} {:02}:{:02}:00", 1 + row / 288, row / 12 % 24, row % 12 * 5);
    let write = |name: &str, shift: f64| {
        let mut text = String::from("timestamp,value\n");
        for row in 0..3000 {
            let noise = ((row * 7919 + row * row * 13) % 101) as f64 / 101.0;
            text += &format!("{},{}\n", stamp(row), noise + if row >= 2000 { shift } else { 0.0 });
        }
        fs::write(folder.join("data/some").join(name), text).unwrap();
    };
    write("shifted.csv", 5.0);
    write("still.csv", 0.0);
    let windows = serde_json::json!({
        "some/shifted.csv": [[stamp(1990) + ".000000", stamp(2190) + ".000000"]],
        "some/still.csv": []
    });
    let labels = path(folder, "windows.json");
    fs::write(&labels, windows.to_string()).unwrap();
    [path(folder, "data"), labels]
}

#[test]
fn anomalies_are_scored_against_labelled_windows() {
    let folder = tempfile::tempdir().unwrap();
    let [data, labels] = nab_files(folder.path());
    let output = foretide(&["--nab", &data, "--labels", &labels, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["profile"].as_str(), json["windows"].as_u64()), (Some("standard"), Some(1)));
    let score = json["score"].as_f64().unwrap();
    assert!((90.0..=100.0).contains(&score), "the shift is detected at once, and nothing else: {score}");
    let unlabelled = path(folder.path(), "none.json");
    fs::write(&unlabelled, "{}").unwrap();
    for (arguments, code, says) in [
        (&["--nab", &data, "--labels", &unlabelled][..], 65, "no labelled window found"),
        (&["--nab", &data, "--labels", "nowhere.json"], 66, "nowhere.json"),
        (&["--nab", "nowhere", "--labels", &labels], 66, "nowhere"),
        (&["--nab", &data, "--labels", &data], 66, "directory"),
        (&["--nab", &data], 2, "--labels"),
    ] {
        let output = foretide(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && error.contains(says), "{arguments:?}: {output:?}");
    }
}

/// Asserts that the benchmark's files in a folder score more than 65.
fn assert_nab_score(data: &str, labels: &str) {
    let output = foretide(&["--nab", data, "--labels", labels, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["score"].as_f64().unwrap() > 65.0, "{json}");
}

/// Three files of the benchmark with six labelled windows. They are compressed in the repository, and the command
/// reads plain files.
#[test]
fn the_numenta_score_of_three_files_is_at_least_65() {
    let extract = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/nab");
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv",
        "realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv",
        "realAdExchange/exchange-2_cpm_results.csv",
    ] {
        let (from, to) = (extract.join(format!("{name}.gz")), folder.path().join(name));
        let file = fs::File::open(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        io::copy(&mut GzDecoder::new(file), &mut fs::File::create(to).unwrap()).unwrap();
    }
    assert_nab_score(folder.path().to_str().unwrap(), &path(&extract, "combined_windows.json"));
}

#[test]
#[ignore = "needs ../shared/data/nab; scripts/test runs it where that exists"]
fn the_numenta_benchmark_score_is_at_least_65() {
    let nab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nab");
    assert!(nab.exists(), "{} is missing; run this test only where it exists", nab.display());
    assert_nab_score(&path(&nab, "data"), &path(&nab, "labels/combined_windows.json"));
}
