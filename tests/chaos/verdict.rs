//! Compares the forecasts with those of an undisturbed run on the same input, and writes the report.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    path::Path,
    process::Command,
    time::Duration,
};

use foretide::broker::{Broker, Partition, stable_end};
use serde_json::{Value, json};

use crate::{
    fleet::{HIDDEN, HORIZON, SEASON},
    harness::{
        client::{ConsumerRecord, consume},
        kafka::Kafka,
        wait_for,
    },
    schedule::FaultKind,
};

/// The origin of a forecast, and a hash of its content.
type Digest = (i64, u64);

/// Forecasts by series, in the order of their offsets.
type BySeries = HashMap<String, Vec<Digest>>;

/// Differences between the forecasts and the expected ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Number of committed forecasts.
    pub out: usize,
    /// Origins without a forecast.
    pub lost: usize,
    /// Forecasts whose origin already has one.
    pub doubled: usize,
    /// Forecasts with other content, without a record, or out of order.
    pub different: usize,
}

/// Waits until no transaction is open in a topic. After the last fault, the markers of those that were committed may be
/// long in coming, and what is behind an open one cannot be read.
fn wait_until_stable(kafka: &Kafka, topic: &str) {
    let broker = kafka.broker();
    let partitions = broker.partitions(topic).unwrap().unwrap_or(0);
    wait_for("the transactions in the forecasts to end", Duration::from_secs(120), || {
        std::thread::sleep(Duration::from_millis(500));
        let is_stable = |number| {
            let partition = Partition { topic: topic.into(), number };
            let stable = stable_end(&broker, &partition).ok();
            stable.is_some() && stable == broker.offsets(&partition).ok().map(|range| range.end)
        };
        (0..partitions).all(is_stable).then_some(())
    });
}

impl Differences {
    /// Compares the forecasts in `topic`, read with Kafka's consumer, with those of a backtest of `input`.
    pub fn find(kafka: &Kafka, topic: &str, input: &Path) -> Self {
        wait_until_stable(kafka, topic);
        let mut live = BySeries::new();
        let mut newest = HashMap::new();
        for record in consume(kafka, topic, Duration::from_secs(10)) {
            let payload = record.payload.as_deref().unwrap_or_default();
            let (series, digest) = add(&mut live, payload);
            if let Some(before) = newest.insert((series, digest.0), place(topic, &record)) {
                println!("doubled: {before} and {}: {}", place(topic, &record), String::from_utf8_lossy(payload));
            }
        }
        Self::compare(&live, &undisturbed(input))
    }

    fn compare(live: &BySeries, expected: &BySeries) -> Self {
        let mut found = Self { out: live.values().map(Vec::len).sum(), ..Self::default() };
        let nothing = Vec::new();
        let all: std::collections::BTreeSet<&String> = live.keys().chain(expected.keys()).collect();
        for series in all {
            let [live, expected] = [live, expected].map(|by_series| by_series.get(series).unwrap_or(&nothing));
            let right: HashMap<i64, u64> = expected.iter().copied().collect();
            let mut seen = HashMap::new();
            let mut newest = i64::MIN;
            for (origin, content) in live {
                if seen.insert(*origin, *content).is_some() {
                    found.doubled += 1;
                } else if right.get(origin) != Some(content) || *origin < newest {
                    found.different += 1;
                }
                newest = newest.max(*origin);
            }
            for origin in right.keys().filter(|origin| !seen.contains_key(origin)) {
                println!("lost: {series} at {origin}");
                found.lost += 1;
            }
        }
        found
    }

    /// Whether there are no differences.
    pub fn is_empty(&self) -> bool {
        (self.lost, self.doubled, self.different) == (0, 0, 0)
    }
}

/// Where a record is, and when it was written.
fn place(topic: &str, record: &ConsumerRecord) -> String {
    format!("{topic}[{}] offset {} at {}", record.partition, record.offset, record.timestamp)
}

