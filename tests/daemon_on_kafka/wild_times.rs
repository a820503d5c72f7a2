//! Readings of a wrong clock.

use crate::{
    IDLE,
    harness::{
        client::{Input, consume, produce},
        kafka::kafka,
        unique,
    },
    support::{Daemon, forecasts, of_input},
    topics::{MINUTE, START, readings, stream},
    wait_until_read,
};

/// Reasons and details of the dead letters.
fn letters(app: &str) -> Vec<(String, String)> {
    let letters = consume(kafka(), &format!("{app}.dead-letters"), IDLE);
    let header = |letter: &crate::harness::client::ConsumerRecord, name: &str| {
        let (_, value) = letter.headers.iter().find(|(header, _)| header == name).unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    letters.iter().map(|letter| (header(letter, "foretide.reason"), header(letter, "foretide.detail"))).collect()
}

/// The forecasts are those of a series without the wild readings. One is the newest reading before a restart.
#[test]
fn one_wild_time_costs_one_record_also_after_a_restart() {
    let (topic, app) = (kafka().topic("wild", 1), unique("wild"));
    let mut daemon = Daemon::new(&app, &[stream(&topic)]).checkpointed("0s");
    let wild = |time: i64| [Input::new("bad", format!("{{\"time\":{time},\"value\":2}}")).at(0)];
    let both = |minutes: std::ops::Range<i64>| [readings("good", 0, minutes.clone()), readings("bad", 0, minutes)];
    daemon.start("first");
    // The first reading of the series, and two steps over thousands of slots that its history makes.
    produce(kafka(), &topic, wild(4_070_908_800_000));
    produce(kafka(), &topic, both(0..20).into_iter().flatten());
    produce(kafka(), &topic, wild(START + 3_000 * MINUTE));
    produce(kafka(), &topic, both(20..30).into_iter().flatten());
    produce(kafka(), &topic, wild(4_070_908_800_000));
    wait_until_read(&app, &topic, &[63]);
    assert!(daemon.stop("first").success());
    daemon.start("second");
    produce(kafka(), &topic, both(30..60).into_iter().flatten());
    // The clock changes for good.
    let year = 365 * 24 * 60;
    let (before, after) = ([readings("good", 0, 60..65)], [readings("bad", 0, year..year + 5)]);
    produce(kafka(), &topic, before.into_iter().chain(after).flatten());
    wait_until_read(&app, &topic, &[133]);
    assert!(daemon.stop("second").success());

    let letters = letters(&app);
    let reasons: Vec<&str> = letters.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["ahead"; 5], "{letters:?}");
    let says = |number: usize, parts: &[&str]| {
        let detail = &letters[number].1;
        parts.iter().for_each(|part| assert!(detail.contains(part), "{part} is missing in {detail}"));
    };
    says(0, &["series \"bad\": 2099-01-01T00:00:00Z", "the record's timestamp 20", "at most 5m", "max_ahead"]);
    says(1, &["2023-11-17T00:14:00Z", "the series' newest reading 2023-11-14T22:33:00Z", "at most 24h", "max_ahead"]);
    let all = of_input(&forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE)));
    let plain = |series: &str| -> Vec<String> {
        all[series].iter().map(|forecast| forecast.to_string().replace(series, "_")).collect()
    };
    let (good, bad) = (plain("good"), plain("bad"));
    assert_eq!((good.len(), bad.len()), (65, 63), "the third reading of the new time is accepted");
    assert_eq!(good[..60], bad[..60]);
}
