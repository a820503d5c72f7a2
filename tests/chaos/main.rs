//! Chaos on a real Kafka: three brokers, three replicas of the daemon, and a schedule of faults from a seed. Each
//! record must have exactly one forecast, in order, and equal to the last bit to the forecast of an undisturbed run.
//!
//! `scripts/chaos --minutes M --seed S` runs it with the variables `FORETIDE_CHAOS_MINUTES` (default 2),
//! `FORETIDE_CHAOS_SEED` (default 1) and `FORETIDE_CHAOS_REPORT` (a folder for `report.json` and `report.txt`).
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod feed;
mod fleet;
#[path = "../harness/mod.rs"]
mod harness;
mod schedule;
mod verdict;

use std::{collections::BTreeMap, path::Path, time::Duration};

use fleet::{Fleet, SESSION};
use foretide::{
    broker::{Broker, Partition, TopicSpec},
    env::{Clock, SystemClock},
};
use harness::{
    client::group_offset,
    cluster::{BROKERS, Cluster},
    kafka::Kafka,
    setting, wait_for,
};
use schedule::{Fault, FaultKind, Schedule};
use verdict::{Differences, Report};

const APP: &str = "chaos";
const INPUT: &str = "readings";
const FORECASTS: &str = "chaos.stream.forecasts";
const PARTITIONS: i32 = 6;
const REPLICAS: usize = 3;
/// Longest time for reading the rest of the input after the last fault.
const DRAIN_LIMIT: Duration = Duration::from_secs(240);
/// Interval of checks whether all replicas of partitions are in sync, while they are not, in microseconds.
const SYNC_CHECK: u64 = 1_000_000;

/// What ends a fault.
enum Repair {
    StartReplica(String),
    ResumeReplica(String),
    RemoveReplica(String),
    StartBroker(usize),
    ResumeBroker(usize),
    ResumeConnections(usize),
}

/// Name of a permanent replica.
fn replica(number: usize) -> String {
    format!("replica-{number}")
}

fn is_permanent(name: &str) -> bool {
    (0..REPLICAS).any(|number| replica(number) == name)
}

struct Chaos {
    clock: SystemClock,
    cluster: Cluster,
    fleet: Fleet,
    /// Repairs, each with its time in microseconds.
    repairs: Vec<(u64, Repair)>,
    faults: BTreeMap<FaultKind, u64>,
    added: u32,
    /// Whether the cluster survives the loss of a broker, and the time of that check in microseconds.
    in_sync: (bool, u64),
}

impl Chaos {
    fn now(&self) -> u64 {
        self.clock.monotonic_micros()
    }

    /// Injects a fault, where it is possible now.
    fn inject(&mut self, fault: Fault) {
        let running = self.fleet.running();
        let victim = (!running.is_empty()).then(|| running[fault.target % running.len()].clone());
        let broker = fault.target % BROKERS;
        let repair = match (fault.kind, victim) {
            (FaultKind::KillReplica, Some(name)) => {
                self.fleet.kill(&name);
                is_permanent(&name).then_some(Repair::StartReplica(name))
            }
            (FaultKind::PauseReplica, Some(name)) => {
                self.fleet.suspend(&name);
                Some(Repair::ResumeReplica(name))
            }
            (FaultKind::RemoveReplica, Some(name)) => {
                self.fleet.leave(&name);
                is_permanent(&name).then_some(Repair::StartReplica(name))
            }
            (FaultKind::AddReplica, _) => {
                self.added += 1;
                let name = format!("added-{}", self.added);
                self.fleet.start(&name);
                Some(Repair::RemoveReplica(name))
            }
            (FaultKind::KillBroker, _) if self.in_sync.0 => {
                self.cluster.kill_broker(broker);
                Some(Repair::StartBroker(broker))
            }
            (FaultKind::PauseBroker, _) if self.in_sync.0 => {
                self.cluster.broker(broker).iter().for_each(|process| process.suspend());
                Some(Repair::ResumeBroker(broker))
            }
            (FaultKind::CutConnections, _) => {
                self.cluster.proxy(broker).cut();
                None
            }
            (FaultKind::PauseConnections, _) => {
                self.cluster.proxy(broker).pause(true);
                Some(Repair::ResumeConnections(broker))
            }
            (FaultKind::RollingRestart, _) => {
                self.rolling_restart();
                None
            }
            // There is no running replica, or the cluster does not survive the loss of a second broker.
            _ => return,
        };
        if matches!(fault.kind, FaultKind::KillBroker | FaultKind::PauseBroker) {
            self.in_sync = (false, self.now() + fault.lasts.as_micros() as u64);
        }
        *self.faults.entry(fault.kind).or_default() += 1;
        println!("{:7.1} s: {} {}", self.now() as f64 / 1e6, fault.kind.name(), fault.target);
        self.repairs.extend(repair.map(|repair| (self.now() + fault.lasts.as_micros() as u64, repair)));
    }

    /// Waits until all faults have ended, then restarts the replicas, each when the one before is ready.
    fn rolling_restart(&mut self) {
        while !self.repairs.is_empty() {
            self.pass();
        }
        for name in (0..REPLICAS).map(replica) {
            self.fleet.leave(&name);
            self.pass_until(Fleet::all_left);
            self.fleet.start(&name);
            self.pass_until(Fleet::all_ready);
        }
    }

    fn pass_until(&mut self, done: impl Fn(&Fleet) -> bool) {
        let until = self.now() + 40_000_000;
        while !done(&self.fleet) && self.now() < until {
            self.pass();
        }
    }

