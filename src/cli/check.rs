//! `foretide check`: the configuration, without starting anything.

use std::path::PathBuf;
use std::process::ExitCode;

use super::WRONG_CONFIGURATION;
use crate::{env, settings};

/// What `foretide check` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; without it defaults and the environment alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints what is wrong, or what the configuration amounts to.
pub fn run(arguments: &Arguments) -> ExitCode {
    match settings::load(arguments.config.as_deref(), env::variables()) {
        Ok(settings) => {
            println!("ok\n{}", settings::summary(&settings, |_| None));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(WRONG_CONFIGURATION)
        }
    }
}
