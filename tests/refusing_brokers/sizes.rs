//! Topics that refuse records for their size or for another reason.

use std::time::Duration;

use crate::{
    harness::{
        client::{Input, consume, produce},
        kafka::kafka,
        unique,
    },
    support::{Daemon, alter, assert_forecast_once, create, feed, stream},
};

/// A batch of forecasts is limited by the topic, a dead letter is truncated to it, and a forecast that is larger is
/// left out and counted.
#[test]
fn records_follow_the_size_limits_of_their_topics() {
    let (series, minutes) = (10, 400);
    let (topic, app) = (kafka().topic("sizes", 1), unique("sizes"));
    let (small, large) = (format!("{app}.small.forecasts"), format!("{app}.large.forecasts"));
    create(kafka(), &small, "max.message.bytes=20000");
    create(kafka(), &large, "max.message.bytes=5000");
    create(kafka(), &format!("{app}.dead-letters"), "max.message.bytes=10000");
    feed(kafka(), (&topic, 1), series, 0..minutes);
    let broken = format!("{{\"time\": 1, \"blob\": \"{}\"", "0123456789abcdef".repeat(12_500));
    produce(kafka(), &topic, [Input::new("s0", broken.clone()).at(0)]);
    let streams = stream("small", &topic, 12) + &stream("large", &topic, 200);
    let mut daemon = Daemon::start(kafka(), &app, "one", &streams);
    daemon.wait_until_committed(&topic, series * minutes + 1);
    daemon.wait_for_readiness(200, &[]);
    assert_forecast_once(kafka(), &small, usize::try_from(series).unwrap(), minutes);
    assert!(consume(kafka(), &large, Duration::from_secs(1)).is_empty());
    assert!(daemon.metric("foretide_oversized_records_total") >= (series * minutes) as f64);
    let log = daemon.process.log();
    assert!((1..=3).contains(&log.matches("is left out").count()), "{log}");
    assert!(log.contains("max.message.bytes") && log.contains("horizon"), "{log}");

    let letters = consume(kafka(), &format!("{app}.dead-letters"), Duration::from_secs(10));
    assert_eq!(letters.len(), 2, "one of each stream");
    for letter in letters {
        let length = letter.headers.iter().find(|(name, _)| name == "foretide.payload_bytes");
        assert_eq!(length.map(|(_, value)| value.clone()), Some(broken.len().to_string().into_bytes()));
        let payload = letter.payload.unwrap();
        assert!((8_000..10_000).contains(&payload.len()) && broken.as_bytes().starts_with(&payload));
    }

    let checked = daemon.check();
    assert!(checked.contains(&format!("{small}: forecasts of about")), "{checked}");
    assert!(checked.contains("max.message.bytes is 5000; TOO LARGE"), "{checked}");
    daemon.stop();
}

/// A limit that is lowered while the daemon runs.
#[test]
fn a_lowered_size_limit_is_taken_up_without_a_restart() {
    let (topic, app) = (kafka().topic("lowered", 1), unique("lowered"));
    let forecasts = format!("{app}.stream.forecasts");
    feed(kafka(), (&topic, 1), 10, 0..10);
    let mut daemon = Daemon::start(kafka(), &app, "one", &stream("stream", &topic, 12));
    daemon.wait_until_committed(&topic, 100);
    alter(kafka(), &forecasts, "max.message.bytes=5000");
    feed(kafka(), (&topic, 1), 10, 10..300);
    daemon.wait_until_committed(&topic, 3_000);
    assert_forecast_once(kafka(), &forecasts, 10, 300);
    assert!(daemon.process.log().contains("max.message.bytes"), "{}", daemon.process.log());
    daemon.stop();
}

/// A compacted topic accepts no record without a key: bad records without one cannot become dead letters.
#[test]
fn a_topic_that_refuses_records_stops_only_the_partitions_that_write_to_it() {
    let (good, bad, app) = (kafka().topic("good", 1), kafka().topic("bad", 1), unique("refused"));
    let letters = format!("{app}.dead-letters");
    create(kafka(), &letters, "cleanup.policy=compact");
    feed(kafka(), (&good, 1), 3, 0..50);
    feed(kafka(), (&bad, 1), 3, 0..50);
    let unkeyed = Input { key: None, ..Input::new("", "{\"time\":0,\"value\":1}") };
    produce(kafka(), &bad, [unkeyed.at(0)]);
    feed(kafka(), (&bad, 1), 3, 50..60);
    let mut daemon = Daemon::start(kafka(), &app, "one", &(stream("good", &good, 4) + &stream("bad", &bad, 4)));
    daemon.wait_for_readiness(503, &["is waiting", &letters]);
    daemon.wait_until_committed(&good, 150);
    feed(kafka(), (&good, 1), 3, 50..100);
    daemon.wait_until_committed(&good, 300);
    daemon.wait_for_readiness(503, &["is waiting", &letters]);
    alter(kafka(), &letters, "cleanup.policy=delete");
    daemon.wait_until_committed(&bad, 181);
    daemon.wait_for_readiness(200, &[]);
    daemon.stop();
    assert_forecast_once(kafka(), &format!("{app}.good.forecasts"), 3, 100);
    assert_forecast_once(kafka(), &format!("{app}.bad.forecasts"), 3, 60);
    assert_eq!(consume(kafka(), &letters, Duration::from_secs(10)).len(), 1);
}
