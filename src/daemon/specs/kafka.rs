//! The `[kafka]` section, turned into the options of the Kafka clients.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use crate::broker::kafka::{KafkaOptions, PropertySource};
use crate::settings::{Auto, Kafka, Secret, Settings};

/// The options of every Kafka client of this instance.
pub fn kafka_options(settings: &Settings, instance: &str) -> KafkaOptions {
    let kafka = &settings.kafka;
    let mut properties = security(kafka);
    properties.extend(kafka.properties.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    KafkaOptions {
        client_id: format!("{}.{instance}", settings.app),
        properties,
        renewed_properties: renewed_properties(kafka),
        session_timeout: kafka.session_timeout.duration(),
        static_membership: kafka.static_membership,
        transaction_timeout: kafka.transaction_timeout.duration(),
        fetch_ahead_bytes: bytes(settings.limits.fetch_ahead_bytes.0),
        reader_ahead_bytes: bytes(settings.limits.reader_ahead_bytes.0),
        send_ahead_bytes: bytes(settings.limits.send_ahead_bytes.0),
        compression: kafka.compression.to_string(),
        replication: match kafka.replication {
            Auto::Auto => None,
            Auto::Set(copies) => Some(i32::try_from(copies).unwrap_or(i32::MAX)),
        },
        ..KafkaOptions::new(kafka.brokers.join(","))
    }
}

/// The transactions' timeouts that one turn of a shard may take: to fill a transaction, to commit it, and to abort it.
const TRANSACTION_TIMEOUTS: u32 = 3;
/// What else a turn of a shard may take: requests with their timeouts, and a slice of a restore.
const REQUESTS: Duration = Duration::from_secs(60);

/// How long a healthy shard may be silent: as long as its group waits for it, or longer where its transactions may
/// take longer.
pub fn shard_patience(settings: &Settings) -> Duration {
    let options = kafka_options(settings, "");
    options.poll_interval.max(TRANSACTION_TIMEOUTS * options.transaction_timeout + REQUESTS)
}

/// Reads the secrets' files for each new client, so that rotated secrets take effect. An unreadable one is skipped.
fn renewed_properties(kafka: &Kafka) -> PropertySource {
    let files = [("sasl.password", &kafka.sasl_password_file), ("ssl.key.password", &kafka.ssl_key_password_file)];
    let files: Vec<(&str, PathBuf)> =
        files.into_iter().filter_map(|(name, file)| Some((name, file.clone()?))).collect();
    Arc::new(move || {
        let read = |(name, file): &(&str, PathBuf)| match Secret::from_file(file) {
            Ok(secret) => Some(((*name).to_owned(), secret.reveal().to_owned())),
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "cannot read a secret's file again; using its old content");
                None
            }
        };
        files.iter().filter_map(read).collect()
    })
}

fn security(kafka: &Kafka) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::from([("security.protocol".to_owned(), kafka.security_protocol.to_string())]);
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    if kafka.security_protocol.uses_sasl() {
        set("sasl.mechanism", Some(kafka.sasl_mechanism.to_string()));
        set("sasl.username", kafka.sasl_username.clone());
        set("sasl.password", secret(&kafka.sasl_password));
    }
    if kafka.security_protocol.uses_tls() {
        // The built-in OpenSSL does not know the system's certificate authorities; librdkafka probes for them.
        set("ssl.ca.location", path(&kafka.ssl_ca_file).or_else(|| Some("probe".to_owned())));
        set("ssl.certificate.location", path(&kafka.ssl_certificate_file));
        set("ssl.key.location", path(&kafka.ssl_key_file));
        set("ssl.key.password", secret(&kafka.ssl_key_password));
    }
    properties
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::http::Health;
    use crate::env::ManualClock;
    use crate::settings::Millis;

    /// However long transactions may take: one that is committed at its timeout does not make its shard dead.
    #[test]
    fn a_long_commit_leaves_a_shard_alive() {
        for (timeout, patience) in [(30, 300), (60, 300), (300, 960), (900, 2_760)] {
            let mut settings = Settings::default();
            settings.kafka.transaction_timeout = Millis(1_000 * timeout);
            assert_eq!(shard_patience(&settings), Duration::from_secs(patience));
            let clock = Arc::new(ManualClock::default());
            let health = Health::new(clock.clone());
            health.expect_beats("shard-0", shard_patience(&settings));
            clock.advance_millis(2 * 1_000 * timeout.unsigned_abs());
            assert!(health.live().ok, "a commit and the abort after it may take {timeout} s each");
            clock.advance_millis(1_000 * patience);
            assert!(!health.live().ok);
        }
    }
}
