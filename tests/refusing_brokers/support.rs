//! A daemon under test, its input, and Kafka's tools.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use crate::harness::{
    self,
    client::{Input, committed, consume, produce},
    free_port, http_get,
    kafka::Kafka,
    process::Process,
    wait_for,
};

/// Most partitions of a topic.
const PARTITIONS: i32 = 2;
/// Longest time that a test waits for an event.
pub const LIMIT: Duration = Duration::from_secs(300);
/// Time of the first reading, in milliseconds since the Unix epoch.
const START: i64 = 1_700_000_040_000;

/// One `[[stream]]`.
pub fn stream(name: &str, topic: &str, horizon: u32) -> String {
    format!(
        "[[stream]]\nname = {name:?}\ntopics = [{topic:?}]\nstart = \"earliest\"\nvalues = [\"value\"]\n\
         interval = \"1m\"\nreadings_per_slot = 1\nseason = \"none\"\nhorizon = {horizon}\nmodel = {{ hidden = 8 }}\n\
         time = {{ field = \"time\", format = \"milliseconds\" }}\ntraining = {{ enabled = false }}\n"
    )
}

/// A running daemon.
pub struct Daemon<'a> {
    kafka: &'a Kafka,
    pub process: Process,
    pub port: u16,
    pub app: String,
    config: PathBuf,
    _folder: tempfile::TempDir,
}

impl<'a> Daemon<'a> {
    pub fn start(kafka: &'a Kafka, app: &str, instance: &str, streams: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = folder.path().join("foretide.toml");
        let brokers: Vec<&str> = kafka.servers.split(',').collect();
        let text = format!(
            "app = {app:?}\ninstance = {instance:?}\nrole = \"score\"\nshards = 1\ncommit_interval = \"50ms\"\n\
             checkpoint_interval = \"5s\"\ncheckpoint_records = 0\n\
             [kafka]\nbrokers = {brokers:?}\nsession_timeout = \"6s\"\ntransaction_timeout = \"10s\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n{streams}"
        );
        std::fs::write(&config, text).unwrap();
        let process = Process::foretide(folder.path(), "daemon", ["run", "--config", config.to_str().unwrap()]);
        Self { kafka, process, port, app: app.to_owned(), config, _folder: folder }
    }

    /// What `check --connect` prints.
    pub fn check(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretide"));
        let output = command.args(["check", "--connect", "--config"]).arg(&self.config).output().unwrap();
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    }

    /// Waits for a readiness with all of `words` in its reason.
    pub fn wait_for_readiness(&mut self, expected: u16, words: &[&str]) {
        wait_for(&format!("{expected} with {words:?} of {}", self.app), LIMIT, || {
            assert!(self.process.runs(), "the daemon has ended:\n{}", self.process.log());
            let (status, body) = http_get(self.port, "/readyz")?;
            (status == expected && words.iter().all(|word| body.contains(word))).then_some(())
        });
    }

    /// Waits until exactly so many records are committed.
    pub fn wait_until_committed(&mut self, topic: &str, records: i64) {
        assert_eq!(self.wait_until_committed_at_least(topic, records), records);
    }

    pub fn wait_until_committed_at_least(&mut self, topic: &str, records: i64) -> i64 {
        wait_for(&format!("{records} records of {topic} to be committed"), LIMIT, || {
            assert!(self.process.runs(), "the daemon has ended:\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(200));
            Some(committed(self.kafka, &self.app, topic, PARTITIONS)).filter(|committed| *committed >= records)
        })
    }

    pub fn metric(&self, name: &str) -> f64 {
        harness::metric(self.port, name).unwrap_or(0.0)
    }

    pub fn stop(mut self) {
        assert!(self.process.stop(Duration::from_secs(60)).success(), "{}", self.process.log());
    }
}

/// Produces one reading per series and minute. The series take turns in `partitions`.
pub fn feed(kafka: &Kafka, (topic, partitions): (&str, i64), series: i64, minutes: std::ops::Range<i64>) {
    let reading = |minute: i64, number: i64| {
        let value = ((minute * 37 + number * 11) % 1_009) as f64 / 7.0;
        let text = format!("{{\"time\":{},\"value\":{value}}}", START + minute * 60_000);
        Input::new(format!("s{number}"), text).at(i32::try_from(number % partitions).unwrap())
    };
    produce(kafka, topic, minutes.flat_map(|minute| (0..series).map(move |number| reading(minute, number))));
}

/// Asserts that each minute of each series is forecast exactly once and in order.
pub fn assert_forecast_once(kafka: &Kafka, topic: &str, series: usize, minutes: i64) {
    let mut origins: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in consume(kafka, topic, Duration::from_secs(10)) {
        let forecast: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
        let minute = (forecast["origin"].as_i64().unwrap() - START) / 60_000;
        origins.entry(forecast["series"].as_str().unwrap().to_owned()).or_default().push(minute);
    }
    assert_eq!(origins.len(), series);
    for (name, found) in origins {
        assert!(found.iter().copied().eq(0..minutes), "{name}: {} forecasts of {minutes}", found.len());
    }
}

/// Creates a topic with one partition and a setting.
pub fn create(kafka: &Kafka, topic: &str, setting: &str) {
    let arguments = ["--bootstrap-server", &kafka.servers, "--create", "--topic", topic, "--config", setting];
    kafka.tool("org.apache.kafka.tools.TopicCommand", &arguments);
}

/// Changes a setting of a topic.
pub fn alter(kafka: &Kafka, topic: &str, setting: &str) {
    configure(kafka, "topics", topic, setting);
}

/// Limits the bytes per second that a client may produce.
pub fn set_quota(kafka: &Kafka, client: &str, bytes: u32) {
    configure(kafka, "clients", client, &format!("producer_byte_rate={bytes}"));
}

fn configure(kafka: &Kafka, kind: &str, name: &str, setting: &str) {
    let servers = &kafka.servers;
    let entity = ["--entity-type", kind, "--entity-name", name];
    let arguments = [&["--bootstrap-server", servers, "--alter", "--add-config", setting][..], &entity].concat();
    kafka.tool("kafka.admin.ConfigCommand", &arguments);
}
