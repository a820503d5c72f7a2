//! The replicas of the daemon: starts them, checks them, and restarts them when they end.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use foretide::env::{Clock, SystemClock};

use crate::harness::{guarded::GuardedProcess, http_get, last_lines, stable_port};

/// Session timeout of the consumer group.
pub const SESSION: Duration = Duration::from_secs(3);
/// Steps of the forecasts.
pub const HORIZON: usize = 6;
/// Steps per season.
pub const SEASON: usize = 60;
/// Units of the network.
pub const HIDDEN: usize = 16;

/// Lines of each log that are printed after a failure.
const LAST_LINES: usize = 30;

/// All replicas that should run.
pub struct Fleet {
    folder: tempfile::TempDir,
    clock: SystemClock,
    config: String,
    replicas: BTreeMap<String, Replica>,
    /// Processes that have got SIGTERM, and have not ended yet.
    leaving: Vec<GuardedProcess>,
    /// Seconds from the start of each process until it was ready.
    pub restores: Vec<f64>,
    /// Number of processes that ended by themselves.
    pub exits: u32,
}

struct Replica {
    process: GuardedProcess,
    port: u16,
    started: u64,
    ready: bool,
    suspended: bool,
}

impl Fleet {
    pub fn new(app: &str, topic: &str, brokers: &[String]) -> Self {
        let config = format!(
            r#"app = {app:?}
role = "score"
commit_interval = "50ms"
checkpoint_interval = "5s"
checkpoint_records = 0
shards = 1

[kafka]
brokers = {brokers:?}
session_timeout = "{}s"
transaction_timeout = "10s"

[[stream]]
name = "stream"
topics = [{topic:?}]
start = "earliest"
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
            exits: 0,
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
        self.replicas.insert(name.to_owned(), Replica { process, port, started, ready: false, suspended: false });
    }

    /// Names of the replicas that are not suspended, in order.
    pub fn running(&self) -> Vec<String> {
        let running = self.replicas.iter().filter(|(_, replica)| !replica.suspended);
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Kills a replica (SIGKILL).
    pub fn kill(&mut self, name: &str) {
        self.replicas.remove(name);
    }

    /// Suspends a replica.
    pub fn suspend(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.process.suspend();
            replica.suspended = true;
        }
    }

    /// Resumes a replica.
    pub fn resume(&mut self, name: &str) {
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.process.resume();
            replica.suspended = false;
        }
    }

    /// Stops a replica with SIGTERM. Resumes it first, since a suspended process does not handle signals.
    pub fn leave(&mut self, name: &str) {
        self.resume(name);
        if let Some(replica) = self.replicas.remove(name) {
            replica.process.ask_to_stop();
            self.leaving.push(replica.process);
        }
    }

    /// Whether all stopped replicas have ended.
    pub fn all_left(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Stops all replicas and waits for their end. Returns the names of those that ended otherwise than with success.
    pub fn leave_all(&mut self) -> Vec<String> {
        self.replicas.values().for_each(|replica| replica.process.ask_to_stop());
        let mut failed = Vec::new();
        for (name, mut replica) in std::mem::take(&mut self.replicas) {
            if let Some(end) = replica.process.failure(Duration::from_secs(60)) {
                println!("{name} ended with {end} after SIGTERM: {}", self.last_log_line(&name));
                failed.push(name);
            }
        }
        failed
    }

    /// Records which replicas have become ready. Restarts those that have ended by themselves, as a supervisor does.
    pub fn check(&mut self) {
        self.leaving.retain_mut(GuardedProcess::runs);
        let mut ended = Vec::new();
        for (name, replica) in self.replicas.iter_mut().filter(|(_, replica)| !replica.suspended) {
            if !replica.process.runs() {
                ended.push(name.clone());
            } else if !replica.ready && http_get(replica.port, "/readyz").is_some_and(|(status, _)| status == 200) {
                replica.ready = true;
                self.restores.push((self.clock.monotonic_micros() - replica.started) as f64 / 1e6);
            }
        }
        for name in ended {
            self.exits += 1;
            println!("{name} has ended by itself: {}", self.last_log_line(&name));
            self.start(&name);
        }
    }

    /// Whether each replica has been ready since its start.
    pub fn all_ready(&self) -> bool {
        self.replicas.values().all(|replica| replica.ready)
    }

    /// The last line of the log of a replica.
    fn last_log_line(&self, name: &str) -> String {
        last_lines(&self.folder.path().join(format!("{name}.log")), 1)
    }

    /// Number of occurrences of `text` in the logs of all replicas.
    pub fn count_in_logs(&self, text: &str) -> usize {
        let read = self.logs().map(|log| std::fs::read_to_string(log).unwrap_or_default());
        read.map(|log| log.matches(text).count()).sum()
    }

    fn logs(&self) -> impl Iterator<Item = PathBuf> {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder is there").flatten();
        files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "log"))
    }

    /// The response of `/readyz` of each replica.
    pub fn health(&self) -> BTreeMap<&str, String> {
        let response = |replica: &Replica| match http_get(replica.port, "/readyz") {
            Some((status, body)) => format!("{status} {}", body.trim()),
            None => "no response".to_owned(),
        };
        self.replicas.iter().map(|(name, replica)| (name.as_str(), response(replica))).collect()
    }

    /// The last lines of each log.
    pub fn ends_of_logs(&self) -> String {
        self.logs().map(|log| format!("{}:\n{}\n", log.display(), last_lines(&log, LAST_LINES))).collect()
    }

    /// Keeps the folder with all logs, and returns its path.
    pub fn keep_logs(self) -> PathBuf {
        self.folder.keep()
    }
}
