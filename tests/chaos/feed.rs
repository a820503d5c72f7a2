//! The input, and the longest gap in the output. Faults do not cut the connections of these clients.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use foretide::env::{Clock, SystemClock};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

use crate::harness::{background::Background, client::reader};

/// Number of series.
const SERIES: usize = 120;
/// Records per second.
const RATE: u64 = 120;
/// Event time of the first records, in milliseconds. Records of a series follow each other by one minute.
const BEGIN: i64 = 1_767_225_600_000;

/// Shortest gap that is printed, in microseconds.
const PRINTED_GAP: u64 = 5_000_000;

/// Produces records at a constant rate until it is stopped, and writes them to a CSV file. Returns their number.
pub fn produce(servers: &str, topic: &str, file: &Path, seed: u64) -> Background<u64> {
    let (servers, topic, file): (String, String, PathBuf) = (servers.into(), topic.into(), file.into());
    Background::start(move |stop| {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            // Without a timeout, the client retries until it succeeds.
            .set("message.timeout.ms", "0")
            .create()
            .expect("a producer");
        let mut csv = BufWriter::new(File::create(file).expect("the copy of the input can be written"));
        writeln!(csv, "series,time,value").expect("written");
        let (clock, mut random) = (SystemClock::new(), Pcg64Mcg::seed_from_u64(seed));
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = clock.monotonic_micros() * RATE / 1_000_000;
            for number in sent..due {
                let (series, step) = (number as usize % SERIES, number / SERIES as u64);
                let phase = (step as f64 + 7.0 * series as f64) / 60.0 * std::f64::consts::TAU;
                let value = format!("{:.3}", 20.0 + 5.0 * phase.sin() + random.random_range(-1.0..1.0));
                let (key, time) = (format!("s{series:03}"), BEGIN + step as i64 * 60_000);
                writeln!(csv, "{key},{time},{value}").expect("written");
                let payload = format!("{{\"time\":{time},\"value\":{value}}}");
                let mut record = BaseRecord::to(&topic).key(&key).payload(&payload);
                while let Err((error, same)) = producer.send(record) {
                    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                    producer.poll(Duration::from_millis(10));
                    record = same;
                }
            }
            sent = due;
            producer.poll(Duration::from_millis(20));
        }
        producer.flush(Duration::from_secs(120)).expect("the brokers accept the records");
        csv.flush().expect("written");
        sent
    })
}

/// Reads committed forecasts until it is stopped. Returns the longest time between two of them, in seconds.
pub fn watch_gaps(servers: &str, topic: &str, partitions: i32) -> Background<f64> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    Background::start(move |stop| {
        let reader = reader(&servers, &topic, 0..partitions);
        let clock = SystemClock::new();
        let (mut longest, mut last) = (0, clock.monotonic_micros());
        while !stop.load(Ordering::Relaxed) {
            // Errors are those of brokers that are down; the client reconnects by itself.
            if let Some(Ok(_)) = reader.poll(Duration::from_millis(50)) {
                let now = clock.monotonic_micros();
                if now - last > PRINTED_GAP {
                    println!("no forecast for {:.1} s", (now - last) as f64 / 1e6);
                }
                longest = longest.max(now - last);
                last = now;
            }
        }
        longest as f64 / 1e6
    })
}
