//! Chaos on a real Kafka: three brokers, three replicas of the daemon, and a schedule of faults from a seed. Every
//! record that went in must have exactly one forecast, in order, the same to the last bit as in an undisturbed run.
//!
//! `scripts/chaos --minutes M --seed S` runs it; `FORETIDE_CHAOS_MINUTES` (default 2), `FORETIDE_CHAOS_SEED` (default
//! 1) and `FORETIDE_CHAOS_REPORT` (a folder for `report.json` and `report.txt`) are what it passes on.
#![allow(clippy::unwrap_used)] // a panic is how a test fails, in its helpers too

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
use schedule::{Fault, Kind, Schedule};
use verdict::{Differences, Report};

const APP: &str = "chaos";
const INPUT: &str = "readings";
const FORECASTS: &str = "chaos.stream.forecasts";
const PARTITIONS: i32 = 6;
const REPLICAS: usize = 3;
/// How long everything may take to be read to its end once the faults are over.
const SETTLE: Duration = Duration::from_secs(240);
/// How often the copies are looked at while they are not known to be in step, in microseconds.
const LOOK: u64 = 1_000_000;

/// What makes a fault good again.
enum Repair {
    StartReplica(String),
    WakeReplica(String),
    RemoveReplica(String),
    StartBroker(usize),
    WakeBroker(usize),
    Release(usize),
}

/// The name of one of the replicas that are always meant to run.
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
    /// By the microsecond at which they are due.
    repairs: Vec<(u64, Repair)>,
    faults: BTreeMap<Kind, u64>,
    added: u32,
    /// Whether a broker may be lost: as of the last look, and when that was.
    spare: (bool, u64),
}

impl Chaos {
    fn now(&self) -> u64 {
        self.clock.monotonic_micros()
    }

    /// Carries out a fault, if it can be done now.
    fn strike(&mut self, fault: Fault) {
        let awake = self.fleet.awake();
        let victim = (!awake.is_empty()).then(|| awake[fault.target % awake.len()].clone());
        let broker = fault.target % BROKERS;
        let repair = match (fault.kind, victim) {
            (Kind::KillReplica, Some(name)) => {
                self.fleet.kill(&name);
                is_permanent(&name).then_some(Repair::StartReplica(name))
            }
            (Kind::PauseReplica, Some(name)) => {
                self.fleet.sleep(&name);
                Some(Repair::WakeReplica(name))
            }
            (Kind::RemoveReplica, Some(name)) => {
                self.fleet.leave(&name);
                is_permanent(&name).then_some(Repair::StartReplica(name))
            }
            (Kind::AddReplica, _) => {
                self.added += 1;
                let name = format!("added-{}", self.added);
                self.fleet.start(&name);
                Some(Repair::RemoveReplica(name))
            }
            (Kind::KillBroker, _) if self.spare.0 => {
                self.cluster.kill_broker(broker);
                Some(Repair::StartBroker(broker))
            }
            (Kind::PauseBroker, _) if self.spare.0 => {
                self.cluster.broker(broker).iter().for_each(|process| process.sleep());
                Some(Repair::WakeBroker(broker))
            }
            (Kind::CutConnections, _) => {
                self.cluster.proxy(broker).cut();
                None
            }
            (Kind::HoldConnections, _) => {
                self.cluster.proxy(broker).pause(true);
                Some(Repair::Release(broker))
            }
            (Kind::RollingRestart, _) => {
                self.roll();
                None
            }
            // The second broker of three, or nobody there to be hurt: not now.
            _ => return,
        };
        if matches!(fault.kind, Kind::KillBroker | Kind::PauseBroker) {
            self.spare = (false, self.now() + fault.lasts.as_micros() as u64);
        }
        *self.faults.entry(fault.kind).or_default() += 1;
        println!("{:7.1} s: {} {}", self.now() as f64 / 1e6, fault.kind.name(), fault.target);
        self.repairs.extend(repair.map(|repair| (self.now() + fault.lasts.as_micros() as u64, repair)));
    }

