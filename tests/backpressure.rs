//! Slow brokers, full queues, a busy trainer, and HTTP clients that do not read: the memory of a real daemon stays
//! within its bounds, the lag grows, and no record is lost or duplicated.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod harness;

use std::{collections::BTreeMap, io::Write, net::TcpStream, time::Duration};

use foretide::env::{Clock, SystemClock};
use harness::{
    client::{Input, committed, consume, produce},
    free_port, http_get,
    kafka::Kafka,
    process::Process,
    unique, wait_for,
};

/// Longest time that a test waits for an event.
const LIMIT: Duration = Duration::from_secs(90);
/// Milliseconds per minute.
const MINUTE: i64 = 60_000;
const MIB: f64 = (1 << 20) as f64;
/// `[limits]` of the daemons under test.
const LIMITS: &str = "[limits]\npoll_records = 500\ntransaction_bytes = \"4MiB\"\nfetch_ahead_bytes = \"4MiB\"\n\
                      reader_ahead_bytes = \"1MiB\"\nsend_ahead_bytes = \"1MiB\"\n";
/// Memory of one shard with these limits, in bytes: records that are fetched ahead with one response on top, the reader
/// of the weights, the input and the forecasts of a transaction, and the output that waits for the broker.
const QUEUES: f64 = (4.0 + 1.0 + 1.0 + 4.0 + 4.0 + 1.0) * MIB;
/// Memory that allocators and clients may use in addition, in bytes.
const SLACK: f64 = 40.0 * MIB;

