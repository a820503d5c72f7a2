//! Wiring, the event loop, commit, a partition's life.

pub mod board;
pub mod commit;
pub mod demo_data;
pub mod http;
pub mod models;
pub mod partition;
pub mod plan;
pub mod replay;
pub mod report;
pub mod shard;
pub mod status;
pub mod supervise;
