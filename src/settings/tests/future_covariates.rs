//! Future covariates.

use super::super::{Auto, Key, Time, parse};
use super::{STREAM, assert_problems};

#[test]
fn future_covariates_come_from_a_second_topic() {
    let table = r#"[stream.future_covariates]
topic = "weather"
values = ["warm"]
key = { fields = ["site"] }
time = { field = "at" }
"#;
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
    let report = r#"6:1 wrong value: stream[0].future_covariates.values [stream.future_covariates]
  expected: at least one field
  found: none
  hint: such as values = ["temperature"]
7:9 wrong value: stream[0].future_covariates.topic "weather"
  expected: a stream with a regular interval
  found: interval = "irregular"
  hint: future steps of an irregular stream have no times
8:8 wrong value: stream[0].future_covariates.time "record"
  expected: a field with the time that the covariates are for
  found: the time of the record itself
  hint: such as time = { field = "at" }
14:1 wrong value: stream[1].future_covariates.topic [stream.future_covariates]
  expected: the topic with the future covariates
  found: none
  hint: such as topic = "weather"
25:7 wrong value: stream[2].future_covariates.key { fields = [] }
  expected: at least one field
  found: none
  hint: remove the key where all series share the covariates
27:11 wrong value: stream[2].future_covariates.values[0] "worm"
  expected: one of the columns at, warm
  found: "worm"
28:9 wrong value: stream[2].future_covariates.slots 5
  expected: 25 to 10000000
  found: 5
  hint: at least the horizon and one step before it
35:9 wrong value: stream[3].future_covariates.topic "in"
  expected: a topic other than the input topics
  found: "in", an input
  hint: fields of the input records are past covariates
Configuration conflicting values: topics.state
  expected: outputs that are not inputs
  found: "foretide.state" for snapshots and for future covariates
  see: stream[2].future_covariates.topic at f.toml:22:9
  hint: name another topic"#;
    assert_problems(text, report);
}
