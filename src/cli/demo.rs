//! `foretide demo`: broker, live data, the daemon and its page in one process.

pub mod data;
mod feed;
mod summary;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};

use super::runtime;
use crate::{
    broker::{
        Broker, TopicSpec,
        embedded::EmbeddedBroker,
        kafka::{KafkaBroker, KafkaOptions},
    },
    daemon::{Daemon, specs, topics},
    settings::{self, Settings},
    telemetry::{self, Exposition},
};

/// The demo's configuration, as a user would write it.
const CONFIGURATION: &str = include_str!("demo/demo.toml");
/// Partitions of the simulated series' topic. The embedded broker keeps 5 MiB of each: the history that training reads.
const PARTITIONS: i32 = 4;

/// Arguments of `foretide demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address of the page and /metrics; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Use this Kafka cluster (host:port, separated by commas) instead of an embedded broker
    #[arg(long, value_name = "SERVERS")]
    brokers: Option<String>,
    /// End after this many seconds; without it, on Ctrl-C
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Number of simulated series
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=5000))]
    series: u16,
    /// Seed of the simulated series
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs until the time is up or it is interrupted, then prints a summary.
pub fn run(arguments: &Arguments) -> ExitCode {
    match demo(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foretide: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::logs::start(telemetry::LogFormat::Text, "warn")?;
    let exposition = Exposition::install()?;
    let settings = configuration(arguments)?;
    let (embedded, broker) = cluster(arguments, &settings)?;
    let ended = runtime::start()?.block_on(async {
        let daemon = Daemon::start(&settings, Arc::clone(&broker), exposition, "demo", "demo").await?;
        print_addresses(arguments, &settings, embedded.as_ref(), daemon.address());
        let feed = feed::start(Arc::clone(&broker), arguments.seed, usize::from(arguments.series))
            .context("cannot write the demo's data")?;
        let dashboard = Arc::clone(&daemon.status().dashboard);
        let stop = runtime::stop_signal()?;
        // Partitions leave the dashboard during the shutdown: the summary is of the moment before.
        let mut overview = None;
        let ended = daemon
            .run(async {
                match arguments.seconds {
                    Some(seconds) => tokio::select! {
                        () = stop => {}
                        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                    },
                    None => stop.await,
                }
                overview = Some(dashboard.overview());
            })
            .await;
        let fed = feed.stop();
        println!("{}", summary::text(&overview.unwrap_or_else(|| dashboard.overview())));
        ended?;
        fed.context("cannot write the demo's data")
    });
    // The clients end before the broker. They would log errors about a broker that is gone.
    drop(broker);
    drop(embedded);
    ended
}

fn print_addresses(arguments: &Arguments, settings: &Settings, embedded: Option<&EmbeddedBroker>, address: SocketAddr) {
    println!("Foretide demo");
    match embedded {
        Some(embedded) => {
            println!("  broker    embedded, at {} (open to any Kafka client)", embedded.bootstrap_servers())
        }
        None => println!("  broker    {}", settings.kafka.brokers.join(", ")),
    }
    println!("  data      {} simulated series, five minutes of event time every 250 ms", arguments.series);
    println!("            load, memory, network and disk of this machine, every second");
    println!("  page      http://{address}/");
    println!("  metrics   http://{address}/metrics");
    match arguments.seconds {
        Some(seconds) => println!("The demo ends after {seconds} s."),
        None => println!("Stop the demo with Ctrl-C."),
    }
}

fn configuration(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mut layer = vec![("FORETIDE__HTTP__LISTEN".to_owned(), arguments.listen.to_string())];
    layer.extend(arguments.brokers.iter().map(|brokers| ("FORETIDE__KAFKA__BROKERS".to_owned(), brokers.clone())));
    settings::parse("demo.toml", CONFIGURATION, layer).map_err(|problems| anyhow!("{problems}"))
}

/// The broker of the demo, with all topics. The embedded broker, where there is one, must live longer than its clients.
fn cluster(arguments: &Arguments, settings: &Settings) -> anyhow::Result<(Option<EmbeddedBroker>, Arc<dyn Broker>)> {
    let plan = specs::plan(settings)?;
    let inputs = [(feed::SIMULATED, PARTITIONS), (feed::MACHINE, 1)].map(|(name, partitions)| TopicSpec {
        name: name.to_owned(),
        partitions,
        compacted: false,
        log_append_time: false,
        max_record_bytes: 1 << 20,
    });
    let all = inputs.into_iter().chain(topics::output_topics(&plan, PARTITIONS));
    if arguments.brokers.is_some() {
        let options: KafkaOptions = specs::kafka_options(settings, "demo");
        let broker: Arc<dyn Broker> = Arc::new(KafkaBroker::new(options)?);
        for topic in all {
            broker.create(&topic).with_context(|| format!("creating the topic {}", topic.name))?;
        }
        return Ok((None, broker));
    }
    let embedded = EmbeddedBroker::start()?;
    for topic in all {
        embedded.create_topic(&topic.name, topic.partitions)?;
    }
    let broker = KafkaBroker::new(embedded.options())?;
    Ok((Some(embedded), Arc::new(broker)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn the_demo_configuration_is_valid() {
        let line = Line::parse_from(["demo", "--listen", "127.0.0.1:0", "--brokers", "a:1,b:2", "--seconds", "5"]);
        let settings = configuration(&line.arguments).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.kafka.brokers, ["a:1", "b:2"]);
        assert_eq!(settings.http.listen.port(), 0);
        let plan = specs::plan(&settings).unwrap();
        assert_eq!(plan.topics(), [feed::MACHINE, feed::SIMULATED]);
        assert_eq!(plan.streams[0].engine.series.season, 288);
    }
}
