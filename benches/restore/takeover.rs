//! Time without service after a kill: one replica owns everything, the other is a standby.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Arguments, LIMIT, configuration, record, start, wait_until_read};
use crate::harness::{
    client::{group_offset, produce},
    kafka::kafka,
    unique, wait_for,
};

/// Session timeout of the group in seconds; see [`configuration`].
const SESSION: f64 = 6.0;
const INTERVAL: i64 = 60_000;

pub fn run(arguments: &Arguments) -> serde_json::Value {
    let mut found = serde_json::Map::new();
    for (name, standby) in [("cold", "0B"), ("warm", "8GiB")] {
        found.insert(name.into(), once(arguments, standby));
    }
    serde_json::Value::Object(found)
}

fn once(arguments: &Arguments, standby: &str) -> serde_json::Value {
    let app = unique("takeover");
    let topic = kafka().topic("takeover", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let replica = |name: &'static str| {
        let (app, topic) = (app.clone(), topic.clone());
        move |port| {
            let extra =
                format!("shards = 1\ncheckpoint_interval = \"60s\"\nlimits = {{ standby_bytes = {standby:?} }}");
            let stream = "interval = \"1m\"\nseason = \"none\"\nlimits = { series = 5000000 }";
            configuration(&app, name, &topic, port, &extra, stream)
        }
    };
    let mut owner = start(folder.path(), "owner", replica("owner"));
    owner.ready();
    let mut written = 0;
    for step in 0..3 {
        produce(kafka(), &topic, (0..arguments.series).map(|series| record(series, step, INTERVAL, 1)));
        written += arguments.series;
        wait_until_read(&mut owner, &app, &topic, 1, written);
    }
    let mut standby_replica = start(folder.path(), "standby", replica("standby"));
    standby_replica.ready();
    // One reading per series and minute until the end.
    let stop = Arc::new(AtomicBool::new(false));
    let feeding = {
        let (topic, stop, series) = (topic.clone(), Arc::clone(&stop), arguments.series);
        std::thread::spawn(move || {
            let begun = Instant::now();
            for tick in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(tick as u64 * 100).saturating_sub(begun.elapsed()));
                let slice = (series / 600).max(1);
                let of = |number: i64| (tick * slice + number) % series;
                let step = |number: i64| 3 + (tick * slice + number) / series;
                produce(kafka(), &topic, (0..slice).map(|number| record(of(number), step(number), INTERVAL, 1)));
            }
        })
    };
    // Longer than a checkpoint interval, so that every series has a snapshot and the standby has caught up.
    std::thread::sleep(Duration::from_secs(90));
    let position = || group_offset(kafka(), &app, &topic, 0).unwrap_or(0);
    owner.process.kill();
    let killed = Instant::now();
    let before = position();
    wait_for("the standby to commit", LIMIT, || (position() > before).then_some(()));
    let gap = killed.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    feeding.join().expect("the feed");
    let (snapshots, replayed) = (
        standby_replica.metric("foretide_restore_snapshots_total"),
        standby_replica.metric("foretide_restore_records_total"),
    );
    standby_replica.stop();
    serde_json::json!({
        "series": arguments.series, "seconds_after_the_kill": gap, "seconds_after_the_session_timeout": gap - SESSION,
        "snapshots": snapshots, "replayed": replayed,
    })
}
