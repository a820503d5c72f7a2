//! Future covariates.

use super::super::{Auto, Key, Time, parse};
use super::{STREAM, assert_report};

#[test]
fn future_covariates_come_from_a_second_topic() {
    let table = "[stream.future_covariates]\ntopic = \"weather\"\nvalues = [\"warm\"]\nkey = { fields = [\"site\"] }\ntime = { field = \"at\" }\n";
    let settings = parse("f.toml", &format!("{STREAM}{table}"), []).unwrap();
    let stream = &settings.stream[0];
    assert_eq!(stream.future_covariates.topic.as_deref(), Some("weather"));
    assert_eq!(stream.future_covariates.key, Some(Key::Fields(vec!["site".into()])));
    assert!(matches!(&stream.future_covariates.time, Some(Time::Field { field, .. }) if field == "at"));
    assert_eq!((stream.future_covariates.slots, stream.future_covariate_slots()), (Auto::Auto, 256));
    let shared = parse("f.toml", &format!("{STREAM}{}", table.replace("key", "# key")), []).unwrap();
    assert_eq!(shared.stream[0].future_covariate_slots(), 65_536);
}

#[test]
fn mistakes_in_future_covariates_are_reported_with_their_places() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "irregular"
[stream.future_covariates]
topic = "weather"
time = "record"
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.future_covariates]
values = ["warm"]
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.future_covariates]
topic = "foretide.state"
format = "csv"
columns = ["at", "warm"]
key = { fields = [] }
time = { field = "at" }
values = ["worm"]
slots = 5
[[stream]]
name = "d"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.future_covariates]
topic = "in"
time = { field = "at" }
values = ["warm"]"#;
    let report = r#"error: wrong value
 --> f.toml:6:1
  |
6 | [stream.future_covariates]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^
  = key: stream[0].future_covariates.values
  = expected: at least one field
  = found: none
  = hint: such as values = ["temperature"]

error: wrong value
 --> f.toml:7:9
  |
7 | topic = "weather"
  |         ^^^^^^^^^
  = key: stream[0].future_covariates.topic
  = expected: a stream with a regular interval
  = found: interval = "irregular"
  = hint: future steps of an irregular stream have no times

error: wrong value
 --> f.toml:8:8
  |
8 | time = "record"
  |        ^^^^^^^^
  = key: stream[0].future_covariates.time
  = expected: a field with the time that the covariates are for
  = found: the time of the record itself
  = hint: such as time = { field = "at" }

error: wrong value
  --> f.toml:14:1
   |
14 | [stream.future_covariates]
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^
   = key: stream[1].future_covariates.topic
   = expected: the topic with the future covariates
   = found: none
   = hint: such as topic = "weather"

error: wrong value
  --> f.toml:25:7
   |
25 | key = { fields = [] }
   |       ^^^^^^^^^^^^^^^
   = key: stream[2].future_covariates.key
   = expected: at least one field
   = found: none
   = hint: remove the key where all series share the covariates

error: wrong value
  --> f.toml:27:11
   |
27 | values = ["worm"]
   |           ^^^^^^
   = key: stream[2].future_covariates.values[0]
   = expected: one of the columns at, warm
   = found: "worm"

error: wrong value
  --> f.toml:28:9
   |
28 | slots = 5
   |         ^
   = key: stream[2].future_covariates.slots
   = expected: 25 to 10000000
   = found: 5
   = hint: at least the horizon and one step before it

error: wrong value
  --> f.toml:35:9
   |
35 | topic = "in"
   |         ^^^^
   = key: stream[3].future_covariates.topic
   = expected: a topic other than the input topics
   = found: "in", an input
   = hint: fields of the input records are past covariates

error: conflicting values
  --> f.toml
   = key: topics.state
   = expected: outputs that are not inputs
   = found: "foretide.state" for snapshots and for future covariates
   = see: stream[2].future_covariates.topic at f.toml:22:9
   = hint: name another topic

f.toml: 9 problems; nothing was started"#;
    assert_report(text, &[], report);
}
