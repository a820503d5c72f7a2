//! Offsets and topics that are not as one would assume: open transactions and markers in the input, missing state,
//! compacted input, topics with a wrong cleanup policy.

use std::time::Duration;

use foretide::broker::{Broker, Partition, StartPosition};

use crate::{
    LIMIT,
    harness::{
        client::{ConsumerRecord, TransactionalProducer, produce},
        http_get,
        kafka::kafka,
        metric, unique, wait_for,
    },
    support::{Daemon, Forecasts, forecasts, of_input},
    topics::{delete_records, readings, stream, topics, wait_for_position},
};

/// All forecasts of an application.
pub fn made(app: &str) -> Forecasts {
    let (topic, broker) = (format!("{app}.stream.forecasts"), kafka().broker());
    let mut seen = Vec::new();
    for number in 0..broker.partitions(&topic).unwrap().unwrap() {
        let partition = Partition { topic: topic.as_str().into(), number };
        let end = broker.offsets(&partition).unwrap().end;
        let mut reader = broker.reader(&partition, StartPosition::Earliest).unwrap();
        wait_for("the forecasts", LIMIT, || {
            while let Some(batch) = reader.read(Duration::from_millis(200), 1_000).unwrap() {
                seen.extend(batch.iter().map(|record| ConsumerRecord {
                    partition: number,
                    offset: record.offset,
                    timestamp: record.timestamp.unwrap_or_default(),
                    headers: Vec::new(),
                    key: record.key.map(<[u8]>::to_vec),
                    payload: record.payload.map(<[u8]>::to_vec),
                }));
            }
            reader.has_reached(end).unwrap().then_some(())
        });
    }
    of_input(&forecasts(&seen))
}

/// The forecasts that an undisturbed application makes of the same input, up to a position.
pub fn undisturbed(topic: &str, position: i64) -> Forecasts {
    let app = unique("undisturbed");
    let mut daemon = Daemon::new(&app, &[stream(topic)]);
    daemon.start("only");
    wait_for_position(&app, topic, 0, position);
    assert!(daemon.stop("only").success());
    made(&app)
}

