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
use crate::time::Grid;
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

/// From where the input of a task is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuild {
    /// The first offset that is read again.
    pub from: i64,
    /// The oldest offset that the input holds.
    pub oldest: i64,
    /// Offsets that are wanted and that retention has deleted.
    pub lost: u64,
    /// Whether it is enough for the most important parts of a state.
    pub is_enough: bool,
    /// The last record before the position.
    pub last: Option<TopicFingerprint>,
}

impl Reach {
    /// In milliseconds.
    fn span(&self, spec: &SeriesSpec) -> i64 {
        match spec.grid {
            Grid::Regular { interval } => {
                interval.saturating_mul(self.slots.max(self.seasons * i64::from(spec.season)))
            }
            Grid::Irregular => self.span,
        }
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
        let newest = newest_records(broker, partition, oldest, position)?;
        let (last, newest) = (newest.last, newest.timestamp());
        let since = |span: i64| match newest {
            Some(newest) if newest > span => broker.offset_at(partition, newest - span),
            _ => Ok(oldest),
        };
        let by_time = since(reach.span(spec))?;
        // Where an older record exists than the time asks for, the time and not retention is the limit.
        let lost = if by_time > oldest { 0 } else { oldest.min(position) - by_count };
        let from = by_count.max(by_time).max(oldest).min(position);
        let is_enough = from == 0 || (from == by_time && by_time > oldest) || since(ENOUGH.span(spec))? > from;
        Ok(Self { from, oldest, lost: u64::try_from(lost).unwrap_or(0), is_enough, last })
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

/// Logs what becomes of series whose snapshots lack parts.
pub fn report_partial(task: &TaskId, series: usize, rebuild: &Rebuild, position: i64) {
    let TaskId { stream, topic, partition } = task;
    let Rebuild { from, oldest, is_enough, .. } = *rebuild;
    if is_enough {
        tracing::info!(
            %stream, %topic, partition, series, offset = position, from, records = position - from,
            "rebuilding series whose snapshots were written under other settings from the input; the partition is \
             served when it is read"
        );
    } else {
        tracing::warn!(
            %stream, %topic, partition, series, offset = position, oldest,
            "the input does not reach back far enough to rebuild these series; they go on with the parts of their \
             state that fit the settings"
        );
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

/// The records just below a position.
#[derive(Debug, Default)]
struct NewestRecords {
    /// The timestamps of the last [`NEWEST_RECORDS`] of them, in order of their offsets.
    timestamps: VecDeque<i64>,
    /// The last of them that has a timestamp.
    last: Option<TopicFingerprint>,
}

impl NewestRecords {
    /// The median of the timestamps, which a wild one among them does not move.
    fn timestamp(mut self) -> Option<i64> {
        let timestamps = self.timestamps.make_contiguous();
        timestamps.sort_unstable();
        timestamps.get(timestamps.len().checked_sub(1)? / 2).copied()
    }
}

/// The records just below `position`: as many as it takes to find some with a timestamp.
fn newest_records(
    broker: &dyn Broker,
    partition: &Partition,
    oldest: i64,
    position: i64,
) -> Result<NewestRecords, BrokerError> {
    let mut found = NewestRecords::default();
    for offsets in SEARCHED_OFFSETS {
        let from = (position - offsets).max(oldest);
        if from >= position {
            break;
        }
        found = newest_records_from(broker, partition, from, position)?;
        if found.last.is_some() || from == oldest {
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
) -> Result<NewestRecords, BrokerError> {
    let mut reader = broker.reader(partition, StartPosition::Offset(from))?;
    let mut found = NewestRecords::default();
    for _ in 0..MAX_READS {
        match reader.read(READ_WAIT, usize::try_from(position - from).unwrap_or(usize::MAX))? {
            Some(batch) => {
                for record in batch.iter().filter(|record| record.offset < position) {
                    let Some(timestamp) = record.timestamp else { continue };
                    if found.timestamps.len() == NEWEST_RECORDS {
                        found.timestamps.pop_front();
                    }
                    found.timestamps.push_back(timestamp);
                    found.last = Some(TopicFingerprint { offset: record.offset, timestamp });
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
