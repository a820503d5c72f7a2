//! Acceptance of observations: what an observation does to its series in the open transaction.

use std::sync::Arc;

use super::dirty_queue::InputPoint;
use super::micro_batch::{PendingStep, is_forecast_from};
use super::rollback::UndoLog;
use super::series::{LastObservation, Series};
use super::stream::Stream;
use super::stream_spec::{StreamSpec, WhenFull};
use super::task::{Task, TaskHandle};
use super::transaction::{EndReason, EndedSeries, ForecastRow};
use crate::series::{ClosedSlot, ImplausibleTime, Placement, Reading};
use crate::time::{EventTime, Grid};

/// An estimate of the bytes that the snapshot of a new series takes.
const NEW_SERIES_BYTES: usize = 1_024;

/// One observation of one series.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The offset of its record.
    pub offset: i64,
    /// The series' key.
    pub series: &'a str,
    /// The event time.
    pub time: EventTime,
    /// The timestamp of its record, in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// The value.
    pub value: f64,
    /// The past covariates that came with the value, in the order of the configuration, NaN where one is missing; or
    /// none at all.
    pub covariates: &'a [f64],
    /// Whether it is only learnt from, wherever its record lies.
    pub warm_up: bool,
}

impl<'a> Observation<'a> {
    /// An observation whose record has no timestamp, without covariates.
    pub fn new(offset: i64, series: &'a str, time: EventTime, value: f64) -> Self {
        Self { offset, series, time, timestamp: None, value, covariates: &[], warm_up: false }
    }
}

/// A record that ends a series.
#[derive(Debug, Clone, Copy)]
pub struct Deletion<'a> {
    /// The offset of the record.
    pub offset: i64,
    /// The series' key.
    pub series: &'a str,
    /// Whether nothing is forecast from the slots that close with it.
    pub warm_up: bool,
}

/// The record that the engine is at.
#[derive(Debug, Clone, Copy)]
struct Cause {
    offset: i64,
    /// Whether the slots that it closes are forecast from.
    forecasts: bool,
}

impl Cause {
    fn new(task: &Task, offset: i64, warm_up: bool) -> Self {
        Self { offset, forecasts: !warm_up && offset >= task.emit_from }
    }
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is on the grid.
    Accepted,
    /// The series' state contains it already, or the series has ended since: the replay began before.
    AlreadyApplied,
    /// It came after its slot had closed.
    Late {
        /// How far behind the series' watermark, in milliseconds.
        by: i64,
    },
    /// It came after its slot had closed, and has corrected it.
    Corrected {
        /// How far behind the series' watermark, in milliseconds.
        by: i64,
    },
    /// Its series has this reading already.
    Duplicate {
        /// Whether it is the first one of its series in an hour of event time.
        is_first: bool,
    },
    /// Its time is too far ahead to be believed.
    ImplausibleTime(ImplausibleTime),
    /// Its series is new, and the task holds `max_series` already, which do not make room.
    SeriesLimit,
}

/// What the open transaction has accepted, and not stepped yet.
pub(super) struct OpenTransaction {
    /// Whether its results are to be written. A replay changes states only, and cannot be rolled back.
    pub emit: bool,
    /// Closed slots that wait for their step.
    pub pending: Vec<PendingStep>,
    /// An estimate of the bytes of the forecasts that these will make.
    forecast_bytes: usize,
    /// Accepted observations, by the stream's index.
    pub observations: Vec<u64>,
    pub undo: UndoLog,
    /// The series that have ended.
    pub ended: Vec<EndedSeries>,
    /// The slots of one series that one observation has closed.
    closed: Vec<ClosedSlot>,
    /// The series of which it may have closed slots.
    closing: Vec<u32>,
}

