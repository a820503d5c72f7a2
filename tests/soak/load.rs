//! The input: series that advance one step at a time, first as a backlog, then at a constant rate.

use std::{sync::atomic::Ordering, time::Duration};

use foretide::env::{Clock, SystemClock};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

use crate::harness::background::Background;

/// Event time of the first step, in milliseconds.
const BEGIN: i64 = 1_767_225_600_000;
/// Length of a step, in milliseconds.
const INTERVAL: i64 = 100;

/// The numbering of the records: one step of each series in turn, then the next step.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Number of series.
    pub series: u64,
}

impl Load {
    fn key(series: u64) -> String {
        format!("s{series:06}")
    }

    /// The series with this key.
    pub fn series(key: &str) -> Option<u64> {
        key.strip_prefix('s')?.parse().ok()
    }

    /// The step at an event time.
    pub fn step(origin: i64) -> u64 {
        u64::try_from((origin - BEGIN) / INTERVAL).expect("no forecast is older than the first record")
    }

    /// The number of the record of a series at a step.
    pub fn number(self, series: u64, step: u64) -> u64 {
        step * self.series + series
    }
}

/// A producer of the records of a [`Load`], in order.
pub struct Feed {
    load: Load,
    topic: String,
    producer: BaseProducer,
    /// Records sent.
    sent: u64,
}

impl Feed {
    pub fn new(servers: &str, topic: &str, load: Load) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("enable.idempotence", "true")
            // Like the daemon's, so that input and forecasts of a series are in the same partition.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .create()
            .expect("a producer");
        Self { load, topic: topic.to_owned(), producer, sent: 0 }
    }

    /// Sends all records up to `until`.
    pub fn send(&mut self, until: u64) {
        for number in self.sent..until {
            let (series, step) = (number % self.load.series, number / self.load.series);
            let sine = ((step + 7 * series) as f64 / 60.0 * std::f64::consts::TAU).sin();
            let noise = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
            let time = BEGIN + i64::try_from(step).expect("it is small") * INTERVAL;
            let payload = format!("{{\"time\":{time},\"value\":{:.3}}}", 20.0 + 5.0 * sine + noise);
            let key = Load::key(series);
            let mut record = BaseRecord::to(&self.topic).key(&key).payload(&payload);
            while let Err((error, same)) = self.producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                self.producer.poll(Duration::from_millis(5));
                record = same;
            }
            if number % 1000 == 0 {
                self.producer.poll(Duration::ZERO);
            }
        }
        self.sent = self.sent.max(until);
    }

    /// Waits until the broker has all records.
    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).expect("the broker accepts the records");
    }

    /// Continues in a thread with `rate` records per second from the microsecond `start` of `clock`, until it is
    /// stopped. Returns the number of all records.
    pub fn run_at_rate(mut self, clock: SystemClock, start: u64, rate: f64) -> Background<u64> {
        Background::start(move |stop| {
            let before = self.sent;
            while !stop.load(Ordering::Relaxed) {
                let passed = clock.monotonic_micros().saturating_sub(start) as f64 / 1e6;
                self.send(before + (passed * rate) as u64);
                self.producer.poll(Duration::from_millis(5));
            }
            self.flush();
            self.sent
        })
    }
}
