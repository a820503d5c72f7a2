//! Authentication and authorization failures: how librdkafka and the brokers report them, and which setting to check.

/// Parts of error messages, and what an operator should check. The first part that occurs counts.
const ADVICE: &[(&[&str], &str)] = &[
    (&["ssl.ca.location failed"], "check kafka.ssl_ca_file: it must hold certificates (PEM)"),
    (&["ssl.certificate.location failed"], "check kafka.ssl_certificate_file: it must hold a certificate (PEM)"),
    (
        &["ssl.key.location failed"],
        "check kafka.ssl_key_file: it must hold a private key (PEM), and kafka.ssl_key_password must decrypt it",
    ),
    (
        &["key values mismatch", "Private key check failed"],
        "check kafka.ssl_key_file: it must belong to kafka.ssl_certificate_file",
    ),
    (
        &["No matching issuer"],
        "check kafka.ssl_certificate_file: the broker trusts none of the authorities that signed it",
    ),
    (
        &["certificate verify failed"],
        "check kafka.ssl_ca_file: this authority must have signed the broker's certificate, which must name the host \
         as kafka.brokers does",
    ),
    (
        &["SSL routines"],
        "check kafka.ssl_certificate_file and kafka.ssl_key_file: the broker may require a client certificate from an \
         authority that it trusts",
    ),
    (
        &["SASL", "uthentication"],
        "check kafka.sasl_username, kafka.sasl_password (or its file) and kafka.sasl_mechanism",
    ),
    (
        &["brokers are down"],
        "check that kafka.brokers are reachable and that kafka.security_protocol matches their listener",
    ),
    (
        &["Failed to resolve"],
        "this machine does not know the host name that kafka.brokers or the broker's advertised.listeners give",
    ),
    (&["uthorization failed"], "grant it: `foretide check --acls USER` prints every ACL that is needed"),
];

/// Whether `message` says that a TLS or SASL handshake was rejected by either side.
pub(super) fn is_authentication_failure(message: &str) -> bool {
    let parts = ["SSL routines", "No matching issuer", "SASL authentication error", "mechanism handshake failed"];
    parts.iter().any(|part| message.contains(part))
}

/// Whether `message` says that an access control list denied a request.
pub(super) fn is_authorization_failure(message: &str) -> bool {
    message.contains("uthorization failed")
}

/// Appends the matching advice to `text`, which reads "what was done: what went wrong".
pub(super) fn with_advice(text: String) -> String {
    let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
    match ADVICE.iter().find(|(parts, _)| parts.iter().any(|part| reason.contains(part))) {
        Some((_, advice)) => format!("{text}; {advice}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_no_authentication_failure() {
        assert!(!is_authentication_failure(
            "ssl://b:1/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
        ));
        assert!(!is_authentication_failure("b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused"));
        for failure in [
            "b:1/1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate",
            "b:1/1: SASL authentication error: Authentication failed",
            "b:1/1: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism",
        ] {
            assert!(is_authentication_failure(failure), "{failure}");
        }
    }

    #[test]
    fn the_advice_names_the_setting_to_check() {
        let text = |text: &str| with_advice(text.to_owned());
        let key = text("setting up: ssl.key.location failed: error:0A080009:SSL routines::PEM lib");
        assert!(key.contains("ssl_key_password"), "{key}");
        let authority = text("asking: error:0A000086:SSL routines::certificate verify failed");
        assert!(authority.contains("kafka.ssl_ca_file"), "{authority}");
        assert_eq!(text("reading SASL[0]: Local: Timed out"), "reading SASL[0]: Local: Timed out");
    }
}
