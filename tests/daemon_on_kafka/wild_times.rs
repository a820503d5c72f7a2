//! Readings of a wrong clock, and readings that come late or again.

use crate::{
    IDLE,
    harness::{
        client::{Input, consume, produce},
        http_get,
        kafka::kafka,
        unique,
    },
    support::{Daemon, Stream, forecasts, of_input},
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

/// One application writes late readings to the dead letters, one drops them, one corrects its steps; all count them.
#[test]
fn late_readings_follow_the_policy_and_duplicates_write_one_letter_an_hour() {
    let topic = kafka().topic("late", 1);
    let at = |minute: i64| readings("a", 0, minute..minute + 1);
    // Minute 5 is missing and comes late; then a producer sends its last ten readings four times again.
    produce(kafka(), &topic, (0..20).filter(|minute| *minute != 5).flat_map(at));
    produce(kafka(), &topic, at(5));
    produce(kafka(), &topic, (20..40).flat_map(at));
    produce(kafka(), &topic, (0..4).flat_map(|_| readings("a", 0, 30..40)));
    for (late, letters_of_late) in [("dead_letter", 1), ("drop", 0), ("correct", 0)] {
        let app = unique(late);
        let extra = &format!("season = \"none\"\ncorrection = 20\nlate = {late:?}");
        let mut daemon = Daemon::new(&app, &[Stream { extra, ..stream(&topic) }]);
        daemon.start("only");
        wait_until_read(&app, &topic, &[80]);

        let letters = letters(&app);
        let count = |label: &str| letters.iter().filter(|(reason, _)| reason == label).count();
        assert_eq!((count("late"), count("duplicate")), (letters_of_late, 1), "{letters:?}");
        let (_, metrics) = http_get(daemon.port("only"), "/metrics").expect("metrics");
        for (name, expected) in [
            ("late_observations_total", 1),
            ("duplicate_observations_total", 40),
            ("lateness_seconds_count", 1),
            ("dead_letters_total{stream=\"stream\",reason=\"duplicate\"", 1),
        ] {
            let found = metrics.lines().find(|line| line.starts_with(&format!("foretide_{name}")));
            assert!(found.is_some_and(|line| line.ends_with(&format!(" {expected}"))), "{name}: {found:?}");
        }
        let checked = daemon.check("only");
        let line = checked.lines().find(|line| line.starts_with("  order")).unwrap_or_else(|| panic!("{checked}"));
        assert!(line.contains("1.25 % of its 80 newest readings are late"), "{line}");
        assert!(line.contains("allowed_lateness = \"14m\" accepts 99 % of them"), "{line}");
        assert!(line.ends_with("40 are delivered again"), "{line}");
    }
}
