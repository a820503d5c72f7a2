//! Where the reading of an input partition begins, and from where on it is forecast.

use crate::broker::{Broker, BrokerError, Partition};
use crate::daemon::plan::StreamPlan;
use crate::daemon::restore::{GroupPosition, MISSING_STATE, Rebuild, find_first_start};

/// Where a repartitioner begins in an input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStart {
    /// The first offset that is read.
    pub read_from: i64,
    /// The first offset that is forecast; those before it are learnt from.
    pub emit_from: i64,
    /// Whether a commit has recorded this.
    pub recorded: bool,
}

/// Finds it. `stream` is the stream without its repartition topic, `wall` the present time in milliseconds since the
/// Unix epoch.
///
/// # Errors
/// The broker's.
pub fn find(
    broker: &dyn Broker,
    stream: &StreamPlan,
    partition: &Partition,
    position: &GroupPosition,
    wall: i64,
) -> Result<SourceStart, BrokerError> {
    let (topic, number, name) = (&*partition.topic, partition.number, &stream.engine.name);
    let Some(committed) = position.committed else {
        if position.added {
            let oldest = broker.offsets(partition)?.start;
            tracing::info!(
                stream = %name, topic, partition = number, offset = oldest,
                "the partition was added to a topic that is read already; it is copied from its oldest record"
            );
            return Ok(SourceStart { read_from: oldest, emit_from: oldest, recorded: false });
        }
        let start = find_first_start(broker, stream, stream.start, partition, wall)?;
        let (read_from, emit_from) = (start.read_from, start.emit_from);
        tracing::info!(
            stream = %name, topic, partition = number, start = %stream.start, emit_from, read_from,
            "this app has not read the partition before; what is older than emit_from is learnt from and not forecast"
        );
        return Ok(SourceStart { read_from, emit_from, recorded: false });
    };
    if let Some(emit_from) = position.copies_emit_from {
        return Ok(SourceStart { read_from: committed, emit_from, recorded: true });
    }
    if position.set_by_hand {
        tracing::warn!(
            stream = %name, topic, partition = number, offset = committed,
            "the group's position was set by hand: the partition is copied from there"
        );
        return Ok(SourceStart { read_from: committed, emit_from: committed, recorded: false });
    }
    let range = broker.offsets(partition)?;
    if committed > range.end {
        return Ok(SourceStart { read_from: committed, emit_from: committed, recorded: false });
    }
    let rebuild = Rebuild::find(broker, partition, &stream.engine.series, committed, MISSING_STATE)?;
    tracing::info!(
        stream = %name, topic, partition = number, offset = committed, from = rebuild.from,
        "the partition was read without a repartition topic so far: its series begin anew, and learn from the input \
         that was read already"
    );
    Ok(SourceStart { read_from: rebuild.from, emit_from: committed, recorded: false })
}
