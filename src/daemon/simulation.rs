//! Simulation from a seed: replicas over the in-memory broker are killed, fenced, put to sleep in the middle of a transaction
//! and met by faults at chosen points while input, weights, topic growth, compaction and time go on. What is committed in the
//! end must equal, to the last byte, what one engine makes of the same input, taken one record at a time, with the
//! recorded changes of weights, seeing in advance what is recorded as seen.
//!
//! `scripts/simulate N --first-seed S` runs N seeds; the test suite runs a few thousand. The environment says which:
//! `FORETIDE_SIMULATION_SEEDS` (how many), `FORETIDE_SIMULATION_FIRST_SEED`, `FORETIDE_SIMULATION_THREADS`.

mod outcome;
mod replica;
mod restore;
mod stage;
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

/// What has happened, over all seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    seeds: u64,
    /// Processes ended between two turns, or in their sleep.
    kills: u64,
    /// Processes ended by a fault inside a call.
    crashes: u64,
    fences: u64,
    aborts: u64,
    commits: u64,
    /// Processes put to sleep inside a call.
    pauses: u64,
    /// Sessions that expired while the process lived on.
    expiries: u64,
    leaves: u64,
    outages: u64,
    growths: u64,
    forecasts: u64,
    refused: u64,
    /// Changes of weights that forecasts show.
    weights: u64,
    /// Times at which more was seen of what is known in advance.
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
        self.refused += other.refused;
        self.weights += other.weights;
        self.watermarks += other.watermarks;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds: {} kills, {} crashes in a call, {} fences, {} aborts, {} sleeps in a call, {} expired sessions, \
             {} orderly leaves, {} outages, {} topic growths, {} changes of weights, {} watermarks in advance; {} commits, {} forecasts and {} \
             refused records as undisturbed",
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
            self.weights,
            self.watermarks,
            self.commits,
            self.forecasts,
            self.refused
        )
    }
}

/// Runs the seeds on `threads` threads. The error is the lowest seed that was found to differ, and how.
fn simulate(first: u64, seeds: u64, threads: u64) -> Result<Totals, (u64, String)> {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + seeds);
    let totals = Mutex::new(Totals::default());
    let worst: Mutex<Option<(u64, String)>> = Mutex::new(None);
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
                        Ok(made) => own += made,
                        Err(panic) => {
                            // Those that others have begun are still run: one of them may be lower.
                            end.fetch_min(seed, Ordering::Relaxed);
                            let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
                            if worst.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                                *worst = Some((seed, text(&*panic)));
                            }
                        }
                    }
                }
                *totals.lock().unwrap_or_else(PoisonError::into_inner) += own;
            });
        }
    });
    match worst.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(totals.into_inner().unwrap_or_else(PoisonError::into_inner)),
        Some(worst) => Err(worst),
    }
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().cloned();
    said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_else(|| "a panic".into())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

#[test]
fn simulation_commits_what_an_undisturbed_run_makes() {
    let clock = SystemClock::new();
    let first = setting("FORETIDE_SIMULATION_FIRST_SEED", 1);
    let seeds = setting("FORETIDE_SIMULATION_SEEDS", 2_000);
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    match simulate(first, seeds, setting("FORETIDE_SIMULATION_THREADS", cores)) {
        Ok(totals) => {
            println!("simulation: {totals}; {:.1} s", clock.monotonic_micros() as f64 / 1e6);
            assert!(totals.forecasts > 0 && totals.watermarks > 0, "the simulation shows nothing");
        }
        Err((seed, difference)) => {
            println!("simulation: seed {seed} differs: {difference}");
            println!("simulation: replay it with: scripts/simulate 1 --first-seed {seed}");
            panic!("seed {seed} differs; scripts/simulate 1 --first-seed {seed} replays it");
        }
    }
}
