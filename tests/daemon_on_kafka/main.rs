//! The built binary on a real Apache Kafka: what goes in, what comes out, and what survives a kill.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too

mod closing;
mod generated;
#[path = "../harness/mod.rs"]
mod harness;
mod offsets;
mod repartition;
mod series_end;
mod settings;
mod start;
mod support;
mod topics;
mod wild_times;

use std::{collections::BTreeSet, time::Duration};

use foretide::broker::{Broker, Partition, StartPosition, TopicSpec};
use harness::{
    client::{Input, consume, group_offset, produce},
    http_get,
    kafka::kafka,
    unique, wait_for,
};
use support::{Daemon, Stream, backtest, forecasts, of_input};

const LIMIT: Duration = Duration::from_secs(120);
const IDLE: Duration = Duration::from_secs(3);

/// Waits until a group has committed every record of a topic.
fn wait_until_read(app: &str, topic: &str, ends: &[i64]) {
    wait_for(&format!("{app} to read {topic} to its end"), LIMIT, || {
        let read = |(partition, end): (usize, &i64)| {
            *end == 0 || group_offset(kafka(), app, topic, partition as i32) >= Some(*end)
        };
        ends.iter().enumerate().all(read).then_some(())
    });
}

/// Seven series of one record each hour; two kills in the middle; the outcome must be that of the file run through
/// `backtest`, number for number.
#[test]
fn kill_dash_nine_loses_and_doubles_nothing_and_forecasts_are_those_of_backtest() {
    let table = generated::loads(900);
    let rows = &table.rows;
    let topic = kafka().topic("loads", 1);
    let stream = Stream {
        topic: &topic,
        values: table.header[1..].iter().map(String::as_str).collect(),
        key: "{ fields = [] }",
        interval: "1h",
        extra: "season = \"24h\"",
    };
    let app = unique("loads");
    let mut daemon = Daemon::new(&app, &[stream]);
    daemon.start("first");
    let record = |row: &Vec<String>| {
        let fields = table.header[1..].iter().zip(&row[1..]).map(|(name, value)| format!("\"{name}\":{value}"));
        let time = support::millis(&row[0]);
        Input::new("row", format!("{{\"time\":{time},{}}}", fields.collect::<Vec<_>>().join(","))).at(0)
    };
    for (part, name) in rows.chunks(300).zip(["first", "second", "third"]) {
        if name != "first" {
            daemon.start(name);
        }
        let before = group_offset(kafka(), &app, &topic, 0).unwrap_or(0);
        produce(kafka(), &topic, part.iter().map(record));
        if name == "third" {
            continue;
        }
        // In the middle of it: something of this part is committed, and perhaps not all of it.
        wait_for("a commit", LIMIT, || group_offset(kafka(), &app, &topic, 0).filter(|&offset| offset > before));
        daemon.kill(name);
    }
    wait_until_read(&app, &topic, &[rows.len() as i64]);
    let status = daemon.stop("third");
    assert!(status.success(), "SIGTERM ends it in good order: {status}");

    let checked = daemon.check("third");
    assert!(checked.contains("season stream: 24 steps in"), "the data show their day: {checked}");
    let seen = consume(kafka(), &format!("{app}.stream.forecasts"), IDLE);
    let live = forecasts(&seen);
    assert_eq!(live.len(), 7, "seven series");
    for (series, all) in &live {
        assert_eq!(all.len(), rows.len(), "{series}: one forecast for each row");
        assert!(
            all.windows(2).all(|pair| pair[0]["origin"].as_i64() < pair[1]["origin"].as_i64()),
            "{series}: in order"
        );
    }
    let file = backtest(&table, &["--horizon", "24", "--season", "24"]);
    assert_eq!(of_input(&live), of_input(&file), "the daemon forecasts what the backtest does");
}

