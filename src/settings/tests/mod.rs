//! Mistakes and their reports, the reference file against the defaults, the layers, arbitrary text.

mod cluster;
mod fields;
mod forms;
mod future_covariates;
mod http;
mod keys;
mod layers;
mod reference;
mod renamed;
mod stream;
mod values;

use super::parse;

/// Parses `text` as a file `f.toml`, with the variables of `environment`, and compares the whole report.
fn assert_report(text: &str, environment: &[(&str, &str)], report: &str) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let problems = parse("f.toml", text, environment).unwrap_err();
    assert_eq!(problems.to_string(), report);
}

/// A stream with the required keys only. Further keys of the stream can follow.
const STREAM: &str = "[[stream]]\nname = \"meters\"\ntopics = [\"in\"]\nvalues = [\"load\"]\ninterval = \"1m\"\n";
