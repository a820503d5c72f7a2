//! Slow brokers, full queues, a trainer that is busy and callers who do not read: the memory of a real daemon stays
//! within its stated bounds, the lag grows, and nothing is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod harness;

use std::{cell::Cell, collections::BTreeMap, io::Write, net::TcpStream, path::Path, time::Duration};

use foretide::env::{Clock, SystemClock};
use harness::{
    client::{Input, committed, consume, produce},
    free_port, http_get,
    kafka::{Kafka, properties},
    process::Process,
    proxy::Proxy,
    unique, wait_for,
};

const LIMIT: Duration = Duration::from_secs(90);
const MINUTE: i64 = 60_000;
const MIB: f64 = (1 << 20) as f64;
/// `[limits]` of these daemons, and what one shard may hold by them: what is fetched ahead with one answer on top, the
/// reader of the weights, the input and the forecasts of an epoch, and what waits to be sent.
const LIMITS: &str = "[limits]\npoll_records = 500\ntransaction_bytes = \"4MiB\"\nfetch_ahead_bytes = \"4MiB\"\n\
                      reader_ahead_bytes = \"1MiB\"\nsend_ahead_bytes = \"1MiB\"\n";
const STATED: f64 = (4.0 + 1.0 + 1.0 + 4.0 + 4.0 + 1.0) * MIB;
/// What allocators and clients may take beside what is counted.
const SLACK: f64 = 40.0 * MIB;

/// A broker that is reached directly, and behind a proxy by whom knows only that.
fn broker_behind_a_proxy() -> (Kafka, Proxy) {
    let proxy = Cell::new(None);
    let kafka = Kafka::start(
        &|folder, port, controller| {
            let inside = free_port();
            let outside = Proxy::start(inside);
            let text = listeners(folder, [port, controller, inside, outside.port]);
            proxy.set(Some(outside));
            text
        },
        &[],
    );
    (kafka, proxy.take().unwrap())
}

fn listeners(folder: &Path, [port, controller, inside, outside]: [u16; 4]) -> String {
    let plain = properties(folder, port, controller);
    let (own, proxied) = (format!("PLAINTEXT://127.0.0.1:{port}"), "PROXIED://127.0.0.1:");
    plain
        .replace(&format!("listeners={own},CONTROLLER"), &format!("listeners={own},{proxied}{inside},CONTROLLER"))
        .replace(&format!("advertised.listeners={own}\n"), &format!("advertised.listeners={own},{proxied}{outside}\n"))
        .replace("protocol.map=", "protocol.map=PROXIED:PLAINTEXT,")
        + "inter.broker.listener.name=PLAINTEXT\n"
}

