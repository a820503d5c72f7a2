//! Assigns readings to slots: open slots, the watermark that closes them, gaps, late readings and duplicates.

use serde::{Deserialize, Serialize};

use super::aggregation::{Aggregation, OpenSlot};
use super::clone_in_place::clone_in_place;
use super::corrections::Corrections;
use super::recent_readings::RecentReadings;
use super::spec::{Absence, SeriesSpec};
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
    /// The event time of its partition, where slots close by that.
    pub partition_time: Option<EventTime>,
    /// The past covariates that arrived with it, in the order of the spec, NaN where one is missing; empty where the
    /// stream has none.
    pub past_covariates: &'a [f64],
}

impl Reading<'_> {
    /// A reading whose record has no timestamp, without covariates.
    pub fn new(time: EventTime, value: f64) -> Self {
        Self { time, timestamp: None, value, partition_time: None, past_covariates: &[] }
    }
}

/// Why the time of a reading is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImplausibleTime {
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
    /// Its slot has closed, and is corrected.
    Corrected {
        /// How far it lags behind the closed slots, in milliseconds.
        by: i64,
    },
    /// It is there already: its slot has closed with all its readings (by count, or at exactly that time on an
    /// irregular grid), or it is late and one of the newest accepted readings of its series has the same time and
    /// value.
    Duplicate {
        /// Whether it is the first one of its series in an hour of event time.
        is_first: bool,
    },
    /// Its time is too far ahead to be believed.
    ImplausibleTime(ImplausibleTime),
}

/// The open slots of one series and its watermark: the newest event time less the allowed lateness.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Slots {
    /// Ascending by slot.
    open: Vec<OpenSlot>,
    /// `None` before the first reading.
    progress: Option<Progress>,
    exceptions: Option<Box<Exceptions>>,
    /// Empty slots since the last one with a value.
    empty_run: u32,
    /// Whether the gap is too long to bridge: the next slot resets the series.
    reset_due: bool,
}

clone_in_place!(Slots { open, progress, exceptions, empty_run, reset_due });

