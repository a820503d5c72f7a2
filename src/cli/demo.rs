//! `foretide demo`: broker, live data, the daemon and its page in one process.

pub mod data;
mod feed;
mod summary;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};

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
/// Partitions of the simulated series' topic. The embedded broker keeps 5 MiB of each, which is the history to learn from.
const PARTITIONS: i32 = 4;

/// What `foretide demo` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the page and /metrics are; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Runs on this Kafka cluster (host:port, several with commas) instead of a broker of its own
    #[arg(long, value_name = "SERVERS")]
    brokers: Option<String>,
    /// Ends by itself after so many seconds, with a summary
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many series are simulated
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=5000))]
    series: u16,
    /// Seed of the simulated series
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs until the time is up or it is interrupted.
pub fn run(arguments: &Arguments) -> ExitCode {
    match show(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foretide: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::logs::start(telemetry::LogFormat::Text, "warn")?;
    let exposition = Exposition::install()?;
    let settings = configuration(arguments)?;
    // The embedded broker must outlive everything that talks to it.
    let (embedded, broker) = cluster(arguments, &settings)?;
    super::runtime()?.block_on(async {
        let daemon = Daemon::start(&settings, Arc::clone(&broker), exposition, "demo", "demo").await?;
        let address = daemon.address();
        println!("Foretide demo");
        match &embedded {
            Some(embedded) => println!("  broker    embedded, at {} (any Kafka client can look in)", embedded.bootstrap_servers()),
            None => println!("  broker    {}", settings.kafka.brokers.join(", ")),
        }
        println!("  data      {} simulated series, five minutes of event time in a quarter second; this machine's own readings, each second", arguments.series);
        println!("  page      http://{address}/");
        println!("  metrics   http://{address}/metrics");
        match arguments.seconds {
            Some(seconds) => println!("It ends by itself after {seconds} s."),
            None => println!("Stop it with Ctrl-C."),
        }
        let feed = feed::start(Arc::clone(&broker), arguments.seed, usize::from(arguments.series))
            .context("the demo's data")?;
        let board = Arc::clone(&daemon.status().dashboard);
        let stop = super::asked_to_stop()?;
        let ended = daemon
            .run(async {
                match arguments.seconds {
                    Some(seconds) => tokio::select! {
                        () = stop => {}
                        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                    },
                    None => stop.await,
                }
            })
            .await;
        let fed = feed.stop();
        println!("{}", summary::text(&board.overview()));
        ended?;
        fed.context("the demo's data")
    })?;
    drop(embedded);
    Ok(())
}

fn configuration(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mut layer = vec![("FORETIDE__HTTP__LISTEN".to_owned(), arguments.listen.to_string())];
    layer.extend(arguments.brokers.iter().map(|brokers| ("FORETIDE__KAFKA__BROKERS".to_owned(), brokers.clone())));
    settings::parse("demo.toml", CONFIGURATION, layer).map_err(|problems| anyhow!("{problems}"))
}

/// The broker that the demo runs on, with every topic it needs.
fn cluster(arguments: &Arguments, settings: &Settings) -> anyhow::Result<(Option<EmbeddedBroker>, Arc<dyn Broker>)> {
    let plan = specs::plan(settings)?;
    let inputs = [(feed::SIMULATED, PARTITIONS), (feed::MACHINE, 1)].map(|(name, partitions)| TopicSpec {
        name: name.to_owned(),
        partitions,
        compacted: false,
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
    fn its_configuration_is_right() {
        let line = Line::parse_from(["demo", "--listen", "127.0.0.1:0", "--brokers", "a:1,b:2", "--seconds", "5"]);
        let settings = configuration(&line.arguments).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.kafka.brokers, ["a:1", "b:2"]);
        assert_eq!(settings.http.listen.port(), 0);
        let plan = specs::plan(&settings).unwrap();
        assert_eq!(plan.topics(), [feed::MACHINE, feed::SIMULATED]);
        assert_eq!(plan.streams[0].engine.series.season, 288);
    }
}