/// A second topic publishes the temperature ahead of time; two kills in the middle; the outcome must be that of
/// `backtest` with the temperature as a future covariate, number for number.
#[test]
fn future_covariates_of_a_second_topic_are_used_as_in_backtest_through_kill_dash_nine() {
    let table = generated::demand(900);
    let (time, demand, warm) = (table.column("Time"), table.column("Demand"), table.column("Temperature"));
    let rows = &table.rows;
    let (topic, weather) = (kafka().topic("demand", 1), kafka().topic("weather", 1));
    let extra = format!(
        "season = \"24h\"\n[stream.future_covariates]\ntopic = {weather:?}\nvalues = [\"warm\"]\n\
         time = {{ field = \"at\", format = \"milliseconds\" }}"
    );
    let stream =
        Stream { topic: &topic, values: vec!["Demand"], key: "{ fields = [] }", interval: "30m", extra: &extra };
    let app = unique("future");
    // Newer values replace the first ones, and one record cannot be read.
    let published = |number: f64, row: &Vec<String>| {
        Input::new("", format!("{{\"at\":{},\"warm\":{number}}}", support::millis(&row[time]))).at(0)
    };
    produce(kafka(), &weather, rows.iter().map(|row| published(-50.0, row)));
    produce(kafka(), &weather, [Input::new("", "{\"at\":17000").at(0)]);
    produce(kafka(), &weather, rows.iter().map(|row| published(row[warm].parse().unwrap(), row)));
    let mut daemon = Daemon::new(&app, &[stream]);
    let record = |row: &Vec<String>| {
        Input::new("row", format!("{{\"time\":{},\"Demand\":{}}}", support::millis(&row[time]), row[demand])).at(0)
    };
    for (part, name) in rows.chunks(300).zip(["first", "second", "third"]) {
        daemon.start(name);
        let before = group_offset(kafka(), &app, &topic, 0).unwrap_or(0);
        produce(kafka(), &topic, part.iter().map(record));
        if name != "third" {
            wait_for("a commit", LIMIT, || group_offset(kafka(), &app, &topic, 0).filter(|&offset| offset > before));
            daemon.kill(name);
        }
    }
    wait_until_read(&app, &topic, &[rows.len() as i64]);
    assert!(daemon.stop("third").success());
    let checked = daemon.check("third");
    assert!(checked.contains(&format!("future {weather}: 1 partitions")), "{checked}");
    let letters = consume(kafka(), &format!("{app}.dead-letters"), IDLE);
    assert_eq!(letters.iter().map(harness::client::ConsumerRecord::text).collect::<Vec<_>>(), ["{\"at\":17000"]);
    let live = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    assert_eq!(live["Demand"].len(), rows.len(), "one forecast for each row");
    let arguments = ["--columns", "Demand", "--horizon", "24", "--season", "48"];
    let blind = backtest(&table, &arguments);
    let file = backtest(&table, &[&arguments[..], &["--future-covariates", "Temperature"]].concat());
    assert_eq!(of_input(&live), of_input(&file), "the daemon forecasts what the backtest does");
    assert_ne!(of_input(&blind), of_input(&file));
}

