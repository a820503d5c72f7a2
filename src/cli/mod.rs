//! The verbs.

mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a wrong configuration: `EX_CONFIG` of sysexits.h.
const WRONG_CONFIGURATION: u8 = 78;

/// Forecasts every time series that flows through Kafka, live.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Says everything that is wrong with a configuration, or what it amounts to; starts nothing
    Check(check::Arguments),
}

/// Parses the command line and runs the verb.
pub fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Check(arguments) => check::run(&arguments),
    }
}
