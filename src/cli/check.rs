//! `foretide check`: the configuration, without starting anything.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use super::data::{SAMPLE, common_seasons, seasons_text};
use super::failure::{UNAVAILABLE, WRONG_CONFIGURATION};
use crate::{
    broker::{Broker, BrokerError, Partition, StartPosition, kafka::KafkaBroker},
    daemon::{history, permissions, plan::Plan, sizing, specs, topics},
    dashboard::http::ListenerSpec,
    env,
    settings::{self, Settings},
};

/// Newest records of each partition in which seasons are looked for.
const NEWEST_RECORDS: i64 = 20_000;
/// How long a topic is read to see whether it may be; an answer comes sooner.
const READ_WAIT: Duration = Duration::from_secs(5);

/// What `foretide check` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; without it defaults and the environment alone
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also asks the cluster: topics, their partitions, and what is permitted, but for writing; writes no record
    #[arg(long)]
    connect: bool,
    /// Also shows the commands that permit USER (such as User:foretide) all that is needed, and no more
    #[arg(long, value_name = "USER")]
    acls: Option<String>,
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
    let (plan, broker) = match rooms(&settings) {
        Ok(rooms) => rooms,
        Err(error) => {
            eprintln!("foretide: {error:#}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    println!("ok\n{}", settings::summary(&settings, |stream| sizing::footprint(&settings, stream).ok()));
    if let Some(user) = &arguments.acls {
        println!("acls");
        let servers = settings.kafka.brokers.join(",");
        let needed = permissions::required(&plan, settings.role, settings.kafka.create_topics);
        permissions::commands(&needed, &servers, user).iter().for_each(|command| println!("  {command}"));
    }
    if !arguments.connect {
        return ExitCode::SUCCESS;
    }
    match connect(&settings, &plan, &broker) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNAVAILABLE),
        Err(error) => {
            eprintln!("foretide: {error:#}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

/// What only the rooms themselves can refuse, such as a time zone that this build does not know or a key that fits no
/// certificate.
fn rooms(settings: &Settings) -> anyhow::Result<(Plan, KafkaBroker)> {
    let plan = specs::plan(settings)?;
    ListenerSpec::from_settings(&settings.http)?;
    Ok((plan, KafkaBroker::new(specs::kafka_options(settings, "check"))?))
}

/// Prints what the cluster has of each topic, and what it permits; whether that will do.
fn connect(settings: &Settings, plan: &Plan, broker: &KafkaBroker) -> anyhow::Result<bool> {
    let mut good = true;
    let mut inputs = BTreeMap::new();
    println!("cluster");
    for topic in plan.topics() {
        let what = match permitted(partitions(broker, &topic, true))? {
            Ok(Some(count)) => {
                inputs.insert(topic.clone(), count);
                format!("{count} partitions")
            }
            Ok(None) => {
                good = false;
                "MISSING: create it, or correct its name".into()
            }
            Err(why) => {
                good = false;
                why
            }
        };
        println!("  in     {topic}: {what}");
    }
    for (stream, known) in plan.streams.iter().filter_map(|stream| Some((stream, stream.future_covariates.as_ref()?))) {
        let what = match permitted(partitions(broker, &known.topic, true))? {
            Ok(None) => Err("MISSING: create it, or correct its name".to_owned()),
            Ok(Some(count)) => {
                let beside = stream.topics.iter().filter_map(|topic| Some((topic, *inputs.get(topic)?)));
                topics::partition_count_mismatch(&known.topic, count, beside)
                    .map_or(Ok(format!("{count} partitions")), Err)
            }
            Err(why) => Err(why),
        };
        good &= what.is_ok();
        println!("  known  {}: {}", known.topic, what.unwrap_or_else(|why| why));
    }
    let widest = inputs.values().copied().max().unwrap_or(1);
    for needed in topics::output_topics(plan, widest) {
        let read = topics::reads_own_topic(plan, settings.role, &needed.name);
        let what = match permitted(partitions(broker, &needed.name, read))? {
            Ok(Some(count)) => format!("{count} partitions"),
            Ok(None) if settings.kafka.create_topics => {
                format!("will be created with {} partitions", needed.partitions)
            }
            Ok(None) => {
                good = false;
                topics::missing_topic_message(&needed)
            }
            Err(why) => {
                good = false;
                why
            }
        };
        println!("  out    {}: {what}", needed.name);
    }
    // An id of its own: that of an instance would fence it.
    if let Err(why) = permitted(broker.publisher(&format!("{}.check", plan.app)))? {
        good = false;
        println!("  id     {}.…: {why}", plan.app);
    }
    for stream in plan.streams.iter().filter(|_| good) {
        let values = history::newest_values(broker, stream, NEWEST_RECORDS, SAMPLE)?;
        let found = common_seasons(values.into_iter());
        let what = match &found[..] {
            [] => "none that its newest records show".to_owned(),
            found => seasons_text(found),
        };
        println!("  season {}: {what}; configured: {} steps", stream.engine.name, stream.engine.series.season);
    }
    Ok(good)
}

/// How many partitions a topic has, where it exists; and, where it is read, whether it may be.
fn partitions(broker: &KafkaBroker, topic: &str, read: bool) -> Result<Option<i32>, BrokerError> {
    let found = broker.partitions(topic)?;
    if read && found.is_some() {
        let partition = Partition { topic: topic.into(), number: 0 };
        broker.reader(&partition, StartPosition::Earliest)?.read(READ_WAIT, 1)?;
    }
    Ok(found)
}

/// An answer, or in words that it is not permitted. Other errors end the check.
fn permitted<T>(answer: Result<T, BrokerError>) -> Result<Result<T, String>, BrokerError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(BrokerError::Authorization(why)) => Ok(Err(format!("FORBIDDEN: {why}"))),
        Err(error) => Err(error),
    }
}
