//! Black box: `foretide check` reports the place of each mistake, and exits with the right code.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::process::{Command, Output};

fn check(configuration: &str, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.toml"), configuration).unwrap();
    Command::new(env!("CARGO_BIN_EXE_foretide"))
        .args(["check", "--config", "f.toml"])
        .current_dir(folder.path())
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn all_mistakes_are_reported_at_once_and_the_exit_code_is_78() {
    let configuration = r#"[kafka]
brokerz = ["a:1"]

[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = 60
[stream.training]
k1 = 64
k2 = 32
"#;
    let output = check(configuration, &[("FORETIDE__STREAM__0__HORIZON", "many")]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(text(&output.stdout), "");
    let report = r#"error: unknown key `brokerz`; did you mean `brokers`?
 --> f.toml:2:1
  |
2 | brokerz
  | ^^^^^^^
  = key: kafka.brokerz

error: wrong type
 --> f.toml:8:12
  |
8 | interval = 60
  |            ^^
  = key: stream[0].interval
  = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "irregular"
  = found: the number 60
  = hint: put it in quotes and add the unit: "60ms" or "60s"

error: conflicting values
  --> f.toml:11:6
   |
11 | k2 = 32
   |      ^^
   = key: stream[0].training.k2
   = expected: at least k1, 64
   = found: 32
   = see: stream[0].training.k1 at f.toml:10:6
   = hint: gradients would not reach all steps

error: wrong type
  --> environment variable FORETIDE__STREAM__0__HORIZON
   = key: stream[0].horizon
   = expected: a whole number
   = found: the text "many"

f.toml: 4 problems; nothing was started
"#;
    assert_eq!(text(&output.stderr), report);
}

#[test]
fn a_valid_configuration_is_summarised_and_the_exit_code_is_0() {
    let reference = include_str!("../config/foretide.toml");
    let output = check(reference, &[("FORETIDE__APP", "edge")]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let summary = text(&output.stdout);
    assert!(summary.starts_with("ok\n"), "{summary}");
    assert!(summary.contains("edge.meters.forecasts: 24 steps ahead"), "{summary}");
}

#[test]
fn the_exit_code_of_a_missing_file_is_78() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_foretide")).args(["check", "--config", "no/such/file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).starts_with("error: unreadable file\n  --> no/such/file.toml\n"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_former_key_is_reported_with_its_present_name() {
    let configuration = include_str!("../config/foretide.toml").replace("[stream.future_covariates]", "[stream.known]");
    let output = check(&configuration, &[]);
    assert_eq!(output.status.code(), Some(78));
    let report = text(&output.stderr);
    assert!(report.starts_with("error: unknown key `known`; it is called `future_covariates`\n"), "{report}");
}
