//! The daemon's replicas: started, watched, and started again when they end.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use foretide::env::{Clock, SystemClock};

use crate::harness::{guarded::GuardedProcess, http_get, last_lines, stable_port};

/// How long the group waits for a silent replica.
pub const SESSION: Duration = Duration::from_secs(3);
/// Steps ahead.
pub const HORIZON: usize = 6;
/// Steps in a season.
pub const SEASON: usize = 60;
/// Units of the network.
pub const HIDDEN: usize = 16;

/// So much of a log is shown where something went wrong.
const LAST_LINES: usize = 30;

/// Every replica that is meant to run.
pub struct Fleet {
    folder: tempfile::TempDir,
    clock: SystemClock,
    config: String,
    replicas: BTreeMap<String, Replica>,
    /// Asked to stop, and not gone yet.
    leaving: Vec<GuardedProcess>,
    /// Seconds from the start of a process until it had its partitions and served them.
    pub restores: Vec<f64>,
    /// Processes that ended without having been asked to.
    pub gave_up: u32,
}

struct Replica {
    process: GuardedProcess,
    port: u16,
    started: u64,
    ready: bool,
    asleep: bool,
}

impl Fleet {
    pub fn new(app: &str, topic: &str, brokers: &[String]) -> Self {
        let config = format!(
            r#"app = {app:?}
role = "score"
commit_interval = "50ms"
checkpoint_interval = "5s"
shards = 1

[kafka]
brokers = {brokers:?}
session_timeout = "{}s"
transaction_timeout = "10s"

[[stream]]
name = "stream"
topics = [{topic:?}]
key = "record"
values = ["value"]
interval = "1m"
readings_per_slot = 1
season = "{SEASON}m"
horizon = {HORIZON}
time = {{ field = "time", format = "milliseconds" }}
model = {{ hidden = {HIDDEN} }}
training = {{ enabled = false }}
"#,
            SESSION.as_secs()
        );
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            clock: SystemClock::new(),
            config,
            replicas: BTreeMap::new(),
            leaving: Vec::new(),
            restores: Vec::new(),
            gave_up: 0,
        }
    }

    /// Starts a replica.
    pub fn start(&mut self, name: &str) {
        let port = stable_port();
        let path = self.folder.path().join(format!("{name}.toml"));
        let text = format!("instance = {name:?}\n{}\n[http]\nlisten = \"127.0.0.1:{port}\"\n", self.config);
        std::fs::write(&path, text).expect("the configuration can be written");
        let command = [env!("CARGO_BIN_EXE_foretide"), "run", "--config", path.to_str().expect("a path of text")];
        let process =
            GuardedProcess::start(self.folder.path(), &self.folder.path().join(format!("{name}.log")), &command);
        let started = self.clock.monotonic_micros();
        self.replicas.insert(name.to_owned(), Replica { process, port, started, ready: false, asleep: false });
    }

    /// Those that are awake, in the order of their names.
    pub fn awake(&self) -> Vec<String> {
        let awake = self.replicas.iter().filter(|(_, replica)| !replica.asleep);
        awake.map(|(name, _)| name.clone()).collect()
    }

    /// Kills a replica outright.
    pub fn kill(&mut self, name: &str) {
        self.replicas.remove(name);
    }

    /// Puts a replica to sleep.
    pub fn sleep(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.process.sleep();
            replica.asleep = true;
        }
    }

    /// Wakes a replica.
    pub fn wake(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.process.wake();
            replica.asleep = false;
        }
    }

    /// Lets a replica leave in good order. One that sleeps is woken, since it does not hear that it is to stop.
    pub fn leave(&mut self, name: &str) {
        self.wake(name);
        if let Some(replica) = self.replicas.remove(name) {
            replica.process.ask_to_stop();
            self.leaving.push(replica.process);
        }
    }

    /// Whether those that were to leave have left.
    pub fn all_left(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Lets all leave, and waits for it. True where each ended with success.
    pub fn leave_all(&mut self) -> bool {
        self.replicas.values().for_each(|replica| replica.process.ask_to_stop());
        std::mem::take(&mut self.replicas)
            .into_values()
            .all(|mut replica| replica.process.ended_well(Duration::from_secs(60)))
    }

    /// Notes who has become ready, and starts those again that have ended by themselves, as whoever runs daemons does.
    pub fn look(&mut self) {
        self.leaving.retain_mut(GuardedProcess::runs);
        let mut ended = Vec::new();
        for (name, replica) in self.replicas.iter_mut().filter(|(_, replica)| !replica.asleep) {
            if !replica.process.runs() {
                ended.push(name.clone());
            } else if !replica.ready && http_get(replica.port, "/readyz").is_some_and(|(status, _)| status == 200) {
                replica.ready = true;
                self.restores.push((self.clock.monotonic_micros() - replica.started) as f64 / 1e6);
            }
        }
        for name in ended {
            self.gave_up += 1;
            println!("{name} has ended by itself: {}", self.last_words(&name));
            self.start(&name);
        }
    }

    /// Whether every replica has been ready since its start.
    pub fn all_ready(&self) -> bool {
        self.replicas.values().all(|replica| replica.ready)
    }

    /// What a replica printed last.
    fn last_words(&self, name: &str) -> String {
        last_lines(&self.folder.path().join(format!("{name}.log")), 1)
    }

    /// How often `text` stands in what the replicas have printed.
    pub fn said(&self, text: &str) -> usize {
        let read = self.logs().map(|log| std::fs::read_to_string(log).unwrap_or_default());
        read.map(|log| log.matches(text).count()).sum()
    }

    fn logs(&self) -> impl Iterator<Item = PathBuf> {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder is there").flatten();
        files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "log"))
    }

    /// What each replica says of its health.
    pub fn health(&self) -> BTreeMap<&str, String> {
        let said = |replica: &Replica| match http_get(replica.port, "/readyz") {
            Some((status, body)) => format!("{status} {}", body.trim()),
            None => "no answer".to_owned(),
        };
        self.replicas.iter().map(|(name, replica)| (name.as_str(), said(replica))).collect()
    }

    /// The last lines of every log.
    pub fn ends_of_logs(&self) -> String {
        self.logs().map(|log| format!("{}:\n{}\n", log.display(), last_lines(&log, LAST_LINES))).collect()
    }

    /// Keeps the folder with all logs, and tells where it is.
    pub fn keep_logs(self) -> PathBuf {
        self.folder.keep()
    }
}
