//! Black box: `foretide check` says where each mistake is, and with which code it ends.

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
fn mistakes_are_all_told_at_once_and_end_with_78() {
    let configuration = "[kafka]\nbrokerz = [\"a:1\"]\n\n[[stream]]\nname = \"meters\"\ntopics = [\"in\"]\nvalues = [\"load\"]\ninterval = 60\n[stream.training]\nk1 = 64\nk2 = 32\n";
    let output = check(configuration, &[("FORETIDE__STREAM__0__HORIZON", "many")]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(text(&output.stdout), "");
    let report = r#"error: unknown key
 --> f.toml:2:1
  |
2 | brokerz
  | ^^^^^^^
  = key: kafka.brokerz
  = expected: one of brokers, security_protocol, sasl_mechanism, sasl_username, sasl_password, sasl_password_file, ssl_ca_file, ssl_certificate_file, ssl_key_file, ssl_key_password, ssl_key_password_file, session_timeout, static_membership, transaction_timeout, compression, create_topics, replication, properties
  = hint: did you mean `brokers`?

error: wrong type
 --> f.toml:8:12
  |
8 | interval = 60
  |            ^^
  = key: stream[0].interval
  = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "irregular"
  = found: the number 60
  = hint: put it in quotes and add the unit: "60ms" or "60s"

error: contradiction
  --> f.toml:11:6
   |
11 | k2 = 32
   |      ^^
   = key: stream[0].training.k2
   = expected: at least k1, 64
   = found: 32
   = see: stream[0].training.k1 at f.toml:10:6
   = hint: steps between two cuts would never be learnt from

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
fn a_sound_configuration_ends_with_0_and_says_what_it_amounts_to() {
    let reference = include_str!("../config/foretide.toml");
    let output = check(reference, &[("FORETIDE__APP", "edge")]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let summary = text(&output.stdout);
    assert!(summary.starts_with("ok\n"), "{summary}");
    assert!(summary.contains("edge.meters.forecasts: 24 steps ahead"), "{summary}");
}

#[test]
fn a_file_that_is_not_there_ends_with_78() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_foretide")).args(["check", "--config", "no/such/file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).starts_with("error: unreadable file\n  --> no/such/file.toml\n"),
        "{}",
        text(&output.stderr)
    );
}
