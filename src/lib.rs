//! Foretide forecasts every time series that flows through Kafka, live.
//!
//! The modules are the rooms of ARCHITECTURE.md, which leads an observation through them. An import goes down only;
//! `tests/architecture/` checks that.

pub mod backtest;
pub mod broker;
pub mod cli;
pub mod daemon;
pub mod dashboard;
pub mod engine;
pub mod env;
pub mod forecast;
pub mod nn;
pub mod pretrain;
pub mod series;
pub mod settings;
pub mod snapshot;
pub mod telemetry;
pub mod time;
pub mod train;
pub mod wire;

/// Transactions allocate and free the same megabytes again and again; glibc returns those to the system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
