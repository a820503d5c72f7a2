//! Deterministic simulation of exactly-once delivery.
//!
//! Each seed runs replicas over the in-memory broker. Replicas are killed, fenced, paused in the middle of a
//! transaction and hit by injected faults, while input, weights, topic growth, compaction and time go on. In the end
//! the committed output must equal, to the last byte, the output of one engine that processes the same input one
//! record at a time, with weights and future covariates from the recorded positions.
//!
//! `scripts/simulate N --first-seed S` runs N seeds; the test suite runs 2,000. Environment variables choose them:
//! `FORETIDE_SIMULATION_SEEDS` (how many), `FORETIDE_SIMULATION_FIRST_SEED`, `FORETIDE_SIMULATION_THREADS`.

mod outcome;
mod replica;
mod restore_tests;
mod scenario;
mod world;

use std::{
    any::Any,
    fmt,
    ops::AddAssign,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::env::{Clock, SystemClock};
use world::World;

/// Counts of events, summed over all seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    seeds: u64,
    /// Processes killed between two poll iterations, or while paused.
    kills: u64,
    /// Processes crashed inside a call.
    crashes: u64,
    fences: u64,
    aborts: u64,
    commits: u64,
    /// Processes paused inside a call.
    pauses: u64,
    /// Sessions that expired while their process ran on.
    expiries: u64,
    leaves: u64,
    outages: u64,
    growths: u64,
    forecasts: u64,
    rejected: u64,
    /// Positions at which new weights became active.
    activations: u64,
    /// Positions from which on more future covariates were seen.
    watermarks: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.kills += other.kills;
        self.crashes += other.crashes;
        self.fences += other.fences;
        self.aborts += other.aborts;
        self.commits += other.commits;
        self.pauses += other.pauses;
        self.expiries += other.expiries;
        self.leaves += other.leaves;
        self.outages += other.outages;
        self.growths += other.growths;
        self.forecasts += other.forecasts;
        self.rejected += other.rejected;
        self.activations += other.activations;
        self.watermarks += other.watermarks;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds: {} kills, {} crashes in a call, {} fences, {} aborts, {} pauses in a call, {} expired sessions, \
             {} leaves, {} outages, {} topic growths, {} weight activations, {} covariate watermarks; {} commits, \
             {} forecasts and {} rejected records as in the reference run",
            self.seeds,
            self.kills,
            self.crashes,
            self.fences,
            self.aborts,
            self.pauses,
            self.expiries,
            self.leaves,
            self.outages,
            self.growths,
            self.activations,
            self.watermarks,
            self.commits,
            self.forecasts,
            self.rejected
        )
    }
}

/// Runs the seeds on `threads` threads. The error is the lowest failing seed that was found, and its difference.
fn simulate(first: u64, seeds: u64, threads: u64) -> Result<Totals, (u64, String)> {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + seeds);
    let totals = Mutex::new(Totals::default());
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Totals::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    match std::panic::catch_unwind(|| World::new(seed).run()) {
                        Ok(counts) => own += counts,
                        Err(panic) => {
                            // Seeds that other threads have begun still run: one of them may be lower.
                            end.fetch_min(seed, Ordering::Relaxed);
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                                *failed = Some((seed, panic_message(&*panic)));
                            }
                        }
                    }
                }
                *totals.lock().unwrap_or_else(PoisonError::into_inner) += own;
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(totals.into_inner().unwrap_or_else(PoisonError::into_inner)),
        Some(failed) => Err(failed),
    }
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().cloned();
    let literal = || panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    message.or_else(literal).unwrap_or_else(|| "a panic".into())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

#[test]
fn the_simulation_commits_what_a_run_without_faults_commits() {
    let clock = SystemClock::new();
    let first = setting("FORETIDE_SIMULATION_FIRST_SEED", 1);
    let seeds = setting("FORETIDE_SIMULATION_SEEDS", 2_000);
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    match simulate(first, seeds, setting("FORETIDE_SIMULATION_THREADS", cores)) {
        Ok(totals) => {
            println!("simulation: {totals}; {:.1} s", clock.monotonic_micros() as f64 / 1e6);
            assert!(totals.forecasts > 0 && totals.watermarks > 0, "the simulation exercises nothing");
        }
        Err((seed, difference)) => {
            println!("simulation: seed {seed} differs: {difference}");
            println!("simulation: replay it with: scripts/simulate 1 --first-seed {seed}");
            panic!("seed {seed} differs; scripts/simulate 1 --first-seed {seed} replays it");
        }
    }
}
