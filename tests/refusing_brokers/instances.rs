//! Several processes on one host.

use std::time::Duration;

use crate::{
    harness::{kafka::kafka, unique, wait_for},
    support::{Daemon, LIMIT, assert_forecast_once, feed, stream},
};

/// With `instance = "auto"`.
#[test]
fn two_processes_on_one_host_have_names_of_their_own() {
    let (topic, app) = (kafka().topic("auto", 1), unique("auto"));
    let streams = stream("stream", &topic, 4);
    let mut first = Daemon::start(kafka(), &app, "auto", &streams);
    first.wait_for_readiness(200, &[]);
    feed(kafka(), (&topic, 1), 3, 0..20);
    first.wait_until_committed(&topic, 60);
    let mut second = Daemon::start(kafka(), &app, "auto", &streams);
    second.wait_for_readiness(200, &[]);
    feed(kafka(), (&topic, 1), 3, 20..40);
    first.wait_until_committed(&topic, 120);
    for daemon in [&first, &second] {
        let log = daemon.process.log();
        assert!(!log.contains("fenced") && !log.contains("another"), "{log}");
    }
    let name = |daemon: &Daemon| {
        let log = daemon.process.log();
        let (_, rest) = log.split_once("instance=").unwrap();
        rest.split_whitespace().next().unwrap().trim_matches('"').to_owned()
    };
    assert_eq!(name(&second), format!("{}-2", name(&first)));
    first.stop();
    second.stop();
    assert_forecast_once(kafka(), &format!("{app}.stream.forecasts"), 3, 40);
}

/// With the same configured name and a partition each, both say so, and take turns less and less often.
#[test]
fn two_processes_with_one_instance_name_say_so() {
    let (topic, app) = (kafka().topic("twins", 2), unique("twins"));
    let streams = stream("stream", &topic, 4);
    let mut first = Daemon::start(kafka(), &app, "one", &streams);
    let mut second = Daemon::start(kafka(), &app, "one", &streams);
    let (mut minute, message) = (0, "give each process its own `instance`");
    let first_found = wait_for("the conflict to be detected", LIMIT, || {
        feed(kafka(), (&topic, 2), 4, minute..minute + 1);
        minute += 1;
        std::thread::sleep(Duration::from_millis(200));
        [&mut first, &mut second].iter().position(|daemon| daemon.process.log().contains(message))
    });
    let [fenced, other] = if first_found == 0 { [&mut first, &mut second] } else { [&mut second, &mut first] };
    let log = fenced.process.log();
    assert!(log.contains(&format!("{app}.one.0")) && log.contains("retry_in=2s"), "{log}");
    fenced.process.kill();
    other.wait_until_committed(&topic, 4 * minute);
    assert_forecast_once(kafka(), &format!("{app}.stream.forecasts"), 4, minute);
}
