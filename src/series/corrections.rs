//! Late readings that still count: they correct the values of slots that have closed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::aggregation::{Aggregation, OpenSlot};

/// The newest closed slots of a series, and corrections that wait for its next step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Corrections {
    /// Slots with readings, ascending.
    closed: VecDeque<OpenSlot>,
    /// Every slot from here on was a step, up to the newest one.
    oldest: i64,
    due: Vec<DueCorrection>,
    /// How often the series was reset: by the slots that have closed, and by the steps that were taken. A series may
    /// return to earlier slots, so that their numbers alone say no order.
    resets_closed: u32,
    resets_stepped: u32,
}

/// A correction that the next step after the slot `after` shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct DueCorrection {
    slot: i64,
    value: f64,
    after: i64,
    /// How often the series was reset before.
    resets: u32,
}

/// A step whose value has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// How many steps before the newest one.
    pub steps_back: usize,
    /// Its value; `None` where its slot was empty.
    pub before: Option<f64>,
    /// Its new value.
    pub after: f64,
}

impl Corrections {
    /// Remembers a slot that closes with readings, and those that lie less than `count` slots before it.
    pub fn remember(&mut self, slot: &OpenSlot, reset: bool, count: u32) {
        if reset {
            // Steps before the reset may still wait for what is due.
            self.closed.clear();
            self.oldest = slot.slot;
            self.resets_closed = self.resets_closed.saturating_add(1);
        }
        self.closed.push_back(slot.clone());
        while self.closed.front().is_some_and(|first| first.slot <= slot.slot.saturating_sub(i64::from(count))) {
            self.closed.pop_front();
        }
    }

    /// No slot before this one can be corrected.
    pub fn from(oldest: i64) -> Self {
        Self { closed: VecDeque::new(), oldest, due: Vec::new(), resets_closed: 0, resets_stepped: 0 }
    }

    /// The series returns to earlier slots. Until one closes and resets it, nothing can be corrected: steps of later
    /// slots may have been taken, or may still wait.
    pub fn end_run(&mut self) {
        self.closed.clear();
        self.oldest = i64::MAX;
    }

    /// Adds a late reading to its slot, if that is among the newest `count` up to `closed_to`.
    pub fn correct(&mut self, (aggregation, count): (Aggregation, u32), closed_to: i64, reading: &OpenSlot) -> bool {
        let slot = reading.slot;
        if slot < self.oldest || slot > closed_to || closed_to.saturating_sub(slot) >= i64::from(count) {
            return false;
        }
        let at = self.closed.partition_point(|closed| closed.slot < slot);
        match self.closed.get_mut(at).filter(|closed| closed.slot == slot) {
            Some(closed) => closed.add(aggregation, reading.time, reading.value),
            None => self.closed.insert(at, reading.clone()),
        }
        let value = self.closed[at].result(aggregation);
        let resets = self.resets_closed;
        match self.due.iter_mut().find(|due| (due.slot, due.after, due.resets) == (slot, closed_to, resets)) {
            Some(due) => due.value = value,
            None => self.due.push(DueCorrection { slot, value, after: closed_to, resets }),
        }
        true
    }

    /// Removes and visits the corrections that a step at `slot` shows: slot and value. Returns whether there are any.
    pub fn take_due(&mut self, slot: i64, mut visit: impl FnMut(i64, f64)) -> bool {
        let (resets, before) = (self.resets_stepped, self.due.len());
        self.due.retain(|due| {
            let is_due = due.resets == resets && due.after < slot;
            if is_due {
                visit(due.slot, due.value);
            }
            !is_due
        });
        self.due.len() < before
    }

    /// A step has reset the series. What was due before is not shown any more.
    pub fn reset(&mut self) {
        self.resets_stepped = self.resets_stepped.saturating_add(1);
        self.due.retain(|due| due.resets >= self.resets_stepped);
    }

    /// Whether the slots are in order, and all values valid; a snapshot comes from outside.
    pub fn is_sound(&self, is_valid: impl Fn(i64, f64) -> bool) -> bool {
        self.closed.iter().all(|closed| is_valid(closed.slot, closed.value))
            && self.closed.iter().zip(self.closed.iter().skip(1)).all(|(one, next)| one.slot < next.slot)
            && self.due.iter().all(|due| is_valid(due.slot, due.value) && is_valid(due.after, 0.0))
    }

    pub fn heap_bytes(&self) -> usize {
        self.closed.capacity() * size_of::<OpenSlot>() + self.due.capacity() * size_of::<DueCorrection>()
    }
}
