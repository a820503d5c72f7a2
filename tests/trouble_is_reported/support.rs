//! A replica under test, and a broker that can be away.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use crate::harness::{
    free_port,
    guarded::GuardedProcess,
    http_get,
    kafka::{Kafka, jars, properties},
    process::Process,
    stable_port, wait_for,
};

/// A replica, with its configuration.
pub struct Replica {
    pub process: Process,
    pub port: u16,
    config: String,
}

impl Replica {
    /// Starts a replica of `app` called `name` in `folder`.
    pub fn start(folder: &Path, name: &str, app: &str, servers: &str, streams: &str) -> Self {
        Self::start_with(folder, name, app, servers, streams, &[])
    }

    /// [`Self::start`] with further environment variables.
    pub fn start_with(
        folder: &Path,
        name: &str,
        app: &str,
        servers: &str,
        streams: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let port = free_port();
        let text = format!(
            "app = {app:?}\ninstance = {name:?}\nrole = \"score\"\nshards = 1\ncommit_interval = \"50ms\"\n\
             checkpoint_interval = \"0s\"\n[kafka]\nbrokers = [{servers:?}]\nsession_timeout = \"6s\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n{streams}"
        );
        let config = folder.join(format!("{name}.toml")).to_str().unwrap().to_owned();
        std::fs::write(&config, text).unwrap();
        let process = Process::foretide_with(folder, name, ["run", "--config", &config], environment);
        Self { process, port, config }
    }

    /// Waits until `/readyz` answers with this status; its body.
    pub fn wait_for_status(&mut self, status: u16, limit: Duration) -> String {
        wait_for(&format!("/readyz to answer {status}"), limit, || {
            assert!(self.process.runs(), "it has ended:\n{}", self.process.log());
            http_get(self.port, "/readyz").filter(|(found, _)| *found == status)
        })
        .1
    }

    /// What `check --connect` says with its configuration.
    pub fn check(&self, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretide"));
        command.args(["check", "--connect", "--config", &self.config]).envs(environment.iter().copied());
        command.output().unwrap()
    }

    /// The lines of its log that contain `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.process.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// The line of `/metrics` that begins with `start`.
    pub fn metric(&self, start: &str) -> Option<String> {
        let (_, text) = http_get(self.port, "/metrics").expect("metrics");
        text.lines().find(|line| line.starts_with(start)).map(str::to_owned)
    }
}

/// A stream of a reading each minute.
pub fn stream(name: &str, topic: &str, extra: &str) -> String {
    format!(
        "[[stream]]\nname = {name:?}\ntopics = [{topic:?}]\nvalues = [\"v\"]\nreadings_per_slot = 1\n\
         time = {{ field = \"at\", format = \"milliseconds\" }}\nmodel = {{ hidden = 16 }}\nseason = \"none\"\n\
         training = {{ enabled = false }}\n{extra}\n"
    )
}

/// One Kafka whose broker can be killed and started again.
pub struct Broker {
    pub kafka: Kafka,
    folder: tempfile::TempDir,
    process: Option<GuardedProcess>,
}

impl Broker {
    /// Formats a storage and starts the broker.
    pub fn start() -> Self {
        let jars = jars();
        let folder = tempfile::Builder::new().prefix("foretide-broker-").tempdir().unwrap();
        let (port, controller) = (stable_port(), stable_port());
        std::fs::write(folder.path().join("server.properties"), properties(folder.path(), port, controller)).unwrap();
        let tool = |arguments: &[&str]| {
            let mut java = Command::new("java");
            java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=OFF", "-cp"]);
            java.arg(jars.join("*")).arg("kafka.tools.StorageTool").args(arguments).current_dir(folder.path());
            let output = java.output().expect("java runs");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let id = tool(&["random-uuid"]);
        tool(&["format", "-t", id.trim(), "-c", "server.properties"]);
        let mut broker = Self { kafka: Kafka::at(&format!("127.0.0.1:{port}"), &jars), folder, process: None };
        broker.come_back();
        broker
    }

    /// Starts the broker, and waits until it answers.
    pub fn come_back(&mut self) {
        let classes = self.kafka.jars.join("*").display().to_string();
        let java = ["java", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &classes];
        let command: Vec<&str> = java.into_iter().chain(["kafka.Kafka", "server.properties"]).collect();
        let log = self.folder.path().join("kafka.log");
        self.process = Some(GuardedProcess::start(self.folder.path(), &log, &command));
        let broker = self.kafka.broker();
        wait_for("the broker", Duration::from_secs(180), || foretide::broker::Broker::partitions(&broker, "any").ok());
    }

    /// Kills the broker (SIGKILL).
    pub fn go_away(&mut self) {
        self.process = None;
    }
}
