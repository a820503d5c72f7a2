//! Fields, their columns, and times. Each test compares the whole report.

use super::assert_problems;

#[test]
fn csv_needs_columns_and_fields_among_them() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "1m"
format = "csv"
[[stream]]
name = "b"
topics = ["in"]
format = "csv"
columns = ["at", "meter", "load", "meter"]
delimiter = "\""
key = { fields = ["metre"] }
time = { field = "stamp" }
values = ["laod", "load"]
interval = "1m"
[[stream]]
name = "c"
topics = ["in"]
columns = ["load"]
values = ["load"]
interval = "1m""#;
    let report = r#"6:10 conflicting values: stream[0].format "csv"
  expected: the names of the columns with format = "csv"
  found: no columns
  see: stream[0].columns by default
  hint: such as columns = ["at", "meter", "load"]
11:35 conflicting values: stream[1].columns[3] "meter"
  expected: each item once
  found: "meter" twice
  see: stream[1].columns[1] at f.toml:11:18
  hint: remove one of them
12:13 wrong value: stream[1].delimiter "\""
  expected: a character that can separate columns
  found: '"'
  hint: such as "," or ";"
13:19 conflicting values: stream[1].key.fields[0] "metre"
  expected: one of the columns at, meter, load, meter
  found: "metre"
  see: stream[1].columns at f.toml:11:11
  hint: did you mean "meter"?
14:18 conflicting values: stream[1].time.field "stamp"
  expected: one of the columns at, meter, load, meter
  found: "stamp"
  see: stream[1].columns at f.toml:11:11
15:11 conflicting values: stream[1].values[0] "laod"
  expected: one of the columns at, meter, load, meter
  found: "laod"
  see: stream[1].columns at f.toml:11:11
  hint: did you mean "load"?
20:11 conflicting values: stream[2].columns ["load"]
  expected: columns only with format = "csv"
  found: format = "json"
  see: stream[2].format by default
  hint: set format = "csv", or remove the columns"#;
    assert_problems(text, report);
}

#[test]
fn each_field_is_named_once() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
key = { fields = ["", "a", "a"] }
time = { field = "at" }
values = ["at", "load", "load"]
interval = "1m"
[[stream]]
name = "b"
topics = []
values = []
interval = "1m""#;
    let report = r#"4:19 wrong value: stream[0].key.fields[0] ""
  expected: the name of a field
  found: an empty text
4:28 conflicting values: stream[0].key.fields[2] "a"
  expected: each item once
  found: "a" twice
  see: stream[0].key.fields[1] at f.toml:4:23
  hint: remove one of them
6:10 conflicting values: stream[0].values ["at", "load", "load"]
  expected: values that are not the time
  found: "at" as both
  see: stream[0].time at f.toml:5:8
  hint: remove it from values
6:25 conflicting values: stream[0].values[2] "load"
  expected: each item once
  found: "load" twice
  see: stream[0].values[1] at f.toml:6:17
  hint: remove one of them
10:10 wrong value: stream[1].topics []
  expected: at least one topic
  found: none
  hint: such as ["meters"]
11:10 wrong value: stream[1].values []
  expected: at least one field
  found: none
  hint: such as ["load"]"#;
    assert_problems(text, report);
}

#[test]
fn time_zones_and_patterns_must_be_valid() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
time_zone = "Berlin"
time = { field = "at", format = "%H:%M", zone = "Mars/Olympus" }
earliest = "2030-01-01T00:00:00Z"
latest = "2020-01-01T00:00:00Z"
[[stream]]
name = "b"
topics = ["in"]
time = { field = "at", format = "seconds", zone = "UTC" }
values = ["load"]
interval = "1m""#;
    let report = r#"6:13 wrong value: stream[0].time_zone "Berlin"
  expected: the IANA name of a time zone
  found: "Berlin"
  hint: such as "Europe/Berlin" or "UTC"
7:33 wrong value: stream[0].time.format "%H:%M"
  expected: a pattern that a date can be parsed with
  found: "%H:%M"
  hint: such as "%Y-%m-%d %H:%M:%S"; see https://docs.rs/jiff/latest/jiff/fmt/strtime
7:49 wrong value: stream[0].time.zone "Mars/Olympus"
  expected: the IANA name of a time zone
  found: "Mars/Olympus"
  hint: such as "Europe/Berlin" or "UTC"
8:12 conflicting values: stream[0].earliest "2030-01-01T00:00:00Z"
  expected: a time before latest
  found: a later one, or the same
  see: stream[0].latest at f.toml:9:10
  hint: swap them
13:51 conflicting values: stream[1].time.zone "UTC"
  expected: a zone only with a pattern
  found: a format that needs none
  see: stream[1].time.format at f.toml:13:33
  hint: remove the zone"#;
    assert_problems(text, report);
}

#[test]
fn holidays_are_dates_and_past_covariates_are_fields() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load", "warm"]
interval = "1m"
holidays = ["2026-12-25", "2026-12-25"]
past_covariates = ["", "warm"]
[[stream]]
name = "b"
topics = ["in"]
format = "csv"
columns = ["load", "warm"]
values = ["load"]
interval = "1m"
holidays = ["25.12.2026", "2026-12-25T00:00"]
past_covariates = ["wram"]
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1m"
past_covariates = ["1", "2", "3", "4", "5", "6", "7", "8", "9"]"#;
    let report = r#"6:27 conflicting values: stream[0].holidays[1] "2026-12-25"
  expected: each item once
  found: "2026-12-25" twice
  see: stream[0].holidays[0] at f.toml:6:13
  hint: remove one of them
7:20 wrong value: stream[0].past_covariates[0] ""
  expected: the name of a field
  found: an empty text
15:13 wrong value: stream[1].holidays[0] "25.12.2026"
  expected: a date from year 1 to 9999
  found: the text "25.12.2026"
  hint: such as "2026-12-25"
15:27 wrong value: stream[1].holidays[1] "2026-12-25T00:00"
  expected: a date from year 1 to 9999
  found: the text "2026-12-25T00:00"
  hint: such as "2026-12-25"
16:20 conflicting values: stream[1].past_covariates[0] "wram"
  expected: one of the columns load, warm
  found: "wram"
  see: stream[1].columns at f.toml:12:11
  hint: did you mean "warm"?
22:19 wrong value: stream[2].past_covariates ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
  expected: at most 8 fields
  found: 9
  hint: each series stores all of them"#;
    assert_problems(text, report);
}

#[test]
fn a_past_covariate_cannot_be_a_value() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load", "warm"]
interval = "1m"
past_covariates = ["warm"]"#;
    let report = r#"6:19 conflicting values: stream[0].past_covariates ["warm"]
  expected: past covariates that are not values
  found: "warm" as both
  see: stream[0].values at f.toml:4:10
  hint: remove it from one of them"#;
    assert_problems(text, report);
}