/// Somebody leaves a transaction open in the input: what follows it waits, and nobody else does. It is said where.
#[test]
fn an_open_transaction_in_the_input_holds_up_neither_check_nor_training() {
    let (topic, app) = (kafka().topic("hanging", 1), unique("hanging"));
    produce(kafka(), &topic, readings("a", 0, 0..60));
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("only");
    wait_for_position(&app, &topic, 0, 60);
    let hanging = TransactionalProducer::start(kafka(), &unique("hanging"));
    hanging.begin(&topic, readings("b", 0, 0..1));
    produce(kafka(), &topic, readings("a", 0, 60..80));

    let (code, text) = daemon.run("only", &["check", "--connect"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("21 records from offset 60 on wait for an open transaction"), "{text}");
    let (code, text) = daemon.run("only", &["train", "--stream", "stream", "--out", "weights"]);
    assert!(code == Some(65) && text.contains("has 60 steps of history"), "{code:?}: {text}");
    wait_for("the log to name the transaction", LIMIT, || {
        daemon.log("only").contains("input waits for an open transaction").then_some(())
    });
    let port = daemon.port("only");
    wait_for("/readyz to name it", LIMIT, || {
        let (status, ready) = http_get(port, "/readyz")?;
        (status == 200 && ready.contains("[0] from offset 60 on (21 records)")).then_some(())
    });
    assert_eq!(metric(port, "foretide_uncommitted_records"), Some(21.0));
    assert_eq!(metric(port, "foretide_consumer_lag_records"), Some(0.0), "there is nothing that could be read");

    hanging.abort();
    wait_for_position(&app, &topic, 0, 81);
    wait_for("the log to name its end", LIMIT, || {
        daemon.log("only").contains("the open transaction has ended").then_some(())
    });
    wait_for("/readyz to forget it", LIMIT, || {
        http_get(port, "/readyz").is_some_and(|(_, ready)| !ready.contains("open transaction")).then_some(())
    });
    assert!(daemon.stop("only").success());
}

/// Markers and aborted records behind the newest record are not lag.
#[test]
fn transactional_input_at_rest_has_no_lag() {
    let (topic, app) = (kafka().topic("transactional", 2), unique("transactional"));
    let upstream = TransactionalProducer::start(kafka(), &unique("upstream"));
    for round in 0..10 {
        upstream.begin(&topic, readings("a", 0, 5 * round..5 * round + 5));
        upstream.commit();
    }
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("only");
    wait_for_position(&app, &topic, 0, 59);
    upstream.begin(&topic, readings("aborted", 0, 0..7));
    upstream.abort();
    produce(kafka(), &topic, readings("b", 1, 0..10));
    wait_for_position(&app, &topic, 1, 10);
    let port = daemon.port("only");
    // Two records below, the lag monitor would have come by in between.
    wait_for("no lag at rest", LIMIT, || (metric(port, "foretide_consumer_lag_records") == Some(0.0)).then_some(()));
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(metric(port, "foretide_consumer_lag_records"), Some(0.0), "it stays");
    assert!(daemon.stop("only").success());
}

/// Sets the cleanup policy of a topic.
fn set_policy(topic: &str, policy: &str) {
    let entity = ["--bootstrap-server", &kafka().servers, "--entity-type", "topics", "--entity-name", topic];
    let policy = format!("cleanup.policy={policy}");
    kafka().tool("kafka.admin.ConfigCommand", &[&entity[..], &["--alter", "--add-config", &policy]].concat());
}

/// Deletes all records of a compacted topic.
fn empty(topic: &str) {
    set_policy(topic, "delete");
    let partition = Partition { topic: topic.into(), number: 0 };
    let end = kafka().broker().offsets(&partition).unwrap().end;
    wait_for("the records to be deleted", LIMIT, || {
        delete_records(topic, end);
        (kafka().broker().offsets(&partition).unwrap().start == end).then_some(())
    });
    set_policy(topic, "compact");
}

/// The state topic was emptied: first the input is whole, then retention has deleted half of it.
#[test]
fn state_that_is_missing_is_rebuilt_from_the_input() {
    let (topic, app) = (kafka().topic("forgotten", 1), unique("forgotten"));
    let state = format!("{app}.state");
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("first");
    produce(kafka(), &topic, readings("a", 0, 0..60));
    wait_for_position(&app, &topic, 0, 60);
    daemon.kill("first");
    let partition = Partition { topic: state.as_str().into(), number: 0 };
    wait_for("the transaction of the killed daemon to end", LIMIT, || {
        let mut reader = kafka().broker().reader(&partition, StartPosition::Earliest).unwrap();
        let end = kafka().broker().offsets(&partition).unwrap().end;
        while reader.read(Duration::from_millis(200), 10_000).unwrap().is_some() {}
        reader.has_reached(end).unwrap().then_some(())
    });
    empty(&state);
    daemon.start("second");
    produce(kafka(), &topic, readings("a", 0, 60..80));
    wait_for_position(&app, &topic, 0, 80);
    let log = daemon.log("second");
    assert_eq!(log.matches("no state although the input was read up to here").count(), 1, "{log}");
    assert!(log.contains("lost=0") && log.contains("replayed=60"), "{log}");
    assert_eq!(metric(daemon.port("second"), "foretide_restore_rebuilt_total"), Some(1.0));
    assert!(daemon.stop("second").success());
    assert_eq!(made(&app), undisturbed(&topic, 80), "as if nothing had been lost, and none twice");

    // Retention has deleted the first half of the input when the state is lost again.
    delete_records(&topic, 40);
    empty(&state);
    daemon.start("third");
    let log = daemon.log("third");
    assert!(log.contains("lost=40") && log.contains("replayed=40"), "{log}");
    produce(kafka(), &topic, readings("a", 0, 80..90));
    wait_for_position(&app, &topic, 0, 90);
    assert!(daemon.stop("third").success());
    assert_eq!(made(&app)["a"].len(), 90, "each reading is forecast once");
}

/// A state topic that deletes with age is reported at the start, and `check` names the command that corrects it.
#[test]
fn a_state_topic_that_deletes_is_reported() {
    let (topic, app) = (kafka().topic("aging", 2), unique("aging"));
    let state = format!("{app}.state");
    topics(&["--create", "--topic", &state, "--partitions", "1", "--config", "cleanup.policy=delete"]);
    let mut daemon = Daemon::new(&app, &[stream(&topic)]);
    daemon.start("only");
    let problem = format!("the topic \"{state}\" has cleanup.policy=delete");
    assert!(daemon.log("only").contains(&problem), "{}", daemon.log("only"));
    let (code, text) = daemon.run("only", &["check", "--connect"]);
    assert!(code == Some(69) && text.contains(&problem), "{code:?}: {text}");
    assert!(text.contains("has 1 partitions, the input has 2"), "{text}");
    set_policy(&state, "compact");
    wait_for("check to be content", LIMIT, || (daemon.run("only", &["check", "--connect"]).0 == Some(0)).then_some(()));
    assert!(daemon.stop("only").success());
}

/// Compaction deletes readings between the last snapshot that time asks for and the kill. No restore needs them.
#[test]
fn a_restore_from_compacted_input_loses_nothing() {
    let (topic, app) = (unique("compacted"), unique("compacted"));
    let create = ["--create", "--topic", &topic, "--partitions", "1", "--config", "cleanup.policy=compact"];
    let soon = ["segment.ms=100", "min.cleanable.dirty.ratio=0.001", "delete.retention.ms=0"];
    topics(&[&create[..], &soon.map(|config| ["--config", config]).concat()].concat());
    let plain = kafka().topic("plain", 1);
    let first = readings("a", 0, 0..60);
    let mut daemon = Daemon::new(&app, &[stream(&topic)]).checkpointed("1h");
    daemon.start("first");
    assert!(daemon.log("first").contains("is compacted: a newer record deletes older ones"), "{}", daemon.log("first"));
    assert!(daemon.check("first").contains(&format!("the input topic \"{topic}\" is compacted")));
    for part in first.chunks(20) {
        produce(kafka(), &topic, part.iter().cloned());
        std::thread::sleep(Duration::from_millis(300));
    }
    wait_for_position(&app, &topic, 0, 60);
    daemon.kill("first");
    let partition = Partition { topic: topic.as_str().into(), number: 0 };
    let mut minute = 60;
    wait_for("compaction", LIMIT, || {
        // Only a new record starts a new segment, after which the old one can be compacted. Other keys stay.
        produce(kafka(), &topic, readings(&format!("b{minute}"), 0, minute..minute + 1));
        minute += 1;
        std::thread::sleep(Duration::from_millis(200));
        let mut reader = kafka().broker().reader(&partition, StartPosition::Earliest).unwrap();
        let mut remaining = 0;
        while let Some(batch) = reader.read(Duration::from_millis(200), 1_000).unwrap() {
            remaining += batch.iter().filter(|record| record.key == Some(b"a")).count();
        }
        (remaining < 30).then_some(())
    });
    daemon.start("second");
    let last = readings("a", 0, minute..minute + 5);
    produce(kafka(), &topic, last.iter().cloned());
    wait_for_position(&app, &topic, 0, minute + 5);
    let log = daemon.log("second");
    assert!(log.contains("replayed=0") && log.contains("lost=0"), "{log}");
    assert!(daemon.stop("second").success());
    produce(kafka(), &plain, first.into_iter().chain(last));
    assert_eq!(
        made(&app)["a"],
        undisturbed(&plain, 65)["a"],
        "the forecasts are those of a topic that keeps its input"
    );
}
