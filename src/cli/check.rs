//! `foretide check`: the configuration, without starting anything.

use std::{path::PathBuf, process::ExitCode};

use super::data::{SAMPLE, common_seasons, seasons_text};
use super::failure::{UNAVAILABLE, WRONG_CONFIGURATION};
use crate::{
    broker::{Broker, kafka::KafkaBroker},
    daemon::{history, sizing, specs, topics},
    env,
    settings::{self, Settings},
};

/// Newest records of each partition in which seasons are looked for.
const NEWEST_RECORDS: i64 = 20_000;

/// What `foretide check` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; without it defaults and the environment alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also asks the cluster: topics and their partitions; writes nothing
    #[arg(long)]
    connect: bool,
}

/// Prints what is wrong, or what the configuration amounts to.
pub fn run(arguments: &Arguments) -> ExitCode {
    let settings = match settings::load(arguments.config.as_deref(), env::variables()) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    // What only the rooms themselves can refuse, such as a time zone that this build does not know.
    if let Err(error) = specs::plan(&settings) {
        eprintln!("foretide: {error}");
        return ExitCode::from(WRONG_CONFIGURATION);
    }
    println!("ok\n{}", settings::summary(&settings, |stream| sizing::bytes_per_series(&settings, stream).ok()));
    if !arguments.connect {
        return ExitCode::SUCCESS;
    }
    match connect(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNAVAILABLE),
        Err(error) => {
            eprintln!("foretide: {error:#}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

/// Prints what the cluster has of each topic; whether that will do.
fn connect(settings: &Settings) -> anyhow::Result<bool> {
    let plan = specs::plan(settings)?;
    let broker = KafkaBroker::new(specs::kafka_options(settings, "check"))?;
    let mut good = true;
    let mut widest = 1;
    println!("cluster");
    for topic in plan.topics() {
        let found = broker.partitions(&topic)?;
        widest = widest.max(found.unwrap_or(1));
        good &= found.is_some();
        let what =
            found.map_or("MISSING: create it, or correct its name".into(), |count| format!("{count} partitions"));
        println!("  in     {topic}: {what}");
    }
    for (stream, known) in plan.streams.iter().filter_map(|stream| Some((stream, stream.known.as_ref()?))) {
        let what = match broker.partitions(&known.topic)? {
            None => Err("MISSING: create it, or correct its name".to_owned()),
            Some(count) => {
                let mut inputs = Vec::new();
                for topic in &stream.topics {
                    inputs.extend(broker.partitions(topic)?.map(|count| (topic, count)));
                }
                topics::uneven(&known.topic, count, inputs).map_or(Ok(format!("{count} partitions")), Err)
            }
        };
        good &= what.is_ok();
        println!("  known  {}: {}", known.topic, what.unwrap_or_else(|why| why));
    }
    for needed in topics::needed(&plan, widest) {
        let found = broker.partitions(&needed.name)?;
        let what = match found {
            Some(count) => format!("{count} partitions"),
            None if settings.kafka.create_topics => format!("will be created with {} partitions", needed.partitions),
            None => {
                good = false;
                topics::missing(&needed)
            }
        };
        println!("  out    {}: {what}", needed.name);
    }
    for stream in plan.streams.iter().filter(|_| good) {
        let values = history::newest_values(&broker, stream, NEWEST_RECORDS, SAMPLE)?;
        let found = common_seasons(values.into_iter());
        let what = match &found[..] {
            [] => "none that its newest records show".to_owned(),
            found => seasons_text(found),
        };
        println!("  season {}: {what}; configured: {} steps", stream.engine.name, stream.engine.series.season);
    }
    Ok(good)
}
