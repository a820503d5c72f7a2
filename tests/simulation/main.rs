//! Deterministic simulation of exactly-once delivery.
//!
//! Each seed runs replicas over the in-memory broker. Replicas are killed, fenced, paused in the middle of a
//! transaction and hit by injected faults, while input, weights, topic growth, compaction and time go on. In the end
//! the committed output must equal, to the last byte, the output of one engine that processes the same input one
//! record at a time, with weights and future covariates from the recorded positions.
//!
//! `scripts/simulate N --first-seed S` runs N seeds; the test suite runs 2,000. Environment variables choose them:
//! `FORETIDE_SIMULATION_SEEDS` (how many), `FORETIDE_SIMULATION_FIRST_SEED`, `FORETIDE_SIMULATION_THREADS`.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod closing_tests;
mod fixture;
mod history_tests;
mod memory;
mod outcome;
mod repartition;
mod repartition_tests;
mod replica;
mod restore_tests;
mod scenario;
mod series_end_tests;
mod settings_tests;
mod start_tests;
mod world;

use std::any::Any;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use foretide::env::{Clock, SystemClock};
use world::World;

/// Counters with a name each: their struct, their sum, and the line that shows them.
macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// Counts of events, summed over all seeds.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        struct Totals { $($(#[$doc])* $name: u64,)* }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Totals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&[$(format!("{} {}", self.$name, $text)),*].join(", "))
            }
        }
    };
}

totals! {
    seeds: "seeds",
    /// Processes killed between two poll iterations, or while paused.
    kills: "kills",
    crashes: "crashes in a call",
    fences: "fences",
    aborts: "aborts",
    pauses: "pauses in a call",
    /// Sessions that expired while their process ran on.
    expiries: "expired sessions",
    leaves: "leaves",
    outages: "outages",
    growths: "topic growths",
    recreations: "recreated topics",
    /// Positions at which new weights became active.
    activations: "weight activations",
    /// Positions from which on more future covariates were seen.
    watermarks: "covariate watermarks",
    silent: "series ended by silence",
    evicted: "evicted series",
    deleted: "deleted series",
    copies: "copies to a repartition topic",
    /// Partitions whose older input was learnt from and not forecast.
    warm_ups: "warm-ups",
    commits: "commits",
    forecasts: "forecasts",
    rejected: "rejected records",
    ahead: "of them ahead of their time",
    duplicates: "of them duplicates",
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
            let exercised = [
                totals.forecasts,
                totals.watermarks,
                totals.warm_ups,
                totals.silent,
                totals.evicted,
                totals.deleted,
                totals.ahead,
                totals.duplicates,
                totals.copies,
            ];
            assert!(seeds < 100 || !exercised.contains(&0), "the simulation leaves something out: {exercised:?}");
        }
        Err((seed, difference)) => {
            println!("simulation: seed {seed} differs: {difference}");
            println!("simulation: replay it with: scripts/simulate 1 --first-seed {seed}");
            panic!("seed {seed} differs; scripts/simulate 1 --first-seed {seed} replays it");
        }
    }
}
