//! The state of one series.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stream_spec::StreamSpec;
use crate::forecast::{ForecastState, StreamPrior};
use crate::series::{SeriesState, clone_in_place};

/// The state of one series.
#[derive(Debug)]
pub(super) struct Series {
    pub key: Arc<str>,
    /// The state contains the input before this offset.
    pub position: i64,
    pub last: LastObservation,
    /// The weights that made `hidden`. Where other weights serve, recent steps run again first.
    pub version: u64,
    pub input: SeriesState,
    pub forecast: ForecastState,
    /// The hidden state of the network, `[NetworkSpec::state_len]`.
    pub hidden: Box<[f32]>,
    /// Steps that wait in the open transaction.
    pub queued: u32,
    /// How the open transaction is undone.
    pub undo: Undo,
    /// Whether parts of its snapshot could not be used, and it has not been rebuilt since.
    pub is_partial: bool,
    /// Whether the open transaction ended it.
    pub has_ended: bool,
    /// Whether it waits for a snapshot.
    pub is_dirty: bool,
}

clone_in_place!(Series {
    key,
    position,
    last,
    version,
    input,
    forecast,
    hidden,
    queued,
    undo,
    is_partial,
    has_ended,
    is_dirty
});

/// How a rollback of the open transaction treats a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// The transaction has not touched it.
    Untouched,
    /// Its undo copy is put back.
    Copied,
    /// The transaction began it: it is dropped. Its snapshot is due in any case.
    Begun,
}

/// The last observation of a series, an accepted one or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastObservation {
    /// The offset of its record.
    pub offset: i64,
    /// The event time of the task at that offset, in milliseconds.
    pub event_time: i64,
}

/// The version of a hidden state that no weights have made. Recent steps build the state before the next step.
pub(super) const NO_VERSION: u64 = u64::MAX;

impl Series {
    /// A series whose first value is `value`.
    pub fn cold_start(key: &str, spec: &StreamSpec, prior: Option<&StreamPrior>, value: f64) -> Self {
        let (input, forecast) = match prior {
            Some(prior) => {
                (SeriesState::with_scale_prior(&prior.scale, value), ForecastState::cold_start(&spec.forecast, prior))
            }
            None => (SeriesState::new(), ForecastState::new(&spec.forecast)),
        };
        Self::new(key, i64::MIN, NO_VERSION, input, forecast, Box::default())
    }

    /// A series at rest: nothing waits for it, and nothing of it has changed. Its last observation is the one before
    /// `position`, at an unknown event time.
    pub fn new(
        key: &str,
        position: i64,
        version: u64,
        input: SeriesState,
        forecast: ForecastState,
        hidden: Box<[f32]>,
    ) -> Self {
        Self {
            key: key.into(),
            position,
            last: LastObservation { offset: position.saturating_sub(1), event_time: i64::MAX },
            version,
            input,
            forecast,
            hidden,
            queued: 0,
            undo: Undo::Untouched,
            is_partial: false,
            has_ended: false,
            is_dirty: false,
        }
    }

    /// Memory in bytes, inline and on the heap.
    pub fn bytes(&self) -> usize {
        // The text of the key is shared by the table and its outputs; its `Arc` adds two counters.
        let text = self.key.len() + 2 * size_of::<usize>();
        let inline = size_of::<Self>() - size_of::<SeriesState>() - size_of::<ForecastState>();
        inline + text + self.input.bytes() + self.forecast.bytes() + size_of_val(&*self.hidden)
    }
}
