//! Reading history for training, and its memory: seconds and the largest resident size of the process. The records are
//! made up while they are read, so that the process holds nothing but the history.
//!
//! `cargo bench --bench training -- SERIES STEPS MAX_SERIES`; without arguments ten million records of 10,000 series,
//! once with the default settings and once with all series.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use foretide::broker::{
    Batch, Broker, BrokerError, CommittedOffset, Isolation, Member, OffsetRange, Partition, Publisher, Reader, Record,
    StartPosition, TopicSettings, TopicSpec,
};
use foretide::daemon::{StreamHistory, specs};
use foretide::nn::Weights;
use foretide::train::{self, TrainSpec};

type Answer<T> = Result<T, BrokerError>;

const PARTITIONS: i32 = 8;
/// The records of a read.
const BATCH: i64 = 10_000;
/// The time of the first record: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000;
const MINUTE: i64 = 60_000;

/// One topic of `series` series, of which each has a record a minute. Clones share it.
#[derive(Clone)]
struct Generated {
    series: i64,
    steps: Arc<AtomicI64>,
}

impl Generated {
    /// Series of one partition.
    fn width(&self) -> i64 {
        self.series / i64::from(PARTITIONS)
    }

    fn end(&self) -> i64 {
        self.width() * self.steps.load(Ordering::Relaxed)
    }
}

struct GeneratedReader {
    topic: Generated,
    partition: Partition,
    next: i64,
}

impl Reader for GeneratedReader {
    fn read(&mut self, _: Duration, max_records: usize) -> Answer<Option<Batch>> {
        let (width, until) = (self.topic.width(), (self.next + BATCH.min(max_records as i64)).min(self.topic.end()));
        let mut batch = Batch::new(self.partition.clone());
        for offset in self.next..until {
            let (step, series) =
                (offset / width, offset % width * i64::from(PARTITIONS) + i64::from(self.partition.number));
            let (time, key) = (START + step * MINUTE, format!("series-{series:06}"));
            let value = (step as f64 * 0.1 + series as f64).sin() + (offset * 7919 % 1009) as f64 / 5_000.0;
            let payload = format!("{{\"value\":{value}}}");
            let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
            batch.push(Record { offset, timestamp: Some(time), key, payload });
        }
        self.next = until.max(self.next);
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn has_reached(&mut self, end: i64) -> Answer<bool> {
        Ok(self.next >= end)
    }
}

fn unused<T>() -> Answer<T> {
    Err(BrokerError::Rejected("not part of this benchmark".into()))
}

impl Broker for Generated {
    fn join(&self, _: &str, _: &str, _: &[String]) -> Answer<Box<dyn Member>> {
        unused()
    }
    fn reader(&self, partition: &Partition, from: StartPosition) -> Answer<Box<dyn Reader>> {
        let next = match from {
            StartPosition::Earliest => 0,
            StartPosition::Offset(offset) => offset,
            StartPosition::Timestamp(millis) => self.offset_at(partition, millis)?,
        };
        Ok(Box::new(GeneratedReader { topic: self.clone(), partition: partition.clone(), next }))
    }
    fn publisher(&self, _: &str) -> Answer<Box<dyn Publisher>> {
        unused()
    }
    fn offsets(&self, _: &Partition) -> Answer<OffsetRange> {
        Ok(OffsetRange { start: 0, end: self.end() })
    }
    fn end_offsets(&self, partitions: &[Partition], _: Isolation) -> Answer<Vec<i64>> {
        Ok(vec![self.end(); partitions.len()])
    }
    fn offset_at(&self, _: &Partition, millis: i64) -> Answer<i64> {
        Ok(((millis - START).max(0) / MINUTE * self.width()).min(self.end()))
    }
    fn topic_settings(&self, topics: &[String]) -> Answer<Vec<Option<TopicSettings>>> {
        Ok(vec![None; topics.len()])
    }
    fn partitions(&self, _: &str) -> Answer<Option<i32>> {
        Ok(Some(PARTITIONS))
    }
    fn group_offsets(&self, _: &str, _: &[Partition]) -> Answer<Vec<Option<CommittedOffset>>> {
        unused()
    }
    fn group_members(&self, _: &str) -> Answer<usize> {
        unused()
    }
    fn create(&self, _: &TopicSpec) -> Answer<()> {
        unused()
    }
    fn max_batch_bytes(&self, _: &[&str]) -> Answer<BTreeMap<String, usize>> {
        Ok(BTreeMap::new())
    }
    fn limit_batches(&self, _: usize) {}
}

/// A line of `/proc/self/status`, in MiB.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(series: i64, steps: i64, max_series: i64) {
    let text = format!(
        "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\nvalues = [\"value\"]\ninterval = \"1m\"\n\
         [stream.training]\nmax_series = {max_series}\ndevice = \"cpu\"\n"
    );
    let settings = foretide::settings::parse("bench.toml", &text, []).unwrap();
    let stream = specs::plan(&settings).unwrap().streams.remove(0);
    let training = stream.training.clone().unwrap();
    let broker = Generated { series, steps: Arc::new(AtomicI64::new(steps)) };
    let before = resident("VmRSS");
    let mut history = StreamHistory::new(&stream, &training);
    let mut update = || {
        let (now, started) = (START + broker.steps.load(Ordering::Relaxed) * MINUTE, Instant::now());
        history.update(&broker, &stream, &training, now, &|| Ok(())).unwrap();
        started.elapsed().as_secs_f64()
    };
    let first = update();
    broker.steps.fetch_add(10, Ordering::Relaxed);
    let (next, read) = (update(), resident("VmRSS"));
    let set = history.training_set();
    let spec = TrainSpec { max_updates: 20, ..training.spec.clone() };
    let weights = Weights::initial(&stream.engine.network);
    let observe = &mut |_: &_| ControlFlow::Continue(());
    let started = Instant::now();
    train::train(&spec, &stream.engine.network, &weights, &set.sequences, observe).unwrap();
    println!(
        "{series} series of {steps} steps, at most {max_series}: {:.1} M records read in {first:.1} s, ten more steps \
         in {next:.2} s; {} series of {} steps in the sample, {} MiB counted; resident {before} MiB before, {read} MiB \
         after, {} MiB at most with 20 updates in {:.1} s",
        (series * steps) as f64 / 1e6,
        set.sequences.len(),
        set.longest,
        history.bytes() >> 20,
        resident("VmHWM"),
        started.elapsed().as_secs_f64()
    );
}

fn main() {
    let arguments: Vec<i64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    match arguments[..] {
        [series, steps, max_series] => measure(series, steps, max_series),
        _ => [1_000, 10_000].into_iter().for_each(|max_series| measure(10_000, 1_000, max_series)),
    }
}
