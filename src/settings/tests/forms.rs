//! The forms of single values: types, words, units, ranges. Each test compares the whole report.

use super::assert_problems;

#[test]
fn a_wrong_type_is_reported_with_the_value_that_was_found() {
    let text = r#"app = 3
commit_interval = 10
shards = "2"
[kafka]
brokers = "a:1"
create_topics = "true"
properties = 3
[limits]
transaction_bytes = 1000
poll_records = true
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
readings_per_slot = 1.5
quantiles = [0.1, "0.5"]
season = 60
key = ["a"]
time = 3
format = true
model = "gru""#;
    let report = r#"1:7 wrong type: app 3
  expected: a text
  found: the number 3
  hint: put it in quotes: "3"
2:19 wrong type: commit_interval 10
  expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  found: the number 10
  hint: put it in quotes and add the unit: "10ms" or "10s"
3:10 wrong type: shards "2"
  expected: a whole number, or "auto"
  found: the text "2"
  hint: write it without quotes: 2
5:11 wrong type: kafka.brokers "a:1"
  expected: a list
  found: the text "a:1"
  hint: put it in brackets: ["a:1"]
6:17 wrong type: kafka.create_topics "true"
  expected: true or false
  found: the text "true"
  hint: write it without quotes: true
7:14 wrong type: kafka.properties 3
  expected: a table
  found: the number 3
9:21 wrong type: limits.transaction_bytes 1000
  expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  found: the number 1000
  hint: put it in quotes and add the unit: "1000B" or "1000KiB"
10:16 wrong type: limits.poll_records true
  expected: a whole number
  found: true
16:21 wrong type: stream[0].readings_per_slot 1.5
  expected: a whole number
  found: the number 1.5
17:19 wrong type: stream[0].quantiles[1] "0.5"
  expected: a number
  found: the text "0.5"
  hint: write it without quotes: 0.5
18:10 wrong type: stream[0].season 60
  expected: a whole number with one of the units ms, s, m, h, d, w, mo, y, such as "15m", "1d" or "1mo", or "auto", or
    "none"
  found: the number 60
  hint: put it in quotes and add the unit: "60ms" or "60s"
19:7 wrong type: stream[0].key ["a"]
  expected: "record", or a table that names fields
  found: a list
  hint: such as key = { fields = ["site", "meter"] }
20:8 wrong type: stream[0].time 3
  expected: "record", or a table that names a field
  found: the number 3
  hint: such as time = { field = "at", format = "rfc3339" }
21:10 wrong type: stream[0].format true
  expected: one of "json", "csv"
  found: true
  hint: put it in quotes: "true"
22:9 wrong type: stream[0].model "gru"
  expected: a table
  found: the text "gru""#;
    assert_problems(text, report);
}

#[test]
fn a_wrong_word_or_unit_gets_a_suggestion() {
    let text = r#"role = "al"
commit_interval = "1.5 min"
checkpoint_interval = "1 fortnight"
[limits]
transaction_bytes = "32MB"
fetch_ahead_bytes = "0x10"
[http]
listen = "localhost"
[log]
level = "verbose"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
max_gap = "1h30m"
season = "daily"
earliest = "2026-13-01"
delimiter = "::"
time = { field = "at", format = "epoch" }"#;
    let report = r#"1:8 wrong value: role "al"
  expected: one of "all", "score", "train"
  found: the text "al"
  hint: did you mean "all"?
2:19 wrong value: commit_interval "1.5 min"
  expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  found: the text "1.5 min"
  hint: did you mean "90s"?
3:23 wrong value: checkpoint_interval "1 fortnight"
  expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  found: the text "1 fortnight"
5:21 wrong value: limits.transaction_bytes "32MB"
  expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  found: the text "32MB"
  hint: did you mean "32MiB"?
6:21 wrong value: limits.fetch_ahead_bytes "0x10"
  expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  found: the text "0x10"
8:10 wrong value: http.listen "localhost"
  expected: an IP address and a port
  found: the text "localhost"
  hint: such as "127.0.0.1:9464", or "0.0.0.0:9464" for all
10:9 wrong value: log.level "verbose"
  expected: off, error, warn, info, debug or trace, or a list of target=level
  found: "verbose"
  hint: such as "info" or "info,foretide::daemon=debug"
16:11 wrong value: stream[0].max_gap "1h30m"
  expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "auto"
  found: the text "1h30m"
  hint: did you mean "90m"?
17:10 wrong value: stream[0].season "daily"
  expected: a whole number with one of the units ms, s, m, h, d, w, mo, y, such as "15m", "1d" or "1mo", or "auto", or
    "none"
  found: the text "daily"
18:12 wrong value: stream[0].earliest "2026-13-01"
  expected: a time in RFC 3339, from year 1 to 9999
  found: the text "2026-13-01"
  hint: such as "2026-11-01T00:00:00Z"
19:13 wrong value: stream[0].delimiter "::"
  expected: one ASCII character
  found: the text "::"
  hint: such as ",", ";" or "\t" (tab)
20:33 wrong value: stream[0].time.format "epoch"
  expected: one of "rfc3339", "seconds", "milliseconds", "microseconds", "nanoseconds", or a pattern such as "%Y-%m-%d
    %H:%M:%S"
  found: the text "epoch""#;
    assert_problems(text, report);
}

#[test]
fn a_number_out_of_range_is_reported_with_the_range() {
    let text = r#"app = "a b"
instance = ""
shards = 0
commit_interval = "0s"
shutdown_deadline = "2h"
[kafka]
session_timeout = "1ms"
transaction_timeout = "1d"
replication = 0
[limits]
poll_records = -1
fetch_ahead_bytes = "2GiB"
transaction_records = 99999999999999999999"#;
    let report = r#"1:7 wrong value: app "a b"
  expected: 1 to 100 ASCII letters, digits, dots, underscores and hyphens
  found: "a b"
  hint: it is part of topic names, the consumer group and transactional ids
2:12 wrong value: instance ""
  expected: 1 to 100 ASCII letters, digits, dots, underscores and hyphens
  found: ""
  hint: it is part of transactional ids
3:10 wrong value: shards 0
  expected: 1 to 1024
  found: 0
  hint: write "auto" for one less than the cores of the machine
4:19 wrong value: commit_interval "0s"
  expected: 1ms to 1m
  found: 0s
  hint: a transaction takes about 10 ms
5:21 wrong value: shutdown_deadline "2h"
  expected: 1s to 1h
  found: 2h
7:19 wrong value: kafka.session_timeout "1ms"
  expected: 1s to 30m
  found: 1ms
  hint: brokers refuse less than group.min.session.timeout.ms, 6 s unless configured
8:23 wrong value: kafka.transaction_timeout "1d"
  expected: 1s to 15m
  found: 1d
  hint: brokers refuse more than transaction.max.timeout.ms, 15 minutes unless configured
9:15 wrong value: kafka.replication 0
  expected: 1 to 100
  found: 0
  hint: write "auto" for the default of the cluster
11:16 wrong value: limits.poll_records -1
  expected: a whole number from 0 to 4294967295
  found: the number -1
12:21 wrong value: limits.fetch_ahead_bytes "2GiB"
  expected: 1MiB to 2047MiB
  found: 2GiB
  hint: librdkafka accepts no more
13:23 wrong value: limits.transaction_records 99999999999999999999
  expected: a whole number from 0 to 4294967295
  found: a number that is too large
Configuration missing key: stream
  expected: at least one [[stream]]
  hint: config/foretide.toml shows one with all keys"#;
    assert_problems(text, report);
}
