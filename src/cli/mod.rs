//! The command line: one module per command.

mod backtest;
mod check;
mod data;
pub mod demo;
mod failure;
mod files;
mod instance;
mod interrupt;
mod network;
mod output;
mod pretrain;
mod reset;
mod run;
mod runtime;
mod train;
mod training;
mod training_progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Forecasts every time series that flows through Kafka, live.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything in one process: an embedded broker, live data, the daemon, and its page
    Demo(demo::Arguments),
    /// Run the daemon
    Run(run::Arguments),
    /// Check a configuration and summarise it; starts nothing
    Check(check::Arguments),
    /// Forecast streams again from a time: sets positions and states anew while no instance runs
    Reset(reset::Arguments),
    /// Run a CSV file through the engine and report how well it was forecast
    Backtest(Box<backtest::Arguments>),
    /// Train offline, from a file or from a stream's topics, or show how far a network's gradients reach
    Train(Box<train::Arguments>),
    /// Train a network on generated series, before there is any stream
    Pretrain(Box<pretrain::Arguments>),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Reset(arguments) => reset::run(&arguments),
        Command::Backtest(arguments) => backtest::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Pretrain(arguments) => pretrain::run(&arguments),
    }
}
