//! Assigns readings to slots: open slots, the watermark that closes them, gaps, late readings and duplicates.

use serde::{Deserialize, Serialize};

use super::aggregation::{Aggregation, OpenSlot};
use super::clone_in_place::clone_in_place;
use super::spec::SeriesSpec;
use super::time_doubt::{Advance, TimeDoubt};
use super::value_limit::{VALUE_LIMIT, is_within_limit};
use crate::time::{EventTime, Grid};

/// Slots that one series may hold open; bounds its memory. One more closes the oldest ahead of the watermark.
const MAX_OPEN_SLOTS: usize = 1024;

/// A slot that has closed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedSlot {
    /// Number of the slot on the grid.
    pub slot: i64,
    /// Its value; `None` where it is empty.
    pub value: Option<f64>,
    /// How many readings it held.
    pub readings: u32,
    /// Whether a gap that is too long to bridge lies before it: the series resets.
    pub reset: bool,
}

/// One reading of a series, as its record brings it.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The event time, within [`EventTime::MIN`] and [`EventTime::MAX`].
    pub time: EventTime,
    /// The timestamp of its record, in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// The value: finite. It is clamped to [`VALUE_LIMIT`](super::VALUE_LIMIT).
    pub value: f64,
    /// The past covariates that arrived with it, in the order of the spec, NaN where one is missing; empty where the
    /// stream has none.
    pub past_covariates: &'a [f64],
}

impl Reading<'_> {
    /// A reading whose record has no timestamp, without covariates.
    pub fn new(time: EventTime, value: f64) -> Self {
        Self { time, timestamp: None, value, past_covariates: &[] }
    }
}

/// Why the time of a reading is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The newest event time of its series, if it has any.
    pub newest: Option<EventTime>,
    /// How far ahead it may be, in milliseconds.
    pub limit: i64,
    /// Whether it is ahead of the record's timestamp, too. Otherwise it steps over too many slots.
    pub of_record: bool,
}

/// The result of assigning a reading to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// An open slot accepted it.
    Accepted,
    /// Its slot has closed.
    Late {
        /// How far it lags behind the closed slots, in milliseconds.
        by: i64,
    },
    /// Its slot has closed with all its readings: by count, or at exactly that time on an irregular grid.
    Duplicate,
    /// Its time is too far ahead to be believed.
    Ahead(Ahead),
}

/// The open slots of one series and its watermark: the newest event time less the allowed lateness.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Slots {
    /// Ascending by slot.
    open: Vec<OpenSlot>,
    /// `None` before the first reading.
    progress: Option<Progress>,
    /// `None` while nothing about the series' time is in doubt.
    doubt: Option<Box<TimeDoubt>>,
    /// Empty slots since the last one with a value.
    empty_run: u32,
    /// Whether the gap is too long to bridge: the next slot resets the series.
    reset_due: bool,
}

clone_in_place!(Slots { open, progress, doubt, empty_run, reset_due });

/// How far a series has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// Newest event time so far.
    newest: i64,
    /// Everything up to this slot is closed.
    closed_to: Option<i64>,
}

impl Slots {
    /// Assigns a reading to its slot and appends the slots that close to `closed`, in order.
    pub fn place(&mut self, spec: &SeriesSpec, reading: &Reading<'_>, closed: &mut Vec<ClosedSlot>) -> Placement {
        let time = reading.time;
        let slot = spec.grid.slot(time);
        if let Some(ahead) = self.ahead(spec, reading) {
            if !self.confirms(spec, time) {
                return Placement::Ahead(ahead);
            }
            self.advance(spec, time, true);
        } else if let Some(rejected) = self.reject(spec, slot, time) {
            if !(self.continues_before_jump(spec, time) && self.confirms(spec, time)) {
                return rejected;
            }
            self.return_from_jump(spec.grid);
            self.advance(spec, time, true);
        } else {
            self.advance(spec, time, false);
        }
        let full = self.insert(spec, slot, time.0, reading.value.clamp(-VALUE_LIMIT, VALUE_LIMIT));
        let already_closed = closed.len();
        self.close(spec, full, closed);
        if let (Some(doubt), Some(last)) = (&mut self.doubt, closed[already_closed..].last()) {
            doubt.close(spec.grid.start(last.slot));
        }
        Placement::Accepted
    }

    /// The newest event time.
    pub fn newest(&self) -> Option<EventTime> {
        self.progress.map(|progress| EventTime(progress.newest))
    }

