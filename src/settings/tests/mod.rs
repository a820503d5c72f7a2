//! Mistakes and their reports, the reference file against the defaults, the layers, arbitrary text.

mod bounds;
mod calendar;
mod cluster;
mod fields;
mod forms;
mod future_covariates;
mod http;
mod keys;
mod layers;
mod reference;
mod renamed;
mod repartition;
mod stream;
mod values;

use super::{Problem, parse, problem::Location, report::wrap};

/// Parses `text` as a file `f.toml`, with the variables of `environment`, and compares the whole report.
fn assert_report(text: &str, environment: &[(&str, &str)], report: &str) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let problems = parse("f.toml", text, environment).unwrap_err();
    assert_eq!(problems.to_string(), report.trim_start());
}

/// Like [`assert_report`], with a short form of the report: place, title, key and underlined text of each mistake, and
/// its notes.
fn assert_problems(text: &str, expected: &str) {
    let problems = parse("f.toml", text, []).unwrap_err();
    let short: Vec<String> = problems.list.iter().map(short_form).collect();
    assert_eq!(short.join("\n"), expected.trim());
}

fn short_form(problem: &Problem) -> String {
    let place = match &problem.location {
        Location::File { line, column, text, width } => {
            let underlined: String = text.chars().skip(column - 1).take(*width).collect();
            format!("{line}:{column} {}: {} {underlined}", problem.title, problem.key)
        }
        other => format!("{other:?} {}: {}", problem.title, problem.key),
    };
    let notes = [("expected", &problem.expected), ("found", &problem.found)].into_iter();
    let related = problem.related.iter().map(|related| ("see", related));
    let notes = notes.chain(related).chain([("hint", &problem.hint)]);
    let notes = notes.filter(|(_, note)| !note.is_empty()).map(|(name, note)| format!("\n  {name}: {}", wrap(note, 4)));
    place + &notes.collect::<String>()
}

/// A stream with the required keys only. Further keys of the stream can follow.
const STREAM: &str = "[[stream]]\nname = \"meters\"\ntopics = [\"in\"]\nvalues = [\"load\"]\ninterval = \"1m\"\n";