/// A daemon with one stream called `stream`.
struct Daemon {
    process: Process,
    port: u16,
    app: String,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(broker: &str, topic: &str, role: &str, http: &str, training: &str) -> Self {
        let (folder, port, app) = (tempfile::tempdir().unwrap(), free_port(), unique("backpressure"));
        let config = format!(
            "app = {app:?}\ninstance = \"one\"\nrole = {role:?}\nshards = 1\ncheckpoint_interval = \"5s\"\n\
             [kafka]\nbrokers = [{broker:?}]\ntransaction_timeout = \"10s\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n{http}\n{LIMITS}\
             [[stream]]\nname = \"stream\"\ntopics = [{topic:?}]\nstart = \"earliest\"\n\
             values = [\"value\"]\ninterval = \"1m\"\n\
             readings_per_slot = 1\nseason = \"none\"\nhorizon = 4\nmodel = {{ hidden = 8 }}\n\
             time = {{ field = \"time\", format = \"milliseconds\" }}\ntraining = {{ {training} }}\n"
        );
        let path = folder.path().join("foretide.toml");
        std::fs::write(&path, config).unwrap();
        let process = Process::foretide(folder.path(), "daemon", ["run", "--config", path.to_str().unwrap()]);
        let mut daemon = Self { process, port, app, _folder: folder };
        wait_for("the daemon to be ready", LIMIT, || {
            assert!(daemon.process.runs(), "the daemon has ended:\n{}", daemon.process.log());
            http_get(port, "/readyz").filter(|(status, _)| *status == 200)
        });
        daemon
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> Option<f64> {
        harness::metric(self.port, name)
    }

    fn lag(&self) -> f64 {
        self.metric("foretide_consumer_lag_records").unwrap_or(0.0)
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> f64 {
        self.metric("process_resident_memory_bytes").unwrap()
    }

    /// Peak of the resident memory during `time`, in bytes.
    fn peak_memory(&self, time: Duration) -> f64 {
        let clock = SystemClock::new();
        let mut most: f64 = 0.0;
        while Duration::from_micros(clock.monotonic_micros()) < time {
            most = most.max(self.memory());
            std::thread::sleep(Duration::from_millis(100));
        }
        most
    }

    fn wait_until_committed(&mut self, kafka: &Kafka, topic: &str, partitions: i32, records: i64) {
        wait_for(&format!("{records} records of {topic} to be committed"), LIMIT, || {
            assert!(self.process.runs(), "the daemon has ended:\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(200));
            (committed(kafka, &self.app, topic, partitions) == records).then_some(())
        });
    }
}

/// One reading per series and minute, each padded with `bytes` bytes.
fn readings(partitions: i32, series: i64, minutes: std::ops::Range<i64>, bytes: usize) -> impl Iterator<Item = Input> {
    let padding = "x".repeat(bytes);
    minutes.flat_map(move |minute| (0..series).map(move |number| (minute, number))).map(move |(minute, number)| {
        let (time, value) = (1_700_000_040_000 + minute * MINUTE, (minute + number) % 7);
        let text = format!("{{\"time\":{time},\"value\":{value},\"padding\":\"{padding}\"}}");
        Input::new(format!("s{number}"), text).at(i32::try_from(number).unwrap() % partitions)
    })
}

/// Asserts that each minute of each series is forecast exactly once and in order.
fn assert_forecast_once(kafka: &Kafka, app: &str, series: usize, minutes: i64) {
    let mut origins: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in consume(kafka, &format!("{app}.stream.forecasts"), Duration::from_secs(3)) {
        let forecast: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
        let minute = (forecast["origin"].as_i64().unwrap() - 1_700_000_040_000) / MINUTE;
        origins.entry(forecast["series"].as_str().unwrap().to_owned()).or_default().push(minute);
    }
    assert_eq!(origins.len(), series);
    for (name, found) in origins {
        assert!(found.iter().copied().eq(0..minutes), "{name}: {} forecasts of {minutes}", found.len());
    }
}

/// A broker that is too slow for the input, then one that stops in the middle of a transaction, then one that recovers.
#[test]
fn a_slow_or_paused_broker_increases_the_lag_and_not_the_memory() {
    let (kafka, proxy) = Kafka::behind_a_proxy();
    let (partitions, series) = (4, 40);
    let topic = kafka.topic("slow", partitions);
    let behind = format!("127.0.0.1:{}", proxy.port);
    let mut daemon = Daemon::start(&behind, &topic, "score", "", "enabled = false");
    produce(&kafka, &topic, readings(partitions, series, 0..10, 0));
    daemon.wait_until_committed(&kafka, &topic, partitions, 10 * series);
    let (before, bound) = (daemon.memory(), QUEUES + SLACK);

    proxy.slow(200_000);
    produce(&kafka, &topic, readings(partitions, series, 10..200, 12_000));
    let first = wait_for("the lag to be reported", LIMIT, || Some(daemon.lag()).filter(|lag| *lag > 3_000.0));
    produce(&kafka, &topic, readings(partitions, series, 200..400, 12_000));
    let most = daemon.peak_memory(Duration::from_secs(8)) - before;
    let second = wait_for("the lag to grow", LIMIT, || Some(daemon.lag()).filter(|lag| *lag > first + 3_000.0));
    println!("slow: lag {first}, then {second}; at most {:.1} MiB more, by {:.1} MiB", most / MIB, bound / MIB);
    assert!(most < bound, "{most} bytes");

    // Slow enough that a backlog is left when the broker stops.
    proxy.slow(4_000_000);
    let caught_up = 3_000.max(committed(&kafka, &daemon.app, &topic, partitions) + 500);
    wait_for("the backlog to shrink", LIMIT, || {
        (committed(&kafka, &daemon.app, &topic, partitions) > caught_up).then_some(())
    });
    proxy.pause(true);
    // Before the session times out: then the daemon would have no partitions, and no lag.
    std::thread::sleep(Duration::from_secs(1));
    let paused_lag = daemon.lag();
    let most = daemon.peak_memory(Duration::from_secs(7)) - before;
    println!("paused: lag {paused_lag}; at most {:.1} MiB more", most / MIB);
    assert!(most < bound && paused_lag > 0.0, "{most} bytes, a lag of {paused_lag}");
    assert_eq!(http_get(daemon.port, "/livez").unwrap().0, 200);

    proxy.slow(0);
    proxy.pause(false);
    daemon.wait_until_committed(&kafka, &topic, partitions, 400 * series);
    // The allocator returns freed memory after a while.
    wait_for("the memory to shrink", Duration::from_secs(20), || {
        let more = daemon.memory() - before;
        println!("done: {:.1} MiB more", more / MIB);
        (more < bound).then_some(())
    });
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    assert_forecast_once(&kafka, &daemon.app, 40, 400);
}

/// A trainer with a small share of a core and more series than its limit, and HTTP clients that never read.
#[test]
fn a_slow_trainer_and_clients_that_do_not_read_block_nothing() {
    let kafka = harness::kafka::kafka();
    let (series, topic) = (200, kafka.topic("busy", 1));
    produce(kafka, &topic, readings(1, series, 0..100, 0));
    let training = "every = \"1s\", min_steps = 50, max_series = 50, cpu_share = 0.05, epochs = 100";
    let mut daemon = Daemon::start(&kafka.servers, &topic, "all", "connections = 8", training);
    daemon.wait_until_committed(kafka, &topic, 1, 100 * series);
    let excluded = wait_for("training to exclude series", LIMIT, || {
        daemon.metric("foretide_training_left_out_observations_total").filter(|count| *count > 0.0)
    });
    // From their fiftieth step on there are too many that could be trained on: then three quarters are excluded.
    assert!(excluded >= f64::from(140 * 50_u16), "observations of excluded series: {excluded}");
    wait_for("training to start", LIMIT, || {
        daemon.metric("foretide_training_steps_total").filter(|steps| *steps > 0.0)
    });

    let before = daemon.memory();
    let ask = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2_000);
    let clients: Vec<TcpStream> = (0..40)
        .filter_map(|_| {
            let mut client = TcpStream::connect(("127.0.0.1", daemon.port)).ok()?;
            client.set_nonblocking(true).unwrap();
            // The server accepts a part of the requests, or none where it refuses the connection.
            let _written = client.write(ask.as_bytes());
            Some(client)
        })
        .collect();
    produce(kafka, &topic, readings(1, series, 100..150, 0));
    daemon.wait_until_committed(kafka, &topic, 1, 150 * series);
    let refused = wait_for("the clients to be refused", LIMIT, || {
        daemon.metric("foretide_http_refused_total").filter(|count| *count >= 32.0)
    });
    let more = daemon.memory() - before;
    println!("{} clients, {refused} refused, {:.1} MiB more, {excluded} excluded", clients.len(), more / MIB);
    assert!(more < QUEUES + SLACK, "{more} bytes");
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    assert_forecast_once(kafka, &daemon.app, 200, 150);
}
