//! Three brokers of Apache Kafka (KRaft, each also a controller), each with a proxy for its clients.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use super::{guarded::GuardedProcess, kafka::jars, last_lines, proxy::Proxy, stable_port, wait_for};

/// Number of brokers.
pub const BROKERS: usize = 3;

/// The cluster. Dropping it ends its processes.
pub struct Cluster {
    /// Addresses without a proxy, whose connections are never cut: `host:port`, separated by commas.
    pub servers: String,
    /// Folder of the jars of Kafka.
    pub jars: PathBuf,
    brokers: Vec<Node>,
    folder: tempfile::TempDir,
}

struct Node {
    proxy: Proxy,
    process: Option<GuardedProcess>,
}

/// Ports of a broker.
#[derive(Clone, Copy)]
struct Ports {
    direct: u16,
    controller: u16,
    proxied: u16,
}

impl Cluster {
    /// Starts all brokers and waits until they know each other.
    pub fn start() -> Self {
        let jars = jars();
        let folder = tempfile::Builder::new().prefix("foretide-cluster-").tempdir().expect("a temporary folder");
        let ports: Vec<Ports> = (0..BROKERS)
            .map(|_| Ports { direct: stable_port(), controller: stable_port(), proxied: stable_port() })
            .collect();
        let voters: Vec<String> =
            ports.iter().zip(1..).map(|(ports, id)| format!("{id}@127.0.0.1:{}", ports.controller)).collect();
        let brokers: Vec<Node> =
            ports.iter().map(|ports| Node { proxy: Proxy::start(ports.proxied), process: None }).collect();
        let id = tool(&jars, folder.path(), &["random-uuid"]);
        for (number, (ports, node)) in ports.iter().zip(&brokers).enumerate() {
            let home = folder.path().join(number.to_string());
            std::fs::create_dir(&home).expect("a folder for each broker");
            let text = properties(&home, number, *ports, node.proxy.port, &voters.join(","));
            std::fs::write(home.join("server.properties"), text).expect("written");
            tool(&jars, &home, &["format", "-t", id.trim(), "-c", "server.properties"]);
        }
        let servers: Vec<String> = ports.iter().map(|ports| format!("127.0.0.1:{}", ports.direct)).collect();
        let mut cluster = Self { servers: servers.join(","), jars, brokers, folder };
        (0..BROKERS).for_each(|number| cluster.start_broker(number));
        wait_for("three brokers", Duration::from_secs(240), || (cluster.broker_count()? == BROKERS).then_some(()));
        cluster
    }

    /// Addresses of the proxies, whose connections are cut and paused.
    pub fn proxied(&self) -> Vec<String> {
        self.brokers.iter().map(|node| format!("127.0.0.1:{}", node.proxy.port)).collect()
    }

    /// Starts a broker that is not running.
    pub fn start_broker(&mut self, number: usize) {
        let home = self.folder.path().join(number.to_string());
        let classes = self.jars.join("*").display().to_string();
        let java = ["java", "-Xmx320m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];
        let command: Vec<&str> =
            java.into_iter().chain(["-cp", &classes, "kafka.Kafka", "server.properties"]).collect();
        self.brokers[number].process = Some(GuardedProcess::start(&home, &home.join("kafka.log"), &command));
    }

    /// The process of a running broker.
    pub fn broker(&mut self, number: usize) -> Option<&mut GuardedProcess> {
        self.brokers[number].process.as_mut()
    }

    /// Kills a broker (SIGKILL).
    pub fn kill_broker(&mut self, number: usize) {
        self.brokers[number].process = None;
    }

    /// The proxy of a broker.
    pub fn proxy(&self, number: usize) -> &Proxy {
        &self.brokers[number].proxy
    }

    /// The last lines of the log of each broker.
    pub fn logs(&self) -> String {
        let tail = |number| {
            let log = self.folder.path().join(format!("{number}/kafka.log"));
            format!("broker {number}:\n{}\n", last_lines(&log, 20))
        };
        (0..BROKERS).map(tail).collect()
    }

    /// Stops the brokers and keeps their data; returns its folder.
    pub fn keep(mut self) -> PathBuf {
        self.brokers.iter_mut().for_each(|node| node.process = None);
        self.folder.keep()
    }

    fn metadata(&self) -> Option<rdkafka::metadata::Metadata> {
        let asker: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.servers).create().ok()?;
        asker.fetch_metadata(None, Duration::from_secs(3)).ok()
    }

    fn broker_count(&self) -> Option<usize> {
        Some(self.metadata()?.brokers().len())
    }

    /// Whether all replicas of all partitions are in sync, so that the cluster survives the loss of one broker.
    pub fn is_in_sync(&self) -> bool {
        self.metadata().is_some_and(|metadata| {
            metadata.brokers().len() == BROKERS
                && metadata
                    .topics()
                    .iter()
                    .flat_map(|topic| topic.partitions())
                    .all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
        })
    }
}

/// Runs the storage tool of Kafka and returns its output.
fn tool(jars: &Path, folder: &Path, arguments: &[&str]) -> String {
    let mut java = Command::new("java");
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=OFF", "-cp"]);
    let java = java.arg(jars.join("*")).arg("kafka.tools.StorageTool").args(arguments).current_dir(folder);
    let output = java.output().expect("java runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn properties(home: &Path, number: usize, ports: Ports, proxy: u16, voters: &str) -> String {
    let Ports { direct, controller, proxied } = ports;
    format!(
        "process.roles=broker,controller
node.id={id}
listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxy}
inter.broker.listener.name=DIRECT
controller.listener.names=CONTROLLER
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters={voters}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
offsets.topic.replication.factor=3
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=10000
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
log.dirs={data}
",
        id = number + 1,
        data = home.join("data").display()
    )
}
