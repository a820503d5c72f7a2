//! Checks of everything that is not a stream's.

use std::path::PathBuf;

use super::super::origin::Path;
use super::super::problem::{Finding, Kind};
use super::super::values::{Auto, Millis, Size};
use super::super::{Kafka, Limits, Secret, Settings};
use super::{Checker, http, names};

/// librdkafka properties that Foretide sets itself, and what to use instead.
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
    ("max.poll.interval.ms", "Foretide sets it by itself"),
    ("enable.partition.eof", "Foretide sets it by itself"),
    ("delivery.report.only.error", "Foretide sets it by itself"),
    ("group.protocol", "partitions move cooperatively; there is no other mode"),
    ("group.id", "it follows from `app`"),
    ("group.instance.id", "it follows from `app` and `instance`"),
    ("transactional.id", "it follows from `app` and `instance`"),
    ("client.id", "it follows from `app` and `instance`"),
    ("enable.auto.commit", "positions are committed in transactions only"),
    ("enable.auto.offset.store", "positions are committed in transactions only"),
    ("auto.offset.reset", "a new group begins at the oldest record; there is no other mode"),
    ("isolation.level", "only committed records are read; there is no other mode"),
    ("enable.idempotence", "output is written in transactions; there is no other mode"),
    ("acks", "output is written in transactions; there is no other mode"),
    ("request.required.acks", "output is written in transactions; there is no other mode"),
    ("partition.assignment.strategy", "partitions move cooperatively; there is no other mode"),
];

/// Checks everything that is not a stream's; reads the files that hold secrets.
pub fn check(settings: &mut Settings, root: &mut Checker<'_>) {
    let name = "1 to 100 ASCII letters, digits, dots, underscores and hyphens";
    let plain = |text: &str| (1..=100).contains(&text.len()) && names::is_plain(text);
    let why = "it is part of topic names, the consumer group and transactional ids";
    root.expect(plain(&settings.app), "app", name, format!("{:?}", settings.app), why);
    if let Auto::Set(instance) = &settings.instance {
        root.expect(plain(instance), "instance", name, format!("{instance:?}"), "it is part of transactional ids");
    }
    if let Auto::Set(shards) = settings.shards {
        root.range("shards", shards, 1..=1_024, "write \"auto\" for one fewer than the machine's cores");
    }
    root.range(
        "commit_interval",
        settings.commit_interval,
        Millis(1)..=Millis::seconds(60),
        "a transaction costs about 10 ms",
    );
    root.range(
        "checkpoint_interval",
        settings.checkpoint_interval,
        Millis(0)..=Millis::days(1),
        "a restart replays what lies behind the snapshots",
    );
    root.range("shutdown_deadline", settings.shutdown_deadline, Millis::seconds(1)..=Millis::hours(1), "");
    kafka(&mut settings.kafka, &mut root.within("kafka", None));
    http::check(&mut settings.http, &mut root.within("http", None));
    limits(&settings.limits, &mut root.within("limits", None));
    log_level(&settings.log.level, &mut root.within("log", None));
    let (commit, transaction) = (settings.commit_interval, settings.kafka.transaction_timeout);
    let at = Path::default();
    if commit >= transaction
        && !root.reader.is_refused(&at.key("commit_interval"))
        && root.within("kafka", None).fine(&["transaction_timeout"])
    {
        let related = vec![at.key("kafka").key("transaction_timeout")];
        let expected = format!("less than kafka.transaction_timeout, {transaction}");
        let hint = "the cluster would abort each transaction before it is committed".into();
        root.contradiction(at.key("commit_interval"), related, expected, commit.to_string(), hint);
    }
    if settings.stream.is_empty() && root.fine(&["stream"]) {
        let (expected, hint) =
            ("at least one [[stream]]".into(), "config/foretide.toml shows one with every key".into());
        root.reader.report(Finding {
            kind: Kind::Missing,
            path: at.key("stream"),
            expected,
            found: String::new(),
            hint,
            related: vec![],
        });
    }
    for (index, stream) in settings.stream.iter().enumerate() {
        let same = settings.stream[..index].iter().position(|other| other.name == stream.name);
        if let (Some(first), true) = (same, root.within("stream", Some(index)).fine(&["name"])) {
            let path = |index| at.key("stream").index(index).key("name");
            let (expected, found) = ("a name of its own for each stream".into(), format!("{:?} twice", stream.name));
            root.contradiction(path(index), vec![path(first)], expected, found, "rename one of them".into());
        }
    }
}

