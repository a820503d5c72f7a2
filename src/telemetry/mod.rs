//! Metric names in one place ([`metrics`]), their recorder and exposition, and how logs are written.
//!
//! A leaf: it imports no other room, so that every room of the shell may count and log through it.

pub mod logs;
pub mod metrics;
mod process;
mod recorder;

pub use logs::{LogFormat, LogsError};
pub use recorder::{Exposition, RecorderError};

#[cfg(test)]
mod tests;
