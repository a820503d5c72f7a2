//! Checks of the whole configuration, and of the keys outside of tables, `[limits]` and `[log]`.

use super::super::cluster::Limits;
use super::super::origin::Path;
use super::super::problem::{Finding, Kind};
use super::super::reader::Reader;
use super::super::root::Settings;
use super::super::values::{Auto, Millis, Size};
use super::checker::Checker;
use super::{files, http, kafka, stream, topics};

/// Checks the configuration, and reads the secrets and holidays that it keeps in files.
pub fn check(settings: &mut Settings, reader: &mut Reader) {
    let mut root = Checker { reader, path: Path::default() };
    process(settings, &mut root);
    kafka::check(&mut settings.kafka, &mut root.within("kafka", None));
    http::check(&mut settings.http, &mut root.within("http", None));
    limits(&settings.limits, &mut root.within("limits", None));
    log_level(&settings.log.level, &mut root.within("log", None));
    transaction_timeout(settings, &mut root);
    stream_names(settings, &mut root);
    for (index, stream) in settings.stream.iter().enumerate() {
        stream::check(stream, settings, &mut root.within("stream", Some(index)));
    }
    topics::check(settings, &mut root);
    for (index, stream) in settings.stream.iter_mut().enumerate() {
        files::holidays(stream, &mut root.within("stream", Some(index)));
    }
}

fn process(settings: &Settings, root: &mut Checker<'_>) {
    let name = "1 to 100 ASCII letters, digits, dots, underscores and hyphens";
    let valid = |text: &str| (1..=100).contains(&text.len()) && topics::is_plain(text);
    let why = "it is part of topic names, the consumer group and transactional ids";
    root.expect(valid(&settings.app), "app", name, format!("{:?}", settings.app), why);
    if let Auto::Set(instance) = &settings.instance {
        root.expect(valid(instance), "instance", name, format!("{instance:?}"), "it is part of transactional ids");
    }
    if let Auto::Set(shards) = settings.shards {
        root.range("shards", shards, 1..=1_024, "write \"auto\" for one less than the cores of the machine");
    }
    let commit_intervals = Millis(1)..=Millis::seconds(60);
    root.range("commit_interval", settings.commit_interval, commit_intervals, "a transaction takes about 10 ms");
    let note = "a restart replays the input since the snapshots";
    root.range("checkpoint_interval", settings.checkpoint_interval, Millis(0)..=Millis::days(1), note);
    root.range("checkpoint_records", settings.checkpoint_records, 0..=100_000_000, note);
    root.range("shutdown_deadline", settings.shutdown_deadline, Millis::seconds(1)..=Millis::hours(1), "");
}

/// A transaction must be committed before the cluster aborts it.
fn transaction_timeout(settings: &Settings, root: &mut Checker<'_>) {
    let (commit, timeout) = (settings.commit_interval, settings.kafka.transaction_timeout);
    if commit >= timeout
        && root.is_valid(&["commit_interval"])
        && root.within("kafka", None).is_valid(&["transaction_timeout"])
    {
        let related = vec![root.path.key("kafka").key("transaction_timeout")];
        let expected = format!("less than kafka.transaction_timeout, {timeout}");
        let hint = "the cluster would abort each transaction before it is committed".into();
        root.contradiction(root.path.key("commit_interval"), related, expected, commit.to_string(), hint);
    }
}

/// There is a stream, and each has a name of its own.
fn stream_names(settings: &Settings, root: &mut Checker<'_>) {
    let path = root.path.key("stream");
    if settings.stream.is_empty() && root.is_valid(&["stream"]) {
        let (expected, found) = ("at least one [[stream]]".into(), String::new());
        let hint = "config/foretide.toml shows one with all keys".into();
        let kind = Kind::Missing;
        root.reader.report(Finding { kind, path: path.clone(), expected, found, hint, related: vec![] });
    }
    for (index, stream) in settings.stream.iter().enumerate() {
        let same = settings.stream[..index].iter().position(|other| other.name == stream.name);
        if let (Some(first), true) = (same, root.within("stream", Some(index)).is_valid(&["name"])) {
            let name = |index| path.index(index).key("name");
            let (expected, found) = ("a different name for each stream".into(), format!("{:?} twice", stream.name));
            root.contradiction(name(index), vec![name(first)], expected, found, "rename one of them".into());
        }
    }
}

fn limits(limits: &Limits, table: &mut Checker<'_>) {
    table.range("poll_records", limits.poll_records, 1..=1_000_000, "");
    table.range("transaction_records", limits.transaction_records, 1..=10_000_000, "");
    table.range("transaction_bytes", limits.transaction_bytes, Size::bytes(64 << 10)..=Size::mebibytes(2_048), "");
    for (key, bytes) in [
        ("fetch_ahead_bytes", limits.fetch_ahead_bytes),
        ("reader_ahead_bytes", limits.reader_ahead_bytes),
        ("send_ahead_bytes", limits.send_ahead_bytes),
    ] {
        table.range(key, bytes, Size::mebibytes(1)..=Size::mebibytes(2_047), "librdkafka accepts no more");
    }
    let sizes = Size::bytes(0)..=Size::mebibytes(1 << 20);
    table.range("standby_bytes", limits.standby_bytes, sizes, "\"0B\" for no standby copies");
    table.contradicts(
        limits.transaction_records < limits.poll_records,
        &["transaction_records", "poll_records"],
        format!("at least poll_records, {}", limits.poll_records),
        limits.transaction_records,
        "a transaction contains whole polls",
    );
}

/// A level, or a list of `target=level` as in the filters of tracing.
fn log_level(level: &str, table: &mut Checker<'_>) {
    let is_level = |text: &str| matches!(text, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let is_target =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let valid = level.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    });
    let expected = "off, error, warn, info, debug or trace, or a list of target=level";
    table.expect(valid, "level", expected, format!("{level:?}"), "such as \"info\" or \"info,foretide::daemon=debug\"");
}
