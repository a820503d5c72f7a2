//! The built binary in trouble: what its log, `/readyz`, `/metrics` and `check` say, on a real Apache Kafka.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too

#[path = "../harness/mod.rs"]
mod harness;
mod support;

use std::time::Duration;

use foretide::broker::TopicSpec;
use foretide::env::{Clock, SystemClock};
use foretide::wire::RejectionReason;
use harness::{
    client::{Input, group_offset, produce},
    http_get,
    kafka::kafka,
    unique, wait_for,
};
use support::{Broker, Replica, stream};

const LIMIT: Duration = Duration::from_secs(180);

fn reading(series: &str, minute: i64) -> Input {
    Input::new(series, format!("{{\"at\":{},\"v\":{minute}}}", 1_700_000_040_000 + minute * 60_000)).at(0)
}

fn framed(minute: i64) -> Input {
    let mut value = b"\0\0\0\0\x2a\x1c".to_vec();
    value.extend(minute.to_be_bytes());
    value.push(0xff);
    Input::new("m", value).at(0)
}

#[test]
fn a_stream_that_cannot_be_read_is_degraded_and_everybody_says_why() {
    let (framed_topic, quiet_topic) = (kafka().topic("framed", 1), kafka().topic("quiet", 1));
    let (app, folder) = (unique("framed"), tempfile::tempdir().unwrap());
    let minutes = "interval = \"1m\"\nhorizon = 3";
    let streams = stream("framed", &framed_topic, minutes) + &stream("quiet", &quiet_topic, minutes);
    let mut replica = Replica::start(folder.path(), "only", &app, &kafka().servers, &streams);
    replica.wait_for_status(200, LIMIT);
    for (_, reason) in RejectionReason::ALL {
        let line = format!("foretide_dead_letters_total{{stream=\"quiet\",reason=\"{reason}\"}}");
        assert_eq!(replica.metric(&line), Some(format!("{line} 0")), "a counter exists before its first event");
    }
    produce(kafka(), &framed_topic, (0..50).map(framed));
    let body = wait_for("the stream to be degraded", LIMIT, || {
        http_get(replica.port, "/readyz")
            .map(|(status, body)| {
                assert_eq!(status, 200, "it is ready all the same: {body}");
                body
            })
            .filter(|body| body.contains("degraded"))
    });
    assert!(body.contains("stream framed is degraded: 50 of its newest 50 records were refused"), "{body}");
    assert!(body.contains("looks like Confluent framing (a zero byte, schema id 42"), "{body}");
    assert!(!body.contains("stream quiet"), "{body}");
    let (_, overview) = http_get(replica.port, "/api/overview").unwrap();
    let overview: serde_json::Value = serde_json::from_str(&overview).unwrap();
    assert_eq!(overview["ready"]["degraded"].as_array().map(Vec::len), Some(1), "the page shows it: {overview}");
    let gauge = "foretide_stream_degraded{stream=\"framed\"}";
    assert_eq!(replica.metric(gauge), Some(format!("{gauge} 1")));

    let refused = replica.lines("a record is refused");
    assert_eq!(refused.len(), 1, "one line stands for fifty records: {refused:#?}");
    for part in ["stream=\"framed\"", "partition=0", "offset=", "schema id 42", "sample=", "stream.format"] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    assert!(!refused[0].contains('\0'), "the sample is printable");
    let checked = replica.check(&[]);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(69), "{said}");
    assert!(
        said.contains(&format!("{framed_topic}: 0 of 50 newest records are readable: not_utf8: looks like")),
        "{said}"
    );
    assert!(said.contains(&format!("{quiet_topic}: no records to judge by")), "{said}");

    produce(kafka(), &framed_topic, (0..100).map(|minute| reading("m", minute)));
    wait_for("the stream to recover", LIMIT, || {
        http_get(replica.port, "/readyz").filter(|(status, body)| *status == 200 && !body.contains("degraded"))
    });
    assert_eq!(replica.metric(gauge), Some(format!("{gauge} 0")));
    let checked = replica.check(&[]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(replica.process.stop(LIMIT).success());
}

