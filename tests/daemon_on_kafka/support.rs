//! A daemon under test, its configuration, and what its output is held against.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use foretide::env::{Clock, SystemClock};
use serde_json::Value;

use crate::harness::{client::ConsumerRecord, free_port, http_get, kafka::kafka, process::Process, wait_for};

/// A table of strings.
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn column(&self, name: &str) -> usize {
        self.header
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| panic!("no column {name}: {:?}", self.header))
    }
}

/// The milliseconds of a timestamp, read as UTC.
pub fn millis(stamp: &str) -> i64 {
    let stamp = stamp.trim_end_matches('Z').replace('T', " ");
    let civil: jiff::civil::DateTime = stamp.parse().unwrap_or_else(|error| panic!("{stamp}: {error}"));
    civil.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond()
}

/// The wall clock in milliseconds.
pub fn now() -> i64 {
    SystemClock::new().wall_millis()
}

/// One `[[stream]]`, called `stream`.
#[derive(Clone)]
pub struct Stream<'a> {
    pub topic: &'a str,
    pub values: Vec<&'a str>,
    pub key: &'a str,
    pub interval: &'a str,
    pub extra: &'a str,
}

impl Stream<'_> {
    fn toml(&self, trained: bool) -> String {
        let readings = if self.extra.contains("readings_per_slot") { "" } else { "readings_per_slot = 1" };
        let training = if trained { "" } else { "training = { enabled = false }" };
        format!(
            "[[stream]]\nname = \"stream\"\ntopics = [{:?}]\nkey = {}\nvalues = {:?}\ninterval = {:?}\n{readings}\n\
             {training}\nhorizon = 24\n\
             time = {{ field = \"time\", format = \"milliseconds\" }}\nmodel = {{ hidden = 16 }}\n{}\n",
            self.topic, self.key, self.values, self.interval, self.extra
        )
    }
}

/// Replicas of one application.
pub struct Daemon {
    folder: tempfile::TempDir,
    app: String,
    streams: String,
    trained: bool,
    checkpoint_interval: &'static str,
    running: BTreeMap<String, (Process, u16)>,
}

impl Daemon {
    pub fn new(app: &str, streams: &[Stream<'_>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let streams = streams.iter().map(|stream| stream.toml(stream.extra.contains("training"))).collect();
        let running = BTreeMap::new();
        Self { folder, app: app.to_owned(), streams, trained: false, checkpoint_interval: "2s", running }
    }

    pub fn trained(mut self) -> Self {
        self.trained = true;
        self
    }

    /// With another interval between two snapshots of a series than two seconds.
    pub fn checkpointed(mut self, every: &'static str) -> Self {
        self.checkpoint_interval = every;
        self
    }

    /// What `check --connect` says with the configuration of a replica that was started.
    pub fn check(&self, name: &str) -> String {
        let (code, text) = self.run(name, &["check", "--connect"]);
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// Runs a command with the configuration of a replica that was started. Returns its exit code, 124 where it takes
    /// more than two minutes, and what it prints.
    pub fn run(&self, name: &str, command: &[&str]) -> (Option<i32>, String) {
        let path = self.folder.path().join(format!("{name}.toml"));
        let mut limited = Command::new("timeout");
        limited.args(["120", env!("CARGO_BIN_EXE_foretide")]).args(command).arg("--config").arg(path);
        let output = limited.current_dir(self.folder.path()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.code(), text)
    }

    /// Starts a replica and waits until it is ready.
    pub fn start(&mut self, name: &str) {
        let port = free_port();
        let config = format!(
            "app = {:?}\ninstance = {name:?}\nrole = {:?}\ncommit_interval = \"50ms\"\n\
             checkpoint_interval = {:?}\ncheckpoint_records = 0\nshards = 1\n[kafka]\n\
             brokers = [{:?}]\nsession_timeout = \"6s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n{}",
            self.app,
            if self.trained { "all" } else { "score" },
            self.checkpoint_interval,
            kafka().servers,
            self.streams
        );
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mut process = Process::foretide(self.folder.path(), name, ["run", "--config", &path]);
        wait_for("the replica to be ready", Duration::from_secs(60), || {
            assert!(process.runs(), "it has ended:\n{}", process.log());
            http_get(port, "/readyz").filter(|(status, _)| *status == 200)
        });
        self.running.insert(name.to_owned(), (process, port));
    }

    pub fn port(&self, name: &str) -> u16 {
        self.running[name].1
    }

    /// What a running replica has logged.
    pub fn log(&self, name: &str) -> String {
        self.running[name].0.log()
    }

    pub fn kill(&mut self, name: &str) {
        self.running.remove(name).unwrap().0.kill();
    }

    pub fn stop(&mut self, name: &str) -> ExitStatus {
        self.running.remove(name).unwrap().0.stop(Duration::from_secs(40))
    }
}

/// Forecasts by series, in the order of their offsets.
pub type Forecasts = BTreeMap<String, Vec<Value>>;

/// What an independent client has read.
pub fn forecasts(seen: &[ConsumerRecord]) -> Forecasts {
    let mut forecasts = Forecasts::new();
    for record in seen {
        let forecast: Value = serde_json::from_str(&record.text()).unwrap();
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        assert_eq!(forecast["series"], key.as_str(), "keyed by series");
        forecasts.entry(key).or_default().push(forecast);
    }
    forecasts
}

/// The forecasts without what only names where they come from.
pub fn of_input(forecasts: &Forecasts) -> Forecasts {
    let mut forecasts = forecasts.clone();
    for forecast in forecasts.values_mut().flatten().filter_map(Value::as_object_mut) {
        forecast.remove("stream");
        forecast.remove("input");
    }
    forecasts
}

/// The forecasts of `foretide backtest` for a table.
pub fn backtest(table: &Table, arguments: &[&str]) -> Forecasts {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.csv");
    let mut text = table.header.join(",") + "\n";
    table.rows.iter().for_each(|row| text += &(row.join(",") + "\n"));
    std::fs::write(&input, text).unwrap();
    run_backtest(folder.path(), &input, arguments)
}

fn run_backtest(folder: &Path, input: &Path, arguments: &[&str]) -> Forecasts {
    let emitted = folder.join("forecasts.jsonl");
    let output = Command::new(env!("CARGO_BIN_EXE_foretide"))
        .args(["backtest", input.to_str().unwrap(), "--no-training", "--hidden", "16", "--json", "--emit"])
        .arg(&emitted)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut forecasts = Forecasts::new();
    for line in std::fs::read_to_string(&emitted).unwrap().lines() {
        let forecast: Value = serde_json::from_str(line).unwrap();
        forecasts.entry(forecast["series"].as_str().unwrap().to_owned()).or_default().push(forecast);
    }
    forecasts
}

/// The forecasts of `foretide backtest` for keyed rows.
pub fn alone(rows: &[Vec<String>], key: usize, time: usize, value: usize) -> Forecasts {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.csv");
    let mut text = "sensor,time,value\n".to_owned();
    rows.iter().for_each(|row| text += &format!("{},{},{}\n", row[key], row[time], row[value]));
    std::fs::write(&input, text).unwrap();
    let arguments = ["--long", "--key", "sensor", "--time", "time", "--value", "value", "--interval", "1h"];
    run_backtest(folder.path(), &input, &[&arguments[..], &["--horizon", "24", "--season", "24"]].concat())
}