    /// Whether decoded slots are in order and within the range of event time.
    pub fn is_sound(&self, grid: Grid) -> bool {
        let open = |open: &OpenSlot| grid.contains(open.slot) && is_within_limit(open.value);
        self.open.iter().all(open)
            && self.open.is_sorted_by(|one, next| one.slot < next.slot)
            && self.progress.is_none_or(|Progress { newest, closed_to }| {
                EventTime(newest).is_valid() && closed_to.is_none_or(|slot| grid.contains(slot))
            })
            && self.doubt.as_ref().is_none_or(|doubt| doubt.is_sound())
    }
    pub fn heap_bytes(&self) -> usize {
        self.open.capacity() * size_of::<OpenSlot>() + self.doubt.as_ref().map_or(0, |doubt| size_of_val(&**doubt))
    }

    fn watermark(&self, spec: &SeriesSpec) -> i64 {
        self.progress.map_or(i64::MIN, |progress| progress.newest.saturating_sub(spec.allowed_lateness))
    }

    /// Why the time of a reading is not believed; `None` where it is.
    fn ahead(&self, spec: &SeriesSpec, reading: &Reading<'_>) -> Option<Ahead> {
        let Reading { time, timestamp, .. } = *reading;
        let newest = self.newest();
        let of_series = newest.map(|newest| time.0 - newest.0);
        if of_series.is_some_and(|ahead| ahead <= spec.max_ahead) {
            return None;
        }
        // A series that is ahead of its records already has another clock than they.
        let is_ahead = |time: EventTime| timestamp.is_some_and(|stamp| time.0.saturating_sub(stamp) > spec.max_ahead);
        if is_ahead(time) && !newest.is_some_and(is_ahead) {
            return Some(Ahead { newest, limit: spec.max_ahead, of_record: true });
        }
        (of_series? > spec.max_step).then_some(Ahead { newest, limit: spec.max_step, of_record: false })
    }

    /// Whether a reading is the last of a run that confirms another time than the series has.
    fn confirms(&mut self, spec: &SeriesSpec, time: EventTime) -> bool {
        self.doubt.get_or_insert_default().confirms(time, spec.max_step)
    }

    /// Whether a late reading may be one from before the jump of its series.
    fn continues_before_jump(&self, spec: &SeriesSpec, time: EventTime) -> bool {
        let is_far = self.newest().is_some_and(|newest| newest.0 - time.0 > spec.max_ahead);
        let jump = self.doubt.as_ref().filter(|_| is_far).and_then(|doubt| doubt.jump());
        let slot = |time| spec.grid.slot(time);
        jump.is_some_and(|jump| jump.before.is_none_or(|before| slot(time) > slot(EventTime(before))))
    }

    /// Takes the series back to where it was before its jump. Slots that are open since then are dropped. Where one has
    /// closed, the next slot resets the series.
    fn return_from_jump(&mut self, grid: Grid) {
        let Some(jump) = self.doubt.take().and_then(|doubt| doubt.jump()) else { return };
        let progress = |newest| Progress { newest, closed_to: Some(grid.slot(EventTime(newest))) };
        self.progress = jump.before.map(progress);
        self.open.clear();
        self.empty_run = 0;
        self.reset_due = jump.has_closed;
    }

    /// Moves the newest event time on.
    fn advance(&mut self, spec: &SeriesSpec, time: EventTime, is_confirmed: bool) {
        let before = self.progress.map(|progress| progress.newest);
        let jumps = before.is_none_or(|before| spec.resets(EventTime(before), time));
        let is_later = before.is_none_or(|before| time.0 > before);
        if spec.max_ahead < i64::MAX && (jumps || self.doubt.is_some()) {
            let doubt = self.doubt.get_or_insert_default();
            if !doubt.accept(Advance { before, is_later, jumps, is_confirmed }) {
                self.doubt = None;
            }
        }
        let progress = self.progress.get_or_insert(Progress { newest: time.0, closed_to: None });
        progress.newest = progress.newest.max(time.0);
    }

    fn closed_to(&self) -> Option<i64> {
        self.progress?.closed_to
    }

    /// Sets the slot up to which everything is closed. Only a series with readings closes slots.
    fn set_closed_to(&mut self, slot: i64) {
        if let Some(progress) = &mut self.progress {
            progress.closed_to = Some(slot);
        }
    }

