//! Checks of `[kafka]`.

use super::super::cluster::Kafka;
use super::super::values::{Auto, Millis};
use super::checker::Checker;
use super::files::{certificate_and_key, readable, secret};

/// librdkafka properties that Foretide sets, and what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use kafka.brokers"),
    ("metadata.broker.list", "use kafka.brokers"),
    ("security.protocol", "use kafka.security_protocol"),
    ("sasl.mechanism", "use kafka.sasl_mechanism"),
    ("sasl.mechanisms", "use kafka.sasl_mechanism"),
    ("sasl.username", "use kafka.sasl_username"),
    ("sasl.password", "use kafka.sasl_password or kafka.sasl_password_file"),
    ("ssl.ca.location", "use kafka.ssl_ca_file"),
    ("ssl.certificate.location", "use kafka.ssl_certificate_file"),
    ("ssl.key.location", "use kafka.ssl_key_file"),
    ("ssl.key.password", "use kafka.ssl_key_password or kafka.ssl_key_password_file"),
    ("session.timeout.ms", "use kafka.session_timeout"),
    ("transaction.timeout.ms", "use kafka.transaction_timeout"),
    ("compression.type", "use kafka.compression"),
    ("compression.codec", "use kafka.compression"),
    ("queued.max.messages.kbytes", "use limits.fetch_ahead_bytes"),
    ("queue.buffering.max.kbytes", "use limits.send_ahead_bytes"),
    ("max.poll.interval.ms", "Foretide sets it"),
    ("enable.partition.eof", "Foretide sets it"),
    ("delivery.report.only.error", "Foretide sets it"),
    ("group.protocol", "rebalances are cooperative; there is no other mode"),
    ("group.id", "it is made of `app`"),
    ("group.instance.id", "it is made of `app` and `instance`"),
    ("transactional.id", "it is made of `app` and `instance`"),
    ("client.id", "it is made of `app` and `instance`"),
    ("enable.auto.commit", "offsets are committed in transactions only"),
    ("enable.auto.offset.store", "offsets are committed in transactions only"),
    ("auto.offset.reset", "a new consumer group starts at the oldest record; there is no other mode"),
    ("isolation.level", "only committed records are read; there is no other mode"),
    ("enable.idempotence", "output is written in transactions; there is no other mode"),
    ("acks", "output is written in transactions; there is no other mode"),
    ("request.required.acks", "output is written in transactions; there is no other mode"),
    ("partition.assignment.strategy", "rebalances are cooperative; there is no other mode"),
];

/// Checks `[kafka]`, and reads the secrets that it keeps in files.
pub fn check(kafka: &mut Kafka, table: &mut Checker<'_>) {
    table.expect(!kafka.brokers.is_empty(), "brokers", "at least one broker", "none", "such as [\"127.0.0.1:9092\"]");
    for (index, broker) in kafka.brokers.iter().enumerate() {
        let hint = if broker.contains("://") { "remove the scheme" } else { "such as \"127.0.0.1:9092\"" };
        table.expect_item(is_broker(broker), ("brokers", index), "host:port", format!("{broker:?}"), hint);
    }
    table.range(
        "session_timeout",
        kafka.session_timeout,
        Millis::seconds(1)..=Millis::seconds(1_800),
        "brokers refuse less than group.min.session.timeout.ms, 6 s unless configured",
    );
    table.range(
        "transaction_timeout",
        kafka.transaction_timeout,
        Millis::seconds(1)..=Millis::seconds(900),
        "brokers refuse more than transaction.max.timeout.ms, 15 minutes unless configured",
    );
    if let Auto::Set(replication) = kafka.replication {
        table.range("replication", replication, 1..=100, "write \"auto\" for the default of the cluster");
    }
    secret(&mut kafka.sasl_password, kafka.sasl_password_file.as_ref(), ("sasl_password", "sasl_password_file"), table);
    secret(
        &mut kafka.ssl_key_password,
        kafka.ssl_key_password_file.as_ref(),
        ("ssl_key_password", "ssl_key_password_file"),
        table,
    );
    sasl(kafka, table);
    tls(kafka, table);
    for key in kafka.properties.keys() {
        let path = table.path.key("properties").key(key);
        if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
            table.expect_at(false, path, "a property that Foretide does not set", format!("{key:?}"), *instead);
        }
    }
}

fn sasl(kafka: &Kafka, table: &mut Checker<'_>) {
    let protocol = kafka.security_protocol;
    let password = if kafka.sasl_password_file.is_some() { "sasl_password_file" } else { "sasl_password" };
    let given = [("sasl_username", kafka.sasl_username.is_some()), (password, kafka.sasl_password.is_some())];
    for (key, given) in given {
        table.contradicts(
            protocol.uses_sasl() && !given,
            &["security_protocol", key],
            format!("kafka.{key} with security_protocol = \"{protocol}\""),
            format!("no {key}"),
            format!("add {key}, or use another protocol"),
        );
        let hint = format!("set security_protocol = \"sasl_ssl\" (or \"sasl_plaintext\"), or remove {key}");
        table.contradicts(
            !protocol.uses_sasl() && given,
            &[key, "security_protocol"],
            "a protocol that uses it",
            format!("security_protocol = \"{protocol}\""),
            hint,
        );
    }
}

fn tls(kafka: &Kafka, table: &mut Checker<'_>) {
    let protocol = kafka.security_protocol;
    let files = [
        ("ssl_ca_file", kafka.ssl_ca_file.is_some()),
        ("ssl_certificate_file", kafka.ssl_certificate_file.is_some()),
        ("ssl_key_file", kafka.ssl_key_file.is_some()),
    ];
    for (key, given) in files {
        let hint = format!("set security_protocol = \"ssl\" or \"sasl_ssl\", or remove {key}");
        table.contradicts(
            !protocol.uses_tls() && given,
            &[key, "security_protocol"],
            "a protocol that uses it",
            format!("security_protocol = \"{protocol}\""),
            hint,
        );
    }
    let (certificate, key) = (kafka.ssl_certificate_file.is_some(), kafka.ssl_key_file.is_some());
    certificate_and_key(["ssl_certificate_file", "ssl_key_file"], [certificate, key], table);
    let password = if kafka.ssl_key_password_file.is_some() { "ssl_key_password_file" } else { "ssl_key_password" };
    table.contradicts(
        kafka.ssl_key_password.is_some() && !key,
        &[password, "ssl_key_file"],
        "a private key that it decrypts",
        "no ssl_key_file",
        format!("add ssl_key_file, or remove {password}"),
    );
    if protocol.uses_tls() {
        for (key, file) in [
            ("ssl_ca_file", &kafka.ssl_ca_file),
            ("ssl_certificate_file", &kafka.ssl_certificate_file),
            ("ssl_key_file", &kafka.ssl_key_file),
        ] {
            readable(file.as_deref(), key, table);
        }
    }
}

fn is_broker(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = bracketed || (!host.is_empty() && host.chars().all(valid));
        host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
