//! Times that are not believed at once, and the rule by which a series changes to them.
//!
//! A reading is *ahead* where it is later than the newest one of its series by more than [`SeriesSpec::max_ahead`], and
//! than its record's timestamp, too, unless the newest one is already ahead of that; or where it is later than the
//! newest one by more than [`SeriesSpec::max_step`], whatever its record says. Where its record's timestamp agrees with
//! it, as after an outage, that takes 30 days: beyond, one wrong clock may have set both.
//! It is rejected. As soon as [`CONFIRMING_READINGS`] such readings came in a row, each later than the one before by at
//! most `max_step`, the clock has changed: the last of them is accepted, and the series goes on there.
//!
//! A series *jumps* with its first reading, and with one after 64 empty slots or a gap that resets it. It returns from
//! a jump by the same rule: after as many readings in a row that are late, by more than `max_ahead`, but later than the
//! one before the jump. A return is possible until as many readings have followed the jump, and always where the jump
//! was a change of the clock.
//!
//! [`SeriesSpec::max_ahead`]: super::SeriesSpec::max_ahead
//! [`SeriesSpec::max_step`]: super::SeriesSpec::max_step

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// So many readings in a row confirm a time.
pub(super) const CONFIRMING_READINGS: u8 = 3;

/// What a series remembers while a time is in doubt: a function of its readings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct TimeDoubt {
    /// The jump from which the series may return.
    jump: Option<Jump>,
    /// Readings in a row that say another time than the series has.
    run: Run,
}

/// A jump to where the series is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Jump {
    /// The newest event time before it; none where it was the first reading.
    pub before: Option<i64>,
    /// Whether a slot after that time has closed.
    pub has_closed: bool,
    /// Readings since then, the one that jumped included.
    readings: u8,
    /// Whether it was a change of the clock.
    clock_changed: bool,
}

/// Readings in a row, and the newest of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Run {
    readings: u8,
    newest: i64,
}

/// What an accepted reading does to the time of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advance {
    /// The newest event time before it; none where it is the first reading.
    pub before: Option<i64>,
    /// Whether it is later than that.
    pub is_later: bool,
    /// Whether the series jumps: with its first reading, or over a long gap.
    pub jumps: bool,
    /// Whether a run of readings has confirmed it.
    pub is_confirmed: bool,
}

impl TimeDoubt {
    /// Adds a reading to the run of those that say another time. Returns whether they confirm it.
    pub fn confirms(&mut self, time: EventTime, max_step: i64) -> bool {
        let Run { readings, newest } = &mut self.run;
        if *readings == 0 || time.0.abs_diff(*newest) > max_step.unsigned_abs() {
            (*readings, *newest) = (1, time.0);
        } else if time.0 > *newest {
            (*readings, *newest) = (*readings + 1, time.0);
        }
        *readings >= CONFIRMING_READINGS
    }

    /// The jump from which the series may return.
    pub fn jump(&self) -> Option<Jump> {
        self.jump
    }

    /// The slot that starts at `start` has closed.
    pub fn close(&mut self, start: EventTime) {
        if let Some(jump) = self.jump.as_mut().filter(|jump| jump.before.is_none_or(|before| start.0 > before)) {
            jump.has_closed = true;
        }
    }

    /// A reading is accepted.
    pub fn accept(&mut self, advance: Advance) {
        let Advance { before, is_later, jumps, is_confirmed } = advance;
        self.run = Run::default();
        let jump = |readings, clock_changed| Jump { before, has_closed: false, readings, clock_changed };
        self.jump = match self.jump {
            _ if jumps && is_confirmed => before.map(|_| jump(CONFIRMING_READINGS, true)),
            None => jumps.then(|| jump(1, false)),
            Some(jump) if is_later => Some(Jump { readings: jump.readings.saturating_add(1), ..jump }),
            unchanged => unchanged,
        };
        self.jump = self.jump.filter(|jump| jump.clock_changed || jump.readings < CONFIRMING_READINGS);
    }

    /// Whether there is nothing to remember.
    pub fn is_settled(&self) -> bool {
        self.jump.is_none() && self.run.readings == 0
    }

    /// Whether a decoded one has possible times.
    pub fn is_sound(&self) -> bool {
        let before = self.jump.and_then(|jump| jump.before);
        EventTime(self.run.newest).is_valid() && before.is_none_or(|before| EventTime(before).is_valid())
    }
}
