//! State that is rebuilt from the input, because it is not in the state topic, or was written under other settings.
//!
//! A task without a checkpoint although its input was read: the state topic was emptied, or deleted with age, or got
//! other partitions. A stream that is new on a topic begins like this, too. [`MISSING_STATE`] says how much is read.
//!
//! Series whose snapshots have parts of other settings: [`CHANGED_SETTINGS`] says how much is read. Where the input
//! holds much less, they go on with these parts empty.

use std::{collections::VecDeque, time::Duration};

use crate::broker::{Broker, BrokerError, Partition, StartPosition};
use crate::daemon::{partition_task::PartitionTask, plan::Plan};
use crate::engine::{Engine, TaskHandle, TaskId};
use crate::series::SeriesSpec;
use crate::snapshot::TaskProgress;
use crate::wire::TopicFingerprint;

/// How much input of a partition a state is rebuilt from: its newest records, and of these the ones of the last slots
/// or seasons, whichever are longer, by the records' timestamps.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    records: i64,
    slots: i64,
    seasons: i64,
    /// On an irregular grid, in milliseconds.
    span: i64,
}

/// The longest memory of a state, that of the linear experts, is half as long.
pub const MISSING_STATE: Reach = Reach { records: 10_000_000, slots: 10_000, seasons: 4, span: 30 * DAY };
/// Less: the state that is there serves until it is rebuilt only in part.
pub const CHANGED_SETTINGS: Reach = Reach { records: 5_000_000, slots: 2_000, seasons: 4, span: 10 * DAY };
/// With less input than this, state that lacks parts is better than state that is rebuilt.
const ENOUGH: Reach = Reach { records: i64::MAX, slots: 500, seasons: 2, span: DAY };
/// In milliseconds.
const DAY: i64 = 24 * 3_600_000;
/// How many offsets before the position are searched for records with a timestamp, in turn. Markers and aborted records
/// take offsets as well.
const SEARCHED_OFFSETS: [i64; 3] = [16, 256, 4_096];
/// The most records whose timestamps count.
const NEWEST_RECORDS: usize = 16;
/// How long one read of the search waits, and how often it reads before the restore is postponed: 5 s in all.
const READ_WAIT: Duration = Duration::from_millis(20);
const MAX_READS: usize = 250;

/// What becomes of partial series: those whose snapshots have parts of other settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialSeries {
    /// They are rebuilt before their partition is served.
    RebuildFirst,
    /// They are served as they are until they are rebuilt.
    RebuildMeanwhile,
    /// They go on with these parts empty: the input holds too little.
    Keep,
}

/// From where the input of a task is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuild {
    /// The first offset that is read again.
    pub from: i64,
    /// The oldest offset that the input holds.
    pub oldest: i64,
    /// Offsets that are wanted and that retention has deleted.
    pub lost: u64,
    /// The last record before the position.
    pub last: Option<TopicFingerprint>,
    /// Whether the time, and not what the input holds, is the limit.
    is_limited_by_time: bool,
    /// The time up to which the input was read, by the records' timestamps.
    newest: Option<i64>,
}

impl Reach {
    /// In milliseconds.
    fn span(&self, spec: &SeriesSpec) -> i64 {
        let slots = self.slots.max(self.seasons * i64::from(spec.season));
        spec.grid.nominal_interval().map_or(self.span, |interval| interval.saturating_mul(slots))
    }
}

impl Rebuild {
    /// How a partition whose input was read up to `position` is rebuilt.
    ///
    /// # Errors
    /// The broker's, or [`BrokerError::Retriable`] where records do not arrive in time.
    pub fn find(
        broker: &dyn Broker,
        partition: &Partition,
        spec: &SeriesSpec,
        position: i64,
        reach: Reach,
    ) -> Result<Self, BrokerError> {
        let oldest = broker.offsets(partition)?.start;
        let by_count = position.saturating_sub(reach.records).max(0);
        let records = newest_records(broker, partition, oldest, position)?;
        let (last, newest) = (records.back().copied(), median_timestamp(&records));
        let by_time = offset_since(broker, partition, newest, reach.span(spec))?.unwrap_or(oldest);
        // Where an older record exists than the time asks for, the time and not retention is the limit.
        let lost = if by_time > oldest { 0 } else { oldest.min(position) - by_count };
        let from = by_count.max(by_time).max(oldest).min(position);
        let is_limited_by_time = from == by_time && by_time > oldest;
        Ok(Self { from, oldest, lost: u64::try_from(lost).unwrap_or(0), last, is_limited_by_time, newest })
    }

    /// Whether it is enough for the most important parts of a state.
    ///
    /// # Errors
    /// The broker's.
    pub fn is_enough(
        &self,
        broker: &dyn Broker,
        partition: &Partition,
        spec: &SeriesSpec,
    ) -> Result<bool, BrokerError> {
        if self.from == 0 || self.is_limited_by_time {
            return Ok(true);
        }
        let enough_from = offset_since(broker, partition, self.newest, ENOUGH.span(spec))?;
        Ok(enough_from.unwrap_or(self.oldest) > self.from)
    }

    /// Puts a task that is to be served from `position` where its replay begins. The replay runs with the newest
    /// weights.
    pub fn begin(&self, engine: &mut Engine, task: TaskHandle, position: i64) {
        let progress = TaskProgress { replay_from: self.from, rebuilt_to: position, ..TaskProgress::default() };
        engine.resume(task, &progress);
        if self.from < position {
            let newest = engine.newest_version(&engine.id(task).stream);
            engine.begin(false);
            engine.activate(task, newest);
            engine.finish(0.0);
        }
    }

