//! Throughput of the daemon with transactions and over [`Plain`] without, alternating on the same input.

use std::{sync::Arc, time::Duration};

use foretide::{
    broker::{Broker, kafka::KafkaBroker},
    daemon::{Daemon, specs},
    settings,
    telemetry::Exposition,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{LIMIT, configuration, plain::Plain, record};
use crate::harness::{
    client::{produce, steady_rate},
    free_port,
    kafka::kafka,
    unique, wait_for,
};

const PARTITIONS: i32 = 4;
const SERIES: i64 = 10_000;
const STEPS: i64 = 60;
const ROUNDS: usize = 3;

pub fn run() -> serde_json::Value {
    let topic = kafka().topic("transactions", PARTITIONS);
    for step in 0..STEPS {
        produce(kafka(), &topic, (0..SERIES).map(|series| record(series, step, 60_000, PARTITIONS)));
    }
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let [one, other] = [true, false].map(|transactional| once(&topic, transactional));
        eprintln!("round {round}: {one:.0} records/s with transactions, {other:.0} without, ratio {:.3}", one / other);
        with.push(one);
        without.push(other);
        ratios.push(one / other);
    }
    let median = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    serde_json::json!({
        "with": median(&mut with), "without": median(&mut without), "ratio": median(&mut ratios), "rounds": ROUNDS,
    })
}

/// Records per second of one run.
fn once(topic: &str, transactional: bool) -> f64 {
    let app = unique("transactions");
    let text = configuration(&app, "bench", topic, free_port(), "shards = 2", "interval = \"1m\"\nseason = \"none\"");
    let settings = settings::parse("bench.toml", &text, Vec::new()).expect("the configuration");
    let kafka_broker = KafkaBroker::new(specs::kafka_options(&settings, "bench")).expect("the options");
    let broker: Arc<dyn Broker> =
        if transactional { Arc::new(kafka_broker) } else { Arc::new(Plain::new(kafka_broker, &kafka().servers)) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let exposition = Exposition::detached().expect("metrics");
        let daemon = Daemon::start(&settings, broker, exposition, "bench", "bench").await.expect("a daemon");
        let forecasts = format!("{app}.stream.forecasts");
        let rate = tokio::task::spawn_blocking(move || rate(&forecasts)).await.expect("the reader");
        daemon.shutdown().await.expect("the end");
        rate
    })
}

/// Records per second of the forecasts ([`steady_rate`]).
fn rate(topic: &str) -> f64 {
    let total = (SERIES * STEPS) as usize;
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka().servers)
        .set("group.id", unique("measure"))
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    // Waits on the end offsets first, because a concurrent reader would use some of the two cores.
    wait_for("the forecasts", LIMIT, || {
        std::thread::sleep(Duration::from_millis(500));
        let end = |partition| reader.fetch_watermarks(topic, partition, LIMIT).map_or(0, |(_, end)| end);
        ((0..PARTITIONS).map(end).sum::<i64>() >= total as i64).then_some(())
    });
    reader.assign(&assignment).expect("an assignment");
    let mut sent = Vec::with_capacity(total);
    wait_for("all records", LIMIT, || {
        while let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
            sent.push(message.timestamp().to_millis().expect("a timestamp"));
        }
        (sent.len() >= total).then_some(())
    });
    steady_rate(sent)
}
