//! Slots that close by the time of their partition.

use std::collections::BTreeMap;

use crate::{
    IDLE,
    harness::{
        client::{Input, consume, produce},
        kafka::kafka,
        unique,
    },
    support::{Daemon, Stream, forecasts},
    topics::{MINUTE, START, readings, wait_for_position},
};

/// Three hosts send a heartbeat each minute. One falls silent, is forecast all the same, is an anomaly, and comes back.
/// A kill in the middle of its silence changes nothing.
#[test]
fn missing_heartbeats_are_forecast_from_and_are_anomalies() {
    let (topic, app) = (kafka().topic("heartbeats", 1), unique("heartbeats"));
    let extra = "season = \"none\"\nstart = \"earliest\"\nclose_by = \"partition\"\nabsence = \"anomaly\"\n\
                 anomaly = { start = 0.99, end = 0.9 }";
    let stream = Stream { topic: &topic, values: vec!["value"], key: "\"record\"", interval: "1m", extra };
    let mut daemon = Daemon::new(&app, &[stream]);
    daemon.start("first");
    let minutes = |hosts: &[&str], minutes: std::ops::Range<i64>| -> Vec<Input> {
        minutes.flat_map(|minute| hosts.iter().flat_map(move |host| readings(host, 0, minute..minute + 1))).collect()
    };
    let mut sent = 0;
    let mut send = |records: Vec<Input>| {
        sent += records.len() as i64;
        produce(kafka(), &topic, records);
        wait_for_position(&app, &topic, 0, sent);
    };
    send(minutes(&["a", "b", "c"], 0..200));
    send(minutes(&["a", "b"], 200..204));
    daemon.kill("first");
    daemon.start("second");
    send(minutes(&["a", "b"], 204..210));
    send(minutes(&["a", "b", "c"], 210..230));
    assert!(daemon.stop("second").success());

    let made = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    for host in ["a", "b", "c"] {
        let origins: Vec<i64> =
            made[host].iter().map(|forecast| (forecast["origin"].as_i64().unwrap() - START) / MINUTE).collect();
        assert_eq!(origins, (0..230).collect::<Vec<_>>(), "{host}: one forecast from each minute");
    }
    let absent: BTreeMap<i64, (f64, bool)> = made["c"]
        .iter()
        .filter(|forecast| forecast["absent"] == true)
        .map(|forecast| {
            let minute = (forecast["origin"].as_i64().unwrap() - START) / MINUTE;
            assert_eq!(forecast["value"].as_f64(), Some(f64::from(199 % 7)), "the last value before");
            assert_eq!(forecast["point"].as_array().unwrap().len(), 24);
            (minute, (forecast["anomaly"].as_f64().unwrap(), forecast["anomalous"].as_bool().unwrap()))
        })
        .collect();
    assert_eq!(absent.keys().copied().collect::<Vec<_>>(), (200..210).collect::<Vec<_>>());
    assert!(absent.values().all(|(score, anomalous)| *score > 0.99 && *anomalous), "{absent:?}");
    assert!(["a", "b"].iter().all(|host| made[*host].iter().all(|forecast| forecast.get("absent").is_none())));
    assert!(consume(kafka(), &format!("{app}.dead-letters"), IDLE).is_empty());
}