/// Keyed rows over four partitions; a second replica joins in the middle and the first one leaves.
#[test]
fn a_rebalance_hands_series_over_with_their_state() {
    let table = generated::visitors(400);
    let (key, time, value) = (table.column("Sensor"), table.column("Date_Time"), table.column("Count"));
    let sensors: BTreeSet<&str> = table.rows.iter().map(|row| row[key].as_str()).collect();
    let rows = &table.rows;
    let topic = kafka().topic("visitors", 4);
    let stream =
        Stream { topic: &topic, values: vec!["value"], key: "\"record\"", interval: "1h", extra: "season = \"24h\"" };
    let app = unique("visitors");
    let mut daemon = Daemon::new(&app, &[stream]);
    daemon.start("first");
    let mut ends = vec![0; 4];
    for (part, rows) in rows.chunks(rows.len().div_ceil(4)).enumerate() {
        let records = rows.iter().map(|row| {
            let partition = sensors.iter().position(|sensor| *sensor == row[key]).unwrap() % 4;
            ends[partition] += 1;
            let time = support::millis(&row[time]);
            Input::new(row[key].as_str(), format!("{{\"time\":{time},\"value\":{}}}", row[value])).at(partition as i32)
        });
        produce(kafka(), &topic, records);
        match part {
            1 => daemon.start("second"),
            2 => assert!(daemon.stop("first").success(), "it hands over and ends in good order"),
            _ => {}
        }
        wait_until_read(&app, &topic, &ends);
    }
    assert!(daemon.stop("second").success());
    let live = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    let mut made = 0;
    for (sensor, all) in &live {
        let steps: Vec<_> = all.iter().map(|forecast| forecast["step"].as_i64().unwrap()).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{sensor}: each origin once and in order");
        made += all.len();
    }
    let refused = consume(kafka(), &format!("{app}.dead-letters"), IDLE).len();
    assert_eq!(made + refused, rows.len(), "every row is forecast, or refused as a duplicate");
    assert_eq!(refused, 16, "four duplicate hours of four sensors are rejected");
    assert_eq!(live.len(), sensors.len());
    let own = support::alone(rows, key, time, value);
    assert_eq!(of_input(&live), of_input(&own), "the same forecasts as from one engine that was never moved");
}

/// One of each kind of bad record, between good ones.
#[test]
fn bad_records_go_to_the_dead_letters_and_good_ones_are_forecast() {
    let topic = unique("bad");
    let plan = TopicSpec {
        name: topic.clone(),
        partitions: 1,
        compacted: false,
        log_append_time: false,
        max_record_bytes: 16 << 20,
    };
    kafka().broker().create(&plan).unwrap();
    let app = unique("bad");
    let extra = "allowed_lateness = \"0s\"\nlimits = { series = 2, when_full = \"refuse\", record_bytes = \"1MiB\" }";
    let stream = Stream { topic: &topic, values: vec!["value"], key: "\"record\"", interval: "1m", extra };
    let mut daemon = Daemon::new(&app, &[stream]);
    daemon.start("only");
    let minute = |number: i64| 1_700_000_000_000 / 60_000 * 60_000 + number * 60_000;
    let good = |series: &str, number| Input::new(series, format!("{{\"time\":{},\"value\":1.5}}", minute(number)));
    let at = |number, value: &str| Input::new("a", format!("{{\"time\":{},\"value\":{value}}}", minute(number)));
    let now = minute(1);
    let bad: Vec<(&str, Input)> = vec![
        ("broken_json", Input::new("a", "{\"time\":17000")),
        ("wrong_type", at(1, "\"warm\"")),
        ("wrong_type", at(1, "[1]")),
        ("missing_field", Input::new("a", format!("{{\"time\":{now}}}"))),
        ("missing_field", at(1, "null")),
        ("missing_field", Input::new("a", "{\"value\":1}")),
        ("not_finite", at(1, "NaN")),
        ("not_finite", at(1, "-Infinity")),
        ("out_of_range", at(1, "1e300")),
        ("absurd_time", Input::new("a", "{\"time\":99999999999999,\"value\":1}")),
        ("wrong_type", Input::new("a", "{\"time\":\"soon\",\"value\":1}")),
        ("series_limit", good("c", 1)),
        ("empty_record", Input::new("a", "")),
        ("missing_key", Input { payload: None, key: None, ..Input::new("a", "") }),
        ("missing_key", Input { key: None, ..good("a", 1) }),
        ("not_utf8", Input::new("a", vec![b'{', 0xff, b'}'])),
        ("too_large", Input::new("a", format!("{{\"pad\":\"{}\"}}", "x".repeat(10 << 20)))),
        ("ahead", Input::new("a", "{\"time\":4070908800000,\"value\":1}")),
        ("late", good("a", -10)),
        // The last slot of `a` that has closed by then.
        ("duplicate", good("a", 19)),
    ];
    let mut records = vec![good("a", 0), good("b", 0)];
    for (number, (_, input)) in (1..).zip(&bad) {
        records.extend([Input { partition: Some(0), ..input.clone() }, good("a", number), good("b", number)]);
    }
    let end = records.len() as i64;
    produce(kafka(), &topic, records.into_iter().map(|record| record.at(0)));
    wait_until_read(&app, &topic, &[end]);

    let letters = consume(kafka(), &format!("{app}.dead-letters"), IDLE);
    let header = |letter: &harness::client::ConsumerRecord, name: &str| -> String {
        let found = letter.headers.iter().find(|(known, _)| known == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no header {name} in {letter:?}")).1.clone()).unwrap()
    };
    let reasons: Vec<String> = letters.iter().map(|letter| header(letter, "foretide.reason")).collect();
    let expected: Vec<&str> = bad.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, expected, "each bad record, in order, with its reason");
    for (number, letter) in letters.iter().enumerate() {
        assert_eq!(header(letter, "foretide.topic"), topic);
        assert_eq!(header(letter, "foretide.partition"), "0");
        assert_eq!(header(letter, "foretide.offset"), (2 + 3 * number).to_string());
        assert_eq!(header(letter, "foretide.stream"), "stream");
        assert!(!header(letter, "foretide.detail").is_empty());
    }
    let forecasts = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    for series in ["a", "b"] {
        assert_eq!(forecasts[series].len(), bad.len() + 1, "every good reading of {series} is forecast");
    }
    assert!(!forecasts.contains_key("c"));
    let (status, metrics) = http_get(daemon.port("only"), "/metrics").expect("metrics");
    assert_eq!(status, 200);
    for reason in
        ["broken_json", "wrong_type", "not_finite", "series_limit", "too_large", "missing_key", "ahead", "late"]
    {
        let count = expected.iter().filter(|known| **known == reason).count();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("foretide_dead_letters_total{") && line.contains(&format!("\"{reason}\"")))
            .unwrap_or_else(|| panic!("no metric for {reason}"));
        assert!(line.ends_with(&format!(" {count}")), "{line}: expected {count}");
    }
    assert!(!metrics.contains("series=\""), "no series key is a label");
    assert_eq!(http_get(daemon.port("only"), "/livez").expect("livez").0, 200);
    assert_eq!(http_get(daemon.port("only"), "/readyz").expect("readyz").0, 200);
    assert!(daemon.stop("only").success());
}

