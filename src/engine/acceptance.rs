//! Acceptance of observations: what an observation does to its series in the open transaction.

use super::micro_batch::PendingStep;
use super::rollback::UndoLog;
use super::series_table::Series;
use super::stream::Stream;
use super::stream_spec::StreamSpec;
use super::task::{Task, TaskHandle};
use super::transaction::ForecastRow;
use crate::series::{ClosedSlot, Placement, Reading, TimeAhead};
use crate::time::EventTime;

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
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is on the grid.
    Accepted,
    /// The series' state contains it already: the replay began before the series' snapshot.
    AlreadyApplied,
    /// It came after its slot had closed.
    Late {
        /// How far behind the series' watermark, in milliseconds.
        by: i64,
    },
    /// Its series has this reading already.
    Duplicate {
        /// Whether it is the first one of its series in an hour of event time.
        is_first: bool,
    },
    /// Its time is too far ahead to be believed.
    TimeAhead(TimeAhead),
    /// Its series is new, and the task holds `max_series` already.
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
    /// The slots that one observation has closed.
    closed: Vec<ClosedSlot>,
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
            closed: Vec::new(),
        }
    }

    /// Puts an observation on the grid of its series, which is created if need be.
    pub fn accept(
        &mut self,
        stream: &Stream,
        handle: TaskHandle,
        task: &mut Task,
        observation: &Observation<'_>,
    ) -> Acceptance {
        let Observation { offset, series: key, time, timestamp, value, covariates } = *observation;
        let spec = &stream.spec;
        let series = match task.series.find(key) {
            Some(series) => series,
            None if task.series.len() >= spec.max_series => return Acceptance::SeriesLimit,
            None => {
                task.set_rollback_point();
                let prior = stream.weights(task.version).and_then(|served| served.prior.as_deref());
                task.series.put(Series::cold_start(key, spec, prior, value))
            }
        };
        if offset < task.series.get(series).position {
            return Acceptance::AlreadyApplied;
        }
        task.set_rollback_point();
        if self.emit {
            self.undo.copy(handle, task, series);
        }
        task.series.mark_dirty(series, offset);
        let state = task.series.get_mut(series);
        let reading = Reading { time, timestamp, value, past_covariates: covariates };
        let placement = state.input.observe(&spec.series, &reading, &mut self.closed);
        for slot in self.closed.drain(..) {
            self.forecast_bytes += slot.value.map_or(0, |_| forecast_bytes(spec));
            self.pending.push(PendingStep { micro_batch: state.queued, task: handle, series, offset, slot });
            state.queued += 1;
        }
        match placement {
            Placement::Accepted => {
                self.observations[task.stream] += 1;
                Acceptance::Accepted
            }
            Placement::Late { by } => Acceptance::Late { by },
            Placement::Duplicate { is_first } => Acceptance::Duplicate { is_first },
            Placement::TimeAhead(ahead) => Acceptance::TimeAhead(ahead),
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

/// An estimate of the bytes of one forecast: its row and values in a transaction, and its record, in which a value
/// takes some 9 bytes and a time 14.
fn forecast_bytes(spec: &StreamSpec) -> usize {
    let (outputs, levels) = (spec.forecast.outputs(), spec.forecast.levels.len());
    size_of::<ForecastRow>() + 512 + outputs * (levels + 1) * (size_of::<f64>() + 9) + outputs * 14
}
