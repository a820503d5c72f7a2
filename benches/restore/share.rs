//! The state topic's share of the stored bytes: series in real time, snapshots as they are by default.

use std::time::{Duration, Instant};

use super::{Arguments, configuration, record, start, wait_until_read};
use crate::harness::{client::produce, kafka::kafka, unique};

const SERIES: i64 = 10_000;
const PARTITIONS: i32 = 4;
/// Steps that are in the topic before the daemon starts: a series' snapshot grows during its first hundred steps or so.
const BEFORE: i64 = 100;
/// Real time before the measurement, in milliseconds.
const WARM_UP: i64 = 65_000;
/// Measured real time, in milliseconds, of at least four steps.
const MEASURED: i64 = 120_000;

/// Bytes of a topic's partitions on the broker's disk.
pub fn topic_bytes(topic: &str) -> u64 {
    let kafka = kafka();
    let output = kafka.tool(
        "org.apache.kafka.tools.LogDirsCommand",
        &["--bootstrap-server", &kafka.servers, "--describe", "--topic-list", topic],
    );
    let text = String::from_utf8_lossy(&output).into_owned();
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no JSON in {text}"));
    let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let list = |value: &serde_json::Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let folders = list(&object, "brokers").into_iter().flat_map(|broker| list(&broker, "logDirs"));
    let partitions = folders.flat_map(|folder| list(&folder, "partitions"));
    partitions.filter_map(|partition| partition["size"].as_u64()).sum()
}

pub fn run(arguments: &Arguments) -> serde_json::Value {
    let interval = arguments.interval;
    let (warm_up, measured) = ((WARM_UP / interval).max(1), (MEASURED / interval).max(4));
    let app = unique("share");
    let topic = kafka().topic("share", PARTITIONS);
    let folder = tempfile::tempdir().expect("a folder");
    let mut daemon = start(folder.path(), "share", |port| {
        configuration(&app, "bench", &topic, port, "", &format!("interval = \"{interval}ms\""))
    });
    daemon.ready();
    for step in 0..BEFORE {
        produce(kafka(), &topic, (0..SERIES).map(|series| record(series, step, interval, PARTITIONS)));
    }
    wait_until_read(&mut daemon, &app, &topic, PARTITIONS, BEFORE * SERIES);
    let topics = [topic.clone(), format!("{app}.stream.forecasts"), format!("{app}.state")];
    let bytes = || topics.each_ref().map(|topic| topic_bytes(topic));
    let begun = Instant::now();
    let mut before = [0; 3];
    // A tenth of the series every tenth of the interval, because real series are not synchronous.
    for tenth in 0..(warm_up + measured) * 10 {
        if tenth == warm_up * 10 {
            before = bytes();
        }
        let due = Duration::from_millis((tenth * interval / 10) as u64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let (step, part) = (BEFORE + tenth / 10, tenth % 10);
        let series = (0..SERIES).filter(|series| series / i64::from(PARTITIONS) % 10 == part);
        produce(kafka(), &topic, series.map(|series| record(series, step, interval, PARTITIONS)));
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = bytes();
    let snapshots = daemon.metric("foretide_snapshots_total");
    let snapshot_bytes = daemon.metric("foretide_snapshot_bytes_total");
    daemon.stop();
    let [input, forecasts, state] = std::array::from_fn(|place| (after[place] - before[place]) as f64);
    let all = input + forecasts + state;
    serde_json::json!({
        "series": SERIES, "input_bytes": input, "forecast_bytes": forecasts, "state_bytes": state,
        "share": state / all, "share_without_input": state / (forecasts + state),
        "bytes_a_snapshot": snapshot_bytes / snapshots,
    })
}