/// A daemon with one stream, `stream`.
struct Daemon {
    process: Process,
    port: u16,
    app: String,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(broker: &str, topic: &str, role: &str, http: &str, training: &str) -> Self {
        let (folder, port, app) = (tempfile::tempdir().unwrap(), free_port(), unique("pressed"));
        let config = format!(
            "app = {app:?}\ninstance = \"one\"\nrole = {role:?}\nshards = 1\ncheckpoint_interval = \"5s\"\n\
             [kafka]\nbrokers = [{broker:?}]\ntransaction_timeout = \"10s\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n{http}\n{LIMITS}\
             [[stream]]\nname = \"stream\"\ntopics = [{topic:?}]\nvalues = [\"value\"]\ninterval = \"1m\"\n\
             readings_per_slot = 1\nseason = \"none\"\nhorizon = 4\nmodel = {{ hidden = 8 }}\n\
             time = {{ field = \"time\", format = \"milliseconds\" }}\ntraining = {{ {training} }}\n"
        );
        let path = folder.path().join("foretide.toml");
        std::fs::write(&path, config).unwrap();
        let process = Process::foretide(folder.path(), "daemon", ["run", "--config", path.to_str().unwrap()]);
        let mut daemon = Self { process, port, app, _folder: folder };
        wait_for("the daemon to be ready", LIMIT, || {
            assert!(daemon.process.runs(), "it has ended:\n{}", daemon.process.log());
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

    /// Its memory now, and the most that it had during `time`.
    fn memory(&self) -> f64 {
        self.metric("process_resident_memory_bytes").unwrap()
    }

    fn most_memory(&self, time: Duration) -> f64 {
        let clock = SystemClock::new();
        let mut most: f64 = 0.0;
        while Duration::from_micros(clock.monotonic_micros()) < time {
            most = most.max(self.memory());
            std::thread::sleep(Duration::from_millis(100));
        }
        most
    }

    fn waits_until_committed(&mut self, kafka: &Kafka, topic: &str, partitions: i32, records: i64) {
        wait_for(&format!("{records} records of {topic} to be committed"), LIMIT, || {
            assert!(self.process.runs(), "it has ended:\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(200));
            (committed(kafka, &self.app, topic, partitions) == records).then_some(())
        });
    }
}

/// Readings of some series in some minutes, each of so many bytes.
fn readings(partitions: i32, series: i64, minutes: std::ops::Range<i64>, bytes: usize) -> impl Iterator<Item = Input> {
    let padding = "x".repeat(bytes);
    minutes.flat_map(move |minute| (0..series).map(move |number| (minute, number))).map(move |(minute, number)| {
        let (time, value) = (1_700_000_040_000 + minute * MINUTE, (minute + number) % 7);
        let text = format!("{{\"time\":{time},\"value\":{value},\"padding\":\"{padding}\"}}");
        Input::new(format!("s{number}"), text).at(i32::try_from(number).unwrap() % partitions)
    })
}

/// Of each series every minute is forecast exactly once and in order.
fn assert_answered_once(kafka: &Kafka, app: &str, series: usize, minutes: i64) {
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

/// A broker that crawls while far more is written than it can serve; then one that stands still in the middle of a
/// transaction; then one that is well again.
#[test]
fn a_slow_broker_and_one_that_stands_still_let_the_lag_grow_and_nothing_else() {
    let (kafka, proxy) = broker_behind_a_proxy();
    let (partitions, series) = (4, 40);
    let topic = kafka.topic("slow", partitions);
    let behind = format!("127.0.0.1:{}", proxy.port);
    let mut daemon = Daemon::start(&behind, &topic, "score", "", "enabled = false");
    produce(&kafka, &topic, readings(partitions, series, 0..10, 0));
    daemon.waits_until_committed(&kafka, &topic, partitions, 10 * series);
    let (before, bound) = (daemon.memory(), STATED + SLACK);

    proxy.slow(200_000);
    produce(&kafka, &topic, readings(partitions, series, 10..200, 12_000));
    let first = wait_for("the lag to be seen", LIMIT, || Some(daemon.lag()).filter(|lag| *lag > 3_000.0));
    produce(&kafka, &topic, readings(partitions, series, 200..400, 12_000));
    let most = daemon.most_memory(Duration::from_secs(8)) - before;
    let second = wait_for("the lag to grow", LIMIT, || Some(daemon.lag()).filter(|lag| *lag > first + 3_000.0));
    println!("slow: lag {first}, then {second}; at most {:.1} MiB more, by {:.1} MiB", most / MIB, bound / MIB);
    assert!(most < bound, "{most} bytes");

    // Not so fast that everything is served before the broker stands still.
    proxy.slow(4_000_000);
    let caught_up = 3_000.max(committed(&kafka, &daemon.app, &topic, partitions) + 500);
    wait_for("the backlog to be worked on", LIMIT, || {
        (committed(&kafka, &daemon.app, &topic, partitions) > caught_up).then_some(())
    });
    proxy.hold(true);
    // Soon enough: one whose session ends meanwhile has no partitions, and no lag.
    std::thread::sleep(Duration::from_secs(1));
    let held = daemon.lag();
    let most = daemon.most_memory(Duration::from_secs(7)) - before;
    println!("still: lag {held}; at most {:.1} MiB more", most / MIB);
    assert!(most < bound && held > 0.0, "{most} bytes, a lag of {held}");
    assert_eq!(http_get(daemon.port, "/livez").unwrap().0, 200);

    proxy.slow(0);
    proxy.hold(false);
    daemon.waits_until_committed(&kafka, &topic, partitions, 400 * series);
    // What was freed a moment ago is given back a little later.
    wait_for("the memory to be as before", Duration::from_secs(20), || {
        let more = daemon.memory() - before;
        println!("done: {:.1} MiB more", more / MIB);
        (more < bound).then_some(())
    });
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    assert_answered_once(&kafka, &daemon.app, 40, 400);
}

/// A trainer with a sliver of a core and more series than it may look at, and callers who ask and never read.
#[test]
fn a_slow_trainer_and_callers_who_do_not_read_hold_nothing_up() {
    let kafka = harness::kafka::kafka();
    let (series, topic) = (200, kafka.topic("busy", 1));
    produce(kafka, &topic, readings(1, series, 0..100, 0));
    let training = "every = \"1s\", min_steps = 50, max_series = 50, cpu_share = 0.05, epochs = 100";
    let mut daemon = Daemon::start(&kafka.servers, &topic, "all", "connections = 8", training);
    daemon.waits_until_committed(kafka, &topic, 1, 100 * series);
    let left_out = wait_for("training to leave series out", LIMIT, || {
        daemon.metric("foretide_training_left_out_observations_total").filter(|count| *count > 0.0)
    });
    assert!(left_out >= f64::from(100 * 100_u16), "three quarters of the series are not looked at: {left_out}");
    wait_for("training to be on its way", LIMIT, || {
        daemon.metric("foretide_training_steps_total").filter(|steps| *steps > 0.0)
    });

    let before = daemon.memory();
    let ask = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2_000);
    let callers: Vec<TcpStream> = (0..40)
        .filter_map(|_| {
            let mut caller = TcpStream::connect(("127.0.0.1", daemon.port)).ok()?;
            caller.set_nonblocking(true).unwrap();
            // As much as the other side takes, and those that are refused take nothing.
            let _written = caller.write(ask.as_bytes());
            Some(caller)
        })
        .collect();
    produce(kafka, &topic, readings(1, series, 100..150, 0));
    daemon.waits_until_committed(kafka, &topic, 1, 150 * series);
    let refused = wait_for("the callers to be given up", LIMIT, || {
        daemon.metric("foretide_http_refused_total").filter(|count| *count >= 32.0)
    });
    let more = daemon.memory() - before;
    println!("{} callers, {refused} refused, {:.1} MiB more, {left_out} left out", callers.len(), more / MIB);
    assert!(more < STATED + SLACK, "{more} bytes");
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    assert_answered_once(kafka, &daemon.app, 200, 150);
}
