//! Cost of exactly-once processing and speed of recovery, on a real broker that the benchmark starts: time until a
//! restarted daemon is ready, takeover by a warm standby, the state topic's share of the stored bytes, and throughput
//! with and without transactions. `scripts/bench-restore` runs it; `--json` prints one object.
#![allow(missing_docs, clippy::disallowed_methods)]

mod copies;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod plain;
mod share;
mod takeover;
mod transactions;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{
    client::{Input, committed, produce},
    free_port, http_get,
    kafka::kafka,
    process::Process,
    unique, wait_for,
};

pub const LIMIT: Duration = Duration::from_secs(1_800);
pub const START: i64 = 1_700_000_040_000;

/// Command line arguments.
pub struct Arguments {
    series: i64,
    steps: i64,
    /// Copies of each series' state, the original included.
    copies: i64,
    partitions: i32,
    season: String,
    /// Of the part `share`, in milliseconds.
    interval: i64,
    json: bool,
    parts: Vec<String>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let place = words.iter().position(|word| word == name)?;
        words.get(place + 1).cloned()
    };
    let number = |name: &str, default: i64| value(name).map_or(default, |text| text.parse().expect("a whole number"));
    let known = ["restore", "takeover", "share", "transactions"];
    let parts: Vec<String> = words.iter().filter(|word| known.contains(&word.as_str())).cloned().collect();
    let arguments = Arguments {
        series: number("--series", 100_000),
        steps: number("--steps", 12),
        copies: number("--copies", 1),
        partitions: i32::try_from(number("--partitions", 4)).expect("it is small"),
        interval: number("--interval", 5) * 1000,
        season: value("--season").unwrap_or_else(|| "none".into()),
        json: words.iter().any(|word| word == "--json"),
        parts: if parts.is_empty() { known.map(str::to_owned).to_vec() } else { parts },
    };
    let mut found = serde_json::Map::new();
    for part in &arguments.parts {
        let object = match part.as_str() {
            "restore" => restore(&arguments),
            "takeover" => takeover::run(&arguments),
            "share" => share::run(&arguments),
            _ => transactions::run(),
        };
        if !arguments.json {
            println!("{part}: {object}");
        }
        found.insert(part.clone(), object);
    }
    if arguments.json {
        println!("{}", serde_json::Value::Object(found));
    }
}

/// A configuration with the default model. `extra` is inserted at the top, `stream` into the stream.
pub fn configuration(app: &str, instance: &str, topic: &str, port: u16, extra: &str, stream: &str) -> String {
    format!(
        r#"app = {app:?}
instance = {instance:?}
role = "score"
{extra}
[http]
listen = "127.0.0.1:{port}"
[kafka]
brokers = [{:?}]
session_timeout = "6s"
[[stream]]
name = "stream"
topics = [{topic:?}]
start = "earliest"
time = {{ field = "time", format = "milliseconds" }}
values = ["value"]
readings_per_slot = 1
horizon = 24
training = {{ enabled = false }}
{stream}
"#,
        kafka().servers
    )
}

/// The record of a series at a step.
pub fn record(series: i64, step: i64, interval: i64, partitions: i32) -> Input {
    let value = 50.0 + 20.0 * ((step + series) as f64 / 3.8).sin() + (series * 7 + step * 13) as f64 % 11.0;
    let time = START + step * interval;
    Input::new(format!("machine-{series:07}.cpu"), format!("{{\"time\":{time},\"value\":{value:.3}}}"))
        .at((series % i64::from(partitions)) as i32)
}

/// A running daemon and its HTTP port.
pub struct Running {
    pub process: Process,
    pub port: u16,
    pub started: Instant,
}

pub fn start(folder: &Path, name: &str, configuration: impl Fn(u16) -> String) -> Running {
    let port = free_port();
    let path: PathBuf = folder.join(format!("{name}.toml"));
    std::fs::write(&path, configuration(port)).expect("the configuration");
    let started = Instant::now();
    let process = Process::foretide(folder, name, ["run", "--config", path.to_str().expect("a path")]);
    Running { process, port, started }
}

impl Running {
    /// Seconds from the start until the daemon is ready.
    pub fn ready(&mut self) -> f64 {
        wait_for("readiness", LIMIT, || {
            assert!(self.process.runs(), "{}", self.process.log());
            http_get(self.port, "/readyz").filter(|(status, _)| *status == 200)
        });
        self.started.elapsed().as_secs_f64()
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        harness::metric(self.port, name).expect("metrics")
    }

    pub fn stop(&mut self) {
        assert!(self.process.stop(Duration::from_secs(120)).success(), "{}", self.process.log());
    }
}

pub fn wait_until_read(daemon: &mut Running, app: &str, topic: &str, partitions: i32, records: i64) {
    wait_for("the last commit", LIMIT, || {
        assert!(daemon.process.runs(), "{}", daemon.process.log());
        std::thread::sleep(Duration::from_millis(300));
        (committed(kafka(), app, topic, partitions) >= records).then_some(())
    });
}

/// Fills the state of many series, waits for all snapshots, stops the daemon, copies the snapshots if requested, and
/// measures the time until a restarted daemon is ready.
fn restore(arguments: &Arguments) -> serde_json::Value {
    let (app, partitions) = (unique("restore"), arguments.partitions);
    let topic = kafka().topic("restore", partitions);
    let folder = tempfile::tempdir().expect("a folder");
    let interval = 60_000;
    let configuration = |port| {
        let extra = "shards = 2\ncheckpoint_interval = \"10s\"";
        let stream = format!("interval = \"1m\"\nseason = {:?}\nlimits = {{ series = 5000000 }}", arguments.season);
        configuration(&app, "bench", &topic, port, extra, &stream)
    };
    eprintln!("filling the state of {} series, {} steps each", arguments.series, arguments.steps);
    let mut daemon = start(folder.path(), "fill", configuration);
    daemon.ready();
    let mut written = 0;
    for step in 0..arguments.steps {
        produce(kafka(), &topic, (0..arguments.series).map(|series| record(series, step, interval, partitions)));
        written += arguments.series;
        wait_until_read(&mut daemon, &app, &topic, partitions, written);
    }
    // Due snapshots are written with commits, so a few series continue until all others are written.
    for step in arguments.steps..arguments.steps + 150 {
        produce(kafka(), &topic, (0..i64::from(partitions)).map(|series| record(series, step, interval, partitions)));
        std::thread::sleep(Duration::from_millis(100));
    }
    let resident = daemon.metric("process_resident_memory_bytes");
    let state = daemon.metric("foretide_state_bytes");
    daemon.stop();
    copies::write(&app, partitions, arguments.copies);
    let mut times = Vec::new();
    let mut last = (0.0, 0.0);
    for round in 0..2 {
        let mut daemon = start(folder.path(), &format!("restored-{round}"), configuration);
        times.push(daemon.ready());
        last = (daemon.metric("foretide_restore_snapshots_total"), daemon.metric("foretide_restore_records_total"));
        daemon.stop();
    }
    let bytes = share::topic_bytes(&format!("{app}.state"));
    serde_json::json!({
        "series": arguments.series * arguments.copies, "seconds": times, "snapshots": last.0, "replayed": last.1,
        "state_topic_bytes": bytes, "state_bytes_a_series": state / arguments.series as f64,
        "resident_bytes": resident,
    })
}
