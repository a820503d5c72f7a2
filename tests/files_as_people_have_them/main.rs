//! `foretide backtest FILE` reads files as people have them, without a hint, and says what it took them for. What
//! cannot be read rightly is refused with the cause and the option that helps.
//!
//! Each file holds the load of an office by the hour, so that the forecast of the day before is right where the times
//! are. All are made here.

#![allow(clippy::unwrap_used, reason = "tests")]

mod forms;
mod outcomes;
mod support;