/// The forecasts of `foretide backtest` on a file.
fn undisturbed(input: &Path) -> BySeries {
    let emitted = input.with_extension("jsonl");
    let numbers = [HORIZON, SEASON, HIDDEN].map(|number| number.to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_foretide"))
        .arg("backtest")
        .arg(input)
        .args(["--long", "--key", "series", "--time", "time", "--time-format", "ms", "--value", "value"])
        .args(["--interval", "1m", "--no-training", "--json"])
        .args(["--horizon", &numbers[0], "--season", &numbers[1], "--hidden", &numbers[2]])
        .arg("--emit")
        .arg(&emitted)
        .output()
        .expect("foretide runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read(&emitted).expect("the backtest writes forecasts");
    let mut made = BySeries::new();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| {
        add(&mut made, line);
    });
    made
}

/// Adds a forecast to `made`, without the members that only name its source. Returns its series and its digest.
fn add(made: &mut BySeries, forecast: &[u8]) -> (String, Digest) {
    let mut forecast: Value = serde_json::from_slice(forecast).expect("a forecast is JSON");
    let members = forecast.as_object_mut().expect("a forecast is an object");
    members.remove("stream");
    members.remove("input");
    let origin = members["origin"].as_i64().expect("a forecast has an origin");
    let series = members["series"].as_str().expect("a forecast has a series").to_owned();
    let mut hasher = DefaultHasher::new();
    forecast.to_string().hash(&mut hasher);
    let digest = (origin, hasher.finish());
    made.entry(series.clone()).or_default().push(digest);
    (series, digest)
}

/// The figures of a whole run.
pub struct Report {
    pub minutes: f64,
    pub seed: u64,
    pub faults: BTreeMap<FaultKind, u64>,
    pub records_in: u64,
    pub differences: Differences,
    pub longest_gap: f64,
    pub restores: Vec<f64>,
    pub exits: u32,
    pub rolled_back: usize,
    pub fenced: usize,
}

impl Report {
    /// Number of processes that ended, for any reason, and were restarted.
    fn kills_and_restarts(&self) -> u64 {
        use FaultKind as K;
        let ending = [K::KillReplica, K::KillBroker, K::AddReplica, K::RemoveReplica];
        let single: u64 = ending.iter().filter_map(|kind| self.faults.get(kind)).sum();
        single + 3 * self.faults.get(&K::RollingRestart).copied().unwrap_or(0) + u64::from(self.exits)
    }

    fn restore(&self, share: f64) -> f64 {
        let mut sorted = self.restores.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(((sorted.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0.0)
    }

    /// The report as a JSON object.
    pub fn json(&self) -> Value {
        let faults: BTreeMap<&str, u64> = self.faults.iter().map(|(kind, count)| (kind.name(), *count)).collect();
        json!({
            "minutes": self.minutes,
            "seed": self.seed,
            "faults": faults,
            "kills_and_restarts": self.kills_and_restarts(),
            "records_in": self.records_in,
            "forecasts_out": self.differences.out,
            "lost": self.differences.lost,
            "doubled": self.differences.doubled,
            "different": self.differences.different,
            "longest_gap_s": (self.longest_gap * 1000.0).round() / 1000.0,
            "restores": self.restores.len(),
            "restore_median_s": self.restore(0.5),
            "restore_longest_s": self.restore(1.0),
            "rolled_back": self.rolled_back,
            "fenced": self.fenced,
            "gave_up": self.exits,
        })
    }

    /// The report as a table.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("chaos for {} minutes, seed {}", self.minutes, self.seed)];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<38}{value:>10}"));
        for (kind, count) in &self.faults {
            line(&kind.name().replace('_', " "), count.to_string());
        }
        line("processes killed or ended and restarted", self.kills_and_restarts().to_string());
        line("transactions rolled back", self.rolled_back.to_string());
        line("members fenced", self.fenced.to_string());
        line("replicas that ended by themselves", self.exits.to_string());
        line("median start until serving, s", format!("{:.1}", self.restore(0.5)));
        line("longest start until serving, s", format!("{:.1}", self.restore(1.0)));
        line("longest time without a forecast, s", format!("{:.1}", self.longest_gap));
        line("records in", self.records_in.to_string());
        line("forecasts out", self.differences.out.to_string());
        line("lost", self.differences.lost.to_string());
        line("doubled", self.differences.doubled.to_string());
        line("different", self.differences.different.to_string());
        lines.join("\n") + "\n"
    }
}

#[test]
fn each_kind_of_difference_is_found() {
    let series = |digests: &[Digest]| BySeries::from([("a".to_owned(), digests.to_vec())]);
    let expected = series(&[(1, 10), (2, 20), (3, 30)]);
    let compare = |live: &[Digest]| Differences::compare(&series(live), &expected);
    assert!(compare(&[(1, 10), (2, 20), (3, 30)]).is_empty());
    assert_eq!(compare(&[(1, 10), (3, 30)]), Differences { out: 2, lost: 1, ..Differences::default() });
    assert_eq!(compare(&[(1, 10), (2, 20), (2, 20), (3, 30)]).doubled, 1);
    assert_eq!(compare(&[(1, 10), (2, 21), (3, 30)]).different, 1, "other content");
    assert_eq!(compare(&[(1, 10), (3, 30), (2, 20)]).different, 1, "out of order");
    assert_eq!(compare(&[(1, 10), (2, 20), (3, 30), (4, 40)]).different, 1, "without a record");
    assert_eq!(Differences::compare(&BySeries::new(), &expected).lost, 3);
}
