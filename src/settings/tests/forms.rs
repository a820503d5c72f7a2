//! The forms of single values: types, words, units, ranges. Each test compares the whole report.

use super::assert_report;

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
    let report = r#"error: wrong type
 --> f.toml:1:7
  |
1 | app = 3
  |       ^
  = key: app
  = expected: a text
  = found: the number 3
  = hint: put it in quotes: "3"

error: wrong type
 --> f.toml:2:19
  |
2 | commit_interval = 10
  |                   ^^
  = key: commit_interval
  = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  = found: the number 10
  = hint: put it in quotes and add the unit: "10ms" or "10s"

error: wrong type
 --> f.toml:3:10
  |
3 | shards = "2"
  |          ^^^
  = key: shards
  = expected: a whole number, or "auto"
  = found: the text "2"
  = hint: write it without quotes: 2

error: wrong type
 --> f.toml:5:11
  |
5 | brokers = "a:1"
  |           ^^^^^
  = key: kafka.brokers
  = expected: a list
  = found: the text "a:1"
  = hint: put it in brackets: ["a:1"]

error: wrong type
 --> f.toml:6:17
  |
6 | create_topics = "true"
  |                 ^^^^^^
  = key: kafka.create_topics
  = expected: true or false
  = found: the text "true"
  = hint: write it without quotes: true

error: wrong type
 --> f.toml:7:14
  |
7 | properties = 3
  |              ^
  = key: kafka.properties
  = expected: a table
  = found: the number 3

error: wrong type
 --> f.toml:9:21
  |
9 | transaction_bytes = 1000
  |                     ^^^^
  = key: limits.transaction_bytes
  = expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  = found: the number 1000
  = hint: put it in quotes and add the unit: "1000B" or "1000KiB"

error: wrong type
  --> f.toml:10:16
   |
10 | poll_records = true
   |                ^^^^
   = key: limits.poll_records
   = expected: a whole number
   = found: true

error: wrong type
  --> f.toml:16:21
   |
16 | readings_per_slot = 1.5
   |                     ^^^
   = key: stream[0].readings_per_slot
   = expected: a whole number
   = found: the number 1.5

error: wrong type
  --> f.toml:17:19
   |
17 | quantiles = [0.1, "0.5"]
   |                   ^^^^^
   = key: stream[0].quantiles[1]
   = expected: a number
   = found: the text "0.5"
   = hint: write it without quotes: 0.5

error: wrong type
  --> f.toml:18:10
   |
18 | season = 60
   |          ^^
   = key: stream[0].season
   = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "auto", or
               "none"
   = found: the number 60
   = hint: put it in quotes and add the unit: "60ms" or "60s"

error: wrong type
  --> f.toml:19:7
   |
19 | key = ["a"]
   |       ^^^^^
   = key: stream[0].key
   = expected: "record", or a table that names fields
   = found: a list
   = hint: such as key = { fields = ["site", "meter"] }

error: wrong type
  --> f.toml:20:8
   |
20 | time = 3
   |        ^
   = key: stream[0].time
   = expected: "record", or a table that names a field
   = found: the number 3
   = hint: such as time = { field = "at", format = "rfc3339" }

error: wrong type
  --> f.toml:21:10
   |
21 | format = true
   |          ^^^^
   = key: stream[0].format
   = expected: one of "json", "csv"
   = found: true
   = hint: put it in quotes: "true"

error: wrong type
  --> f.toml:22:9
   |
22 | model = "gru"
   |         ^^^^^
   = key: stream[0].model
   = expected: a table
   = found: the text "gru"

f.toml: 15 problems; nothing was started"#;
    assert_report(text, &[], report);
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
    let report = r#"error: wrong value
 --> f.toml:1:8
  |
1 | role = "al"
  |        ^^^^
  = key: role
  = expected: one of "all", "score", "train"
  = found: the text "al"
  = hint: did you mean "all"?

error: wrong value
 --> f.toml:2:19
  |
2 | commit_interval = "1.5 min"
  |                   ^^^^^^^^^
  = key: commit_interval
  = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  = found: the text "1.5 min"
  = hint: did you mean "90s"?

error: wrong value
 --> f.toml:3:23
  |
3 | checkpoint_interval = "1 fortnight"
  |                       ^^^^^^^^^^^^^
  = key: checkpoint_interval
  = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d"
  = found: the text "1 fortnight"

error: wrong value
 --> f.toml:5:21
  |
5 | transaction_bytes = "32MB"
  |                     ^^^^^^
  = key: limits.transaction_bytes
  = expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  = found: the text "32MB"
  = hint: did you mean "32MiB"?

error: wrong value
 --> f.toml:6:21
  |
6 | fetch_ahead_bytes = "0x10"
  |                     ^^^^^^
  = key: limits.fetch_ahead_bytes
  = expected: a whole number with one of the units B, KiB, MiB, GiB, such as "1MiB"
  = found: the text "0x10"

error: wrong value
 --> f.toml:8:10
  |
