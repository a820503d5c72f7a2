//! One real Apache Kafka (KRaft, a single node), started on first use and shared by all tests of a test binary.

use std::{
    cell::Cell,
    fs::File,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use foretide::{
    broker::{
        Broker, TopicSpec,
        kafka::{KafkaBroker, KafkaOptions},
    },
    env::{Clock, SystemClock},
};

use super::{free_port, proxy::Proxy, unique};

/// The cluster under test.
pub struct Kafka {
    /// `host:port`.
    pub servers: String,
    /// Folder of the jars of Kafka.
    pub jars: PathBuf,
    /// Keeps the pipe of the watchdog open. Nobody waits for the watchdog, since it ends with the tests.
    watchdog: Option<Child>,
}

/// The cluster, started on first use. Panics with what to install where Kafka is missing.
pub fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| match std::env::var("FORETIDE_TEST_BROKERS") {
        Ok(servers) if !servers.is_empty() => Kafka { servers, jars: jars(), watchdog: None },
        _ => Kafka::start(&|folder, port, controller| properties(folder, port, controller), &[]),
    })
}

/// Runs `scripts/kafka-jars`, which downloads missing jars.
pub fn jars() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka-jars");
    let output = Command::new(&script).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "these tests need Apache Kafka: install Java 17 or newer and Maven so that {} works, or name a running cluster \
         in FORETIDE_TEST_BROKERS",
        script.display()
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

impl Kafka {
    /// A cluster that is already running.
    pub fn at(servers: &str, jars: &Path) -> Self {
        Self { servers: servers.to_owned(), jars: jars.to_owned(), watchdog: None }
    }

    /// Starts a cluster. `properties` makes its properties from its folder, its port and the port of its controller;
    /// `format` are further arguments of the tool that formats its storage.
    pub fn start(properties: &dyn Fn(&Path, u16, u16) -> String, format: &[&str]) -> Self {
        let jars = jars();
        let clock = SystemClock::new();
        for attempt in 1..=3 {
            let folder =
                tempfile::Builder::new().prefix("foretide-kafka-").tempdir().expect("a temporary folder").keep();
            let (port, controller) = (free_port(), free_port());
            std::fs::write(folder.join("server.properties"), properties(&folder, port, controller)).expect("written");
            let watchdog = launch(&jars, &folder, format);
            let servers = format!("127.0.0.1:{port}");
            if let Some(watchdog) = ready(watchdog, port, &servers) {
                println!("Kafka on {servers} after {} ms", clock.monotonic_micros() / 1000);
                return Self { servers, jars, watchdog: Some(watchdog) };
            }
            let log = std::fs::read_to_string(folder.join("kafka.log")).unwrap_or_default();
            println!("Kafka did not start (attempt {attempt}):\n{log}");
        }
        panic!("Kafka did not start; its log is above");
    }

    /// A cluster that [`Kafka::servers`] reaches directly, and whoever connects to the proxy's port only through the
    /// proxy.
    pub fn behind_a_proxy() -> (Self, Proxy) {
        let proxy = Cell::new(None);
        let kafka = Self::start(
            &|folder, port, controller| {
                let inside = free_port();
                let outside = Proxy::start(inside);
                let text = proxied_properties(folder, [port, controller, inside, outside.port]);
                proxy.set(Some(outside));
                text
            },
            &[],
        );
        (kafka, proxy.take().expect("the cluster has started"))
    }

    /// Options of Foretide's client, with short timeouts.
    pub fn options(&self) -> KafkaOptions {
        let mut options = KafkaOptions::new(&self.servers);
        options.session_timeout = Duration::from_secs(3);
        options.request_timeout = Duration::from_secs(20);
        options
    }

    /// Foretide's client.
    pub fn broker(&self) -> KafkaBroker {
        KafkaBroker::new(self.options()).expect("the options are valid")
    }

    /// Creates a topic with a unique name, and returns the name.
    pub fn topic(&self, stem: &str, partitions: i32) -> String {
        let name = unique(stem);
        let plan = TopicSpec {
            name: name.clone(),
            partitions,
            compacted: false,
            log_append_time: false,
            max_record_bytes: 1 << 20,
        };
        self.broker().create(&plan).expect("the topic can be created");
        name
    }

    /// Runs a tool of Kafka, such as `org.apache.kafka.tools.consumer.ConsoleConsumer`, and returns its output. Panics
    /// where it fails.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Vec<u8> {
        let mut java = Command::new("java");
        // The log of the tool would be mixed into its output.
        java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=OFF", "-cp"]);
        let output = java.arg(self.jars.join("*")).arg(class).args(arguments).output().expect("java runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{class} {arguments:?}: {errors}");
        output.stdout
    }
}

/// Formats the storage and runs the broker, under a shell that kills it and removes its files when our end of the
/// standard input closes, as it does at any end of the tests.
fn launch(jars: &Path, folder: &Path, format: &[&str]) -> Child {
    const SCRIPT: &str = r#"
        cd "$2" || exit 1
        jars=$1 folder=$2
        shift 2
        run() { java -XX:+UseSerialGC "$@"; }
        id=$(run -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool random-uuid) || exit 1
        run -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c server.properties "$@" ||
            exit 1
        java -Xmx512m -XX:+UseSerialGC -cp "$jars/*" kafka.Kafka server.properties </dev/null &
        broker=$!
        cat >/dev/null
        kill -9 "$broker"
        cd / && rm -rf "$folder"
    "#;
    let log = File::create(folder.join("kafka.log")).expect("the log can be written");
    let errors = log.try_clone().expect("the log can be written");
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(jars).arg(folder).args(format);
    command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn().expect("sh runs")
}

/// Waits until the broker responds. `None` where it does not.
fn ready(mut watchdog: Child, port: u16, servers: &str) -> Option<Child> {
    let clock = SystemClock::new();
    let mut options = KafkaOptions::new(servers);
    options.request_timeout = Duration::from_secs(5);
    let broker = KafkaBroker::new(options).expect("the options are valid");
    while clock.monotonic_micros() < 60_000_000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() && broker.partitions("any").is_ok() {
            return Some(watchdog);
        }
        if !matches!(watchdog.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// [`properties`] with a second listener on the port `inside`, which tells its clients to connect to `outside`.
fn proxied_properties(folder: &Path, [port, controller, inside, outside]: [u16; 4]) -> String {
    let plain = properties(folder, port, controller);
    let (own, proxied) = (format!("PLAINTEXT://127.0.0.1:{port}"), "PROXIED://127.0.0.1:");
    plain
        .replace(&format!("listeners={own},CONTROLLER"), &format!("listeners={own},{proxied}{inside},CONTROLLER"))
        .replace(&format!("advertised.listeners={own}\n"), &format!("advertised.listeners={own},{proxied}{outside}\n"))
        .replace("protocol.map=", "protocol.map=PROXIED:PLAINTEXT,")
        + "inter.broker.listener.name=PLAINTEXT\n"
}

/// Properties of a broker without authentication.
pub fn properties(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:{controller}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
log.dirs={}
",
        data.display()
    )
}
