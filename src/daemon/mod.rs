//! The daemon: its threads, the shards' poll loops, restores, commits and training.

pub mod cleanup_policies;
mod context;
pub mod forecasts;
pub mod future_covariates;
mod initial_metrics;
mod lag_monitor;
mod model_subscription;
pub mod newest_records;
mod observation_scan;
mod open_transactions;
mod partition_task;
pub mod permissions;
pub mod plan;
mod process;
mod reachability;
pub mod reading_order;
pub mod refusals;
mod rejoin;
mod repartition;
pub mod reset;
mod restore;
pub mod shard;
pub mod sizing;
pub mod specs;
pub mod split_series;
pub mod status;
mod supervisor;
pub mod topics;
mod trainer;
mod worker;

pub use process::{Daemon, DaemonError};
pub use restore::RestoreStats;
pub use trainer::{RoundError, StreamHistory};
