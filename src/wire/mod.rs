//! Bytes to observations; forecasts, dead letters, snapshots and weights to bytes. Every layout carries its version.
//!
//! `docs/RECORDS.md` describes each record for readers who use another language.

mod csv;
pub mod dead_letter;
pub mod decode;
mod fields;
pub mod forecast;
mod json;
pub mod model;
mod number;
pub mod refusal;
pub mod state;
mod task;
pub mod timestamp;

pub use dead_letter::DeadLetter;
pub use decode::{DecodeSpec, DecodeSpecError, Decoder, Format, KeySource, TimeSource};
pub use forecast::{ForecastEncoder, ForecastRecord, HorizonAggregate};
pub use model::{Manifest, ModelRegistry, Release};
pub use refusal::{Reason, Rejection};
pub use state::{Envelope, StateKey, StateKind};
pub use task::{TaskCheckpoint, TopicFingerprint};
pub use timestamp::TimeFormat;
