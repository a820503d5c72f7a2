//! Where reading and forecasting begin in a partition that the group has never read.
//!
//! Forecasts begin where the stream's `start` says. Reading begins before that, by the rule of [`Rebuild`]: what is
//! older is learnt from and has no other effect (a warm-up). The first commit records both, the position of the group
//! and `emit_from` in the task checkpoint, so that no later start decides again.

use super::inputs::RestoreInputs;
use super::rebuild::{MISSING_STATE, Rebuild};
use crate::broker::{Broker, BrokerError, Partition, stable_end};
use crate::daemon::forecasts::forecast_bytes;
use crate::daemon::partition_task::{FirstStart, PartitionTask};
use crate::daemon::plan::StreamPlan;
use crate::settings::ForecastStart;

/// Bytes of the forecasts that `start = "auto"` writes of a topic's past, about.
const AUTO_BYTES: u64 = 64 << 20;

/// Applies `start` to a partition. `wall` is the present time in milliseconds since the Unix epoch.
///
/// # Errors
/// The broker's.
pub fn find(
    broker: &dyn Broker,
    stream: &StreamPlan,
    start: ForecastStart,
    partition: &Partition,
    wall: i64,
) -> Result<FirstStart, BrokerError> {
    let oldest = broker.offsets(partition)?.start;
    let emit_from = match start {
        ForecastStart::Earliest => oldest,
        ForecastStart::Latest => stable_end(broker, partition)?,
        ForecastStart::At(time) => broker.offset_at(partition, time.0)?,
        ForecastStart::Back(duration) => broker.offset_at(partition, wall.saturating_sub(duration.0))?,
        ForecastStart::Auto => {
            let partitions = broker.partitions(&partition.topic)?.unwrap_or(1);
            stable_end(broker, partition)? - auto_records(stream, partitions)
        }
    };
    let emit_from = emit_from.max(oldest);
    let rebuild = Rebuild::find(broker, partition, &stream.engine.series, emit_from, MISSING_STATE)?;
    Ok(FirstStart { read_from: rebuild.from, emit_from, topic_fingerprint: rebuild.last })
}

/// Decides where the tasks of a partition that the group has never read begin to forecast. Returns where reading
/// begins.
///
/// # Errors
/// The broker's.
pub fn begin(
    inputs: &RestoreInputs<'_>,
    partition: &Partition,
    tasks: &mut [PartitionTask],
) -> Result<i64, BrokerError> {
    for task in &mut *tasks {
        let stream = &inputs.plan.streams[task.stream];
        task.first_start = Some(find(inputs.broker, stream, stream.start, partition, inputs.wall)?);
    }
    let starts = tasks.iter().filter_map(|task| task.first_start);
    let read_from = starts.map(|start| start.read_from).min().unwrap_or(0);
    for task in tasks {
        let stream = &inputs.plan.streams[task.stream];
        tracing::info!(
            app = inputs.plan.app, stream = %stream.engine.name, topic = %partition.topic,
            partition = partition.number, start = %stream.start,
            emit_from = task.first_start.map(|start| start.emit_from), read_from,
            "this app has not read the partition before; what is older than emit_from is learnt from and not forecast"
        );
    }
    Ok(read_from)
}

/// Records of each of so many partitions whose forecasts take [`AUTO_BYTES`] together.
fn auto_records(stream: &StreamPlan, partitions: i32) -> i64 {
    let record = forecast_bytes(&stream.engine) * stream.decode.values.len().max(1) as u64;
    let records = AUTO_BYTES / record.max(1) / u64::from(partitions.unsigned_abs().max(1));
    i64::try_from(records.max(1)).unwrap_or(i64::MAX)
}
