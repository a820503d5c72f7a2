//! `foretide check`: checks a configuration without starting anything.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use super::data::{SAMPLE, common_seasons, seasons_text};
use super::failure::{UNAVAILABLE, WRONG_CONFIGURATION};
use crate::{
    broker::{Broker, BrokerError, Partition, StartPosition, kafka::KafkaBroker},
    daemon::{history, permissions, plan::Plan, sizing, specs, topics},
    dashboard::http::ListenerSpec,
    env,
    settings::{self, Settings},
    wire::dead_letter,
};

/// Newest records of each partition in which seasons are searched for.
const NEWEST_RECORDS: i64 = 20_000;
/// Longest wait for the records of a topic whose read permission is checked.
const READ_WAIT: Duration = Duration::from_secs(5);

/// The largest dead letter, in bytes: its value, its key and its headers.
const DEAD_LETTER_BYTES: usize = dead_letter::MAX_PAYLOAD_BYTES + dead_letter::MAX_KEY_BYTES + 4_096;

/// Arguments of `foretide check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration file; without it, defaults and environment variables only
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also check the cluster: topics, partitions and permissions except for writing; writes no record
    #[arg(long)]
    connect: bool,
    /// Also print the commands that grant USER (such as User:foretide) exactly the permissions needed
    #[arg(long, value_name = "USER")]
    acls: Option<String>,
}

/// Prints the configuration's problems, or its summary.
pub fn run(arguments: &Arguments) -> ExitCode {
    let settings = match settings::load(arguments.config.as_deref(), env::variables()) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    let (plan, broker) = match build(&settings) {
        Ok(built) => built,
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

/// Builds what the settings describe. This finds errors that only the parts themselves detect, such as an unknown time
/// zone or a key that does not belong to its certificate.
fn build(settings: &Settings) -> anyhow::Result<(Plan, KafkaBroker)> {
    let plan = specs::plan(settings)?;
    ListenerSpec::from_settings(&settings.http)?;
    Ok((plan, KafkaBroker::new(specs::kafka_options(settings, "check"))?))
}

/// Prints which topics the cluster has and what it permits. Returns whether the daemon can run on it.
fn connect(settings: &Settings, plan: &Plan, broker: &KafkaBroker) -> anyhow::Result<bool> {
    let mut good = true;
    let mut inputs = BTreeMap::new();
    println!("cluster");
    let mut report = |kind: &str, topic: &str, found: Result<String, String>| {
        good &= found.is_ok();
        println!("  {kind:<6} {topic}: {}", found.unwrap_or_else(|problem| problem));
    };
    let counted = |count: i32| format!("{count} partitions");
    let missing = || "MISSING: create it, or correct its name".to_owned();
    for topic in plan.topics() {
        let found = permitted(partitions(broker, &topic, true))?.and_then(|count| count.ok_or_else(missing));
        report("in", &topic, found.clone().map(counted));
        inputs.extend(found.ok().map(|count| (topic, count)));
    }
    for stream in &plan.streams {
        let Some(covariates) = &stream.future_covariates else { continue };
        let found = permitted(partitions(broker, &covariates.topic, true))?.and_then(|count| count.ok_or_else(missing));
        let inputs = stream.topics.iter().filter_map(|topic| Some((topic, *inputs.get(topic)?)));
        let found = found.and_then(|count| {
            topics::partition_count_mismatch(&covariates.topic, count, inputs).map_or(Ok(counted(count)), Err)
        });
        report("future", &covariates.topic, found);
    }
    let widest = inputs.values().copied().max().unwrap_or(1);
    for topic in topics::output_topics(plan, widest) {
        let read = topics::reads_own_topic(plan, settings.role, &topic.name);
        let found = permitted(partitions(broker, &topic.name, read))?.and_then(|count| match count {
            Some(count) => Ok(counted(count)),
            None if settings.kafka.create_topics => Ok(format!("will be created with {} partitions", topic.partitions)),
            None => Err(topics::missing_topic_message(&topic)),
        });
        report("out", &topic.name, found);
    }
    good &= sizes(settings, plan, broker)?;
    // This id is not in use. The id of an instance would fence that instance.
    if let Err(why) = permitted(broker.publisher(&format!("{}.check", plan.app)))? {
        good = false;
        println!("  id     {}.…: {why}", plan.app);
    }
    for stream in plan.streams.iter().filter(|_| good) {
        let values = history::newest_values(broker, stream, NEWEST_RECORDS, SAMPLE)?;
        let found = common_seasons(values.into_iter());
        let what = match &found[..] {
            [] => "none found in its newest records".to_owned(),
            found => seasons_text(found),
        };
        println!("  season {}: {what}; configured: {} steps", stream.engine.name, stream.engine.series.season);
    }
    Ok(good)
}

/// Compares the records of each stream with what their topics accept. Returns whether all fit.
fn sizes(settings: &Settings, plan: &Plan, broker: &KafkaBroker) -> Result<bool, BrokerError> {
    let mut fit = true;
    let mut limits = BTreeMap::new();
    for topic in topics::output_topics(plan, 1).iter().filter(|topic| topic.name != plan.models_topic) {
        // Others are reported already, or will be created with room enough.
        if let Ok(Some(_)) = permitted(broker.partitions(&topic.name))? {
            let found = broker.max_batch_bytes(&[&topic.name])?;
            if found.is_empty() {
                println!("  size   {}: unknown; grant DescribeConfigs on the topic", topic.name);
            }
            limits.extend(found);
        }
    }
    let mut compare = |topic: &str, what: &str, bytes: u64| {
        let Some(limit) = limits.get(topic) else { return };
        let advice = if bytes > *limit as u64 {
            fit = false;
            "; TOO LARGE: they would be left out, raise max.message.bytes"
        } else {
            ""
        };
        println!("  size   {topic}: {what} of about {bytes} B; max.message.bytes is {limit}{advice}");
    };
    for (stream, configured) in plan.streams.iter().zip(&settings.stream) {
        compare(&stream.forecasts_topic, "forecasts", sizing::forecast_bytes(&stream.engine));
        let snapshot = sizing::footprint(settings, configured).map_or(0, |footprint| footprint.copy);
        compare(&plan.state_topic, "snapshots", snapshot);
    }
    let topic = &plan.dead_letter_topic;
    if let Some(limit) = limits.get(topic).filter(|limit| **limit < DEAD_LETTER_BYTES) {
        println!("  size   {topic}: max.message.bytes is {limit}; longer dead letters are truncated to it");
    }
    Ok(fit)
}

/// Number of partitions of a topic, `None` if it does not exist. With `read`, also tries to read it.
fn partitions(broker: &KafkaBroker, topic: &str, read: bool) -> Result<Option<i32>, BrokerError> {
    let found = broker.partitions(topic)?;
    if read && found.is_some() {
        let partition = Partition { topic: topic.into(), number: 0 };
        broker.reader(&partition, StartPosition::Earliest)?.read(READ_WAIT, 1)?;
    }
    Ok(found)
}

/// Turns a missing permission into a message. Other errors end the check.
fn permitted<T>(answer: Result<T, BrokerError>) -> Result<Result<T, String>, BrokerError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(BrokerError::Authorization(why)) => Ok(Err(format!("FORBIDDEN: {why}"))),
        Err(error) => Err(error),
    }
}