8 | listen = "localhost"
  |          ^^^^^^^^^^^
  = key: http.listen
  = expected: an IP address and a port
  = found: the text "localhost"
  = hint: such as "127.0.0.1:9464", or "0.0.0.0:9464" for all

error: wrong value
  --> f.toml:10:9
   |
10 | level = "verbose"
   |         ^^^^^^^^^
   = key: log.level
   = expected: off, error, warn, info, debug or trace, or a list of target=level
   = found: "verbose"
   = hint: such as "info" or "info,foretide::daemon=debug"

error: wrong value
  --> f.toml:16:11
   |
16 | max_gap = "1h30m"
   |           ^^^^^^^
   = key: stream[0].max_gap
   = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "auto"
   = found: the text "1h30m"
   = hint: did you mean "90m"?

error: wrong value
  --> f.toml:17:10
   |
17 | season = "daily"
   |          ^^^^^^^
   = key: stream[0].season
   = expected: a whole number with one of the units ms, s, m, h, d, such as "10ms" or "7d", or "auto", or
               "none"
   = found: the text "daily"

error: wrong value
  --> f.toml:18:12
   |
18 | earliest = "2026-13-01"
   |            ^^^^^^^^^^^^
   = key: stream[0].earliest
   = expected: a time in RFC 3339, from year 1 to 9999
   = found: the text "2026-13-01"
   = hint: such as "2026-11-01T00:00:00Z"

error: wrong value
  --> f.toml:19:13
   |
19 | delimiter = "::"
   |             ^^^^
   = key: stream[0].delimiter
   = expected: one ASCII character
   = found: the text "::"
   = hint: such as ",", ";" or "\t" (tab)

error: wrong value
  --> f.toml:20:33
   |
20 | time = { field = "at", format = "epoch" }
   |                                 ^^^^^^^
   = key: stream[0].time.format
   = expected: one of "rfc3339", "seconds", "milliseconds", "microseconds", "nanoseconds", or a pattern such
               as "%Y-%m-%d %H:%M:%S"
   = found: the text "epoch"

f.toml: 12 problems; nothing was started"#;
    assert_report(text, &[], report);
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
    let report = r#"error: wrong value
 --> f.toml:1:7
  |
1 | app = "a b"
  |       ^^^^^
  = key: app
  = expected: 1 to 100 ASCII letters, digits, dots, underscores and hyphens
  = found: "a b"
  = hint: it is part of topic names, the consumer group and transactional ids

error: wrong value
 --> f.toml:2:12
  |
2 | instance = ""
  |            ^^
  = key: instance
  = expected: 1 to 100 ASCII letters, digits, dots, underscores and hyphens
  = found: ""
  = hint: it is part of transactional ids

error: wrong value
 --> f.toml:3:10
  |
3 | shards = 0
  |          ^
  = key: shards
  = expected: 1 to 1024
  = found: 0
  = hint: write "auto" for one less than the cores of the machine

error: wrong value
 --> f.toml:4:19
  |
4 | commit_interval = "0s"
  |                   ^^^^
  = key: commit_interval
  = expected: 1ms to 1m
  = found: 0s
  = hint: a transaction takes about 10 ms

error: wrong value
 --> f.toml:5:21
  |
5 | shutdown_deadline = "2h"
  |                     ^^^^
  = key: shutdown_deadline
  = expected: 1s to 1h
  = found: 2h

error: wrong value
 --> f.toml:7:19
  |
7 | session_timeout = "1ms"
  |                   ^^^^^
  = key: kafka.session_timeout
  = expected: 1s to 30m
  = found: 1ms
  = hint: brokers refuse less than group.min.session.timeout.ms, 6 s unless configured

error: wrong value
 --> f.toml:8:23
  |
8 | transaction_timeout = "1d"
  |                       ^^^^
  = key: kafka.transaction_timeout
  = expected: 1s to 15m
  = found: 1d
  = hint: brokers refuse more than transaction.max.timeout.ms, 15 minutes unless configured

error: wrong value
 --> f.toml:9:15
  |
9 | replication = 0
  |               ^
  = key: kafka.replication
  = expected: 1 to 100
  = found: 0
  = hint: write "auto" for the default of the cluster

error: wrong value
  --> f.toml:11:16
   |
11 | poll_records = -1
   |                ^^
   = key: limits.poll_records
   = expected: a whole number from 0 to 4294967295
   = found: the number -1

error: wrong value
  --> f.toml:12:21
   |
12 | fetch_ahead_bytes = "2GiB"
   |                     ^^^^^^
   = key: limits.fetch_ahead_bytes
   = expected: 1MiB to 2047MiB
   = found: 2GiB
   = hint: librdkafka accepts no more

error: wrong value
  --> f.toml:13:23
   |
13 | transaction_records = 99999999999999999999
   |                       ^^^^^^^^^^^^^^^^^^^^
   = key: limits.transaction_records
   = expected: a whole number from 0 to 4294967295
   = found: a number that is too large

error: missing key
  --> f.toml
   = key: stream
   = expected: at least one [[stream]]
   = hint: config/foretide.toml shows one with all keys

f.toml: 12 problems; nothing was started"#;
    assert_report(text, &[], report);
}
