//! Mistakes and their reports; the reference file against the defaults; the layers; arbitrary text.

mod cluster;
mod fields;
mod forms;
mod http;
mod keys;
mod known;
mod layers;
mod reference;
mod stream;
mod values;

use super::parse;

/// Parses `text`, called `f.toml`, under `environment`, and compares the whole report.
fn assert_report(text: &str, environment: &[(&str, &str)], report: &str) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let problems = parse("f.toml", text, environment).unwrap_err();
    assert_eq!(problems.to_string(), report);
}

/// A stream with the required keys alone; more of its keys may follow.
const STREAM: &str = "[[stream]]\nname = \"meters\"\ntopics = [\"in\"]\nvalues = [\"load\"]\ninterval = \"1m\"\n";
