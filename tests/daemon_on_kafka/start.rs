//! Where forecasts begin: at a first start, after `foretide reset`, and after Kafka's tool has set positions.

use crate::{
    LIMIT,
    harness::{client::produce, kafka::kafka, metric, unique, wait_for},
    offsets::{made, undisturbed},
    support::{Daemon, Stream},
    topics::{MINUTE, START, readings, stream, wait_for_position},
};

/// The minutes that were forecast, in order.
fn minutes(app: &str) -> Vec<i64> {
    made(app)
        .remove("a")
        .unwrap_or_default()
        .iter()
        .map(|made| (made["origin"].as_i64().unwrap() - START) / MINUTE)
        .collect()
}

/// A history of fifty minutes is learnt from and not forecast, through a `kill -9`. A reset refuses while the daemon
/// runs, and has all of it forecast then. So does Kafka's own tool, which is noticed.
#[test]
fn a_start_a_reset_and_positions_set_by_hand_forecast_what_they_say() {
    let (topic, app) = (kafka().topic("start", 1), unique("start"));
    produce(kafka(), &topic, readings("a", 0, 0..50));
    let latest = Stream { extra: "season = \"none\"\nstart = \"latest\"", ..stream(&topic) };
    let mut daemon = Daemon::new(&app, &[latest]);
    daemon.start("first");
    wait_for("the start to be recorded", LIMIT, || crate::harness::client::group_offset(kafka(), &app, &topic, 0));
    let log = daemon.log("first");
    assert!(log.contains("this app has not read the partition before") && log.contains("emit_from=50"), "{log}");
    daemon.kill("first");
    produce(kafka(), &topic, readings("a", 0, 50..60));
    daemon.start("second");
    wait_for_position(&app, &topic, 0, 60);
    let (code, text) = daemon.run("second", &["reset", "--from", "earliest"]);
    assert!(code == Some(69) && text.contains("has 1 live members: stop all instances first"), "{code:?}: {text}");
    assert!(daemon.stop("second").success());
    let all = undisturbed(&topic, 60).remove("a").unwrap();
    assert_eq!(made(&app)["a"], all[50..], "what is forecast is as if all of it had been");

    let (code, text) = daemon.run("second", &["reset", "--from", "2023-11-14T22:24:00Z", "--dry-run"]);
    assert!(code == Some(0) && text.contains("nothing was changed"), "{code:?}: {text}");
    let (code, text) = daemon.run("second", &["reset", "--from", "earliest"]);
    assert!(code == Some(0) && text.contains("position 60; forecasts again from offset 0"), "{code:?}: {text}");
    daemon.start("third");
    wait_for_position(&app, &topic, 0, 60);
    assert!(daemon.stop("third").success());
    let expected: Vec<i64> = (50..60).chain(0..60).collect();
    assert_eq!(minutes(&app), expected);
    assert_eq!(made(&app)["a"][10..], all[..]);

    let group = ["--group", &app, "--topic", &topic, "--reset-offsets", "--to-earliest", "--execute"];
    let arguments = [&["--bootstrap-server", &kafka().servers], &group[..]].concat();
    kafka().tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments);
    daemon.start("fourth");
    wait_for_position(&app, &topic, 0, 60);
    let log = daemon.log("fourth");
    assert!(log.contains("position was set back by hand"), "{log}");
    assert_eq!(metric(daemon.port("fourth"), "foretide_position_jumps_total"), Some(1.0));
    assert!(daemon.stop("fourth").success());
    assert_eq!(minutes(&app), expected.into_iter().chain(0..60).collect::<Vec<_>>());
}
