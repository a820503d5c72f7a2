//! Wiring, the event loop, commit, a partition's life.

pub mod board;
pub mod demo_data;
pub mod http;