/// One of two input topics does not exist yet: the other one is served, and everybody says which is missing. A producer
/// that spreads a series over two partitions is named, too.
#[test]
fn a_missing_topic_stops_only_itself_and_a_series_in_two_partitions_is_named() {
    let (here, missing, spread) = (kafka().topic("here", 2), unique("missing"), unique("missing-spread"));
    let (app, folder) = (unique("missing"), tempfile::tempdir().unwrap());
    let minutes = "interval = \"1m\"\nhorizon = 3";
    let copied = format!("{minutes}\nrepartition = true\nstart = \"earliest\"");
    let streams =
        stream("here", &here, minutes) + &stream("there", &missing, minutes) + &stream("spread", &spread, &copied);
    let mut replica = Replica::start(folder.path(), "only", &app, &kafka().servers, &streams);
    let body = replica.wait_for_status(200, LIMIT);
    assert!(body.contains(&format!("topic {missing} is degraded: the input topic")), "{body}");
    assert!(body.contains(&format!("topic {app}.spread.repartition is degraded: the input topic")), "{body}");
    replica.process.wait_for_log("an input topic cannot be read; the others are served", LIMIT);
    produce(kafka(), &here, (0..40).map(|minute| reading("m", minute).at((minute % 2) as i32)));
    replica.process.wait_for_log("series \"m\" is read from partitions 0 and 1", LIMIT);
    for partition in [0, 1] {
        wait_for("the records to be read", LIMIT, || {
            group_offset(kafka(), &app, &here, partition).filter(|offset| *offset == 20)
        });
    }
    let counter = format!("foretide_split_series_total{{stream=\"here\",topic=\"{here}\"}}");
    assert_eq!(replica.metric(&counter), Some(format!("{counter} 1")));

    for name in [&missing, &spread] {
        let plan = TopicSpec {
            name: name.clone(),
            partitions: 1,
            compacted: false,
            log_append_time: false,
            max_record_bytes: 1 << 20,
        };
        foretide::broker::Broker::create(&kafka().broker(), &plan).unwrap();
        produce(kafka(), name, (0..10).map(|minute| reading("m", minute)));
        wait_for("the other topic to be served", LIMIT, || {
            group_offset(kafka(), &app, name, 0).filter(|offset| *offset == 10)
        });
    }
    wait_for("readiness without a reservation", LIMIT, || {
        http_get(replica.port, "/readyz").filter(|(status, body)| *status == 200 && !body.contains("degraded"))
    });
    let checked = replica.check(&[]);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("1 of 1 series are in several partitions, such as \"m\" in 0 and 1"), "{said}");
    assert!(replica.process.stop(LIMIT).success());
}

#[test]
fn a_broker_that_is_away_costs_few_lines_and_readiness() {
    let mut broker = Broker::start();
    let (topic, app, folder) = (broker.kafka.topic("away", 1), unique("away"), tempfile::tempdir().unwrap());
    let streams = stream("s", &topic, "interval = \"1m\"\nhorizon = 3");
    let servers = broker.kafka.servers.clone();
    let start = |name| Replica::start(folder.path(), name, &app, &servers, &streams);
    // There is one partition: one of them has none, and is ready nevertheless.
    let mut replicas = [start("one"), start("other")];
    produce(&broker.kafka, &topic, (0..30).map(|minute| reading("m", minute)));
    for replica in &mut replicas {
        replica.wait_for_status(200, LIMIT);
    }
    let lag = "foretide_consumer_lag_records{";
    let shows_lag = |replica: &Replica| replica.metric(lag).is_some_and(|line| line.ends_with(" 0"));
    wait_for("the lag to be 0", LIMIT, || replicas.iter().any(shows_lag).then_some(()));

    broker.go_away();
    let clock = SystemClock::new();
    let before: Vec<usize> = replicas.iter().map(|replica| replica.lines("").len()).collect();
    for replica in &mut replicas {
        replica.wait_for_status(503, LIMIT);
    }
    for replica in &mut replicas {
        let body = wait_for("the cause in /readyz", LIMIT, || {
            http_get(replica.port, "/readyz")
                .map(|(_, body)| body)
                .filter(|body| body.contains("no broker has answered"))
        });
        assert!(body.contains(&servers), "{body}");
        assert_eq!(replica.metric(lag), None, "the lag is unknown");
    }
    // The session is over by then, and librdkafka tries to connect several times a second.
    wait_for("half a minute to pass", LIMIT, || (clock.monotonic_micros() > 30_000_000).then_some(()));
    for (replica, before) in replicas.iter_mut().zip(&before) {
        replica.wait_for_status(503, LIMIT);
        let lines = replica.lines("").split_off(*before);
        assert!((1..=12).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
    }

    let before: Vec<usize> = replicas.iter().map(|replica| replica.lines("").len()).collect();
    broker.come_back();
    for (replica, before) in replicas.iter_mut().zip(&before) {
        replica.wait_for_status(200, LIMIT);
        let lines = replica.lines("").split_off(*before);
        assert!(lines.len() <= 30, "{} lines: {lines:#?}", lines.len());
        assert!(lines.iter().any(|line| line.contains("a broker answers again")), "{lines:#?}");
        for debug in ["Some(", "=None", " { "] {
            assert!(replica.lines(debug).is_empty(), "{:#?}", replica.lines(debug));
        }
    }
    wait_for("the lag to be 0 again", LIMIT, || replicas.iter().any(shows_lag).then_some(()));
    produce(&broker.kafka, &topic, (30..60).map(|minute| reading("m", minute)));
    wait_for("the records to be read", LIMIT, || {
        group_offset(&broker.kafka, &app, &topic, 0).filter(|offset| *offset == 60)
    });
    let [mut one, other] = replicas;
    drop(other);
    broker.go_away();
    one.wait_for_status(503, LIMIT);
    one.process.stop(Duration::from_secs(40));
    let checked = one.check(&[]);
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(69), "{said}");
    assert!(said.contains("no answer from") && !said.contains("again") && !said.contains("temporary"), "{said}");
}

