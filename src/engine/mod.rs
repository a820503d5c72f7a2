//! The forecasting of one shard: the states of the series of each task, stepped in micro-batches over many series.
//!
//! The engine is a deterministic function of its input: it reads no clock, no network and no random numbers. The caller
//! gives it observations with their positions; [`Engine::finish`] closes a [`Transaction`], a value that holds
//! everything to be written. The caller then calls [`Engine::commit`] or [`Engine::roll_back`].

mod acceptance;
mod closing_queue;
mod dirty_queue;
#[expect(clippy::module_inception, reason = "the room is named after its one public type")]
mod engine;
mod field_bounds;
mod fingerprint;
mod future_covariates;
mod micro_batch;
mod recency;
mod record_clock;
mod recursive;
mod rollback;
mod series;
mod series_table;
mod snapshot;
mod stream;
mod stream_spec;
mod task;
mod transaction;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod closing_tests;
#[cfg(test)]
mod correction_tests;
#[cfg(test)]
mod future_covariates_tests;
#[cfg(test)]
mod series_end_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod test_fixture;
#[cfg(test)]
mod tests;

pub use acceptance::{Acceptance, Deletion, Observation};
pub use engine::Engine;
pub use field_bounds::FieldBounds;
pub use record_clock::RecordClock;
pub use snapshot::{EncodedSnapshot, SnapshotError};
pub use stream::ServedWeights;
pub use stream_spec::{StreamSpec, WhenFull};
pub use task::{TaskHandle, TaskId};
pub use transaction::{EndReason, EndedSeries, ForecastRow, Snapshot, StreamSums, TaskAdvance, Transaction};
