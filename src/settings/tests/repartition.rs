//! `repartition = true`, and what contradicts it. Each test compares the whole report.

use super::super::parse;
use super::assert_report;

#[test]
fn a_repartitioned_stream_has_a_topic_of_its_own() {
    let text =
        "[[stream]]\nname = \"load\"\ntopics = [\"in\"]\nvalues = [\"v\"]\ninterval = \"1m\"\nrepartition = true\n";
    let settings = parse("f.toml", text, []).unwrap();
    assert_eq!(settings.repartition_topic(&settings.stream[0]), "foretide.load.repartition");
    let named = format!("app = \"x\"\n[topics]\nrepartition = \"{{stream}}-by-key\"\n{text}");
    let settings = parse("f.toml", &named, []).unwrap();
    assert_eq!(settings.repartition_topic(&settings.stream[0]), "load-by-key");
}

#[test]
fn no_other_stream_reads_the_topics_of_a_repartitioned_one() {
    let text = r#"[[stream]]
name = "a"
topics = ["in", "more"]
values = ["load"]
interval = "1m"
[[stream]]
name = "b"
topics = ["other", "more"]
values = ["load"]
interval = "1m"
repartition = true
[[stream]]
name = "c"
topics = ["other"]
values = ["load"]
interval = "1m"
repartition = true"#;
    let report = r#"error: conflicting values
 --> f.toml:8:20
  |
8 | topics = ["other", "more"]
  |                    ^^^^^^
  = key: stream[1].topics[1]
  = expected: a topic that no other stream reads, since repartition = true
  = found: "more", which "a" reads, too
  = see: stream[0].topics[1] at f.toml:3:17
  = hint: give one of the streams an `app` of its own, in another configuration

error: conflicting values
  --> f.toml:14:11
   |
14 | topics = ["other"]
   |           ^^^^^^^
   = key: stream[2].topics[0]
   = expected: a topic that no other stream reads, since repartition = true
   = found: "other", which "b" reads, too
   = see: stream[1].topics[0] at f.toml:8:11
   = hint: give one of the streams an `app` of its own, in another configuration

f.toml: 2 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn two_repartitioned_streams_have_two_topics() {
    let text = r#"[topics]
repartition = "copies"
[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "1m"
repartition = true
[[stream]]
name = "b"
topics = ["other"]
values = ["load"]
interval = "1m"
repartition = true"#;
    let report = r#"error: conflicting values
 --> f.toml:2:15
  |
2 | repartition = "copies"
  |               ^^^^^^^^
  = key: topics.repartition
  = expected: a different topic for each output
  = found: "copies" for the copies of "a" and for the copies of "b"
  = hint: put {stream} into it

f.toml: 1 problem; nothing was started"#;
    assert_report(text, &[], report);
}
