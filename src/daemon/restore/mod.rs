//! A partition's way from assigned to running.
//!
//! The names follow Kafka Streams: the state topic is the changelog, its records are snapshots of series and
//! checkpoints of tasks.
//!
//! ```text
//!  assigned       its turn comes        end of the state topic           input replayed
//! ──────────► Assigned ────► LoadingSnapshots ────► LoadingCovariates ────► Replaying ────► Running
//!                │                   │            (with a feed only)            │
//!                │                   └──── retriable error ──► Suspended ◄──────┘
//!                └──────────────────────────── after a pause ──────┘
//!  revoked or lost, in any phase: removed from the schedule
//! ```
//!
//! - [`schedule`] decides which partition advances when, and retries a postponed restore.
//! - [`partition`] holds the phases of one partition and advances it by a bounded slice.
//! - [`snapshots`] puts records of the state topic into the engine.
//! - [`group_position`] says what the group knows of a partition, and [`first_start`] where one begins that it has
//!   never read.
//! - [`serving_position`] decides where serving begins, and whether the input topic was deleted and recreated.
//! - [`absence`] reports streams that were removed and added again.
//! - [`resume`] decides from where the input is read again.
//! - [`background_rebuild`] rebuilds series while their partition is served.
//! - [`rebuild`] decides how much input is read again where the state is missing, or was of other settings.
//! - [`replay`] reads the input between the snapshots and that position again, without writing.
//! - [`unusable`] counts what cannot be used, for one log line a stream.
//! - [`standby`] keeps copies of other shards' snapshots, so that a takeover reads only what is new.

mod absence;
mod background_rebuild;
mod first_start;
mod group_position;
mod inputs;
mod partition;
mod rebuild;
mod replay;
mod resume;
mod schedule;
mod serving_position;
mod snapshots;
mod standby;
mod stats;
mod unusable;

pub use first_start::find as find_first_start;
pub use group_position::{GroupPosition, commit_metadata, copies_commit_metadata, group_positions};
pub use inputs::RestoreInputs;
pub use partition::AssignedPartition;
pub use rebuild::{MISSING_STATE, Rebuild};
pub use schedule::RestoreSchedule;
pub use serving_position::holds;
pub use standby::standby_copy_bytes;
pub use stats::RestoreStats;
