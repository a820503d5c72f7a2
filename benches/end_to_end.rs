//! Throughput of Foretide on a real broker, compared with the limit of that broker in the same run: a bare librdkafka
//! loop that consumes, copies and produces the records of Foretide in transactions. Then the latency from a record to
//! its committed forecast. `scripts/bench-e2e` runs it; `--json` prints one object. `--training` measures that latency
//! alone, in turns without training and with training that never ends (`cpu_share` 0.5).
#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use harness::{
    client::{Input, committed, produce, reader, steady_rate},
    free_port, http_get,
    kafka::kafka,
    process::Process,
    unique, wait_for,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

const PARTITIONS: i32 = 4;
const SERIES: i64 = 10_000;
const STEPS: i64 = 60;
const LIMIT: Duration = Duration::from_secs(300);
/// Number of real forecasts that the bare loop writes repeatedly.
const SAMPLES: usize = 2_000;

/// Throughput of one round in records per second, and the mean size of a forecast.
struct Run {
    ours: f64,
    limit: f64,
    bytes: usize,
}

/// Training from the first steps on, in one round after the other.
const TRAINING: &str = "{ every = \"1s\", refresh = \"0s\", min_steps = 5, k1 = 16, k2 = 16, cpu_share = 0.5 }";
const NO_TRAINING: &str = "{ enabled = false }";

fn main() {
    if std::env::args().any(|argument| argument == "--training") {
        latency_beside_training();
        return;
    }
    let json = std::env::args().any(|argument| argument == "--json");
    let rounds = 3;
    let topic = kafka().topic("bench", PARTITIONS);
    eprintln!("writing {} records of {SERIES} series", SERIES * STEPS);
    write_input(&topic);
    let mut runs = Vec::new();
    for round in 1..=rounds {
        let app = unique("bench");
        let (ours, samples) = measured(&foretide(&app, &topic));
        let (limit, _) = measured(&bare_loop(&topic, &samples));
        eprintln!(
            "round {round}: foretide {ours:.0} records/s, bare loop {limit:.0} records/s, ratio {:.3}",
            ours / limit
        );
        let bytes = samples.iter().map(Vec::len).sum::<usize>() / samples.len();
        runs.push(Run { ours, limit, bytes });
    }
    let latency = latency(NO_TRAINING);
    let median = |of: &dyn Fn(&Run) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (ours, limit, ratio) = (median(&|run| run.ours), median(&|run| run.limit), median(&|run| run.ours / run.limit));
    let (p50, p99) = (latency[latency.len() / 2], latency[latency.len() * 99 / 100]);
    if json {
        let object = serde_json::json!({
            "ours": ours, "limit": limit, "ratio": ratio, "bytes_out": runs[0].bytes, "rounds": rounds,
            "latency_p50_ms": p50, "latency_p99_ms": p99,
        });
        println!("{object}");
    } else {
        println!(
            "medians of {rounds} rounds, {SERIES} series, GRU 64, H = 24, 5 levels, {} bytes a forecast",
            runs[0].bytes
        );
        println!("foretide      {ours:>10.0} records/s");
        println!("bare loop     {limit:>10.0} records/s");
        println!("ratio         {ratio:>10.3}");
        println!("latency at 1,000 records/s, commit_interval 10 ms: p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
}

fn write_input(topic: &str) {
    let records = (0..STEPS).flat_map(|step| {
        (0..SERIES).map(move |series| {
            let value = 50.0 + 20.0 * ((step + series) as f64 / 3.8).sin() + (series * 7 + step * 13) as f64 % 11.0;
            let time = 1_700_000_040_000 + step * 60_000;
            Input::new(format!("machine-{series:05}.cpu"), format!("{{\"time\":{time},\"value\":{value:.3}}}"))
                .at((series % i64::from(PARTITIONS)) as i32)
        })
    });
    produce(kafka(), topic, records);
}

fn configuration(app: &str, topic: &str, port: u16, commit_interval: &str, shards: u32, training: &str) -> String {
    let role = if training == NO_TRAINING { "score" } else { "all" };
    format!(
        r#"app = {app:?}
instance = "bench"
role = "{role}"
shards = {shards}
commit_interval = {commit_interval:?}
[kafka]
brokers = [{:?}]
[http]
listen = "127.0.0.1:{port}"
[log]
level = "warn"
[[stream]]
name = "stream"
topics = [{topic:?}]
start = "earliest"
time = {{ field = "time", format = "milliseconds" }}
values = ["value"]
interval = "1m"
readings_per_slot = 1
season = "none"
horizon = 24
quantiles = [0.05, 0.1, 0.5, 0.9, 0.95]
model = {{ cell = "gru", layers = 1, hidden = 64 }}
training = {training}
"#,
        kafka().servers
    )
}

/// Runs the daemon until everything is committed. Returns its output topic.
fn foretide(app: &str, topic: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foretide.toml");
    std::fs::write(&path, configuration(app, topic, free_port(), "100ms", 2, NO_TRAINING)).expect("the configuration");
    let mut process = Process::foretide(folder.path(), "foretide", ["run", "--config", path.to_str().expect("a path")]);
    let total = SERIES * STEPS;
    wait_for("the last commit", LIMIT, || {
        assert!(process.runs(), "{}", process.log());
        std::thread::sleep(Duration::from_millis(300));
        (committed(kafka(), app, topic, PARTITIONS) >= total).then_some(())
    });
    assert!(process.stop(Duration::from_secs(40)).success(), "{}", process.log());
    format!("{app}.stream.forecasts")
}

/// The records per second ([`steady_rate`]) of a topic, and some of its records.
fn measured(topic: &str) -> (f64, Vec<Vec<u8>>) {
    let reader = reader(&kafka().servers, topic, 0..PARTITIONS);
    let (mut samples, mut sent) = (Vec::new(), Vec::new());
    let total = (SERIES * STEPS) as usize;
    wait_for("all records", LIMIT, || {
        while let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
            sent.push(message.timestamp().to_millis().expect("a timestamp"));
            if samples.len() < SAMPLES {
                samples.push(message.payload().unwrap_or_default().to_vec());
            }
        }
        (sent.len() >= total).then_some(())
    });
    (steady_rate(sent), samples)
}

/// The bare loop on one thread: consumes, copies, produces the bytes of a forecast, commits offsets in transactions.
/// Returns its output topic.
fn bare_loop(topic: &str, samples: &[Vec<u8>]) -> String {
    let group = unique("bare");
    let out = kafka().topic("bare-out", PARTITIONS);
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka().servers)
        .set("group.id", &group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .set_log_level(RDKafkaLogLevel::Error)
        .create()
        .expect("a consumer");
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &kafka().servers)
        .set("transactional.id", &group)
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "1048576")
        .set_log_level(RDKafkaLogLevel::Error)
        .create()
        .expect("a producer");
    producer.init_transactions(LIMIT).expect("transactions");
    reader.subscribe(&[topic]).expect("a subscription");
    let mut done = 0_usize;
    let total = (SERIES * STEPS) as usize;
    while done < total {
        producer.begin_transaction().expect("a transaction");
        let (mut offsets, mut consumed, started) = (HashMap::new(), 0, Instant::now());
        while consumed < 50_000 && started.elapsed() < Duration::from_millis(100) && done + consumed < total {
            let Some(message) = reader.poll(Duration::from_millis(10)) else { continue };
            let message = message.expect("a record");
            offsets.insert(message.partition(), message.offset() + 1);
            let key = message.key().unwrap_or_default().to_vec();
            let payload = &samples[(done + consumed) % samples.len()];
            while producer.send(BaseRecord::to(&out).key(&key).payload(payload)).is_err() {
                std::thread::sleep(Duration::from_micros(200));
            }
            consumed += 1;
        }
        let mut positions = TopicPartitionList::new();
        for (partition, offset) in offsets {
            positions.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        }
        while producer.in_flight_count() > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        if consumed > 0 {
            let metadata = reader.group_metadata().expect("a group");
            producer.send_offsets_to_transaction(&positions, &metadata, LIMIT).expect("offsets");
        }
        producer.commit_transaction(LIMIT).expect("a commit");
        done += consumed;
    }
    out
}

