//! `foretide check`: checks a configuration without starting anything.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use super::data::{SAMPLE, common_seasons, seasons_text};
use super::failure::{UNAVAILABLE, WRONG_CONFIGURATION};
use crate::{
    broker::{Broker, BrokerError, Isolation, Partition, StartPosition, kafka::KafkaBroker},
    daemon::{
        cleanup_policies, forecasts,
        newest_records::{self, NewestRecords},
        permissions,
        plan::{Plan, StreamPlan},
        reading_order::ReadingOrder,
        refusals, sizing, specs, split_series, topics,
    },
    dashboard::http::ListenerSpec,
    env,
    settings::{self, Settings},
    wire::dead_letter,
};

/// Newest records of each partition in which seasons are searched for, and whose order is judged.
const NEWEST_RECORDS: i64 = 20_000;
/// Newest records of each partition that say whether a stream can be read.
const JUDGED_RECORDS: i64 = refusals::NEWEST_RECORDS as i64;
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
    let ignored = settings::ignored_variables(env::variables().map(|(name, _)| name));
    let settings = match settings::load(arguments.config.as_deref(), env::variables()) {
        Ok(settings) => settings,
        Err(problems) => {
            ignored.iter().for_each(|variable| eprintln!("warning: {variable}"));
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
    ignored.iter().for_each(|variable| println!("warning  {variable}"));
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
            // Nothing tries it again, unlike in the daemon: the cause alone is the message.
            match error.downcast_ref() {
                Some(BrokerError::Retriable(why)) => eprintln!("foretide: {why}"),
                _ => eprintln!("foretide: {error:#}"),
            }
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
    for topic in plan.source_topics() {
        let found = permitted(partitions(broker, &topic, true))?.and_then(|count| count.ok_or_else(missing));
        let waiting = found.as_ref().map_or(Ok(None), |count| open_transactions(broker, &topic, *count))?;
        report("in", &topic, found.clone().map(|count| counted(count) + &waiting.unwrap_or_default()));
        inputs.extend(found.ok().map(|count| (topic, count)));
    }
    let mut copies = Vec::new();
    for repartition in plan.repartition_topics() {
        let wanted = permitted(topics::repartition_topic(broker, repartition))?.ok().flatten();
        let found = permitted(partitions(broker, &repartition.topic, true))?.ok().flatten();
        inputs.extend(found.or(wanted.as_ref().map(|topic| topic.partitions)).map(|n| (repartition.topic.clone(), n)));
        copies.extend(wanted);
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
    for topic in copies.into_iter().chain(topics::output_topics(plan, widest)) {
        let read = topics::reads_own_topic(plan, settings.role, &topic.name);
        let found = permitted(partitions(broker, &topic.name, read))?.and_then(|count| match count {
            Some(count) => Ok(counted(count)),
            None if settings.kafka.create_topics => Ok(format!("will be created with {} partitions", topic.partitions)),
            None => Err(topics::missing_topic_message(&topic)),
        });
        report("out", &topic.name, found);
    }
    good &= cleanup_policies_fit(broker, plan, widest)?;
    good &= sizes(settings, plan, broker)?;
    // This id is not in use. The id of an instance would fence that instance.
    if let Err(why) = permitted(broker.publisher(&format!("{}.check", plan.app)))? {
        good = false;
        println!("  id     {}.…: {why}", plan.app);
    }
    if good {
        for stream in &plan.streams {
            good &= newest_records(stream, broker)?;
        }
    }
    Ok(good)
}

/// Prints whether the newest records of a stream can be read, how late they come, and which seasons they have. Returns
/// whether the stream would not be degraded at once.
fn newest_records(stream: &StreamPlan, broker: &KafkaBroker) -> Result<bool, BrokerError> {
    let (name, is_repartitioned, stream) = (&stream.engine.name, stream.repartition.is_some(), &stream.of_sources());
    let (mut good, mut values) = (true, Vec::new());
    for (index, topic) in stream.topics.iter().enumerate() {
        // Seasons are searched for in the first topic.
        let series = if index == 0 { SAMPLE } else { 0 };
        let (records, mut order) = ((NEWEST_RECORDS, JUDGED_RECORDS), ReadingOrder::new(&stream.engine.series));
        let newest = newest_records::newest_records(broker, stream, topic, records, series, &mut order)?;
        println!("  read   {name}: {}", readable_text(topic, &newest));
        println!("  order  {name}: {topic}: {}", order.describe());
        if let Some((series, [low, high])) = &newest.split_example {
            println!(
                "  keys   {name}: {topic}: {} of {} series are in several partitions, such as {series:?} in {low} and \
                 {high}: {}",
                newest.split,
                newest.series,
                if is_repartitioned {
                    "repartition = true brings them together".to_owned()
                } else {
                    split_series::advice(&stream.decode.key)
                }
            );
        }
        good &= !refusals::too_many(newest.records - newest.readable, newest.records);
        if index == 0 {
            values = newest.values;
        }
    }
    let found = common_seasons(values.into_iter());
    let what = match &found[..] {
        [] => "none found in its newest records".to_owned(),
        found => seasons_text(found),
    };
    println!("  season {name}: {what}; configured: {} steps", stream.engine.series.season);
    Ok(good)
}

/// Says how many of the newest records can be read, and why one of the others cannot.
fn readable_text(topic: &str, newest: &NewestRecords) -> String {
    let NewestRecords { records, readable, refused, .. } = newest;
    if *records == 0 {
        return format!("{topic}: no records to judge by");
    }
    let counts = format!("{topic}: {readable} of {records} newest records are readable");
    let Some(newest_records::RefusedRecord { partition, offset, sample, rejection }) = refused else { return counts };
    format!("{counts}: {rejection}; {} ({topic}[{partition}] at offset {offset}: {sample})", rejection.reason.advice())
}

/// Prints what endangers the state: cleanup policies, and the partitions of the state topic. Returns whether a policy
/// must be corrected.
fn cleanup_policies_fit(broker: &KafkaBroker, plan: &Plan, widest: i32) -> Result<bool, BrokerError> {
    let mut good = true;
    let found = permitted(broker.partitions(&plan.state_topic))?.unwrap_or_default();
    let notice = |count| cleanup_policies::state_partitions_notice(&plan.state_topic, count, widest);
    if let Some(notice) = found.and_then(notice) {
        println!("  note   {notice}");
    }
    let keyed = cleanup_policies::keyed_topics(plan);
    let all: Vec<String> = keyed.iter().cloned().chain(plan.topics()).collect();
    for (topic, policy) in all.iter().zip(cleanup_policies::of_topics(broker, &all)?) {
        let Some(policy) = policy else { continue };
        if keyed.contains(topic) {
            if let Some(problem) = cleanup_policies::keyed_topic_problem(topic, policy) {
                good = false;
                println!("  policy {problem}");
            }
        } else if policy.compacts {
            println!("  note   {}", cleanup_policies::compacted_input_notice(topic));
        }
    }
    Ok(good)
}

/// Says how many records of a topic wait for open transactions of other producers; `None` where none does.
fn open_transactions(broker: &KafkaBroker, topic: &str, partitions: i32) -> Result<Option<String>, BrokerError> {
    let all: Vec<Partition> = (0..partitions).map(|number| Partition { topic: topic.into(), number }).collect();
    // In this order, records that arrive in between do not count.
    let ends = broker.end_offsets(&all, Isolation::Uncommitted)?;
    let stable = broker.end_offsets(&all, Isolation::Committed)?;
    let mut waiting = all.iter().zip(stable.iter().zip(&ends)).filter(|(_, (stable, end))| stable < end);
    Ok(waiting.next().map(|(partition, (stable, end))| {
        format!(
            "; {partition}: {} records from offset {stable} on wait for an open transaction of their producer; it ends \
             by itself after that producer's transaction.timeout.ms",
            end - stable
        )
    }))
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
        compare(&stream.forecasts_topic, "forecasts", forecasts::forecast_bytes(&stream.engine));
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
