//! Mistakes outside of the streams. Each test compares the whole report.

use super::assert_report;

#[test]
fn reports_never_show_secrets() {
    let text = r#"[kafka]
sasl_password = 12345
sasl_pasword = "hunter2"
ssl_key_password = ["hunter2"]
[kafka.properties]
"sasl.oauthbearer.client.secret" = 77
"ssl.key.pem" = ["hunter2"]
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: wrong type
 --> f.toml:2:17
  |
2 | sasl_password = ***
  |                 ^^^
  = key: kafka.sasl_password
  = expected: a text
  = found: a value that is not shown
  = hint: put it in quotes

error: unknown key `sasl_pasword`; did you mean `sasl_password`?
 --> f.toml:3:1
  |
3 | sasl_pasword
  | ^^^^^^^^^^^^
  = key: kafka.sasl_pasword

error: wrong type
 --> f.toml:4:20
  |
4 | ssl_key_password = ***
  |                    ^^^
  = key: kafka.ssl_key_password
  = expected: a text
  = found: a list

error: wrong type
 --> f.toml:6:36
  |
6 | "sasl.oauthbearer.client.secret" = ***
  |                                    ^^
  = key: kafka.properties."sasl.oauthbearer.client.secret"
  = expected: a text
  = found: a value that is not shown
  = hint: put it in quotes

error: wrong type
 --> f.toml:7:17
  |
7 | "ssl.key.pem" = ***
  |                 ^^^
  = key: kafka.properties."ssl.key.pem"
  = expected: a text
  = found: a list

f.toml: 5 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn sasl_and_tls_must_fit_the_protocol() {
    let text = r#"[kafka]
security_protocol = "sasl_plaintext"
ssl_ca_file = "ca.pem"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:2:21
  |
2 | security_protocol = "sasl_plaintext"
  |                     ^^^^^^^^^^^^^^^^
  = key: kafka.security_protocol
  = expected: kafka.sasl_username with security_protocol = "sasl_plaintext"
  = found: no sasl_username
  = see: kafka.sasl_username by default
  = hint: add sasl_username, or use another protocol

error: conflicting values
 --> f.toml:2:21
  |
2 | security_protocol = "sasl_plaintext"
  |                     ^^^^^^^^^^^^^^^^
  = key: kafka.security_protocol
  = expected: kafka.sasl_password with security_protocol = "sasl_plaintext"
  = found: no sasl_password
  = see: kafka.sasl_password by default
  = hint: add sasl_password, or use another protocol

error: conflicting values
 --> f.toml:3:15
  |
3 | ssl_ca_file = "ca.pem"
  |               ^^^^^^^^
  = key: kafka.ssl_ca_file
  = expected: a protocol that uses it
  = found: security_protocol = "sasl_plaintext"
  = see: kafka.security_protocol at f.toml:2:21
  = hint: set security_protocol = "ssl" or "sasl_ssl", or remove ssl_ca_file

f.toml: 3 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn credentials_need_a_protocol_that_uses_them() {
    let text = r#"[kafka]
sasl_username = "me"
sasl_password = "x"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:2:17
  |
2 | sasl_username = "me"
  |                 ^^^^
  = key: kafka.sasl_username
  = expected: a protocol that uses it
  = found: security_protocol = "plaintext"
  = see: kafka.security_protocol by default
  = hint: set security_protocol = "sasl_ssl" (or "sasl_plaintext"), or remove sasl_username

error: conflicting values
 --> f.toml:3:17
  |
3 | sasl_password = ***
  |                 ^^^
  = key: kafka.sasl_password
  = expected: a protocol that uses it
  = found: security_protocol = "plaintext"
  = see: kafka.security_protocol by default
  = hint: set security_protocol = "sasl_ssl" (or "sasl_plaintext"), or remove sasl_password

f.toml: 2 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn a_certificate_needs_its_key_and_a_password_a_key() {
    let text = r#"[kafka]
security_protocol = "ssl"
ssl_certificate_file = "client.pem"
ssl_key_password = "x"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:3:24
  |
3 | ssl_certificate_file = "client.pem"
  |                        ^^^^^^^^^^^^
  = key: kafka.ssl_certificate_file
  = expected: a certificate and its key
  = found: no ssl_key_file
  = see: kafka.ssl_key_file by default
  = hint: add ssl_key_file

error: unreadable file
 --> f.toml:3:24
  |
3 | ssl_certificate_file = "client.pem"
  |                        ^^^^^^^^^^^^
  = key: kafka.ssl_certificate_file
  = expected: a file that can be read
  = found: client.pem: No such file or directory (os error 2)
  = hint: relative paths start at the working directory

error: conflicting values
 --> f.toml:4:20
  |
4 | ssl_key_password = ***
  |                    ^^^
  = key: kafka.ssl_key_password
  = expected: a private key that it decrypts
  = found: no ssl_key_file
  = see: kafka.ssl_key_file by default
  = hint: add ssl_key_file, or remove ssl_key_password

f.toml: 3 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn a_secret_is_set_once_and_its_file_must_be_readable() {
    let text = r#"[kafka]
security_protocol = "sasl_ssl"
sasl_username = "me"
sasl_password = "x"
sasl_password_file = "does/not/exist"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:5:22
  |
5 | sasl_password_file = "does/not/exist"
  |                      ^^^^^^^^^^^^^^^^
  = key: kafka.sasl_password_file
  = expected: one of the two
  = found: sasl_password and sasl_password_file
  = see: kafka.sasl_password at f.toml:4:17
  = hint: remove one of them

error: unreadable file
 --> f.toml:5:22
  |
5 | sasl_password_file = "does/not/exist"
  |                      ^^^^^^^^^^^^^^^^
  = key: kafka.sasl_password_file
  = expected: a file that can be read
  = found: does/not/exist: No such file or directory (os error 2)
  = hint: relative paths start at the working directory

f.toml: 2 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn brokers_are_host_and_port() {
    let text = r#"[kafka]
brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: wrong value
 --> f.toml:2:12
  |
2 | brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
  |            ^^^^^^^
  = key: kafka.brokers[0]
  = expected: host:port
  = found: "kafka"
  = hint: such as "127.0.0.1:9092"

error: wrong value
 --> f.toml:2:21
  |
2 | brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
  |                     ^^^^^^^^^
  = key: kafka.brokers[1]
  = expected: host:port
  = found: "kafka:0"
  = hint: such as "127.0.0.1:9092"

error: wrong value
 --> f.toml:2:32
  |
2 | brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
  |                                ^^^^^^^^^^^^^^^^^^^
  = key: kafka.brokers[2]
  = expected: host:port
  = found: "http://kafka:9092"
  = hint: remove the scheme

error: wrong value
 --> f.toml:2:84
  |
2 | brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
  |                                                                                    ^^^^^^^
  = key: kafka.brokers[5]
  = expected: host:port
  = found: ":9092"
  = hint: such as "127.0.0.1:9092"

error: wrong value
 --> f.toml:2:93
  |
2 | brokers = ["kafka", "kafka:0", "http://kafka:9092", "[::1]:9092", "a_b.c-d:65535", ":9092", "kafka:65536"]
  |                                                                                             ^^^^^^^^^^^^^
  = key: kafka.brokers[6]
  = expected: host:port
  = found: "kafka:65536"
  = hint: such as "127.0.0.1:9092"

f.toml: 5 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn properties_that_foretide_sets_itself_are_refused() {
    let text = r#"[kafka.properties]
"group.id" = "x"
"isolation.level" = "read_uncommitted"
"fetch.wait.max.ms" = "10"
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: wrong value
 --> f.toml:2:14
  |
2 | "group.id" = ***
  |              ^^^
  = key: kafka.properties."group.id"
  = expected: a property that Foretide does not set
  = found: "group.id"
  = hint: it is made of `app`

error: wrong value
 --> f.toml:3:21
  |
3 | "isolation.level" = ***
  |                     ^^^
  = key: kafka.properties."isolation.level"
  = expected: a property that Foretide does not set
  = found: "isolation.level"
  = hint: only committed records are read; there is no other mode

f.toml: 2 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn a_transaction_must_be_committed_before_its_timeout() {
    let text = r#"commit_interval = "30s"
[limits]
poll_records = 1000
transaction_records = 999
[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:1:19
  |
1 | commit_interval = "30s"
  |                   ^^^^^
  = key: commit_interval
  = expected: less than kafka.transaction_timeout, 30s
  = found: 30s
  = see: kafka.transaction_timeout by default
  = hint: the cluster would abort each transaction before it is committed

error: conflicting values
 --> f.toml:4:23
  |
4 | transaction_records = 999
  |                       ^^^
  = key: limits.transaction_records
  = expected: at least poll_records, 1000
  = found: 999
  = see: limits.poll_records at f.toml:3:16
  = hint: a transaction contains whole polls

f.toml: 2 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn topics_have_one_use_and_valid_names() {
    let text = r#"[topics]
forecasts = "{app}.forecasts"
state = "same"
models = "same"
dead_letters = "{ap}.dead"
[[stream]]
name = "a"
topics = ["in", "x", "in"]
values = ["load"]
interval = "1m"
outputs = { topic = "x" }
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:4:10
  |
4 | models = "same"
  |          ^^^^^^
  = key: topics.models
  = expected: a different topic for each output
  = found: "same" for snapshots and for weights
  = see: topics.state at f.toml:3:9
  = hint: name another topic

error: wrong value
 --> f.toml:5:16
  |
5 | dead_letters = "{ap}.dead"
  |                ^^^^^^^^^^^
  = key: topics.dead_letters
  = expected: the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens
  = found: "{ap}.dead" for dead letters
  = hint: the only placeholders are {app} and, for forecasts and copies, {stream}

error: conflicting values
 --> f.toml:8:22
  |
8 | topics = ["in", "x", "in"]
  |                      ^^^^
  = key: stream[0].topics[2]
  = expected: each item once
  = found: "in" twice
  = see: stream[0].topics[0] at f.toml:8:11
  = hint: remove one of them

error: conflicting values
  --> f.toml:11:21
   |
11 | outputs = { topic = "x" }
   |                     ^^^
   = key: stream[0].outputs.topic
   = expected: outputs that are not inputs
   = found: "x" for the forecasts of "a" and as an input
   = see: stream[0].topics[1] at f.toml:8:17
   = hint: Foretide would read its own output; name another topic

f.toml: 4 problems; nothing was started"#;
    assert_report(text, &[], report);
}

#[test]
fn streams_have_different_names_and_topics_valid_ones() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
[[stream]]
name = "meters"
topics = ["a/b", "", "^a.*"]
values = ["load"]
interval = "1m""#;
    let report = r#"error: conflicting values
 --> f.toml:7:8
  |
7 | name = "meters"
  |        ^^^^^^^^
  = key: stream[1].name
  = expected: a different name for each stream
  = found: "meters" twice
  = see: stream[0].name at f.toml:2:8
  = hint: rename one of them

error: wrong value
 --> f.toml:8:11
  |
8 | topics = ["a/b", "", "^a.*"]
  |           ^^^^^
  = key: stream[1].topics[0]
  = expected: the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens
  = found: "a/b"
  = hint: patterns are not supported; list the topics

error: wrong value
 --> f.toml:8:18
  |
8 | topics = ["a/b", "", "^a.*"]
  |                  ^^
  = key: stream[1].topics[1]
  = expected: the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens
  = found: ""
  = hint: patterns are not supported; list the topics

error: wrong value
 --> f.toml:8:22
  |
8 | topics = ["a/b", "", "^a.*"]
  |                      ^^^^^^
  = key: stream[1].topics[2]
  = expected: the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens
  = found: "^a.*"
  = hint: patterns are not supported; list the topics

f.toml: 4 problems; nothing was started"#;
    assert_report(text, &[], report);
}