/// A season that no initial weights know: the trainer must learn it, publish, and the forecasts must show the version.
#[test]
fn the_trainer_learns_publishes_and_serving_takes_the_weights_up() {
    let topic = kafka().topic("learn", 2);
    let app = unique("learn");
    let extra = "season = \"none\"\nreadings_per_slot = 1\n\
        training = { every = \"1s\", min_steps = 200, max_updates = 60, batch_size = 8, \
        margin = 0.001, learning_rate = 0.01 }";
    let stream = Stream { topic: &topic, values: vec!["value"], key: "\"record\"", interval: "1m", extra };
    let mut daemon = Daemon::new(&app, &[stream]).trained();
    let now = support::now() / 60_000 * 60_000;
    let record = |series: i64, step: i64| {
        let value = ((step + 3 * series) as f64 / 8.0 * std::f64::consts::TAU).sin() * 10.0;
        Input::new(format!("s{series}"), format!("{{\"time\":{},\"value\":{value}}}", now + step * 60_000))
            .at((series % 2) as i32)
    };
    // Too little to train on is served first, so the initial weights are what it begins with.
    produce(kafka(), &topic, (0..20).flat_map(|step| (0..8).map(move |series| record(series, step))));
    daemon.start("score");
    wait_until_read(&app, &topic, &[4 * 20, 4 * 20]);
    produce(kafka(), &topic, (20..400).flat_map(|step| (0..8).map(move |series| record(series, step))));
    let version = wait_for("weights to be promoted and served", LIMIT, || {
        let (_, metrics) = http_get(daemon.port("score"), "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with("foretide_weights_version{"))?;
        line.rsplit(' ').next()?.parse::<f64>().ok().filter(|version| *version >= 1.0)
    });
    produce(kafka(), &topic, (400..420).flat_map(|step| (0..8).map(move |series| record(series, step))));
    wait_until_read(&app, &topic, &[4 * 420, 4 * 420]);
    assert!(daemon.stop("score").success());
    let live = forecasts(&consume(kafka(), &format!("{app}.stream.forecasts"), IDLE));
    for (series, all) in &live {
        assert_eq!(all.len(), 420, "{series}");
        assert_eq!(all[0]["weights_version"], 0, "{series} began with the initial weights");
        assert!(all[419]["weights_version"].as_u64().unwrap() >= version as u64, "{series} ends with learnt ones");
    }
    // Weights are bytes that no console prints.
    let partition = Partition { topic: format!("{app}.models").into(), number: 0 };
    let mut reader = kafka().broker().reader(&partition, StartPosition::Earliest).unwrap();
    let manifest: serde_json::Value = wait_for("the manifest", LIMIT, || {
        let batch = reader.read(Duration::from_millis(100), 10).unwrap()?;
        let record = batch.iter().find(|record| record.key == Some(b"stream/1"))?;
        serde_json::from_slice(record.payload?).ok()
    });
    assert!(manifest["challenger_loss"].as_f64().unwrap() < manifest["champion_loss"].as_f64().unwrap(), "{manifest}");
}

/// The same history as the daemon's trainer reads, without a daemon.
#[test]
fn training_off_line_reads_the_topics_and_writes_nothing() {
    let (topic, app) = (kafka().topic("off-line", 2), unique("off-line"));
    let now = support::now() / 60_000 * 60_000;
    let record = |series: i64, step: i64| {
        let value = ((step + 3 * series) as f64 / 8.0 * std::f64::consts::TAU).sin() * 10.0;
        Input::new(format!("s{series}"), format!("{{\"time\":{},\"value\":{value}}}", now + step * 60_000))
            .at((series % 2) as i32)
    };
    produce(kafka(), &topic, (0..400).flat_map(|step| (0..8).map(move |series| record(series, step))));
    let folder = tempfile::tempdir().unwrap();
    let [config, out] = ["off-line.toml", "weights"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let stream = |name: &str, extra: &str| {
        format!(
            "[[stream]]\nname = {name:?}\ntopics = [{topic:?}]\nvalues = [\"value\"]\n\
             interval = \"1m\"\nseason = \"none\"\nreadings_per_slot = 1\nhorizon = 24\n\
             time = {{ field = \"time\", format = \"milliseconds\" }}\nmodel = {{ hidden = 16 }}\n\
             training = {{ enabled = false, batch_size = 8, margin = 0.001{extra} }}\n"
        )
    };
    let head = format!("app = {app:?}\n[kafka]\nbrokers = [{:?}]\n", kafka().servers);
    std::fs::write(&config, head + &stream("short", ", min_steps = 1000") + &stream("learnt", "")).unwrap();
    let train = |stream: &[&str]| {
        let asked =
            ["train", "--config", &config, "--out", &out, "--json", "--updates", "40", "--learning-rate", "0.01"];
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_foretide")).args(asked).args(stream).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, report, said) = train(&["--stream", "learnt"]);
    assert!(code == Some(0) && said.contains("8 series, 3200 steps of stream learnt"), "{code:?} {said}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["verdict"], &report["updates"]), (&"promote".into(), &40.into()), "{report}");
    assert!(std::fs::metadata(&out).unwrap().len() > 1000);
    for written in [format!("{app}.models"), format!("{app}.state"), format!("{app}.learnt.forecasts")] {
        assert_eq!(kafka().broker().partitions(&written).unwrap(), None, "{written}");
    }
    let ends = [0, 1].map(|number| {
        let partition = Partition { topic: topic.as_str().into(), number };
        kafka().broker().offsets(&partition).unwrap().end
    });
    assert_eq!(ends, [1600, 1600]);

    let (code, _, said) = train(&["--stream", "short"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("has 400 steps of history; training begins at 1000"), "{said}");
    let (code, _, said) = train(&[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("expected --stream and one of short, learnt"), "{said}");
}
