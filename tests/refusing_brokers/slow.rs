//! Brokers that take less than a transaction holds.

use crate::{
    harness::{
        cluster::Cluster,
        kafka::{Kafka, kafka},
        unique, wait_for,
    },
    support::{Daemon, LIMIT, alter, assert_forecast_once, create, feed, set_quota, stream},
};

/// The backlog makes transactions that the quota does not let through within their timeout.
#[test]
fn under_a_quota_transactions_shrink_until_they_go_through() {
    let (series, minutes) = (20, 500);
    let (topic, app) = (kafka().topic("quota", 1), unique("quota"));
    feed(kafka(), (&topic, 1), series, 0..minutes);
    set_quota(kafka(), &format!("{app}.one"), 120_000);
    let mut daemon = Daemon::start(kafka(), &app, "one", &stream("stream", &topic, 96));
    daemon.wait_for_readiness(503, &["transaction", "a quota is exceeded"]);
    let configured = f64::from(64 << 20);
    let limit = wait_for("the transactions to shrink", LIMIT, || {
        Some(daemon.metric("foretide_transaction_limit_bytes")).filter(|bytes| *bytes > 0.0 && *bytes < configured)
    });
    daemon.wait_until_committed_at_least(&topic, series * minutes / 20);
    println!("at most {limit} bytes; committed part of the backlog under the quota");
    set_quota(kafka(), &format!("{app}.one"), 50_000_000);
    daemon.wait_until_committed(&topic, series * minutes);
    let log = daemon.process.log();
    assert!(log.contains("transactions are smaller until they do"), "{log}");
    assert!(!log.contains("another instance") && !log.contains("another process"), "{log}");
    daemon.wait_for_readiness(200, &[]);
    daemon.stop();
    assert_forecast_once(kafka(), &format!("{app}.stream.forecasts"), usize::try_from(series).unwrap(), minutes);
}

/// The topic wants three replicas in sync, and one of the three brokers is gone.
#[test]
fn too_few_replicas_in_sync_are_named_with_the_topic() {
    let mut cluster = Cluster::start();
    let kafka = Kafka::at(&cluster.servers, &cluster.jars);
    let (topic, app) = (kafka.topic("replicas", 1), unique("replicas"));
    let forecasts = format!("{app}.stream.forecasts");
    create(&kafka, &forecasts, "min.insync.replicas=3");
    let mut daemon = Daemon::start(&kafka, &app, "one", &stream("stream", &topic, 4));
    daemon.wait_for_readiness(200, &[]);
    wait_for("the replicas to be in sync", LIMIT, || cluster.is_in_sync().then_some(()));
    cluster.kill_broker(2);
    feed(&kafka, (&topic, 1), 2, 0..20);
    daemon.wait_for_readiness(503, &[&format!("{forecasts}[0]"), "min.insync.replicas"]);
    alter(&kafka, &forecasts, "min.insync.replicas=2");
    daemon.wait_until_committed(&topic, 40);
    daemon.stop();
    assert_forecast_once(&kafka, &forecasts, 2, 20);
}
