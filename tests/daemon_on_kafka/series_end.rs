//! Series that end: by silence, and by a record without a value.

use std::collections::BTreeMap;
use std::time::Duration;

use foretide::broker::{Broker, Partition, StartPosition};
use foretide::wire::StateKey;

use crate::{
    IDLE, LIMIT,
    harness::{
        client::{Input, consume, produce},
        kafka::kafka,
        metric, unique, wait_for,
    },
    support::{Daemon, Stream, forecasts},
    topics::{START, readings, wait_for_position},
};

/// The series that the state topic holds.
fn stored(app: &str) -> Vec<String> {
    let state = Partition { topic: format!("{app}.state").as_str().into(), number: 0 };
    let end = kafka().broker().offsets(&state).unwrap().end;
    let mut reader = kafka().broker().reader(&state, StartPosition::Earliest).unwrap();
    let mut found = BTreeMap::new();
    wait_for("the state topic", LIMIT, || {
        while let Some(batch) = reader.read(Duration::from_millis(200), 1_000).unwrap() {
            for record in batch.iter() {
                if let Ok(StateKey::Series { series, .. }) = StateKey::parse(record.key.unwrap_or_default()) {
                    found.insert(series, record.payload.is_some());
                }
            }
        }
        reader.has_reached(end).unwrap().then_some(())
    });
    found.into_iter().filter_map(|(series, is_there)| is_there.then_some(series)).collect()
}

/// `a` falls silent while `b` goes on, `c` is deleted. Their states are gone, a restart brings none back, and both are
/// new when they come back: also for what lies before their ends.
#[test]
fn a_series_that_falls_silent_ends_and_one_that_is_deleted_begins_anew() {
    let (topic, app) = (kafka().topic("ends", 1), unique("ends"));
    let extra = "season = \"none\"\nseries_ttl = \"10m\"";
    let stream = Stream { topic: &topic, values: vec!["value"], key: "\"record\"", interval: "1m", extra };
    let mut daemon = Daemon::new(&app, &[stream]);
    daemon.start("first");
    let records = ["a", "b", "c"].map(|series| readings(series, 0, 0..30)).concat();
    let deletion = Input { payload: None, ..Input::new("c", "") }.at(0);
    let records: Vec<Input> = records.into_iter().chain([deletion]).chain(readings("b", 0, 30..60)).collect();
    let end = records.len() as i64;
    produce(kafka(), &topic, records);
    wait_for_position(&app, &topic, 0, end);
    assert_eq!(stored(&app), ["b"]);
    let ended = metric(daemon.port("first"), "foretide_series_ended_total");
    assert_eq!(ended, Some(2.0), "one by silence, one deleted");
    assert!(daemon.log("first").contains("series have ended"), "{}", daemon.log("first"));
    daemon.kill("first");
    daemon.start("second");
    let again = ["a", "c"].map(|series| readings(series, 0, 20..25)).concat();
    produce(kafka(), &topic, again);
    wait_for_position(&app, &topic, 0, end + 10);
    assert_eq!(stored(&app), ["a", "b", "c"]);
    assert!(daemon.stop("second").success());
    let made = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    let minutes = |series: &str| -> Vec<i64> {
        let origins = made[series].iter().map(|forecast| forecast["origin"].as_i64().unwrap());
        origins.map(|origin| (origin - START) / 60_000).collect()
    };
    let twice: Vec<i64> = (0..30).chain(20..25).collect();
    assert_eq!((minutes("a"), minutes("c")), (twice.clone(), twice), "their late readings are those of new series");
    assert_eq!(minutes("b"), (0..60).collect::<Vec<_>>());
    assert!(consume(kafka(), &format!("{app}.dead-letters"), IDLE).is_empty());
}
