//! `foretide reset`: forecasts streams again from a time.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use super::failure::{Failure, UNAVAILABLE, USAGE, WRONG_CONFIGURATION};
use crate::{
    broker::{Broker, kafka::KafkaBroker},
    daemon::{
        plan::Plan,
        reset::{PartitionReset, PartitionRole, Reset, ResetError},
        specs,
    },
    env::{self, Clock, SystemClock},
    settings::{self, ForecastStart},
};

/// Arguments of `foretide reset`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration file; without it, defaults and environment variables only
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where forecasts begin again: a time in RFC 3339 (of the records' timestamps), a duration back from now such as
    /// 7d, earliest or latest
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Only this stream; can be given several times
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Shows what the reset does, and does it.
pub fn run(arguments: &Arguments) -> ExitCode {
    match reset(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide reset: {what}");
            ExitCode::from(code)
        }
    }
}

fn reset(arguments: &Arguments) -> Result<(), Failure> {
    let wrong = |what: String| Failure(WRONG_CONFIGURATION, what);
    let settings = settings::load(arguments.config.as_deref(), env::variables())
        .map_err(|problems| wrong(problems.to_string()))?;
    let mut plan = specs::plan(&settings).map_err(|error| wrong(error.to_string()))?;
    let from = ForecastStart::parse(&arguments.from).filter(|from| *from != ForecastStart::Auto).ok_or_else(|| {
        let expected = "earliest, latest, a time such as 2026-11-01T00:00:00Z, or a duration such as 7d";
        Failure(USAGE, format!("--from {:?}: expected {expected}", arguments.from))
    })?;
    let streams = selected(&plan, &arguments.stream)?;
    let broker =
        KafkaBroker::new(specs::kafka_options(&settings, "reset")).map_err(|error| wrong(error.to_string()))?;
    let unavailable = |error: ResetError| {
        let code = if matches!(error, ResetError::SharedTopic { .. }) { USAGE } else { UNAVAILABLE };
        Failure(code, error.to_string())
    };
    let partitions = broker.partitions(&plan.state_topic);
    plan.state_partitions = partitions.map_err(|error| unavailable(error.into()))?.unwrap_or(1);
    let wall = SystemClock::new().wall_millis();
    let reset = Reset::find(&broker, &plan, &streams, from, wall).map_err(unavailable)?;
    println!("app {}: forecasts begin again from {}", plan.app, arguments.from);
    reset.partitions.iter().for_each(|partition| println!("  {}", describe(partition)));
    println!("  {} states of series in {} are deleted", reset.deleted(), plan.state_topic);
    for stream in &streams {
        println!(
            "  {} stays as it is: forecasts from there on are written again, and consumers see them twice; `input` and \
             `origin` of a record tell which are the same",
            plan.streams[*stream].forecasts_topic
        );
    }
    if arguments.dry_run {
        println!("nothing was changed (--dry-run)");
        return Ok(());
    }
    reset.apply(&broker, &plan).map_err(unavailable)?;
    println!("done; start the daemon to continue");
    Ok(())
}

/// The streams with these names, by their index in the plan; all of them without a name.
fn selected(plan: &Plan, names: &[String]) -> Result<BTreeSet<usize>, Failure> {
    if names.is_empty() {
        return Ok((0..plan.streams.len()).collect());
    }
    let known: Vec<&str> = plan.streams.iter().map(|stream| &*stream.engine.name).collect();
    let index = |name: &String| {
        let found = known.iter().position(|known| known == name);
        found
            .ok_or_else(|| Failure(USAGE, format!("there is no stream {name:?}; expected one of {}", known.join(", "))))
    };
    names.iter().map(index).collect()
}

fn describe(reset: &PartitionReset) -> String {
    let PartitionReset { partition, before, start, role } = reset;
    let before = before.map_or("none".to_owned(), |before| before.to_string());
    if *role == PartitionRole::Copies {
        return format!("{partition}: position {before}; copies before offset {} are passed over", start.emit_from);
    }
    let learnt = match start.emit_from - start.read_from {
        0 => String::new(),
        records => format!(", after learning from the {records} offsets before it"),
    };
    format!("{partition}: position {before}; forecasts again from offset {}{learnt}", start.emit_from)
}