impl OpenTransaction {
    /// An empty transaction of an engine with so many streams.
    pub fn new(streams: usize) -> Self {
        Self {
            emit: true,
            pending: Vec::new(),
            forecast_bytes: 0,
            observations: vec![0; streams],
            undo: UndoLog::default(),
            ended: Vec::new(),
            closed: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// Puts an observation on the grid of its series, which is created if need be. Before that, slots close by the time
    /// of the partition, and the series end that have been silent for too long by then.
    pub fn accept(
        &mut self,
        stream: &Stream,
        handle: TaskHandle,
        task: &mut Task,
        observation: &Observation<'_>,
    ) -> Acceptance {
        let Observation { offset, series: key, time, timestamp, value, covariates, warm_up } = *observation;
        let spec = &stream.spec;
        let cause = Cause::new(task, offset, warm_up);
        let begin = task.set_rollback_point();
        // A single wild time ends no series.
        let partition_time = task.observe_time(&spec.series, offset, key, time.no_later_than(timestamp));
        let begins_and_ends = self.begins_and_ends(task, offset);
        if let Some(time) = partition_time {
            self.close_by_partition(spec, handle, task, (begin, cause), time);
        }
        if begins_and_ends {
            self.end_silent(spec, handle, task, cause);
        }
        let series = match task.series.find(key) {
            Some(series) if task.restarts_partial && task.series.get(series).is_partial => {
                task.series.put(cold_start(stream, task, observation))
            }
            Some(series) => series,
            // It ended after this observation, or was refused: if it lived, its snapshot would be there.
            None if !begins_and_ends => return Acceptance::AlreadyApplied,
            None => match self.begin_series(stream, handle, task, (observation, cause)) {
                Some(series) => series,
                None => return Acceptance::SeriesLimit,
            },
        };
        if offset < task.series.get(series).position {
            return Acceptance::AlreadyApplied;
        }
        let last = LastObservation { offset, event_time: task.event_time };
        if self.emit {
            self.undo.copy(handle, &mut task.series, series);
        }
        if begins_and_ends {
            task.series.observed(series, last)
        } else {
            task.series.replayed(series, last)
        }
        task.series.mark_dirty(series, begin);
        let state = task.series.get_mut(series);
        let reading = Reading { time, timestamp, value, partition_time, past_covariates: covariates };
        let placement = state.input.observe(&spec.series, &reading, &mut self.closed);
        self.queue_closed(spec, handle, (series, state), cause);
        if partition_time.is_some() {
            task.series.await_closing(&spec.series, series);
        }
        match placement {
            Placement::Accepted => {
                self.observations[task.stream] += 1;
                Acceptance::Accepted
            }
            Placement::Late { by } => Acceptance::Late { by },
            Placement::Corrected { by } => Acceptance::Corrected { by },
            Placement::Duplicate { is_first } => Acceptance::Duplicate { is_first },
            Placement::ImplausibleTime(ahead) => Acceptance::ImplausibleTime(ahead),
        }
    }

    /// Closes the slots that the time of the partition has passed, of all series. Those of which the replay has not
    /// reached the snapshot have closed them already.
    fn close_by_partition(
        &mut self,
        spec: &StreamSpec,
        handle: TaskHandle,
        task: &mut Task,
        (begin, cause): (InputPoint, Cause),
        time: EventTime,
    ) {
        if spec.series.grid == Grid::Irregular {
            return;
        }
        let end = spec.series.grid.slot(EventTime(time.0.saturating_sub(spec.series.allowed_lateness)));
        let mut closing = std::mem::take(&mut self.closing);
        task.series.take_closing(&spec.series, end, &mut closing);
        for series in closing.drain(..) {
            let state = task.series.get(series);
            let is_due = state.input.next_to_close(&spec.series).is_some_and(|slot| slot < end);
            if is_due && cause.offset >= state.position {
                if self.emit {
                    self.undo.copy(handle, &mut task.series, series);
                }
                task.series.mark_dirty(series, begin);
                let state = task.series.get_mut(series);
                state.input.close_by_partition(&spec.series, time, &mut self.closed);
                self.queue_closed(spec, handle, (series, state), cause);
            }
            task.series.await_closing(&spec.series, series);
        }
        self.closing = closing;
    }

    /// Ends the series of a key, if there is one, as the record at `offset` says.
    pub fn delete(&mut self, spec: &StreamSpec, handle: TaskHandle, task: &mut Task, deletion: &Deletion<'_>) {
        let Deletion { offset, series: key, warm_up } = *deletion;
        task.set_rollback_point();
        if self.begins_and_ends(task, offset)
            && let Some(series) = task.series.find(key)
            && task.series.get(series).position <= offset
        {
            let cause = Cause::new(task, offset, warm_up);
            self.end(spec, handle, task, (series, cause), EndReason::Deleted);
        }
    }

    /// Whether series begin and end at `offset`. A replay repeats neither: the state topic says which series there are.
    /// Where it may not, the replay of a rebuild repeats both.
    fn begins_and_ends(&self, task: &mut Task, offset: i64) -> bool {
        if self.emit {
            // From here on every series is in the state topic.
            task.rebuilt_to = task.rebuilt_to.min(task.position);
            task.series.order(task.event_time);
        }
        self.emit || offset < task.rebuilt_to
    }

    /// Ends every series that has been silent for too long.
    fn end_silent(&mut self, spec: &StreamSpec, handle: TaskHandle, task: &mut Task, cause: Cause) {
        let Some(ttl) = spec.series_ttl else { return };
        while let Some(series) = task.series.longest_silent() {
            if task.event_time.saturating_sub(task.series.get(series).last.event_time) < ttl {
                return;
            }
            self.end(spec, handle, task, (series, cause), EndReason::Silent);
        }
    }

    /// Begins the series of an observation. `None` where the task holds as many as it may.
    fn begin_series(
        &mut self,
        stream: &Stream,
        handle: TaskHandle,
        task: &mut Task,
        (observation, cause): (&Observation<'_>, Cause),
    ) -> Option<u32> {
        let spec = &stream.spec;
        while task.series.len() >= spec.max_series {
            let longest_silent = task.series.longest_silent().filter(|_| spec.when_full == WhenFull::Evict)?;
            self.end(spec, handle, task, (longest_silent, cause), EndReason::Evicted);
        }
        self.forecast_bytes += NEW_SERIES_BYTES;
        Some(task.series.begin(cold_start(stream, task, observation), self.emit))
    }

    /// Ends a series: its open slots close as they are, and are forecast from.
    fn end(
        &mut self,
        spec: &StreamSpec,
        handle: TaskHandle,
        task: &mut Task,
        (series, cause): (u32, Cause),
        reason: EndReason,
    ) {
        if !self.emit {
            task.series.end(series);
            return;
        }
        self.undo.copy(handle, &mut task.series, series);
        let state = task.series.get_mut(series);
        state.input.close_open(&spec.series, &mut self.closed);
        self.queue_closed(spec, handle, (series, state), cause);
        self.ended.push(EndedSeries { task: handle, series: Arc::clone(&state.key), reason });
        task.series.end(series);
    }

    /// Queues the steps of the slots that have just closed.
    fn queue_closed(
        &mut self,
        spec: &StreamSpec,
        task: TaskHandle,
        (series, state): (u32, &mut Series),
        Cause { offset, forecasts }: Cause,
    ) {
        for slot in self.closed.drain(..) {
            if forecasts && is_forecast_from(spec, &slot) {
                self.forecast_bytes += forecast_bytes(spec);
            }
            self.pending.push(PendingStep { micro_batch: state.queued, task, series, offset, forecasts, slot });
            state.queued += 1;
        }
    }

    /// An estimate of the bytes that the transaction takes: closed slots, and their forecasts as values and as records.
    pub fn bytes(&self) -> usize {
        self.pending.len() * size_of::<PendingStep>() + self.forecast_bytes
    }

    /// Forgets the counts of a transaction whose pending slots were stepped or dropped.
    pub fn clear_counts(&mut self) {
        self.forecast_bytes = 0;
        self.observations.fill(0);
    }
}

/// A series that begins with this observation.
fn cold_start(stream: &Stream, task: &Task, observation: &Observation<'_>) -> Series {
    let prior = stream.weights(task.version).and_then(|served| served.prior.as_deref());
    Series::cold_start(observation.series, &stream.spec, prior, observation.value)
}

/// An estimate of the bytes of one forecast: its row and values in a transaction, and its record, in which a value
/// takes some 9 bytes and a time 14.
fn forecast_bytes(spec: &StreamSpec) -> usize {
    let (outputs, levels) = (spec.forecast.outputs(), spec.forecast.levels.len());
    size_of::<ForecastRow>() + 512 + outputs * (levels + 1) * (size_of::<f64>() + 9) + outputs * 14
}
