//! What happens to input topics: deleted and made again, eaten by retention, grown.

use std::time::Duration;

use foretide::broker::{Broker, TopicSpec};

use crate::{
    IDLE, LIMIT,
    harness::{
        client::{Input, consume, group_offset, produce},
        kafka::kafka,
        unique, wait_for,
    },
    support::{Daemon, Stream, forecasts},
};

pub const MINUTE: i64 = 60_000;
pub const START: i64 = 1_700_000_040_000;

/// Readings of one series in some minutes, in a partition.
pub fn readings(series: &str, partition: i32, minutes: std::ops::Range<i64>) -> Vec<Input> {
    let payload = |minute: i64| format!("{{\"time\":{},\"value\":{}}}", START + minute * MINUTE, minute % 7);
    minutes.map(|minute| Input::new(series, payload(minute)).at(partition)).collect()
}

pub fn stream(topic: &str) -> Stream<'_> {
    Stream { topic, values: vec!["value"], key: "\"record\"", interval: "1m", extra: "season = \"none\"" }
}

pub fn wait_for_position(app: &str, topic: &str, partition: i32, position: i64) {
    wait_for(&format!("{app} to stand at {position} of {topic}[{partition}]"), LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        (group_offset(kafka(), app, topic, partition) == Some(position)).then_some(())
    });
}

pub fn topics(arguments: &[&str]) {
    let kafka = kafka();
    let asked = [&["--bootstrap-server", &kafka.servers], arguments].concat();
    kafka.tool("org.apache.kafka.tools.TopicCommand", &asked);
}

/// Deletes a topic and makes it again.
fn recreate(topic: &str) {
    topics(&["--delete", "--topic", topic]);
    let broker = kafka().broker();
    wait_for("the topic to be gone", LIMIT, || broker.partitions(topic).unwrap().is_none().then_some(()));
    let plan = TopicSpec {
        name: topic.into(),
        partitions: 1,
        compacted: false,
        log_append_time: false,
        max_record_bytes: 1 << 20,
    };
    wait_for("the topic to be made again", LIMIT, || broker.create(&plan).ok());
}

/// Deletes the records of a partition below an offset, as retention would.
pub fn delete_records(topic: &str, offset: i64) {
    let kafka = kafka();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offsets.json");
    let wish = serde_json::json!({ "topic": topic, "partition": 0, "offset": offset });
    std::fs::write(&path, serde_json::json!({ "partitions": [wish], "version": 1 }).to_string()).unwrap();
    let path = path.to_str().unwrap();
    let arguments = ["--bootstrap-server", &kafka.servers, "--offset-json-file", path];
    kafka.tool("org.apache.kafka.tools.DeleteRecordsCommand", &arguments);
}

fn steps(app: &str, series: &str) -> Vec<i64> {
    let all = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    let minute = |forecast: &serde_json::Value| (forecast["origin"].as_i64().unwrap() - START) / MINUTE;
    all[series].iter().map(minute).collect()
}

/// While no daemon runs, and under a running one: it is logged, and the new topic is served from its first record on.
#[test]
fn a_topic_that_is_deleted_and_recreated_is_served_from_its_new_beginning() {
    let (topic, app) = (kafka().topic("recreated", 1), unique("recreated"));
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("first");
    produce(kafka(), &topic, readings("a", 0, 0..50));
    wait_for_position(&app, &topic, 0, 50);
    assert!(daemon.stop("first").success());

    recreate(&topic);
    produce(kafka(), &topic, readings("a", 0, 10..30));
    daemon.start("second");
    wait_for_position(&app, &topic, 0, 20);

    recreate(&topic);
    produce(kafka(), &topic, readings("a", 0, 5..12));
    wait_for_position(&app, &topic, 0, 7);
    assert!(daemon.log("second").matches("was deleted and recreated").count() == 2, "{}", daemon.log("second"));
    assert!(daemon.stop("second").success());
    let expected: Vec<i64> = (0..50).chain(10..30).chain(5..12).collect();
    assert_eq!(steps(&app, "a"), expected, "each topic is forecast whole, once and in order");
}

/// Records that nobody had read, and records that a restore needs: both are logged, and what is left is served.
#[test]
fn input_that_retention_deleted_is_reported_and_the_rest_is_served() {
    let (topic, app) = (kafka().topic("deleted", 1), unique("deleted"));
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("first");
    produce(kafka(), &topic, readings("a", 0, 0..50));
    wait_for_position(&app, &topic, 0, 50);
    daemon.kill("first");
    produce(kafka(), &topic, readings("a", 0, 50..70));
    delete_records(&topic, 60);
    daemon.start("second");
    wait_for_position(&app, &topic, 0, 70);
    assert!(daemon.log("second").contains("unread=10"), "{}", daemon.log("second"));
    assert!(daemon.stop("second").success());
    let expected: Vec<i64> = (0..50).chain(60..70).collect();
    let found: Vec<i64> = steps(&app, "a").into_iter().filter(|minute| !(50..60).contains(minute)).collect();
    assert_eq!(found, expected, "nothing but the gap is lost, and nothing doubled");
}

/// A topic that grows under a running daemon.
#[test]
fn partitions_that_are_added_later_are_served() {
    let (topic, app) = (kafka().topic("growing", 1), unique("growing"));
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("only");
    produce(kafka(), &topic, readings("a", 0, 0..20));
    wait_for_position(&app, &topic, 0, 20);
    topics(&["--alter", "--topic", &topic, "--partitions", "3"]);
    produce(kafka(), &topic, readings("b", 2, 0..20));
    wait_for_position(&app, &topic, 2, 20);
    let added = daemon.log("only").matches("the partition was added to a topic that is read already").count();
    assert_eq!(added, 2, "{}", daemon.log("only"));
    daemon.kill("only");
    // Its state lies beside that of the first partition: the state topic has not grown.
    daemon.start("again");
    produce(kafka(), &topic, readings("b", 2, 20..30));
    wait_for_position(&app, &topic, 2, 30);
    assert!(daemon.stop("again").success());
    assert_eq!(steps(&app, "b"), (0..30).collect::<Vec<_>>());
}