fn kafka(kafka: &mut Kafka, at: &mut Checker<'_>) {
    at.expect(!kafka.brokers.is_empty(), "brokers", "at least one broker", "none", "such as [\"127.0.0.1:9092\"]");
    for (index, broker) in kafka.brokers.iter().enumerate() {
        let hint = if broker.contains("://") { "leave the scheme out" } else { "such as \"127.0.0.1:9092\"" };
        at.expect_item(is_broker(broker), ("brokers", index), "host:port", format!("{broker:?}"), hint);
    }
    at.range(
        "session_timeout",
        kafka.session_timeout,
        Millis::seconds(1)..=Millis::seconds(1_800),
        "brokers refuse less than group.min.session.timeout.ms, 6 s unless configured",
    );
    at.range(
        "transaction_timeout",
        kafka.transaction_timeout,
        Millis::seconds(1)..=Millis::seconds(900),
        "brokers refuse more than transaction.max.timeout.ms, 15 minutes unless configured",
    );
    if let Auto::Set(replication) = kafka.replication {
        at.range("replication", replication, 1..=100, "write \"auto\" for the cluster's default");
    }
    secret(&mut kafka.sasl_password, kafka.sasl_password_file.as_ref(), ("sasl_password", "sasl_password_file"), at);
    secret(
        &mut kafka.ssl_key_password,
        kafka.ssl_key_password_file.as_ref(),
        ("ssl_key_password", "ssl_key_password_file"),
        at,
    );
    sasl(kafka, at);
    tls(kafka, at);
    for key in kafka.properties.keys() {
        let path = at.at.key("properties").key(key);
        if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
            at.expect_at(false, path, "a property that Foretide does not set itself", format!("{key:?}"), *instead);
        }
    }
}

fn sasl(kafka: &Kafka, at: &mut Checker<'_>) {
    let protocol = kafka.security_protocol;
    let password = if kafka.sasl_password_file.is_some() { "sasl_password_file" } else { "sasl_password" };
    let given = [("sasl_username", kafka.sasl_username.is_some()), (password, kafka.sasl_password.is_some())];
    for (key, given) in given {
        let (expected, hint) = (
            format!("kafka.{key} with security_protocol = \"{protocol}\""),
            format!("add {key}, or authenticate otherwise"),
        );
        at.contradicts(
            protocol.uses_sasl() && !given,
            &["security_protocol", key],
            expected,
            format!("no {key}"),
            hint,
        );
        let hint = "set security_protocol = \"sasl_ssl\" (or \"sasl_plaintext\"), or take it out";
        at.contradicts(
            !protocol.uses_sasl() && given,
            &[key, "security_protocol"],
            "a protocol that uses it",
            format!("security_protocol = \"{protocol}\""),
            hint,
        );
    }
}

fn tls(kafka: &Kafka, at: &mut Checker<'_>) {
    let protocol = kafka.security_protocol;
    let files = [
        ("ssl_ca_file", kafka.ssl_ca_file.is_some()),
        ("ssl_certificate_file", kafka.ssl_certificate_file.is_some()),
        ("ssl_key_file", kafka.ssl_key_file.is_some()),
    ];
    for (key, given) in files {
        let hint = "set security_protocol = \"ssl\" or \"sasl_ssl\", or take it out";
        at.contradicts(
            !protocol.uses_tls() && given,
            &[key, "security_protocol"],
            "a protocol that uses it",
            format!("security_protocol = \"{protocol}\""),
            hint,
        );
    }
    let (certificate, key) = (kafka.ssl_certificate_file.is_some(), kafka.ssl_key_file.is_some());
    together(["ssl_certificate_file", "ssl_key_file"], [certificate, key], at);
    let password = if kafka.ssl_key_password_file.is_some() { "ssl_key_password_file" } else { "ssl_key_password" };
    let useless = kafka.ssl_key_password.is_some() && !key;
    at.contradicts(
        useless,
        &[password, "ssl_key_file"],
        "a key that it opens",
        "no ssl_key_file",
        "add ssl_key_file, or take it out",
    );
    if protocol.uses_tls() {
        for (key, file) in [
            ("ssl_ca_file", &kafka.ssl_ca_file),
            ("ssl_certificate_file", &kafka.ssl_certificate_file),
            ("ssl_key_file", &kafka.ssl_key_file),
        ] {
            readable(file.as_deref(), key, at);
        }
    }
}

