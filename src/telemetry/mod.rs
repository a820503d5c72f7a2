//! The metrics ([`metrics`]), their recorder and exposition, and logging.
//!
//! This room imports no other room, so every room with side effects may use it.

pub mod logs;
pub mod metrics;
mod process;
mod recorder;

pub use logs::{LogFormat, LogsError};
pub use recorder::{Exposition, RecorderError};

#[cfg(test)]
mod tests;
