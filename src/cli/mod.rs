//! The verbs.

mod backtest;
mod check;
mod data;
pub mod demo;
mod failure;
mod files;
mod interrupt;
mod network;
mod run;
mod train;
mod training;

use std::{future::Future, process::ExitCode};

use clap::{Parser, Subcommand};

/// Forecasts every time series that flows through Kafka, live.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows everything in one process: broker, live data, the daemon, and a page to look at
    Demo(demo::Arguments),
    /// Runs the daemon
    Run(run::Arguments),
    /// Says everything that is wrong with a configuration, or what it amounts to; starts nothing
    Check(check::Arguments),
    /// Runs a CSV file through the engine and tells how well it was forecast
    Backtest(Box<backtest::Arguments>),
    /// Trains off line, from a file or from a stream's topics, or shows how far a network's gradients reach
    Train(Box<train::Arguments>),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Backtest(arguments) => backtest::run(&arguments),
        Verb::Train(arguments) => train::run(&arguments),
    }
}

/// HTTP, signals and timers need little.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("http").enable_all().build()
}

/// Resolves on SIGTERM and on an interrupt from the terminal.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
