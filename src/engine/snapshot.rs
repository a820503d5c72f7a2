//! The snapshot of one series as bytes: named parts, each of which can be lost alone. The envelope around them (layout,
//! position, checksum) is the wire's.

use std::borrow::Cow;

use super::series::{LastObservation, NO_VERSION, Series};
use super::stream_spec::StreamSpec;
use crate::forecast::ForecastState;
use crate::series::SeriesState;
use crate::snapshot::{DiscardReason, DiscardedPart, Part, PartReader, PartShapes, PartWriter};

/// A snapshot, or the deletion of one, as it is read back from the state topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSnapshot<'a> {
    /// The series' key.
    pub series: Cow<'a, str>,
    /// The state contains the input before this offset.
    pub position: i64,
    /// The body of the [`Snapshot`](super::Snapshot); `None` where the series was deleted (a tombstone).
    pub body: Option<&'a [u8]>,
}

/// A series that a snapshot does not bring back; it is rebuilt from the input.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot of series {series:?} cannot be used: {part}")]
pub struct SnapshotError {
    /// The series' key.
    pub series: String,
    /// The part without which there is no series.
    pub part: DiscardedPart,
}

/// The snapshot of `series`, with memory for `capacity` bytes.
pub(super) fn encode(shapes: &PartShapes, series: &Series, capacity: usize) -> Vec<u8> {
    let mut parts = PartWriter::with_capacity(shapes, capacity);
    series.input.write_parts(&mut parts);
    series.forecast.write_parts(&mut parts);
    parts.put(Part::NETWORK_STATE, &(series.version, &series.hidden));
    parts.put(Part::LAST_OBSERVATION, &series.last);
    if series.is_partial {
        parts.put(Part::REBUILD_DUE, &());
    }
    parts.finish()
}

/// The series of the snapshot with this body, and the parts that could not be used. Parts that are missing begin
/// afresh.
///
/// # Errors
/// Where the slots or the values of the series cannot be used.
pub(super) fn decode(
    spec: &StreamSpec,
    shapes: &PartShapes,
    snapshot: &EncodedSnapshot<'_>,
    body: &[u8],
) -> Result<(Series, Vec<DiscardedPart>), SnapshotError> {
    let EncodedSnapshot { series: key, position, .. } = snapshot;
    let mut parts = PartReader::new(body, shapes);
    let Some(input) = SeriesState::read_parts(&spec.series, &mut parts) else {
        let missing = DiscardedPart { part: Part::VALUES, reason: DiscardReason::Missing };
        let part = parts.finish().first().copied().unwrap_or(missing);
        return Err(SnapshotError { series: key.clone().into_owned(), part });
    };
    let forecast = ForecastState::read_parts(&spec.forecast, &mut parts);
    let width = spec.network.state_len();
    let is_sound = |(version, hidden): &(u64, Box<[f32]>)| {
        (*version == NO_VERSION || hidden.len() == width) && hidden.iter().all(|value| value.is_finite())
    };
    // The hidden state of another network means nothing to this one: the next step builds it from recent values.
    let (version, hidden) = parts.take(Part::NETWORK_STATE, is_sound).unwrap_or((NO_VERSION, Box::default()));
    // Without it the series counts as observed now.
    let last = parts.take(Part::LAST_OBSERVATION, |_: &LastObservation| true);
    let rebuild_due = parts.take_optional(Part::REBUILD_DUE, |(): &()| true).is_some();
    let mut discarded = parts.finish();
    let mut series = Series::new(key, *position, version, input, forecast, hidden);
    series.is_partial = rebuild_due || !discarded.is_empty();
    // Another network is a change of the configuration that costs little: not worth a warning.
    discarded.retain(|lost| lost.part != Part::NETWORK_STATE || lost.reason != DiscardReason::Shape);
    series.last = last.unwrap_or(series.last);
    Ok((series, discarded))
}
