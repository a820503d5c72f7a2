//! The last error that librdkafka reported in its log. It explains why a later call timed out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::access_errors;
use super::deadline::monotonic_micros;
use super::error_recovery::{self, RecoveryAction};
use crate::broker::errors::BrokerError;
use crate::telemetry::{LeftOut, LogLimit};

/// Lines of all clients of the process: each reports a broker that is away, again and again.
static LIMIT: LogLimit = LogLimit::per_minute();

/// Facilities of librdkafka whose lines say that a broker does not answer.
const CONNECTION_FACILITIES: [&str; 5] = ["FAIL", "ERROR", "REQTMOUT", "SESSTMOUT", "BROKERFAIL"];

/// The last error of one client. It also forwards the client's log to ours.
#[derive(Debug, Default)]
pub(super) struct LastClientError {
    message: Mutex<Option<String>>,
}

impl LastClientError {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last error in parentheses after a space; empty without one.
    pub(super) fn suffix(&self) -> String {
        self.lock().as_ref().map(|line| format!(" ({line})")).unwrap_or_default()
    }

    /// Whether the last error is an authentication failure.
    pub(super) fn is_authentication_failure(&self) -> bool {
        self.lock().as_deref().is_some_and(access_errors::is_authentication_failure)
    }

    /// Forgets the last error, because the connection works again.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Converts an error like [`Self::explain`]. A timeout is explained by the last error.
    pub(super) fn explain_timeout(&self, operation: &str, error: &KafkaError) -> BrokerError {
        let timed_out = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
        let suffix = if timed_out { self.suffix() } else { String::new() };
        match self.explain(&format!("{operation}{suffix}"), error) {
            BrokerError::Retriable(text) => BrokerError::Retriable(access_errors::with_advice(text)),
            other => other,
        }
    }

    /// Converts an error. A call that times out does not say whether authentication failed; the last error does.
    pub(super) fn explain(&self, operation: &str, error: &KafkaError) -> BrokerError {
        let mapped = error_recovery::broker_error(operation, error);
        match (&mapped, self.lock().as_deref()) {
            (BrokerError::Retriable(_) | BrokerError::Authentication(_), Some(line))
                if access_errors::is_authentication_failure(line) =>
            {
                RecoveryAction::Reauthenticate.error(format!("{operation}: {line}"))
            }
            _ => mapped,
        }
    }

    /// Converts an error event of a consumer; `None` if the client recovers by itself.
    pub(super) fn consumer_error(&self, operation: &str, error: &KafkaError) -> Option<BrokerError> {
        let one_connection =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication));
        match self.explain(operation, error) {
            // Another event follows when no broker is left.
            BrokerError::Authentication(_) if one_connection => None,
            BrokerError::Retriable(text) => {
                tracing::debug!(target: "kafka", error = text, "consumer error; the client recovers by itself");
                None
            }
            other => Some(other),
        }
    }

    /// Forwards a log line of librdkafka.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let line = without_thread(line);
        match level {
            // librdkafka warns about settings that do not apply to this kind of client.
            _ if facility == "CONFWARN" => tracing::debug!(target: "kafka", facility, "{line}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                match LIMIT.admit(kind_of_line(facility, line), monotonic_micros()) {
                    Some(LeftOut(left_out)) => tracing::warn!(target: "kafka", facility, left_out, "{line}"),
                    None => tracing::debug!(target: "kafka", facility, "{line}"),
                }
                *self.lock() = Some(line.to_owned());
            }
            _ => {
                if facility == "FAIL" {
                    *self.lock() = Some(line.to_owned());
                }
                tracing::debug!(target: "kafka", facility, "{line}");
            }
        }
    }

    /// Records an error callback of librdkafka.
    pub(super) fn record(&self, error: &KafkaError, reason: &str) {
        // Readers ask for this event; it is no error.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        match LIMIT.admit(&kind_of_error(error, reason), monotonic_micros()) {
            Some(LeftOut(left_out)) => tracing::warn!(target: "kafka", %error, left_out, "{reason}"),
            None => tracing::debug!(target: "kafka", %error, "{reason}"),
        }
        // The error of one connection says more than "all brokers down", which follows it.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.lock().get_or_insert_with(|| reason.to_owned());
        } else {
            *self.lock() = Some(reason.to_owned());
        }
    }
}

/// The kind of a log line, for its limit.
fn kind_of_line<'a>(facility: &'a str, line: &str) -> &'a str {
    if access_errors::is_authentication_failure(line) {
        "authentication"
    } else if CONNECTION_FACILITIES.contains(&facility) {
        "connection"
    } else {
        facility
    }
}

/// The kind of an error callback, for its limit.
fn kind_of_error(error: &KafkaError, reason: &str) -> String {
    if access_errors::is_authentication_failure(reason) {
        "authentication".into()
    } else if error_recovery::is_retriable(error) {
        "connection".into()
    } else {
        error.to_string()
    }
}

/// Removes the thread name from a line such as "[thrd:NAME]: BROKER/bootstrap: what happened".
pub(super) fn without_thread(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_about_a_broker_that_is_away_are_of_one_kind() {
        let refused = "127.0.0.1:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(kind_of_line("FAIL", refused), "connection");
        let down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        assert_eq!(kind_of_error(&down, "1/1 brokers are down"), "connection");
        assert_eq!(kind_of_error(&KafkaError::Global(RDKafkaErrorCode::Resolve), "b:1: unknown host"), "connection");
    }

    #[test]
    fn other_lines_are_not_hidden_by_them() {
        let denied = "b:1/1: SASL authentication error: Authentication failed";
        assert_eq!(kind_of_line("FAIL", denied), "authentication");
        assert_eq!(kind_of_line("MAXPOLL", "exceeded by 1 ms"), "MAXPOLL");
        let fatal = KafkaError::Global(RDKafkaErrorCode::Fatal);
        assert_eq!(kind_of_error(&fatal, "fenced"), fatal.to_string());
    }
}
