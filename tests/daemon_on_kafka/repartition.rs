//! Readings of a series that are spread over partitions, and brought together by `repartition = true`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foretide::broker::Broker;
use serde_json::Value;

use crate::{
    IDLE, LIMIT,
    harness::{
        client::{Input, consume, group_offset, produce},
        http_get,
        kafka::kafka,
        unique, wait_for,
    },
    support::{Daemon, Forecasts, Stream, forecasts, of_input},
    topics::{MINUTE, START, topics},
    wait_until_read,
};

const HOSTS: i64 = 20;

/// Three readings of each host in each of some minutes, in time order, without keys: in so many partitions in turn.
fn readings(minutes: std::ops::Range<i64>, partitions: i64) -> Vec<Input> {
    let times = minutes.flat_map(|minute| (0..3).map(move |third| (minute, third)));
    let readings = times.flat_map(|(minute, third)| (0..HOSTS).map(move |host| (minute, third, host)));
    let record = |(minute, third, host): (i64, i64, i64)| {
        let time = START + minute * MINUTE + third * 20_000 + host;
        let payload = format!("{{\"host\":\"h{host}\",\"time\":{time},\"load\":{}}}", value(minute, host) + third - 1);
        Input { key: None, ..Input::new("", payload) }.at(((minute + third + host) % partitions) as i32)
    };
    readings.map(record).collect()
}

/// The mean of the readings of a minute.
fn value(minute: i64, host: i64) -> i64 {
    10 * host + minute % 7
}

fn stream<'a>(topic: &'a str, extra: &'a str) -> Stream<'a> {
    Stream { topic, values: vec!["load"], key: "{ fields = [\"host\"] }", interval: "1m", extra }
}

/// What a daemon has forecast once there are so many minutes of all hosts.
fn wait_for_minutes(app: &str, minutes: i64) -> Forecasts {
    let count = |all: &Forecasts| all.values().map(Vec::len).sum::<usize>() as i64;
    wait_for(&format!("{app} to forecast {minutes} minutes of all hosts"), LIMIT, || {
        let all = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
        (count(&all) >= minutes * HOSTS).then_some(all)
    })
}

/// Each minute of each host is forecast once, in order and from all of its readings; a host is in one partition.
fn check(all: &Forecasts, (app, topic): (&str, &str), minutes: i64) {
    assert_eq!(all.len() as i64, HOSTS, "a series for each host");
    for host in 0..HOSTS {
        let found = &all[&format!("h{host}")];
        let number = |forecast: &Value, name: &str| forecast[name].as_f64().unwrap() as i64;
        let made: Vec<(i64, i64)> =
            found.iter().map(|one| ((number(one, "origin") - START) / MINUTE, number(one, "value"))).collect();
        let expected: Vec<(i64, i64)> = (0..minutes).map(|minute| (minute, value(minute, host))).collect();
        assert_eq!(made, expected, "h{host}");
        assert!(found.iter().all(|one| one["input"]["topic"] == topic), "h{host}: the record that closed the slot");
    }
    let mut places: BTreeMap<Vec<u8>, BTreeSet<i32>> = BTreeMap::new();
    for copy in consume(kafka(), &format!("{app}.stream.repartition"), IDLE) {
        places.entry(copy.key.unwrap()).or_default().insert(copy.partition);
    }
    assert!(places.len() as i64 == HOSTS && places.values().all(|found| found.len() == 1), "{places:?}");
}

/// Ends of the input, where each partition has as many records.
fn ends(records: i64, partitions: i64) -> Vec<i64> {
    vec![records / partitions; partitions as usize]
}

/// Hosts without keys over three partitions. Two kills in the middle of it; the outcome must be that of a run without
/// any, number for number.
#[test]
fn unkeyed_readings_are_brought_together_through_kill_dash_nine() {
    let topic = kafka().topic("unkeyed", 3);
    let extra = "season = \"none\"\nreadings_per_slot = 3\nallowed_lateness = \"1m\"\nrepartition = true\n\
                 start = \"earliest\"\n[limits]\npoll_records = 100\ntransaction_records = 200";
    let (app, other) = (unique("unkeyed"), unique("unkeyed-undisturbed"));
    let mut daemon = Daemon::new(&app, &[stream(&topic, extra)]);
    let position = || (0..3).filter_map(|number| group_offset(kafka(), &app, &topic, number)).sum::<i64>();
    for (part, name) in ["first", "second", "third"].into_iter().enumerate() {
        let minutes = part as i64 * 90..(part as i64 + 1) * 90;
        // Nobody runs meanwhile, so that the order does not depend on what is seen first.
        produce(kafka(), &topic, readings(minutes, 3));
        let before = position();
        daemon.start(name);
        if name != "third" {
            wait_for("a commit", LIMIT, || (position() > before).then_some(()));
            daemon.kill(name);
        }
    }
    let records = 270 * 3 * HOSTS;
    wait_until_read(&app, &topic, &ends(records, 3));
    let live = wait_for_minutes(&app, 270);
    check(&live, (&app, &topic), 270);
    let (_, metrics) = http_get(daemon.port("third"), "/metrics").expect("metrics");
    let lag = |line: &&str| {
        line.starts_with("foretide_consumer_lag_records{") && line.contains(&format!("topic=\"{topic}\""))
    };
    assert_eq!(metrics.lines().filter(lag).count(), 3, "the lag of the input: {metrics}");
    let checked = daemon.check("third");
    assert!(checked.contains(&format!("{app}.stream.repartition: 3 partitions")), "{checked}");
    assert!(daemon.stop("third").success());
    let settings = kafka().broker().topic_settings(&[format!("{app}.stream.repartition")]).unwrap();
    assert_eq!(settings[0].as_ref().unwrap()["message.timestamp.type"], "LogAppendTime");

    let mut undisturbed = Daemon::new(&other, &[stream(&topic, extra)]);
    undisturbed.start("only");
    let expected = wait_for_minutes(&other, 270);
    assert_eq!(of_input(&live), of_input(&expected), "as without kills");
    assert!(undisturbed.stop("only").success());
    for app in [&app, &other] {
        assert!(consume(kafka(), &format!("{app}.dead-letters"), IDLE).is_empty());
    }
}

/// A topic that gets partitions spreads keys anew: its series stay whole.
#[test]
fn a_topic_that_grows_keeps_its_series() {
    let (topic, app) = (kafka().topic("spread", 2), unique("spread"));
    let extra = "season = \"none\"\nreadings_per_slot = 3\nallowed_lateness = \"1m\"\nrepartition = true\n\
                 start = \"earliest\"";
    let mut daemon = Daemon::new(&app, &[stream(&topic, extra)]);
    produce(kafka(), &topic, readings(0..20, 2));
    daemon.start("first");
    wait_until_read(&app, &topic, &ends(20 * 3 * HOSTS, 2));
    topics(&["--alter", "--topic", &topic, "--partitions", "5"]);
    wait_for("the new partitions to be read", LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        (2..5).all(|number| group_offset(kafka(), &app, &topic, number) == Some(0)).then_some(())
    });
    assert!(daemon.stop("first").success());
    produce(kafka(), &topic, readings(20..40, 5));
    daemon.start("second");
    check(&wait_for_minutes(&app, 40), (&app, &topic), 40);
    assert!(daemon.stop("second").success());
    assert_eq!(kafka().broker().partitions(&format!("{app}.stream.repartition")).unwrap(), Some(2));
}
