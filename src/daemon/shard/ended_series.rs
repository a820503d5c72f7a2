//! Reports the series that a committed transaction has ended.

use std::collections::BTreeMap;

use crate::engine::{EndReason, EndedSeries, Engine};
use crate::telemetry::{LeftOut, LogLimit, metrics};

/// Lines about series that end, by stream and reason.
static ENDED_LIMIT: LogLimit = LogLimit::growing();

/// Counts ended series, and logs them now and then. `now` is in microseconds of the monotonic clock.
pub fn report(engine: &Engine, ended: &[EndedSeries], now: u64) {
    let mut by_reason: BTreeMap<(&str, EndReason), (u64, &EndedSeries)> = BTreeMap::new();
    for ended in ended {
        by_reason.entry((&engine.id(ended.task).stream, ended.reason)).or_insert((0, ended)).0 += 1;
    }
    for ((stream, reason), (count, first)) in by_reason {
        metrics::SERIES_ENDED.counter(&[("stream", stream), ("reason", reason.label())]).increment(count);
        let Some(LeftOut(left_out)) = ENDED_LIMIT.admit(&format!("{stream}/{}", reason.label()), now) else { continue };
        let (id, series, limit) = (engine.id(first.task), &*first.series, engine.stream(first.task).max_series);
        match reason {
            EndReason::Evicted => tracing::warn!(
                stream, topic = %id.topic, partition = id.partition, series, count, limit, left_out,
                "the partition holds limits.series series: the longest silent ones end as others begin. Raise the \
                 limit, lower series_ttl, or check that stream.key names series and not records"
            ),
            EndReason::Silent | EndReason::Deleted => tracing::info!(
                stream, topic = %id.topic, partition = id.partition, series, count, reason = reason.label(), left_out,
                "series have ended; one that comes back is new"
            ),
        }
    }
}