    /// Logs what becomes of so many series of a task whose snapshots were written under other settings.
    pub fn report_partial(&self, task: &TaskId, series: usize, position: i64, partial: PartialSeries) {
        let TaskId { stream, topic, partition } = task;
        let Self { from, oldest, .. } = *self;
        match partial {
            PartialSeries::RebuildFirst => tracing::info!(
                %stream, %topic, partition, series, offset = position, from, records = position - from,
                "rebuilding series whose snapshots were written under other settings from the input"
            ),
            PartialSeries::RebuildMeanwhile => tracing::info!(
                %stream, %topic, partition, series, offset = position, from, records = position - from,
                "series whose snapshots were written under other settings are served with the parts of their state \
                 that fit, until they are rebuilt from the input"
            ),
            PartialSeries::Keep => tracing::warn!(
                %stream, %topic, partition, series, offset = position, oldest,
                "the input does not reach back far enough to rebuild these series; they go on with the parts of their \
                 state that fit the settings"
            ),
        }
    }

    /// Logs that the state of a task is rebuilt up to `position`, where anything is. `missing` says whether it should
    /// be in the state topic: where other tasks of the partition have state, the stream is new there, or its own
    /// checkpoint was unusable. Returns whether state was lost.
    pub fn report(&self, plan: &Plan, task: &TaskId, position: i64, missing: bool) -> bool {
        let Self { from, oldest, lost, .. } = *self;
        let TaskId { stream, topic, partition } = task;
        if !missing && from < position {
            tracing::info!(
                %stream, %topic, partition, offset = position, from, oldest,
                "the stream has no state on this topic yet; it learns from the input that was read already"
            );
        }
        if !missing || (from >= position && lost == 0) {
            return false;
        }
        tracing::warn!(
            %stream, %topic, partition, offset = position, from, oldest, lost,
            state_topic = plan.state_topic, state_partitions = plan.state_partitions,
            "no state although the input was read up to here; rebuilding the state from the input. Unless the group's \
             offsets were set by hand, the state topic was emptied, has not cleanup.policy=compact, or had another \
             number of partitions"
        );
        true
    }
}

/// How many series the tasks' checkpoints count more than there are.
pub fn missing_series(engine: &Engine, tasks: &[PartitionTask]) -> u64 {
    let missing = |task: &PartitionTask| {
        let counted = task.checkpoint.as_ref()?.series?;
        Some(counted.saturating_sub(engine.series_count(task.handle) as u64))
    };
    tasks.iter().filter_map(missing).sum()
}

/// Logs how many series are missing, and what that means.
pub fn report_missing(partition: &Partition, series: u64, what: &str) {
    tracing::warn!(
        topic = %partition.topic, partition = partition.number, missing_series = series,
        "{what}; what the input holds of them is read again, the others begin anew. Snapshots are missing where the \
         state topic was emptied or has not cleanup.policy=compact, or are refused after a change of the configuration"
    );
}

/// The offset of the first record of the last `span` milliseconds before `newest`; `None` where that time is unknown,
/// or before 1970.
fn offset_since(
    broker: &dyn Broker,
    partition: &Partition,
    newest: Option<i64>,
    span: i64,
) -> Result<Option<i64>, BrokerError> {
    newest.filter(|newest| *newest > span).map(|newest| broker.offset_at(partition, newest - span)).transpose()
}

/// The median of the records' timestamps, which a wild one among them does not move.
fn median_timestamp(records: &VecDeque<TopicFingerprint>) -> Option<i64> {
    let mut timestamps: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
    timestamps.sort_unstable();
    timestamps.get(timestamps.len().checked_sub(1)? / 2).copied()
}

/// The last [`NEWEST_RECORDS`] records with a timestamp below `position`, in order of their offsets, from as far back
/// as it takes to find some.
fn newest_records(
    broker: &dyn Broker,
    partition: &Partition,
    oldest: i64,
    position: i64,
) -> Result<VecDeque<TopicFingerprint>, BrokerError> {
    let mut found = VecDeque::new();
    for offsets in SEARCHED_OFFSETS {
        let from = (position - offsets).max(oldest);
        if from >= position {
            break;
        }
        found = newest_records_from(broker, partition, from, position)?;
        if !found.is_empty() || from == oldest {
            break;
        }
    }
    Ok(found)
}

fn newest_records_from(
    broker: &dyn Broker,
    partition: &Partition,
    from: i64,
    position: i64,
) -> Result<VecDeque<TopicFingerprint>, BrokerError> {
    let mut reader = broker.reader(partition, StartPosition::Offset(from))?;
    let mut found = VecDeque::new();
    for _ in 0..MAX_READS {
        match reader.read(READ_WAIT, usize::try_from(position - from).unwrap_or(usize::MAX))? {
            Some(batch) => {
                for record in batch.iter().filter(|record| record.offset < position) {
                    let Some(timestamp) = record.timestamp else { continue };
                    if found.len() == NEWEST_RECORDS {
                        found.pop_front();
                    }
                    found.push_back(TopicFingerprint { offset: record.offset, timestamp });
                }
                if batch.next_offset().is_some_and(|next| next >= position) {
                    return Ok(found);
                }
            }
            None if reader.has_reached(position)? => return Ok(found),
            None => {}
        }
    }
    Err(BrokerError::Retriable(format!("{partition}: the records before {position} were not delivered in time")))
}