    /// Why a reading is rejected; `None` where its slot is still open.
    fn reject(&self, spec: &SeriesSpec, slot: i64, time: EventTime) -> Option<Placement> {
        let watermark = self.watermark(spec);
        let passed = self.progress.is_some() && spec.grid.closes_at(slot).0 <= watermark;
        let last = self.closed_to().filter(|closed_to| slot <= *closed_to);
        if last.is_none() && !passed {
            return None;
        }
        let duplicate = last == Some(slot) && (spec.grid == Grid::Irregular || !passed);
        let end = last.map_or(i64::MIN, |slot| spec.grid.closes_at(slot).0).max(watermark);
        Some(if duplicate { Placement::Duplicate } else { Placement::Late { by: end.saturating_sub(time.0) } })
    }

    /// Adds the reading to its open slot. Returns how many open slots are due because that slot is full.
    fn insert(&mut self, spec: &SeriesSpec, slot: i64, time: i64, value: f64) -> usize {
        let before = self.open.iter().rposition(|open| open.slot <= slot);
        let at = match before {
            Some(at) if self.open[at].slot == slot => {
                self.open[at].add(spec.aggregation, time, value);
                at
            }
            _ => {
                // Most series hold one open slot; doubling the capacity would waste memory in all of them.
                if self.open.len() < 4 {
                    self.open.reserve_exact(1);
                }
                let at = before.map_or(0, |before| before + 1);
                self.open.insert(at, OpenSlot::new(slot, time, value));
                at
            }
        };
        let full = spec.readings_per_slot.is_some_and(|full| self.open[at].readings >= full);
        if full { at + 1 } else { 0 }
    }

    /// Closes the first `full` open slots, those that the watermark has passed, and those beyond [`MAX_OPEN_SLOTS`].
    fn close(&mut self, spec: &SeriesSpec, full: usize, closed: &mut Vec<ClosedSlot>) {
        let watermark = self.watermark(spec);
        let passed = self.open.iter().take_while(|open| spec.grid.closes_at(open.slot).0 <= watermark).count();
        self.close_first(spec, passed.max(full).max(self.open.len().saturating_sub(MAX_OPEN_SLOTS)), closed);
        if let Grid::Regular { interval } = spec.grid {
            self.bridge(spec, watermark.div_euclid(interval), closed);
        }
    }

    /// Closes all open slots, whatever the watermark.
    pub fn close_open(&mut self, spec: &SeriesSpec, closed: &mut Vec<ClosedSlot>) {
        self.close_first(spec, self.open.len(), closed);
    }

    /// Closes the first `due` open slots, and the empty ones before each.
    fn close_first(&mut self, spec: &SeriesSpec, due: usize, closed: &mut Vec<ClosedSlot>) {
        for index in 0..due {
            let slot = self.open[index].slot;
            self.bridge(spec, slot, closed);
            closed.push(ClosedSlot {
                slot,
                value: Some(self.open[index].result(spec.aggregation)),
                readings: self.open[index].readings,
                reset: self.reset_due,
            });
            self.set_closed_to(slot);
            self.empty_run = 0;
            self.reset_due = false;
        }
        self.open.drain(..due);
    }

    /// Closes the empty slots between the last closed slot and `slot` (exclusive). As soon as their run is longer than
    /// `max_gap`, no more of them are returned, and the slot after the gap resets the series.
    fn bridge(&mut self, spec: &SeriesSpec, slot: i64, closed: &mut Vec<ClosedSlot>) {
        let Some(closed_to) = self.closed_to() else {
            return; // nothing lies before the first slot
        };
        match spec.grid {
            Grid::Regular { .. } => {
                let empty = slot.saturating_sub(closed_to).saturating_sub(1).max(0);
                if empty > i64::from(spec.max_gap.saturating_sub(self.empty_run)) {
                    self.reset_due = true;
                }
                if !self.reset_due {
                    let value = (spec.aggregation == Aggregation::Count).then_some(0.0);
                    let slots = closed_to + 1..=closed_to + empty;
                    closed.extend(slots.map(|slot| ClosedSlot { slot, value, readings: 0, reset: false }));
                    self.empty_run += u32::try_from(empty).unwrap_or(u32::MAX);
                }
                self.set_closed_to(closed_to + empty);
            }
            Grid::Irregular => {
                self.reset_due |= spec.max_gap_millis > 0 && slot.saturating_sub(closed_to) > spec.max_gap_millis;
            }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
