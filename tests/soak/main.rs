//! A real daemon that trains and serves at half of its peak rate for a long time. Memory, threads, open files, lag and
//! latencies do not grow, and each record has exactly one forecast.
//!
//! `scripts/soak --minutes M` runs it for an hour by default. Here it runs for less than a minute with fewer series,
//! and only threads and files must not grow. The script sets `FORETIDE_SOAK_MINUTES`, `FORETIDE_SOAK_SERIES` and
//! `FORETIDE_SOAK_REPORT` (a folder for `report.json`, `report.txt` and `soak.svg`).
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

#[path = "../harness/mod.rs"]
mod harness;
mod load;
mod report;
mod watch;

use std::{path::Path, time::Duration};

use foretide::{
    broker::{Broker, Partition, TopicSpec},
    env::{Clock, SystemClock},
};
use harness::{
    client::committed,
    free_port,
    kafka::{Kafka, properties},
    metric,
    process::Process,
    setting, wait_for,
};
use load::{Feed, Load};
use report::{Curve, Report, Sample};
use watch::{Pace, Watch};

const APP: &str = "soak";
const INPUT: &str = "readings";
const PARTITIONS: i32 = 4;
const LIMIT: Duration = Duration::from_secs(300);
/// Steps of each series before the start of the daemon: enough for a training round.
const BACKLOG: u64 = 300;
/// Minutes from which no figure may grow. In a shorter run, series and history still grow.
const LONG_RUN: f64 = 10.0;
/// Number of samples of all figures.
const SAMPLES: u32 = 240;

/// A broker with a short retention, so that an hour fits on the disk.
fn broker() -> Kafka {
    let retention =
        "log.retention.bytes=536870912\nlog.segment.bytes=67108864\nlog.retention.check.interval.ms=10000\n";
    Kafka::start(&|folder, port, controller| properties(folder, port, controller) + retention, &[])
}

/// A configuration that trains all the time, on the last two minutes.
fn configuration(kafka: &Kafka, port: u16) -> String {
    format!(
        r#"app = {APP:?}
instance = "one"
[kafka]
brokers = [{:?}]
[http]
listen = "127.0.0.1:{port}"
[[stream]]
name = "stream"
topics = [{INPUT:?}]
start = "earliest"
time = {{ field = "time", format = "milliseconds" }}
values = ["value"]
interval = "100ms"
readings_per_slot = 1
season = "6s"
horizon = 24
[stream.training]
every = "5m"
refresh = "30s"
history = "2m"
cpu_share = 0.5
batch_size = 16
max_updates = 60
max_steps_per_series = 2000
"#,
        kafka.servers
    )
}

/// Records per second at which the daemon processes the backlog. The first quarter, with the warm-up, does not count.
fn peak(clock: &SystemClock, daemon: &mut Process, port: u16, backlog: u64) -> f64 {
    let mut quarter = None;
    wait_for("the backlog to be processed", LIMIT, || {
        assert!(daemon.runs(), "the daemon has ended:\n{}", daemon.log());
        let (now, done) = (clock.monotonic_micros(), metric(port, "foretide_records_total")?);
        if quarter.is_none() && done >= backlog as f64 / 4.0 {
            quarter = Some((now, done));
        }
        let (since, before) = quarter?;
        std::thread::sleep(Duration::from_millis(50));
        (done >= backlog as f64).then(|| (done - before) / ((now - since) as f64 / 1e6))
    })
}

