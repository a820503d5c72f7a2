//! Records on the wire: observations from bytes; forecasts, dead letters, state and weights to bytes. Every layout
//! carries its version.
//!
//! `docs/RECORDS.md` describes each record for readers in other languages.

mod csv;
pub mod dead_letter;
mod decode_spec;
mod decoded;
mod decoder;
mod escaping;
mod fields;
mod forecast_record;
mod framing;
mod json;
mod model_manifest;
mod model_registry;
mod number;
mod rejection;
mod repartition_record;
mod sample;
mod stamp;
mod state_error;
mod state_key;
mod state_record;
mod task_checkpoint;
mod timestamp;

pub use dead_letter::{DeadLetter, EncodedDeadLetter};
pub use decode_spec::{DecodeSpec, DecodeSpecError, Format, KeySource, MAX_MAGNITUDE, TimeSource};
pub use decoded::Decoded;
pub use decoder::Decoder;
pub use forecast_record::{ForecastEncoder, ForecastRecord, HorizonAggregate, ThresholdCrossing};
pub use model_manifest::{Manifest, ModelError, ModelKey, PublishReason, Release};
pub use model_registry::ModelRegistry;
pub use rejection::{MAX_DETAIL_BYTES, Rejection, RejectionReason};
pub use repartition_record::{CopyOrigin, write_copy};
pub use sample::sample;
pub use stamp::{DateOrder, Moment, Stamp, parse_stamp, parse_time_of_day, stamp_pattern};
pub use state_error::StateError;
pub use state_key::StateKey;
pub use state_record::{Envelope, STATE_LAYOUT, StateKind};
pub use task_checkpoint::{TaskCheckpoint, TopicFingerprint};
pub use timestamp::TimeFormat;