#[test]
fn a_hangup_ends_nothing_and_variables_that_set_nothing_are_named() {
    let (app, folder) = (unique("hangup"), tempfile::tempdir().unwrap());
    let streams = stream("s", "nowhere", "interval = \"1m\"\nhorizon = 3");
    let environment = [("FORETIDE_STREAM_0_HORIZON", "5"), ("FORETIDE_TEST_ANYTHING", "1")];
    // No broker is needed: the daemon waits for one.
    let servers = format!("127.0.0.1:{}", harness::free_port());
    let mut replica = Replica::start_with(folder.path(), "only", &app, &servers, &streams, &environment);
    let named = "unknown environment variable FORETIDE_STREAM_0_HORIZON, which sets nothing; did you mean \
                 FORETIDE__STREAM__0__HORIZON?";
    replica.process.wait_for_log(named, LIMIT);
    replica.process.wait_for_log("started", LIMIT);
    replica.process.hang_up();
    replica.process.wait_for_log("SIGHUP ignored: the configuration cannot be read again", LIMIT);
    replica.process.hang_up();
    wait_for("the second one", LIMIT, || (replica.lines("SIGHUP ignored").len() == 2).then_some(()));
    assert!(replica.process.runs());
    assert!(replica.lines("FORETIDE_TEST_ANYTHING").is_empty());
    assert!(replica.process.stop(LIMIT).success(), "{}", replica.process.log());
    let checked = replica.check(&environment);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains(&format!("warning  {named}")) && !said.contains("FORETIDE_TEST_ANYTHING"), "{said}");
}

#[test]
fn a_change_of_settings_is_one_line_for_each_stream_and_partition() {
    let (topic, app, folder) = (kafka().topic("changed", 2), unique("changed"), tempfile::tempdir().unwrap());
    let records = (0..10).flat_map(|minute| (0..40).map(move |series| (minute, series)));
    produce(kafka(), &topic, records.map(|(minute, series)| reading(&format!("s{series}"), minute).at(series % 2)));
    let run = |name: &str, extra: &str| {
        let mut replica = Replica::start(folder.path(), name, &app, &kafka().servers, &stream("s", &topic, extra));
        replica.wait_for_status(200, LIMIT);
        replica
    };
    let mut replica = run("first", "interval = \"1m\"\nhorizon = 3");
    for partition in [0, 1] {
        wait_for("the records to be read", LIMIT, || {
            group_offset(kafka(), &app, &topic, partition).filter(|offset| *offset == 200)
        });
    }
    assert!(replica.process.stop(LIMIT).success());
    for (name, extra, field) in [
        ("horizon", "interval = \"1m\"\nhorizon = 4", "discarded_parts="),
        ("interval", "interval = \"5m\"\nhorizon = 3", "unusable_records=20"),
    ] {
        let mut replica = run(name, extra);
        let lines = replica.lines("snapshots cannot be used as they are");
        assert_eq!(lines.len(), 2, "one line for each partition: {}", replica.process.log());
        for partition in ["partition=0", "partition=1"] {
            let line = lines.iter().find(|line| line.contains(partition));
            let line = line.unwrap_or_else(|| panic!("no line of {partition}: {lines:?}"));
            for part in ["stream=\"s\"", "20", field] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
        // Series without a usable snapshot are rebuilt, which is one more line for each partition.
        let rebuilt = replica.lines("series are missing in the state topic").len();
        assert_eq!(rebuilt, if name == "interval" { 2 } else { 0 }, "{}", replica.process.log());
        assert_eq!(replica.lines(" WARN ").len(), 2 + rebuilt, "{}", replica.process.log());
        assert!(replica.process.stop(LIMIT).success());
    }
}
