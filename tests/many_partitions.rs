//! One daemon on an input topic with many partitions: it starts, serves, is killed, and continues exactly once, with
//! few threads and files. `FORETIDE_TEST_PARTITIONS=1000` tests a thousand partitions.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod harness;

use std::{collections::BTreeMap, time::Duration};

use foretide::env::{Clock, SystemClock};
use harness::{
    client::{Input, committed, consume, produce},
    free_port, http_get,
    kafka::kafka,
    process::Process,
    unique, wait_for,
};

/// Longest time that a test waits for an event.
const LIMIT: Duration = Duration::from_secs(300);
/// Event time of the first reading, in milliseconds since 1970.
const START: i64 = 1_700_000_040_000;
/// Most threads of a daemon on a machine with few cores: runtime, shard, lag monitor, trainer, and Kafka clients.
const MOST_THREADS: f64 = 100.0;
/// Most open files of a daemon, sockets included.
const MOST_FILES: f64 = 200.0;

fn partitions() -> i32 {
    std::env::var("FORETIDE_TEST_PARTITIONS").map_or(200, |number| number.parse().unwrap())
}

fn feed(topic: &str, minutes: std::ops::Range<i64>) {
    let partitions = partitions();
    let reading = |minute: i64, partition: i32| {
        let text = format!("{{\"time\":{},\"value\":{}}}", START + minute * 60_000, minute % 7);
        Input::new(format!("s{partition}"), text).at(partition)
    };
    produce(
        kafka(),
        topic,
        minutes.flat_map(|minute| (0..partitions).map(move |partition| reading(minute, partition))),
    );
}

fn metric(port: u16, name: &str) -> f64 {
    harness::metric(port, name).unwrap()
}

#[test]
fn many_partitions_are_served_and_restored_exactly_once() {
    let (topic, app) = (kafka().topic("many", partitions()), unique("many"));
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "app = {app:?}\ninstance = \"one\"\nrole = \"score\"\nshards = 1\ncheckpoint_interval = \"2s\"\n\
         checkpoint_records = 0\n\
         [kafka]\nbrokers = [{:?}]\nsession_timeout = \"6s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [log]\nlevel = \"warn\"\n\
         [[stream]]\nname = \"stream\"\ntopics = [{topic:?}]\nstart = \"earliest\"\n\
         values = [\"value\"]\ninterval = \"1m\"\n\
         readings_per_slot = 1\nseason = \"none\"\nhorizon = 4\nmodel = {{ hidden = 8 }}\n\
         time = {{ field = \"time\", format = \"milliseconds\" }}\ntraining = {{ enabled = false }}\n",
        kafka().servers
    );
    let path = folder.path().join("foretide.toml");
    std::fs::write(&path, config).unwrap();
    let start = |name: &str, each: i64| {
        let clock = SystemClock::new();
        let mut process = Process::foretide(folder.path(), name, ["run", "--config", path.to_str().unwrap()]);
        let seconds = || clock.monotonic_micros() as f64 / 1e6;
        wait_for("the daemon to be ready", LIMIT, || {
            assert!(process.runs(), "the daemon has ended:\n{}", process.log());
            http_get(port, "/readyz").filter(|(status, _)| *status == 200)
        });
        let ready = seconds();
        wait_for("all records to be committed", LIMIT, || {
            assert!(process.runs(), "the daemon has ended:\n{}", process.log());
            std::thread::sleep(Duration::from_millis(200));
            (committed(kafka(), &app, &topic, 1) >= each).then_some(())?;
            (metric(port, "foretide_forecasts_total") >= f64::from(3 * partitions())).then_some(())
        });
        let (threads, files) = (metric(port, "process_threads"), metric(port, "process_open_fds"));
        println!("{name}: ready after {ready:.1} s, done after {:.1} s, {threads} threads, {files} files", seconds());
        assert!(threads < MOST_THREADS && files < MOST_FILES, "{threads} threads, {files} files");
        process
    };
    feed(&topic, 0..3);
    let mut first = start("first", 3);
    first.kill();
    feed(&topic, 3..6);
    let mut second = start("second", 6);
    assert!(second.stop(LIMIT).success(), "{}", second.log());

    let mut origins: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in consume(kafka(), &format!("{app}.stream.forecasts"), Duration::from_secs(5)) {
        let forecast: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
        let minute = (forecast["origin"].as_i64().unwrap() - START) / 60_000;
        origins.entry(forecast["series"].as_str().unwrap().to_owned()).or_default().push(minute);
    }
    assert_eq!(origins.len(), usize::try_from(partitions()).unwrap());
    for (name, found) in origins {
        assert_eq!(found, [0, 1, 2, 3, 4, 5], "{name}");
    }
}
