//! What is known in advance.

use super::super::{Auto, Key, Time, parse};
use super::{STREAM, assert_report};

#[test]
fn a_second_topic_is_read() {
    let known = "[stream.known]\ntopic = \"weather\"\nvalues = [\"warm\"]\nkey = { fields = [\"site\"] }\ntime = { field = \"at\" }\n";
    let settings = parse("f.toml", &format!("{STREAM}{known}"), []).unwrap();
    let stream = &settings.stream[0];
    assert_eq!(stream.future_covariates.topic.as_deref(), Some("weather"));
    assert_eq!(stream.future_covariates.key, Some(Key::Fields(vec!["site".into()])));
    assert!(matches!(&stream.future_covariates.time, Some(Time::Field { field, .. }) if field == "at"));
    assert_eq!((stream.future_covariates.slots, stream.future_covariate_slots()), (Auto::Auto, 256));
    let shared = parse("f.toml", &format!("{STREAM}{}", known.replace("key", "# key")), []).unwrap();
    assert_eq!(shared.stream[0].future_covariate_slots(), 65_536);
}

#[test]
fn what_is_known_in_advance_is_told_with_its_place() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "irregular"
[stream.known]
topic = "weather"
time = "record"
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.known]
values = ["warm"]
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.known]
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
[stream.known]
topic = "in"
time = { field = "at" }
values = ["warm"]"#;
    let report = r#"error: wrong value
 --> f.toml:6:1
  |
6 | [stream.known]
  | ^^^^^^^^^^^^^^
  = key: stream[0].known.values
  = expected: at least one field
  = found: none
  = hint: such as values = ["temperature"]

error: wrong value
 --> f.toml:7:9
  |
7 | topic = "weather"
  |         ^^^^^^^^^
  = key: stream[0].known.topic
  = expected: a regular interval beside it
  = found: interval = "irregular"
  = hint: without a grid no step ahead has a time

error: wrong value
 --> f.toml:8:8
  |
8 | time = "record"
  |        ^^^^^^^^
  = key: stream[0].known.time
  = expected: a field that holds the time of which a record tells
  = found: the record's own time
  = hint: such as time = { field = "at" }

error: wrong value
  --> f.toml:14:1
   |
14 | [stream.known]
   | ^^^^^^^^^^^^^^
   = key: stream[1].known.topic
   = expected: the topic whose records tell the numbers
   = found: none
   = hint: such as topic = "weather"

error: wrong value
  --> f.toml:25:7
   |
25 | key = { fields = [] }
   |       ^^^^^^^^^^^^^^^
   = key: stream[2].known.key
   = expected: at least one field
   = found: none
   = hint: leave the key out where the numbers are the same for all series

error: wrong value
  --> f.toml:27:11
   |
27 | values = ["worm"]
   |           ^^^^^^
   = key: stream[2].known.values[0]
   = expected: one of the columns at, warm
   = found: "worm"

error: wrong value
  --> f.toml:28:9
   |
28 | slots = 5
   |         ^
   = key: stream[2].known.slots
   = expected: 25 to 10000000
   = found: 5
   = hint: the horizon and the step before it at least

error: wrong value
  --> f.toml:35:9
   |
35 | topic = "in"
   |         ^^^^
   = key: stream[3].known.topic
   = expected: a topic other than the inputs
   = found: "in", an input
   = hint: numbers of the same records are covariates

error: contradiction
  --> f.toml
   = key: topics.state
   = expected: outputs that are not inputs
   = found: "foretide.state" for snapshots and for what is known in advance
   = see: stream[2].known.topic at f.toml:22:9
   = hint: name another topic

f.toml: 9 problems; nothing was started"#;
    assert_report(text, &[], report);
}