    /// Ends the faults whose repair is due by `until`.
    fn repair(&mut self, until: u64) {
        let (due, later) = std::mem::take(&mut self.repairs).into_iter().partition(|(at, _)| *at <= until);
        self.repairs = later;
        let due: Vec<(u64, Repair)> = due;
        for (_, repair) in due {
            match repair {
                Repair::StartReplica(name) => self.fleet.start(&name),
                Repair::ResumeReplica(name) => self.fleet.resume(&name),
                Repair::RemoveReplica(name) => self.fleet.leave(&name),
                Repair::StartBroker(number) => self.cluster.start_broker(number),
                Repair::ResumeBroker(number) => {
                    self.cluster.broker(number).iter().for_each(|process| process.resume());
                }
                Repair::ResumeConnections(number) => self.cluster.proxy(number).pause(false),
            }
        }
    }

    /// Sleeps for a moment, ends due faults, and checks the replicas.
    fn pass(&mut self) {
        std::thread::sleep(Duration::from_millis(20));
        self.repair(self.now());
        self.fleet.check();
        if !self.in_sync.0 && self.now() >= self.in_sync.1 + SYNC_CHECK {
            self.in_sync = (self.cluster.is_in_sync(), self.now());
        }
    }

    fn run(&mut self, schedule: Schedule, minutes: f64) {
        let end = self.now() + (minutes * 60e6) as u64;
        for fault in schedule {
            let at = self.now() + fault.after.as_micros() as u64;
            while self.now() < at.min(end) {
                self.pass();
            }
            if self.now() >= end {
                break;
            }
            self.inject(fault);
        }
        self.repair(u64::MAX);
    }
}

/// Runs the chaos, from the start of the brokers to the report.
fn chaos(minutes: f64, seed: u64) -> Report {
    let clock = SystemClock::new();
    let cluster = Cluster::start();
    println!("three brokers after {} ms", clock.monotonic_micros() / 1000);
    let kafka = Kafka::at(&cluster.servers, &cluster.jars);
    let broker = kafka.broker();
    let plan = TopicSpec {
        name: INPUT.into(),
        partitions: PARTITIONS,
        compacted: false,
        log_append_time: false,
        max_record_bytes: 1 << 20,
    };
    broker.create(&plan).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.csv");
    let fleet = Fleet::new(APP, INPUT, &cluster.proxied());
    let mut chaos =
        Chaos { clock, cluster, fleet, repairs: Vec::new(), faults: BTreeMap::new(), added: 0, in_sync: (false, 0) };
    (0..REPLICAS).for_each(|number| chaos.fleet.start(&replica(number)));
    wait_for("the replicas to be ready", Duration::from_secs(120), || {
        chaos.pass();
        chaos.fleet.all_ready().then_some(())
    });
    let servers = chaos.cluster.servers.clone();
    let feed = feed::produce(&servers, INPUT, &input, seed);
    let gaps = feed::watch_gaps(&servers, FORECASTS, PARTITIONS);
    chaos.run(Schedule::new(seed, SESSION), minutes);
    let records_in = feed.stop();
    let ends: Vec<i64> =
        (0..PARTITIONS).map(|number| broker.offsets(&Partition { topic: INPUT.into(), number }).unwrap().end).collect();
    assert_eq!(ends.iter().sum::<i64>() as u64, records_in, "each record is produced once");
    let until = chaos.now() + DRAIN_LIMIT.as_micros() as u64;
    let reached = |number: i32| group_offset(&kafka, APP, INPUT, number).unwrap_or(0);
    while chaos.now() < until && !(0..).zip(&ends).all(|(number, end)| reached(number) >= *end) {
        chaos.pass();
    }
    for (number, end) in (0..).zip(&ends).filter(|(number, end)| reached(*number) < **end) {
        println!("{INPUT}[{number}] was read to {} of {end}: {:?}", reached(number), chaos.fleet.health());
    }
    let longest_gap = gaps.stop();
    let failed = chaos.fleet.leave_all();
    let differences = Differences::find(&kafka, FORECASTS, &input);
    let report = Report {
        minutes,
        seed,
        faults: chaos.faults,
        records_in,
        longest_gap,
        restores: chaos.fleet.restores.clone(),
        exits: chaos.fleet.exits,
        rolled_back: chaos.fleet.count_in_logs("transaction rolled back"),
        fenced: chaos.fleet.count_in_logs("another instance has taken over")
            + chaos.fleet.count_in_logs("the consumer group has removed this member"),
        differences,
    };
    if !report.differences.is_empty() || !failed.is_empty() {
        println!("{}\n{}", report.table(), chaos.fleet.ends_of_logs());
        println!("the replicas' logs are in {}", chaos.fleet.keep_logs().display());
        println!("{}", chaos.cluster.logs());
        println!("the brokers' data are in {}", chaos.cluster.keep().display());
        println!("the input is in {}", folder.keep().display());
    }
    assert!(failed.is_empty(), "SIGTERM ends each replica with success, but not {failed:?}");
    report
}

#[test]
fn chaos_neither_loses_nor_duplicates_nor_changes_a_forecast() {
    let report = chaos(setting("FORETIDE_CHAOS_MINUTES", 2.0), setting("FORETIDE_CHAOS_SEED", 1));
    println!("{}", report.table());
    if let Ok(folder) = std::env::var("FORETIDE_CHAOS_REPORT") {
        let folder = Path::new(&folder);
        std::fs::write(folder.join("report.txt"), report.table()).unwrap();
        std::fs::write(folder.join("report.json"), format!("{}\n", report.json())).unwrap();
    }
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    assert!(report.faults.len() > 1 && report.records_in > 0, "there must be faults and records");
}
