//! Foretide forecasts every time series that flows through Kafka, live.
//!
//! The rooms, lowest first; an import goes down only (`tests/architecture.rs` holds it):
//! `env`, `time`, [`snapshot`], [`series`], [`nn`], [`forecast`], [`engine`], [`train`], [`wire`], [`broker`], [`backtest`],
//! [`daemon`], [`settings`], [`telemetry`], [`cli`]. ARCHITECTURE.md tells the way of an observation through them.

pub mod backtest;
pub mod broker;
pub mod cli;
pub mod daemon;
pub mod dashboard;
pub mod engine;
pub mod env;
pub mod forecast;
pub mod nn;
pub mod series;
pub mod settings;
pub mod snapshot;
pub mod telemetry;
pub mod time;
pub mod train;
pub mod wire;

/// Epochs allocate and free the same megabytes again and again; glibc gives those back to the system each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