fn soak(minutes: f64, series: u64) -> Report {
    let clock = SystemClock::new();
    let kafka = broker();
    let forecasts = format!("{APP}.stream.forecasts");
    for name in [INPUT, &forecasts] {
        let (partitions, max_record_bytes) = (PARTITIONS, 1 << 20);
        kafka
            .broker()
            .create(&TopicSpec {
                name: name.into(),
                partitions,
                compacted: false,
                log_append_time: false,
                max_record_bytes,
            })
            .unwrap();
    }
    let load = Load { series };
    let mut feed = Feed::new(&kafka.servers, INPUT, load);
    let backlog = BACKLOG * series;
    feed.send(backlog);
    feed.flush();
    let watch = Watch::start(&kafka.servers, &forecasts, load, clock.clone());
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = folder.path().join("foretide.toml");
    std::fs::write(&path, configuration(&kafka, port)).unwrap();
    let mut daemon = Process::foretide(folder.path(), "soak", ["run", "--config", path.to_str().unwrap()]);
    let peak = peak(&clock, &mut daemon, port, backlog);
    let rate = peak / 2.0;
    println!("peak of {peak:.0} records per second; continues with {rate:.0}");
    let begun = clock.monotonic_micros();
    watch.output.lock().unwrap().pace = Some(Pace { start: begun, first: backlog, rate });
    let paced = feed.run_at_rate(clock.clone(), begun, rate);
    wait_for("a first training round", LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        (metric(port, "foretide_training_seconds_total")? > 0.0).then_some(())
    });
    watch.output.lock().unwrap().take_latencies();
    let start = clock.monotonic_micros();
    let samples = (1..=SAMPLES)
        .map(|number| {
            let at = minutes * 60.0 * f64::from(number) / f64::from(SAMPLES);
            let now = (clock.monotonic_micros() - start) as f64 / 1e6;
            std::thread::sleep(Duration::from_secs_f64((at - now).max(0.0)));
            assert!(daemon.runs(), "the daemon has ended:\n{}", daemon.log());
            let figure = |name| metric(port, name).unwrap();
            let latencies = watch.output.lock().unwrap().take_latencies();
            // Without a forecast, the latency is longer than the time since the previous sample.
            let [median, late] = latencies.unwrap_or([minutes * 60_000.0 / f64::from(SAMPLES); 2]);
            let memory = figure("process_resident_memory_bytes") / f64::from(1 << 20);
            let lag = figure("foretide_consumer_lag_records");
            let values = [memory, figure("process_threads"), figure("process_open_fds"), lag, median, late];
            Sample { at, values }
        })
        .collect();
    let records_in = paced.stop();
    wait_for("all records to be committed", LIMIT, || {
        std::thread::sleep(Duration::from_millis(300));
        (committed(&kafka, APP, INPUT, PARTITIONS) as u64 == records_in).then_some(())
    });
    wait_for("the reported lag to be zero", LIMIT, || {
        (metric(port, "foretide_consumer_lag_records")? == 0.0).then_some(())
    });
    let watched = Partition { topic: INPUT.into(), number: watch::PARTITION };
    let expected = kafka.broker().offsets(&watched).unwrap().end as u64;
    let until = clock.monotonic_micros() + 20_000_000;
    while watch.output.lock().unwrap().forecasts < expected && clock.monotonic_micros() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    let trainings = metric(port, "foretide_training_rounds_total").unwrap();
    let promotions = metric(port, "foretide_promotions_total").unwrap_or(0.0);
    assert!(daemon.stop(Duration::from_secs(40)).success(), "{}", daemon.log());
    let output = watch.stop();
    let (forecasts, doubled) = (output.forecasts, output.doubled);
    let lost = output.skipped.max(expected.saturating_sub(forecasts));
    Report { minutes, series, peak, rate, samples, records_in, forecasts, lost, doubled, trainings, promotions }
}

#[test]
fn a_daemon_that_serves_and_trains_does_not_grow() {
    let minutes = setting("FORETIDE_SOAK_MINUTES", 0.75);
    let report = soak(minutes, setting("FORETIDE_SOAK_SERIES", 400));
    println!("{}", report.table());
    if let Ok(folder) = std::env::var("FORETIDE_SOAK_REPORT") {
        let folder = Path::new(&folder);
        std::fs::write(folder.join("report.txt"), report.table()).unwrap();
        std::fs::write(folder.join("report.json"), format!("{}\n", report.json())).unwrap();
        report.draw(&folder.join("soak.svg")).unwrap();
    }
    assert_eq!((report.lost, report.doubled), (0, 0), "each record has one forecast");
    assert!(report.trainings > 0.0, "the daemon must train");
    let steady: &[Curve] = if minutes < LONG_RUN { &[Curve::Threads, Curve::Files] } else { &Curve::ALL };
    assert_eq!(report.growing(steady), Vec::<String>::new());
}
