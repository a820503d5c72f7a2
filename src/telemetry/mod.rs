//! The metrics ([`metrics`]), their recorder and exposition, and logging with its limits ([`LogLimit`]).
//!
//! This room imports no other room, so every room with side effects may use it.

mod log_limit;
pub mod logs;
pub mod metrics;
mod process;
mod recorder;

pub use log_limit::{LeftOut, LogLimit, ShortDuration, kind_of};
pub use logs::{LogFormat, LogsError};
pub use recorder::{Exposition, RecorderError};

#[cfg(test)]
mod tests;
