//! No way in to the cluster: how librdkafka's words tell it, and what to check then, in the words of the configuration.

/// Words of librdkafka and of the brokers, and what they ask a user to check. The first that occur count.
const ADVICE: &[(&str, &str)] = &[
    ("ssl.ca.location failed", "check kafka.ssl_ca_file: it must hold certificates (PEM)"),
    ("ssl.certificate.location failed", "check kafka.ssl_certificate_file: it must hold a certificate (PEM)"),
    (
        "ssl.key.location failed",
        "check kafka.ssl_key_file, which must hold a private key (PEM), and kafka.ssl_key_password, which must open it",
    ),
    ("key values mismatch", "check kafka.ssl_key_file: it must belong to kafka.ssl_certificate_file"),
    ("Private key check failed", "check kafka.ssl_key_file: it must belong to kafka.ssl_certificate_file"),
    (
        "No matching issuer",
        "check kafka.ssl_certificate_file: the broker trusts none of the authorities that signed it",
    ),
    (
        "certificate verify failed",
        "check kafka.ssl_ca_file: the authority there must have signed the broker's certificate, and that must be made \
         out to the host as kafka.brokers names it",
    ),
    (
        "SSL routines",
        "check kafka.ssl_certificate_file and kafka.ssl_key_file: the broker may want a client's certificate from an \
         authority that it trusts",
    ),
    ("SASL", "check kafka.sasl_username, kafka.sasl_password (or its file) and kafka.sasl_mechanism"),
    ("uthentication", "check kafka.sasl_username, kafka.sasl_password (or its file) and kafka.sasl_mechanism"),
    (
        "brokers are down",
        "check that kafka.brokers can be reached, and that kafka.security_protocol is what their listener speaks",
    ),
    ("uthorization failed", "grant it: `foretide check --acls USER` shows all that is needed"),
];

/// Whether a connection failed because the other side, or ours, does not accept who the other one is.
pub(super) fn turned_away(complaint: &str) -> bool {
    let words = ["SSL routines", "No matching issuer", "SASL authentication error", "mechanism handshake failed"];
    words.iter().any(|words| complaint.contains(words))
}

/// Whether the brokers do not permit what was asked.
pub(super) fn forbidden(complaint: &str) -> bool {
    complaint.contains("uthorization failed")
}

/// `text` ("what was done: what went wrong") with what to check, where its words tell.
pub(super) fn advised(text: String) -> String {
    let wrong = text.split_once(": ").map_or(text.as_str(), |(_, wrong)| wrong);
    match ADVICE.iter().find(|(words, _)| wrong.contains(words)) {
        Some((_, advice)) => format!("{text}; {advice}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_no_denial() {
        assert!(!turned_away(
            "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
        ));
        assert!(!turned_away("b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused"));
        assert!(turned_away("b:1/1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate"));
        assert!(turned_away("b:1/1: SASL authentication error: Authentication failed"));
        assert!(turned_away(
            "b:1/1: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism"
        ));
    }

    #[test]
    fn the_nearest_setting_is_named() {
        let told = |text: &str| advised(text.to_owned());
        assert!(
            told("setting up: ssl.key.location failed: error:0A080009:SSL routines::PEM lib")
                .contains("ssl_key_password")
        );
        assert!(told("asking: error:0A000086:SSL routines::certificate verify failed").contains("kafka.ssl_ca_file"));
        assert_eq!(told("reading SASL[0]: Local: TimedObserver out"), "reading SASL[0]: Local: TimedObserver out");
    }
}
