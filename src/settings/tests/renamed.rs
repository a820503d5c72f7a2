//! Former names of keys and values: the report gives the present ones.

use super::super::renamed;
use super::{STREAM, assert_report, parse};

/// The tables of the keys that have a former name.
const TABLES: &[(&str, &[&str])] = &[
    ("[limits]", &["epoch_records", "epoch_bytes"]),
    ("[[stream]]", &["known", "covariates"]),
    ("[stream.model]", &["arrangement", "rounded"]),
    ("[stream.training]", &["lanes", "held_out"]),
    ("[stream.anomaly]", &["calm"]),
];

#[test]
fn the_report_gives_the_present_name_of_every_renamed_key() {
    assert_eq!(TABLES.iter().map(|(_, keys)| keys.len()).sum::<usize>(), renamed::KEYS.len());
    for (table, keys) in TABLES {
        for former in *keys {
            let present = renamed::present_name(renamed::KEYS, former).unwrap();
            let table = if *table == "[[stream]]" { "" } else { table };
            let problems = parse("f.toml", &format!("{STREAM}{table}\n{former} = 1"), []).unwrap_err();
            let title = format!("unknown key `{former}`; it is called `{present}`");
            assert_eq!((problems.list.len(), &problems.list[0].title), (1, &title));
        }
    }
}

#[test]
fn the_report_gives_the_present_table_and_value_of_a_renamed_key() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
arrangement = "many_to_many"
[stream.model]
arrangement = "iterated"
strategy = "iterated"
[stream.known]
topic = "weather"
"#;
    let report = r#"
error: unknown key `arrangement`; it is called `strategy` and belongs in [stream.model]: write strategy = "direct"
 --> f.toml:6:1
  |
6 | arrangement
  | ^^^^^^^^^^^
  = key: stream[0].arrangement

error: unknown key `arrangement`; it is called `strategy`: write strategy = "recursive"
 --> f.toml:8:1
  |
8 | arrangement
  | ^^^^^^^^^^^
  = key: stream[0].model.arrangement

error: wrong value
 --> f.toml:9:12
  |
9 | strategy = "iterated"
  |            ^^^^^^^^^^
  = key: stream[0].model.strategy
  = expected: one of "direct", "recursive", "many_to_one", "one_to_many", "one_to_one"
  = found: the text "iterated"
  = hint: it is called "recursive"

error: unknown key `known`; it is called `future_covariates`
  --> f.toml:10:9
   |
10 | [stream.known]
   |         ^^^^^
   = key: stream[0].known

error: unknown key `covariates`; it is called `past_covariates`
  --> environment variable FORETIDE__STREAM__0__COVARIATES
   = key: stream[0].covariates

f.toml: 5 problems; nothing was started"#;
    assert_report(text, &[("FORETIDE__STREAM__0__COVARIATES", "warm")], report);
}