/// What is remembered of few series, or for a short time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Exceptions {
    doubt: TimeDoubt,
    /// `None` before the first late reading.
    recent: Option<Box<RecentReadings>>,
    /// Only where late readings count. A part of the snapshot of its own.
    #[serde(skip)]
    corrections: Option<Box<Corrections>>,
}

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
                return Placement::ImplausibleTime(ahead);
            }
            self.advance(spec, time, true);
        } else if let Some(rejected) = self.reject(spec, slot, reading) {
            if !(self.continues_before_jump(spec, time) && self.confirms(spec, time)) {
                let rejected = self.recognise(rejected, reading);
                return self.correct(spec, slot, rejected, reading);
            }
            self.return_from_jump(&spec.grid);
            self.advance(spec, time, true);
        } else {
            self.advance(spec, time, false);
        }
        if spec.correction > 0 {
            // Else a reading that comes again for the first time would count twice.
            self.exceptions.get_or_insert_default().recent.get_or_insert_default();
        }
        self.insert(spec, slot, time.0, reading.value.clamp(-VALUE_LIMIT, VALUE_LIMIT));
        self.close(spec, reading.partition_time, closed);
        if let Some(recent) = self.exceptions.as_mut().and_then(|exceptions| exceptions.recent.as_mut()) {
            recent.push(time.0, reading.value);
        }
        Placement::Accepted
    }

    /// The newest event time.
    pub fn newest(&self) -> Option<EventTime> {
        self.progress.map(|progress| EventTime(progress.newest))
    }

    /// Whether decoded slots are in order and within the range of event time.
    pub fn is_sound(&self, grid: &Grid) -> bool {
        let open = |open: &OpenSlot| grid.contains(open.slot) && is_within_limit(open.value);
        self.open.iter().all(open)
            && self.open.is_sorted_by(|one, next| one.slot < next.slot)
            && self.progress.is_none_or(|Progress { newest, closed_to }| {
                EventTime(newest).is_valid() && closed_to.is_none_or(|slot| grid.contains(slot))
            })
            && self.exceptions.as_ref().is_none_or(|exceptions| exceptions.doubt.is_sound())
    }
    pub fn heap_bytes(&self) -> usize {
        let exceptions = self.exceptions.as_deref().map_or(0, |exceptions| {
            size_of::<Exceptions>() + exceptions.recent.as_ref().map_or(0, |_| size_of::<RecentReadings>())
        });
        let corrections = self.corrections().map_or(0, |made| size_of::<Corrections>() + made.heap_bytes());
        self.open.capacity() * size_of::<OpenSlot>() + exceptions + corrections
    }

    /// The event time up to which slots close: that of the series or of its partition, less the allowed lateness. By
    /// the partition's, at most `max_gap` empty slots close after the newest reading.
    fn watermark(&self, spec: &SeriesSpec, partition_time: Option<EventTime>) -> i64 {
        let Some(Progress { newest, .. }) = self.progress else { return i64::MIN };
        let less_lateness = |time: i64| time.saturating_sub(spec.allowed_lateness);
        let of_partition = partition_time
            .map_or(i64::MIN, |time| less_lateness(time.0).min(spec.grid.closes_at(last_to_close(spec, newest)).0));
        less_lateness(newest).max(of_partition)
    }

    /// The slot that closes next by the time of the partition; `None` where the series is silent for too long.
    pub fn next_to_close(&self, spec: &SeriesSpec) -> Option<i64> {
        let Progress { newest, closed_to } = self.progress?;
        let next = closed_to.map(|slot| slot + 1).or_else(|| self.open.first().map(|open| open.slot))?;
        (next <= last_to_close(spec, newest)).then_some(next)
    }

    /// Why the time of a reading is not believed; `None` where it is.
    fn ahead(&self, spec: &SeriesSpec, reading: &Reading<'_>) -> Option<ImplausibleTime> {
        let Reading { time, timestamp, .. } = *reading;
        let newest = self.newest();
        let of_series = newest.map(|newest| time.0 - newest.0);
        if of_series.is_some_and(|ahead| ahead <= spec.max_ahead) {
            return None;
        }
        // A series that is ahead of its records already has another clock than they.
        let is_ahead = |time: EventTime| timestamp.is_some_and(|stamp| time.0.saturating_sub(stamp) > spec.max_ahead);
        if is_ahead(time) && !newest.is_some_and(is_ahead) {
            return Some(ImplausibleTime { newest, limit: spec.max_ahead, of_record: true });
        }
        let is_live = timestamp.is_some_and(|stamp| time.0.saturating_sub(stamp).saturating_abs() <= spec.max_ahead);
        let limit = if is_live { spec.max_step.max(spec.max_outage) } else { spec.max_step };
        (of_series? > limit).then_some(ImplausibleTime { newest, limit, of_record: false })
    }

    /// Whether a reading is the last of a run that confirms another time than the series has.
    fn confirms(&mut self, spec: &SeriesSpec, time: EventTime) -> bool {
        self.exceptions.get_or_insert_default().doubt.confirms(time, spec.max_step)
    }

    /// Whether a late reading may be one from before the jump of its series.
    fn continues_before_jump(&self, spec: &SeriesSpec, time: EventTime) -> bool {
        let is_far = self.newest().is_some_and(|newest| newest.0 - time.0 > spec.max_ahead);
        let jump = self.exceptions.as_ref().filter(|_| is_far).and_then(|exceptions| exceptions.doubt.jump());
        let slot = |time| spec.grid.slot(time);
        jump.is_some_and(|jump| jump.before.is_none_or(|before| slot(time) > slot(EventTime(before))))
    }

    /// Takes the series back to where it was before its jump. Slots that are open since then are dropped. Where one has
    /// closed, the next slot resets the series.
    fn return_from_jump(&mut self, grid: &Grid) {
        let Some(exceptions) = &mut self.exceptions else { return };
        let Some(jump) = std::mem::take(&mut exceptions.doubt).jump() else { return };
        if let Some(corrections) = exceptions.corrections.as_mut().filter(|_| jump.has_closed) {
            corrections.end_run();
        }
        let progress = |newest| Progress { newest, closed_to: Some(grid.slot(EventTime(newest))) };
        self.progress = jump.before.map(progress);
        self.open.clear();
        self.empty_run = 0;
        self.reset_due = jump.has_closed;
    }

    /// Moves the newest event time on.
    fn advance(&mut self, spec: &SeriesSpec, time: EventTime, is_confirmed: bool) {
        let before = self.progress.map(|progress| progress.newest);
        // Where the watermark has not passed the gap, slots before it are still open.
        let watermark = EventTime(time.0.saturating_sub(spec.allowed_lateness));
        let jumps = before.is_none_or(|before| spec.jumps(EventTime(before), watermark));
        let is_later = before.is_none_or(|before| time.0 > before);
        if spec.max_ahead < i64::MAX && (jumps || self.exceptions.is_some()) {
            let Exceptions { doubt, recent, .. } = &mut **self.exceptions.get_or_insert_default();
            doubt.accept(Advance { before, is_later, jumps, is_confirmed });
            if doubt.is_settled() && recent.is_none() {
                self.exceptions = None;
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

    /// Whether an open slot has all its readings and waits for an earlier one.
    fn is_full(&self, spec: &SeriesSpec, slot: i64) -> bool {
        let full = |full| self.open.iter().any(|open| open.slot == slot && open.readings >= full);
        spec.readings_per_slot.is_some_and(full)
    }

    /// Why a reading is rejected; `None` where its slot is still open.
    fn reject(&self, spec: &SeriesSpec, slot: i64, reading: &Reading<'_>) -> Option<Placement> {
        let watermark = self.watermark(spec, reading.partition_time);
        let passed = self.progress.is_some() && spec.grid.closes_at(slot).0 <= watermark;
        let last = self.closed_to().filter(|closed_to| slot <= *closed_to);
        if last.is_none() && !passed {
            return self.is_full(spec, slot).then_some(Placement::Duplicate { is_first: false });
        }
        let duplicate = last == Some(slot) && (spec.grid == Grid::Irregular || !passed);
        let end = last.map_or(i64::MIN, |slot| spec.grid.closes_at(slot).0).max(watermark);
        Some(if duplicate {
            Placement::Duplicate { is_first: false }
        } else {
            Placement::Late { by: end.saturating_sub(reading.time.0) }
        })
    }

    /// Turns a late reading into a duplicate where it was accepted before, and says whether it is the first one.
    fn recognise(&mut self, rejected: Placement, reading: &Reading<'_>) -> Placement {
        let Some(Progress { newest, .. }) = self.progress else { return rejected };
        let recent = self.exceptions.get_or_insert_default().recent.get_or_insert_default();
        match rejected {
            Placement::Late { .. } if !recent.contains(reading.time.0, reading.value) => rejected,
            _ => Placement::Duplicate { is_first: recent.report(newest) },
        }
    }

    /// Lets a late reading correct its slot, where that has closed not long ago.
    fn correct(&mut self, spec: &SeriesSpec, slot: i64, rejected: Placement, reading: &Reading<'_>) -> Placement {
        let (Placement::Late { by }, Some(closed_to)) = (rejected, self.closed_to()) else { return rejected };
        let Some(exceptions) = self.exceptions.as_deref_mut().filter(|_| spec.correction > 0) else { return rejected };
        let Some(corrections) = &mut exceptions.corrections else { return rejected };
        let value = reading.value.clamp(-VALUE_LIMIT, VALUE_LIMIT);
        let late = OpenSlot::new(slot, reading.time.0, value);
        if !corrections.correct((spec.aggregation, spec.correction), closed_to, &late) {
            return rejected;
        }
        if let Some(recent) = &mut exceptions.recent {
            recent.push(reading.time.0, reading.value);
        }
        Placement::Corrected { by }
    }

    /// The corrections that wait, and the slots that may still be corrected.
    pub fn corrections(&self) -> Option<&Corrections> {
        self.exceptions.as_ref()?.corrections.as_deref()
    }

    pub fn corrections_mut(&mut self) -> Option<&mut Corrections> {
        self.exceptions.as_mut()?.corrections.as_deref_mut()
    }

    /// Puts the corrections back that a snapshot holds.
    pub fn set_corrections(&mut self, corrections: Corrections) {
        self.exceptions.get_or_insert_default().corrections = Some(Box::new(corrections));
    }

    /// Adds the reading to its open slot.
    fn insert(&mut self, spec: &SeriesSpec, slot: i64, time: i64, value: f64) {
        let before = self.open.iter().rposition(|open| open.slot <= slot);
        match before {
            Some(at) if self.open[at].slot == slot => self.open[at].add(spec.aggregation, time, value),
            _ => {
                // Most series hold one open slot; doubling the capacity would waste memory in all of them.
                if self.open.len() < 4 {
                    self.open.reserve_exact(1);
                }
                self.open.insert(before.map_or(0, |before| before + 1), OpenSlot::new(slot, time, value));
            }
        }
    }

    /// How many open slots are due: those that the watermark has passed, those beyond [`MAX_OPEN_SLOTS`], and full ones
    /// with no slot before them that may still get readings.
    fn due(&self, spec: &SeriesSpec, watermark: i64) -> usize {
        let excess = self.open.len().saturating_sub(MAX_OPEN_SLOTS);
        let mut next = self.closed_to().map(|slot| slot + 1);
        let due = |(index, open): &(usize, &OpenSlot)| {
            let is_next = next.is_none_or(|next| open.slot <= next) || spec.grid.start(open.slot).0 <= watermark;
            let is_full = spec.readings_per_slot.is_some_and(|full| open.readings >= full);
            next = Some(open.slot + 1);
            *index < excess || spec.grid.closes_at(open.slot).0 <= watermark || is_next && is_full
        };
        self.open.iter().enumerate().take_while(due).count()
    }

    /// Closes the slots that the watermark has passed, and full ones.
    pub fn close(&mut self, spec: &SeriesSpec, partition_time: Option<EventTime>, closed: &mut Vec<ClosedSlot>) {
        let already_closed = closed.len();
        let watermark = self.watermark(spec, partition_time);
        self.close_first(spec, self.due(spec, watermark), closed);
        if spec.grid != Grid::Irregular {
            self.bridge(spec, spec.grid.slot(EventTime(watermark)), closed);
        }
        if let (Some(exceptions), Some(last)) = (&mut self.exceptions, closed[already_closed..].last()) {
            exceptions.doubt.close(spec.grid.start(last.slot));
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
            if spec.correction > 0 {
                let exceptions = self.exceptions.get_or_insert_default();
                let corrections = exceptions.corrections.get_or_insert_with(|| Box::new(Corrections::from(slot)));
                corrections.remember(&self.open[index], self.reset_due, spec.correction);
            }
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
        if spec.grid == Grid::Irregular {
            self.reset_due |= spec.max_gap_millis > 0 && slot.saturating_sub(closed_to) > spec.max_gap_millis;
            return;
        }
        let empty = slot.saturating_sub(closed_to).saturating_sub(1).max(0);
        if empty > i64::from(spec.max_gap.saturating_sub(self.empty_run)) {
            self.reset_due = true;
        }
        if !self.reset_due {
            let is_zero = spec.aggregation == Aggregation::Count || spec.absence == Absence::Zero;
            let value = is_zero.then_some(0.0);
            let slots = closed_to + 1..=closed_to + empty;
            closed.extend(slots.map(|slot| ClosedSlot { slot, value, readings: 0, reset: false }));
            self.empty_run += u32::try_from(empty).unwrap_or(u32::MAX);
        }
        self.set_closed_to(closed_to + empty);
    }
}

/// The last slot that closes by the time of the partition, given the newest reading.
fn last_to_close(spec: &SeriesSpec, newest: i64) -> i64 {
    spec.grid.slot(EventTime(newest)).saturating_add(i64::from(spec.max_gap))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
