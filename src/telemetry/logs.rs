//! Logs: one line per event on standard error, as text or as JSON.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Plain text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level is neither a level nor a list of `target=level`.
    #[error(
        "log level {level:?}: {reason}; expected error, warn, info, debug or trace, or a list such as \
         \"info,foretide::daemon=debug\""
    )]
    Level {
        /// The level as configured.
        level: String,
        /// The parser's message.
        reason: String,
    },
    /// The process writes logs already.
    #[error("this process writes logs already; start them only once")]
    Started,
}

/// Starts logging to standard error at `level` (a level, or tracing's list of `target=level`).
///
/// # Errors
/// When `level` is invalid, or logging was started before.
pub fn start(format: LogFormat, level: &str) -> Result<(), LogsError> {
    let filter = filter(level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(lines.with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|_| LogsError::Started)
}

pub(super) fn filter(level: &str) -> Result<EnvFilter, LogsError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| LogsError::Level { level: level.to_owned(), reason: error.to_string() })
}
