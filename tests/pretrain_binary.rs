//! `foretide pretrain` as it is run: the built binary, its files, and what a backtest makes of its weights.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// A small network and short series, so that a test is quick.
const SMALL: [&str; 14] = [
    "--hidden",
    "8",
    "--decoder",
    "8",
    "--batch-size",
    "13",
    "--steps",
    "128",
    "--k1",
    "32",
    "--k2",
    "32",
    "--horizon",
    "24",
];

fn foretide(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretide")).args(arguments).output().unwrap()
}

fn pretrain(arguments: &[&str]) -> Output {
    let output = foretide(&[&["pretrain"][..], arguments, &SMALL].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Two series, hourly, with a day.
fn file(folder: &Path) -> String {
    let rows: String = (0..600)
        .map(|row| {
            let wave = (f64::from(row) * std::f64::consts::TAU / 24.0).sin();
            let noise = f64::from((row * 7919) % 101) / 101.0;
            format!("{},{},{}\n", 1_700_000_000 + 3600 * row, 50.0 + 10.0 * wave + noise, wave - 2.0 * noise)
        })
        .collect();
    let file = path(folder, "two_1h.csv");
    fs::write(&file, format!("time,a,b\n{rows}")).unwrap();
    file
}

#[test]
fn a_resumed_pretraining_writes_the_same_weights_and_any_horizon_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(folder.path(), name);
    let file = file(folder.path());
    let (whole, parts, checkpoint) = (at("whole"), at("parts"), at("checkpoint"));
    let real = ["--real", folder.path().to_str().unwrap(), "--real-share", "0.2", "--seed", "5"];
    let output = pretrain(&[&["--out", &whole, "--updates", "30"][..], &real].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("30 of 30 updates, "), "{said}");
    // A training that was to be longer, stopped in its constant part, is the same until then.
    let first = [&["--out", &parts, "--updates", "30", "--minutes", "0", "--checkpoint", &checkpoint][..], &real];
    let said = String::from_utf8_lossy(&pretrain(&first.concat()).stdout).into_owned();
    assert!(said.starts_with("1 of 30 updates, not finished"), "{said}");
    let rest = [&["--out", &parts, "--updates", "30", "--resume", "--checkpoint", &checkpoint][..], &real];
    pretrain(&rest.concat());
    assert!(fs::read(&whole).unwrap() == fs::read(&parts).unwrap(), "the same bytes");

    for horizon in ["5", "60"] {
        let arguments = ["backtest", &file, "--weights", &whole, "--horizon", horizon, "--network-alone", "--json"];
        let output = foretide(&[&arguments[..], &["--no-training", "--windows", "3"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report.is_object(), "{report}");
    }
    let out = at("tuned");
    let tuned = foretide(&["train", &file, "--weights", &whole, "--updates", "4", "--json", "--out", &out]);
    assert!(tuned.status.success(), "{}", String::from_utf8_lossy(&tuned.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&tuned.stdout).unwrap()["updates"], 4);
    let served = foretide(&["backtest", &file, "--weights", &out, "--no-training", "--json"]);
    assert!(served.status.success(), "{}", String::from_utf8_lossy(&served.stderr));
}