    /// Once all is well, restarts the replicas, each when the one before is ready.
    fn roll(&mut self) {
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

    /// Makes good what is due by `until`.
    fn repair(&mut self, until: u64) {
        let (due, later) = std::mem::take(&mut self.repairs).into_iter().partition(|(at, _)| *at <= until);
        self.repairs = later;
        let due: Vec<(u64, Repair)> = due;
        for (_, repair) in due {
            match repair {
                Repair::StartReplica(name) => self.fleet.start(&name),
                Repair::WakeReplica(name) => self.fleet.wake(&name),
                Repair::RemoveReplica(name) => self.fleet.leave(&name),
                Repair::StartBroker(number) => self.cluster.start_broker(number),
                Repair::WakeBroker(number) => {
                    self.cluster.broker(number).iter().for_each(|process| process.wake());
                }
                Repair::Release(number) => self.cluster.proxy(number).pause(false),
            }
        }
    }

    /// Lets a little time pass.
    fn pass(&mut self) {
        std::thread::sleep(Duration::from_millis(20));
        self.repair(self.now());
        self.fleet.look();
        if !self.spare.0 && self.now() >= self.spare.1 + LOOK {
            self.spare = (self.cluster.is_in_sync(), self.now());
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
            self.strike(fault);
        }
        self.repair(u64::MAX);
    }
}

/// Everything from the start of the brokers to the report.
fn chaos(minutes: f64, seed: u64) -> Report {
    let clock = SystemClock::new();
    let cluster = Cluster::start();
    println!("three brokers after {} ms", clock.monotonic_micros() / 1000);
    let kafka = Kafka::at(&cluster.servers, &cluster.jars);
    let broker = kafka.broker();
    let plan = TopicSpec { name: INPUT.into(), partitions: PARTITIONS, compacted: false, max_record_bytes: 1 << 20 };
    broker.create(&plan).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.csv");
    let fleet = Fleet::new(APP, INPUT, &cluster.proxied());
    let mut chaos =
        Chaos { clock, cluster, fleet, repairs: Vec::new(), faults: BTreeMap::new(), added: 0, spare: (false, 0) };
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
    assert_eq!(ends.iter().sum::<i64>() as u64, records_in, "every record went in once");
    let until = chaos.now() + SETTLE.as_micros() as u64;
    let reached = |number: i32| group_offset(&kafka, APP, INPUT, number).unwrap_or(0);
    while chaos.now() < until && !(0..).zip(&ends).all(|(number, end)| reached(number) >= *end) {
        chaos.pass();
    }
    for (number, end) in (0..).zip(&ends).filter(|(number, end)| reached(*number) < **end) {
        println!("{INPUT}[{number}] was read to {} of {end}: {:?}", reached(number), chaos.fleet.health());
    }
    let longest_gap = gaps.stop();
    let ended_well = chaos.fleet.leave_all();
    let differences = Differences::find(&kafka, FORECASTS, &input);
    let report = Report {
        minutes,
        seed,
        faults: chaos.faults,
        records_in,
        longest_gap,
        restores: chaos.fleet.restores.clone(),
        gave_up: chaos.fleet.gave_up,
        rolled_back: chaos.fleet.said("transaction rolled back"),
        fenced: chaos.fleet.said("another instance has taken over"),
        differences,
    };
    if !report.differences.none() || !ended_well {
        println!("{}\n{}", report.table(), chaos.fleet.ends_of_logs());
        println!("the replicas' logs are in {}", chaos.fleet.keep_logs().display());
        println!("{}", chaos.cluster.logs());
        println!("the input is in {}", folder.keep().display());
    }
    assert!(ended_well, "SIGTERM ends every replica in good order");
    report
}

#[test]
fn chaos_loses_doubles_and_changes_nothing() {
    let report = chaos(setting("FORETIDE_CHAOS_MINUTES", 2.0), setting("FORETIDE_CHAOS_SEED", 1));
    println!("{}", report.table());
    if let Ok(folder) = std::env::var("FORETIDE_CHAOS_REPORT") {
        let folder = Path::new(&folder);
        std::fs::write(folder.join("report.txt"), report.table()).unwrap();
        std::fs::write(folder.join("report.json"), format!("{}\n", report.json())).unwrap();
    }
    assert!(report.differences.none(), "{:?}", report.differences);
    assert!(report.faults.len() > 1 && report.records_in > 0, "the chaos shows nothing");
}
