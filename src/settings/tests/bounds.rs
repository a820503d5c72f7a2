//! Bounds and kinds of values. Each test of mistakes compares the whole report.

use super::super::{ValueField, parse, summary};
use super::{STREAM, assert_problems};

#[test]
fn a_value_is_a_name_or_a_table_with_bounds() {
    let values = r#"["load", { field = "kwh", minimum = 0 }, { field = "persons", maximum = 3e2, integer = true }]"#;
    let settings = parse("f.toml", &STREAM.replace("[\"load\"]", values), []).unwrap();
    let [load, kwh, persons] = &settings.stream[0].values[..] else { panic!("three fields") };
    assert_eq!(*load, ValueField::from("load"));
    assert_eq!(*kwh, ValueField { minimum: Some(0.0), ..ValueField::from("kwh") });
    assert_eq!(*persons, ValueField { maximum: Some(300.0), integer: true, ..ValueField::from("persons") });
    let line = "value field (load, kwh from 0, persons to 300 in whole numbers)";
    assert!(summary(&settings, |_| None).contains(line), "{}", summary(&settings, |_| None));
    let variable = ("FORETIDE__STREAM__0__VALUES".to_owned(), "a, b".to_owned());
    assert_eq!(parse("f.toml", STREAM, [variable]).unwrap().stream[0].fields(), ["a", "b"]);
}

#[test]
fn mistakes_in_bounds_have_their_places() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
interval = "1m"
format = "csv"
columns = ["a", "b", "c", "d"]
values = [
  { field = "a", minimum = 2, maximum = 1 },
  { field = "b", minimum = 0.2, maximum = 0.8, integer = true },
  { field = "c", min = 0, maximum = inf },
  { minimum = "0", integer = 1 },
  { field = "e" },
  "a",
]
[[stream]]
name = "b"
topics = ["in"]
interval = "1m"
values = ["a", 3]"#;
    let report = r#"8:28 conflicting values: stream[0].values[0].minimum 2
  expected: at most the maximum, 1
  found: 2
  see: stream[0].values[0].maximum at f.toml:8:41
  hint: swap them
9:58 conflicting values: stream[0].values[1].integer true
  expected: a whole number from 0.2 to 0.8
  found: none
  see: stream[0].values[1].minimum at f.toml:9:28
  see: stream[0].values[1].maximum at f.toml:9:43
  hint: remove integer, or widen the bounds
10:18 unknown key `min`: stream[0].values[2].min min
  expected: one of field, minimum, maximum, integer
10:37 wrong value: stream[0].values[2].maximum inf
  expected: a finite number
  found: a number that is too large
11:3 missing key: stream[0].values[3].field { minimum = "0", integer = 1 }
  expected: the key `field` in this table
  hint: add a line such as field = "load"
11:15 wrong type: stream[0].values[3].minimum "0"
  expected: a number
  found: the text "0"
  hint: write it without quotes: 0
11:30 wrong type: stream[0].values[3].integer 1
  expected: true or false
  found: the number 1
12:13 conflicting values: stream[0].values[4].field "e"
  expected: one of the columns a, b, c, d
  found: "e"
  see: stream[0].columns at f.toml:6:11
  hint: did you mean "a"?
13:3 conflicting values: stream[0].values[5] "a"
  expected: each item once
  found: "a" twice
  see: stream[0].values[0] at f.toml:8:3
  hint: remove one of them
19:16 wrong type: stream[1].values[1] 3
  expected: a text, or a table such as { field = "load", minimum = 0 }
  found: the number 3
  hint: put it in quotes: "3""#;
    assert_problems(text, report);
}
