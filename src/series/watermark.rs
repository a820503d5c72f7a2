//! Assigns readings to slots: open slots, the watermark that closes them, gaps, late readings and duplicates.

use serde::{Deserialize, Serialize};

use super::aggregation::{Aggregation, OpenSlot};
use super::clone_in_place::clone_in_place;
use super::spec::SeriesSpec;
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
}

/// The open slots of one series and its watermark: the newest event time less the allowed lateness.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Slots {
    /// Ascending by slot.
    open: Vec<OpenSlot>,
    /// Newest event time so far.
    newest: Option<i64>,
    /// Everything up to this slot is closed.
    closed_to: Option<i64>,
    /// Empty slots since the last one with a value.
    empty_run: u32,
    /// Whether the gap is too long to bridge: the next slot resets the series.
    reset_due: bool,
}

clone_in_place!(Slots { open, newest, closed_to, empty_run, reset_due });

impl Slots {
    /// Assigns a reading to its slot and appends the slots that close to `closed`, in order.
    pub fn place(&mut self, spec: &SeriesSpec, time: EventTime, value: f64, closed: &mut Vec<ClosedSlot>) -> Placement {
        let slot = spec.grid.slot(time);
        if let Some(rejected) = self.reject(spec, slot, time) {
            return rejected;
        }
        self.newest = Some(self.newest.map_or(time.0, |newest| newest.max(time.0)));
        let full = self.insert(spec, slot, time.0, value.clamp(-VALUE_LIMIT, VALUE_LIMIT));
        self.close(spec, full, closed);
        Placement::Accepted
    }

    /// Whether decoded slots are in order and within the range of event time.
    pub fn is_sound(&self, grid: Grid) -> bool {
        let open = |open: &OpenSlot| grid.contains(open.slot) && is_within_limit(open.value);
        self.open.iter().all(open)
            && self.open.is_sorted_by(|one, next| one.slot < next.slot)
            && self.newest.is_none_or(|newest| (EventTime::MIN..=EventTime::MAX).contains(&EventTime(newest)))
            && self.closed_to.is_none_or(|slot| grid.contains(slot))
    }
    pub fn heap_bytes(&self) -> usize {
        self.open.capacity() * size_of::<OpenSlot>()
    }

    fn watermark(&self, spec: &SeriesSpec) -> i64 {
        self.newest.map_or(i64::MIN, |newest| newest.saturating_sub(spec.allowed_lateness))
    }

    /// Why a reading is rejected; `None` where its slot is still open.
    fn reject(&self, spec: &SeriesSpec, slot: i64, time: EventTime) -> Option<Placement> {
        let watermark = self.watermark(spec);
        let passed = self.newest.is_some() && spec.grid.closes_at(slot).0 <= watermark;
        let last = self.closed_to.filter(|closed_to| slot <= *closed_to);
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
            self.closed_to = Some(slot);
            self.empty_run = 0;
            self.reset_due = false;
        }
        self.open.drain(..due);
    }

    /// Closes the empty slots between the last closed slot and `slot` (exclusive). As soon as their run is longer than
    /// `max_gap`, no more of them are returned, and the slot after the gap resets the series.
    fn bridge(&mut self, spec: &SeriesSpec, slot: i64, closed: &mut Vec<ClosedSlot>) {
        let Some(closed_to) = self.closed_to else {
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
                self.closed_to = Some(closed_to + empty);
            }
            Grid::Irregular => {
                self.reset_due = spec.max_gap_millis > 0 && slot.saturating_sub(closed_to) > spec.max_gap_millis;
            }
        }
    }
}

#[cfg(test)]
mod tests;