/// Prints the latency without and with training, in turns, and the ratio of the medians of the 99th percentiles.
fn latency_beside_training() {
    // The broker's first seconds are slow.
    latency(NO_TRAINING);
    let mut p99s = [Vec::new(), Vec::new()];
    for round in 1..=5 {
        for (training, p99s) in [NO_TRAINING, TRAINING].into_iter().zip(&mut p99s) {
            let latency = latency(training);
            let (p50, p99) = (latency[latency.len() / 2], latency[latency.len() * 99 / 100]);
            eprintln!("round {round}, training = {training}: p50 {p50:.1} ms, p99 {p99:.1} ms");
            p99s.push(p99);
        }
    }
    let [without, with] = p99s.map(|mut p99s| {
        p99s.sort_by(f64::total_cmp);
        p99s[p99s.len() / 2]
    });
    println!("p99 without training {without:.1} ms, with training {with:.1} ms, ratio {:.2}", with / without);
}

/// Milliseconds from a record's produce to its forecast at a `read_committed` client, sorted.
fn latency(training: &str) -> Vec<f64> {
    let (app, topic) = (unique("latency"), kafka().topic("latency", PARTITIONS));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foretide.toml");
    let port = free_port();
    std::fs::write(&path, configuration(&app, &topic, port, "10ms", 1, training)).expect("the configuration");
    let mut process = Process::foretide(folder.path(), "latency", ["run", "--config", path.to_str().expect("a path")]);
    wait_for("readiness", LIMIT, || http_get(port, "/readyz").filter(|(status, _)| *status == 200));
    let reader = reader(&kafka().servers, &format!("{app}.stream.forecasts"), 0..PARTITIONS);
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &kafka().servers)
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    // Training begins within the warm-up.
    let (per_second, seconds, warm_up) =
        if training == NO_TRAINING { (1_000_u64, 20_u64, 3_000_usize) } else { (1_000, 40, 12_000) };
    let total = per_second * seconds;
    let start = Instant::now();
    // The value is the time of its creation in microseconds; the forecast returns it as `value`.
    let writer = std::thread::spawn(move || {
        for number in 0..total {
            let due = Duration::from_micros(number * 1_000_000 / per_second);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let (series, step) = (number % 1_000, number / 1_000);
            let time = 1_700_000_040_000 + step * 60_000;
            let payload = format!("{{\"time\":{time},\"value\":{}}}", start.elapsed().as_micros());
            let key = format!("s{series}");
            let _ = producer.send(BaseRecord::to(&topic).key(&key).payload(&payload));
        }
        producer.flush(LIMIT).expect("a flush");
    });
    let mut all = Vec::new();
    wait_for("the forecasts", LIMIT, || {
        while let Some(Ok(message)) = reader.poll(Duration::from_millis(5)) {
            let now = start.elapsed().as_micros() as f64;
            let forecast: serde_json::Value =
                serde_json::from_slice(message.payload().unwrap_or_default()).expect("a forecast");
            all.push((now - forecast["value"].as_f64().expect("a value")) / 1000.0);
        }
        (all.len() as u64 >= total).then_some(())
    });
    writer.join().expect("the writer");
    assert!(process.stop(Duration::from_secs(40)).success());
    let mut all = all.split_off(warm_up);
    all.sort_by(f64::total_cmp);
    all
}
