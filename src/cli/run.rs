//! `foretide run`: the daemon, until it is asked to stop.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use super::{failure::WRONG_CONFIGURATION, instance::Instance, runtime};
use crate::{
    broker::kafka::KafkaBroker,
    daemon::{Daemon, DaemonError, specs},
    env,
    settings::{self, Settings},
    telemetry::{self, Exposition},
};

/// Arguments of `foretide run`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration file; without it, defaults and environment variables only
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Role of this process: all, score or train; overrides the configuration
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

/// Runs until SIGTERM or Ctrl-C, then ends in good order. SIGHUP does not end it.
pub fn run(arguments: &Arguments) -> ExitCode {
    // The flag is the topmost layer of the configuration, above file and environment.
    let role = arguments.role.iter().map(|role| ("FORETIDE__ROLE".to_owned(), role.clone()));
    let settings = match settings::load(arguments.config.as_deref(), env::variables().chain(role)) {
        Ok(settings) => settings,
        Err(problems) => {
            let ignored = settings::ignored_variables(env::variables().map(|(name, _)| name));
            ignored.iter().for_each(|variable| eprintln!("warning: {variable}"));
            eprintln!("{problems}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    match serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foretide: {error:#}");
            let wrong = error.downcast_ref::<DaemonError>().is_some_and(DaemonError::is_configuration);
            if wrong { ExitCode::from(WRONG_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

fn serve(settings: &Settings) -> anyhow::Result<()> {
    telemetry::logs::start(log_format(settings), &settings.log.level.to_string())?;
    for variable in settings::ignored_variables(env::variables().map(|(name, _)| name)) {
        tracing::warn!("{variable}");
    }
    let exposition = Exposition::install()?;
    let claimed = Instance::claim(settings)?;
    let instance = &*claimed.name;
    let options = specs::kafka_options(settings, instance);
    let broker = Arc::new(KafkaBroker::new(options).map_err(DaemonError::Client)?);
    runtime::start()?.block_on(async {
        // The handler comes first, so that a stop during the start ends in good order too.
        let stop = runtime::daemon_stop_signal()?;
        let daemon = Daemon::start(settings, broker, exposition, instance, &settings.app).await?;
        tracing::info!(address = %daemon.address(), app = settings.app, instance, role = %settings.role, "started");
        daemon.run(stop).await?;
        tracing::info!("stopped");
        Ok(())
    })
}

fn log_format(settings: &Settings) -> telemetry::LogFormat {
    match settings.log.format {
        settings::LogFormat::Text => telemetry::LogFormat::Text,
        settings::LogFormat::Json => telemetry::LogFormat::Json,
    }
}
