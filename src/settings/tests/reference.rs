//! `config/foretide.toml` is the reference: it has all keys, with their defaults.

use std::collections::BTreeSet;

use super::super::{Interval, Millis, Settings, Stream, parse};

const REFERENCE: &str = include_str!("../../../config/foretide.toml");

#[test]
fn the_reference_file_has_the_defaults() {
    let stream = Stream {
        name: "meters".into(),
        topics: vec!["meter-readings".into()],
        values: vec!["kwh".into()],
        interval: Interval::Every(Millis(15 * 60 * 1000)),
        ..Stream::default()
    };
    let expected = Settings { stream: vec![stream], ..Settings::default() };
    assert_eq!(parse("config/foretide.toml", REFERENCE, []).unwrap(), expected);
}

/// Collects the paths of all keys of a table and of the tables in it, such as `stream.model.cell`.
fn keys(table: &serde_json::Value, path: &str, all: &mut BTreeSet<String>) {
    for (key, value) in table.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            serde_json::Value::Object(entries) if !entries.is_empty() => keys(value, &path, all),
            _ => drop(all.insert(path)),
        }
    }
}

#[test]
fn the_reference_file_names_every_key_once() {
    let mut expected = BTreeSet::from(["kafka.properties".to_owned()]);
    keys(&serde_json::to_value(Settings::default()).unwrap(), "", &mut expected);
    keys(&serde_json::to_value(Stream::default()).unwrap(), "stream", &mut expected);
    expected.remove("stream");

    let (mut named, mut table) = (Vec::new(), String::new());
    for line in REFERENCE.lines() {
        // `# key = value` shows a key that is absent by default; other comments are sentences.
        let line = line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            header.trim_matches(['[', ']']).clone_into(&mut table);
            named.extend((table == "kafka.properties").then(|| table.clone()));
        } else if let Some((key, _)) = line.split_once(" = ") {
            let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            named.extend(is_key.then_some(path));
        }
    }
    let distinct: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(distinct.len(), named.len(), "a key is named twice");
    assert_eq!(distinct, expected);
}

#[test]
fn keys_that_are_absent_by_default_can_be_uncommented() {
    let uncommented: String = REFERENCE
        .lines()
        .map(|line| {
            let shown = line.strip_prefix("# ").filter(|line| {
                let key = line.split_once(" = ").map_or("", |(key, _)| key);
                !key.is_empty()
                    && !key.contains(' ')
                    && !["password", "password_file", "token", "token_file"].iter().any(|secret| key.ends_with(secret))
            });
            format!("{}\n", shown.unwrap_or(line))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name).display().to_string();
    for name in ["ca.pem", "client.pem", "client.key", "server.pem", "server.key"] {
        std::fs::write(inside(name), "").unwrap();
    }
    std::fs::write(inside("holidays.ics"), "2026-12-25\n").unwrap();
    let uncommented = uncommented.replace("/etc/foretide/", &inside(""));
    let uncommented = uncommented.replace("security_protocol = \"plaintext\"", "security_protocol = \"sasl_ssl\"");
    let uncommented = uncommented.replace("strategy = \"direct\"", "strategy = \"many_to_one\"");
    let secret = [("FORETIDE__KAFKA__SASL_PASSWORD".to_owned(), "x".to_owned())];
    let settings = parse("f.toml", &uncommented, secret).unwrap();
    assert_eq!(settings.kafka.sasl_username.as_deref(), Some("foretide"));
    assert!(
        settings.http.tls_key_file.is_some()
            && settings.kafka.ssl_key_file.is_some()
            && settings.kafka.properties.len() == 1
    );
    assert_eq!(settings.stream[0].model.threshold, Some(80.0));
    assert_eq!(settings.stream[0].readings_per_slot, Some(1));
    assert_eq!(settings.forecasts_topic(&settings.stream[0]), "meter-forecasts");
}