/// A certificate and its key come together: their names, and which of them are given.
pub(super) fn together(names: [&str; 2], given: [bool; 2], at: &mut Checker<'_>) {
    for (here, there) in [(0, 1), (1, 0)] {
        let missing = names[there];
        at.contradicts(
            given[here] && !given[there],
            &[names[here], missing],
            "a certificate and its key",
            format!("no {missing}"),
            format!("add {missing}"),
        );
    }
}

/// Takes a secret from the file that holds it.
pub(super) fn secret(
    secret: &mut Option<Secret>,
    file: Option<&PathBuf>,
    (key, file_key): (&str, &str),
    at: &mut Checker<'_>,
) {
    let Some(file) = file.filter(|_| at.fine(&[key, file_key])) else { return };
    at.contradicts(
        secret.is_some(),
        &[file_key, key],
        "one of both",
        format!("{key} and {file_key}"),
        "take one of them out",
    );
    match Secret::from_file(file) {
        Ok(read) => *secret = Some(read),
        Err(error) => {
            // The secret counts as given, so that its absence is not reported as well.
            *secret = Some(Secret::new(String::new()));
            unreadable(file, &error, file_key, at);
        }
    }
}

/// Reports a file that cannot be read. What is in it, whoever uses it will say.
pub(super) fn readable(file: Option<&std::path::Path>, key: &str, at: &mut Checker<'_>) {
    let Some(file) = file.filter(|_| at.fine(&[key])) else { return };
    if let Err(error) = std::fs::File::open(file) {
        unreadable(file, &error, key, at);
    }
}

fn unreadable(file: &std::path::Path, error: &std::io::Error, key: &str, at: &mut Checker<'_>) {
    let (path, found) = (at.at.key(key), format!("{}: {error}", file.display()));
    let (expected, hint) = ("a file that can be read".into(), "relative paths begin at the working directory".into());
    at.reader.report(Finding { kind: Kind::Unreadable, path, expected, found, hint, related: vec![] });
}

fn limits(limits: &Limits, at: &mut Checker<'_>) {
    at.range("poll_records", limits.poll_records, 1..=1_000_000, "");
    at.range("transaction_records", limits.transaction_records, 1..=10_000_000, "");
    at.range("transaction_bytes", limits.transaction_bytes, Size::bytes(64 << 10)..=Size::mebibytes(2_048), "");
    for (key, bytes) in [
        ("fetch_ahead_bytes", limits.fetch_ahead_bytes),
        ("reader_ahead_bytes", limits.reader_ahead_bytes),
        ("send_ahead_bytes", limits.send_ahead_bytes),
    ] {
        at.range(key, bytes, Size::mebibytes(1)..=Size::mebibytes(2_047), "librdkafka takes no more");
    }
    at.range("standby_bytes", limits.standby_bytes, Size::bytes(0)..=Size::mebibytes(1 << 20), "\"0B\" keeps nothing");
    let (expected, hint) =
        (format!("at least poll_records, {}", limits.poll_records), "a transaction takes in whole polls");
    at.contradicts(
        limits.transaction_records < limits.poll_records,
        &["transaction_records", "poll_records"],
        expected,
        limits.transaction_records,
        hint,
    );
}

/// A level, or a list of `target=level` in the style of tracing's filters.
fn log_level(level: &str, at: &mut Checker<'_>) {
    let is_level = |text: &str| matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let is_target =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let fine = level.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    });
    let expected = "off, error, warn, info, debug or trace, or a list of them with targets";
    at.expect(fine, "level", expected, format!("{level:?}"), "such as \"info\" or \"info,foretide::daemon=debug\"");
}

fn is_broker(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = bracketed || (!host.is_empty() && host.chars().all(fine));
        host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
