//! Keys that are unknown or missing, syntax, variables. Each test compares the whole report.

use super::assert_report;

#[test]
fn an_unknown_key_gets_the_closest_name_or_its_table() {
    let text = r#"ap = "x"
horizon = 3
[kafak]
brokers = []
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
horizn = 24
hidden = 3
zzz = 1
time = { feild = "at" }"#;
    let report = r#"error: unknown key `ap`; did you mean `app`?
 --> f.toml:1:1
  |
1 | ap
  | ^^
  = key: ap

error: unknown key `horizon`; it belongs in [stream]
 --> f.toml:2:1
  |
2 | horizon
  | ^^^^^^^
  = key: horizon

error: unknown key `kafak`; did you mean `kafka`?
 --> f.toml:3:2
  |
3 | [kafak]
  |  ^^^^^
  = key: kafak

error: unknown key `horizn`; did you mean `horizon`?
  --> f.toml:10:1
   |
10 | horizn
   | ^^^^^^
   = key: stream[0].horizn

error: unknown key `hidden`; it belongs in [stream.model]
  --> f.toml:11:1
   |
11 | hidden
   | ^^^^^^
   = key: stream[0].hidden

error: unknown key `zzz`
  --> f.toml:12:1
   |
12 | zzz
   | ^^^
   = key: stream[0].zzz
   = expected: one of name, topics, repartition, start, format, columns, delimiter, key, time, values,
               past_covariates, interval, aggregation, readings_per_slot, close_by, absence, allowed_lateness,
               late, correction, max_ahead, max_gap, series_ttl, season, time_zone, origin, week_starts,
               year_phase, holidays, holidays_file, horizon, quantiles, earliest, latest, model, training,
               anomaly, future_covariates, outputs, limits

error: missing key
  --> f.toml:13:8
   |
13 | time = { feild = "at" }
   |        ^^^^^^^^^^^^^^^^
   = key: stream[0].time.field
   = expected: the key `field` in this table
   = hint: add a line such as field = "at"

error: unknown key `feild`; did you mean `field`?
  --> f.toml:13:10
   |
13 | time = { feild
   |          ^^^^^
   = key: stream[0].time.feild

f.toml: 8 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn every_missing_key_is_reported() {
    let text = r#"[[stream]]
key = {}
time = {}"#;
    let report = r#"error: missing key
 --> f.toml:1:1
  |
1 | [[stream]]
  | ^^^^^^^^^^
  = key: stream[0].name
  = expected: the key `name` in this table
  = hint: add a line such as name = "meters"

error: missing key
 --> f.toml:1:1
  |
1 | [[stream]]
  | ^^^^^^^^^^
  = key: stream[0].topics
  = expected: the key `topics` in this table
  = hint: add a line such as topics = ["meters"]

error: missing key
 --> f.toml:1:1
  |
1 | [[stream]]
  | ^^^^^^^^^^
  = key: stream[0].values
  = expected: the key `values` in this table
  = hint: add a line such as values = ["load"]

error: missing key
 --> f.toml:1:1
  |
1 | [[stream]]
  | ^^^^^^^^^^
  = key: stream[0].interval
  = expected: the key `interval` in this table
  = hint: add a line such as interval = "1m"

error: missing key
 --> f.toml:2:7
  |
2 | key = {}
  |       ^^
  = key: stream[0].key.fields
  = expected: the key `fields` in this table
  = hint: add a line such as fields = ["meter"]

error: missing key
 --> f.toml:3:8
  |
3 | time = {}
  |        ^^
  = key: stream[0].time.field
  = expected: the key `field` in this table
  = hint: add a line such as field = "at"

f.toml: 6 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn a_configuration_without_a_stream_is_reported() {
    let text = r#"app = "x""#;
    let report = r#"error: missing key
  --> f.toml
   = key: stream
   = expected: at least one [[stream]]
   = hint: config/foretide.toml shows one with all keys

f.toml: 1 problem; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn syntax_errors_neither_hide_mistakes_nor_cause_new_ones() {
    let text = r#"app = "x
role = "al"
app = "y"
[kafka
brokerz = 1
[log]
level = loud
format = "xml"
[[stream]]"#;
    let report = r#"error: syntax error
 --> f.toml:1:9
  |
1 | app = "x
  |         ^
  = found: invalid basic string, expected `"`

error: wrong value
 --> f.toml:2:8
  |
2 | role = "al"
  |        ^^^^
  = key: role
  = expected: one of "all", "score", "train"
  = found: the text "al"
  = hint: did you mean "all"?

error: syntax error
 --> f.toml:3:1
  |
3 | app = "y"
  | ^^^
  = found: duplicate key

error: syntax error
 --> f.toml:4:7
  |
4 | [kafka
  |       ^
  = found: unclosed table, expected `]`

error: syntax error
 --> f.toml:7:9
  |
7 | level = loud
  |         ^^^^
  = found: string values must be quoted, expected literal string

error: wrong value
 --> f.toml:8:10
  |
8 | format = "xml"
  |          ^^^^^
  = key: log.format
  = expected: one of "text", "json"
  = found: the text "xml"

f.toml: 6 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn tabs_and_wide_characters_do_not_shift_the_underline() {
    let text = r#"[[stream]]	
name = "Zähler"
	topics	=	["é", 3]
values = ["wärme", ""]
interval = "ä""#;
    let report = r#"error: wrong value
 --> f.toml:2:8
  |
2 | name = "Zähler"
  |        ^^^^^^^^
  = key: stream[0].name
  = expected: 1 to 100 ASCII letters, digits, dots, underscores and hyphens
  = found: "Zähler"
  = hint: it is part of topic names

error: wrong type
 --> f.toml:3:17
  |
3 | 	topics	=	["é", 3]
  | 	      	 	      ^
  = key: stream[0].topics[1]
  = expected: a text
  = found: the number 3
  = hint: put it in quotes: "3"

error: wrong value
 --> f.toml:4:20
  |
4 | values = ["wärme", ""]
  |                    ^^
  = key: stream[0].values[1]
  = expected: the name of a field
  = found: an empty text

error: wrong value
 --> f.toml:5:12
  |
5 | interval = "ä"
  |            ^^^
  = key: stream[0].interval
  = expected: a whole number with one of the units ms, s, m, h, d, w, mo, y, such as "15m", "1d" or "1mo", or
              "irregular"
  = found: the text "ä"

f.toml: 4 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn mistakes_in_variables_are_reported_with_their_names() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: missing key
 --> f.toml:1:1
  |
1 | [[stream]]
  | ^^^^^^^^^^
  = key: stream[1]
  = expected: stream[1], since variables set an item after it
  = found: nothing
  = hint: count without gaps, from 0

error: wrong name of a variable
  --> environment variable FORETIDE__
   = key: ""
   = expected: FORETIDE__ and the path of a key, its steps separated by __
   = hint: such as FORETIDE__KAFKA__BROKERS or FORETIDE__STREAM__0__HORIZON

error: wrong type
  --> environment variable FORETIDE__APP__X
   = key: app
   = expected: a text
   = found: a table

error: wrong type
  --> environment variable FORETIDE__HTTP
   = key: http
   = expected: the name of a single key
   = found: the name of a whole table
   = hint: append __ and one of its keys

error: wrong value
  --> environment variable FORETIDE__HTTP__LISTEN
   = key: http.listen
   = expected: an IP address and a port
   = found: the text "x"
   = hint: such as "127.0.0.1:9464", or "0.0.0.0:9464" for all

error: wrong value
  --> environment variable FORETIDE__KAFKA__BROKERS
   = key: kafka.brokers[1]
   = expected: host:port
   = found: "b"
   = hint: such as "127.0.0.1:9092"

error: wrong value
  --> environment variable FORETIDE__KAFKA__PROPERTIES__GROUP_ID
   = key: kafka.properties."group.id"
   = expected: a property that Foretide does not set
   = found: "group.id"
   = hint: it is made of `app`

error: unknown key `sasl_pasword`; did you mean `sasl_password`?
  --> environment variable FORETIDE__KAFKA__SASL_PASWORD
   = key: kafka.sasl_pasword

error: wrong type
  --> environment variable FORETIDE__STREAM__0__HORIZON
   = key: stream[0].horizon
   = expected: a whole number
   = found: the text "many"

error: wrong value
  --> environment variable FORETIDE__STREAM__0__TRAINING__CLIP
   = key: stream[0].training.clip
   = expected: a finite number
   = found: the text "nan"

error: wrong type
  --> environment variable FORETIDE__STREAM__0__TRAINING__ENABLED
   = key: stream[0].training.enabled
   = expected: true or false
   = found: the text "yes"

error: missing key
  --> environment variable FORETIDE__STREAM__2__NAME
   = key: stream[2].topics
   = expected: the key `topics` in this table
   = hint: add a line such as topics = ["meters"]

error: missing key
  --> environment variable FORETIDE__STREAM__2__NAME
   = key: stream[2].values
   = expected: the key `values` in this table
   = hint: add a line such as values = ["load"]

error: missing key
  --> environment variable FORETIDE__STREAM__2__NAME
   = key: stream[2].interval
   = expected: the key `interval` in this table
   = hint: add a line such as interval = "1m"

error: wrong name of a variable
  --> environment variable FORETIDE__STREAM__99999__NAME
   = key: stream[99999].name
   = expected: FORETIDE__ and the path of a key, its steps separated by __
   = hint: such as FORETIDE__KAFKA__BROKERS or FORETIDE__STREAM__0__HORIZON

f.toml: 15 problems; nothing was started"#;
    assert_report(
        text,
        &[
            ("FORETIDE__", "1"),
            ("FORETIDE__APP__X", "1"),
            ("FORETIDE__HTTP", "1"),
            ("FORETIDE__HTTP__LISTEN", "x"),
            ("FORETIDE__KAFKA__BROKERS", "a:1,b"),
            ("FORETIDE__KAFKA__SASL_PASWORD", "hunter2"),
            ("FORETIDE__KAFKA__PROPERTIES__GROUP_ID", "x"),
            ("FORETIDE__STREAM__0__HORIZON", "many"),
            ("FORETIDE__STREAM__0__TRAINING__ENABLED", "yes"),
            ("FORETIDE__STREAM__0__TRAINING__CLIP", "nan"),
            ("FORETIDE__STREAM__2__NAME", "b"),
            ("FORETIDE__STREAM__99999__NAME", "b"),
        ],
        report,
    );
}
