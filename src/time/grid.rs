//! The grid that divides event time into slots.

use std::fmt;

use super::calendar_grid::{CalendarGrid, CalendarUnit};
use super::event_time::EventTime;
use super::length::Length;
use super::zone::Zone;

/// How event time is divided into slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grid {
    /// Slots of equal length in UTC; slot `n` covers `[n * interval, (n + 1) * interval)` milliseconds.
    Regular {
        /// Length of a slot in milliseconds; at least 1.
        interval: i64,
    },
    /// Slots of the calendar in a time zone.
    Calendar(CalendarGrid),
    /// Every event time is a slot of its own, numbered by its milliseconds.
    Irregular,
}

impl Grid {
    /// The slot that contains `time`.
    #[inline]
    pub fn slot(&self, time: EventTime) -> i64 {
        match self {
            Self::Regular { interval } => time.0.div_euclid(*interval),
            Self::Calendar(grid) => grid.slot(time.0),
            Self::Irregular => time.0,
        }
    }

    /// Whether `slot` lies within the valid event times.
    pub fn contains(&self, slot: i64) -> bool {
        (self.slot(EventTime::MIN)..=self.slot(EventTime::MAX)).contains(&slot)
    }

    /// The event time at which `slot` begins.
    #[inline]
    pub fn start(&self, slot: i64) -> EventTime {
        match self {
            Self::Regular { interval } => EventTime(slot * interval),
            Self::Calendar(grid) => EventTime(grid.start(slot)),
            Self::Irregular => EventTime(slot),
        }
    }

    /// The watermark that closes `slot`: its end, which is the start of the next; its own time on an irregular grid.
    #[inline]
    pub fn closes_at(&self, slot: i64) -> EventTime {
        match self {
            Self::Irregular => EventTime(slot),
            _ => self.start(slot + 1),
        }
    }

    /// The event time that names `slot` in records and tables: its start, unless [`Self::labelled`] says otherwise.
    pub fn label(&self, slot: i64) -> EventTime {
        match self {
            Self::Calendar(grid) => EventTime(grid.label(slot)),
            _ => self.start(slot),
        }
    }

    /// The grid whose slots are named as these times are, such as months by their last day, or hours by their middle.
    /// Where the times have no common place in their slots, these are named by their start.
    #[must_use]
    pub fn labelled(self, times: &[i64]) -> Self {
        match self {
            Self::Calendar(grid) => Self::Calendar(grid.labelled(times)),
            Self::Regular { interval } => {
                let phase = times.first().map_or(0, |time| time.rem_euclid(interval));
                if phase == 0 || times.iter().any(|time| time.rem_euclid(interval) != phase) {
                    return Self::Regular { interval };
                }
                let grid = CalendarGrid::new(CalendarUnit::Clock(interval), 0, Zone::utc());
                Self::Calendar(grid.labelled(times))
            }
            Self::Irregular => self,
        }
    }

    /// Length of a slot in milliseconds, the mean one of months; `None` on an irregular grid. It is right for limits
    /// and sizes; [`Self::start`] says where a slot begins.
    pub fn nominal_interval(&self) -> Option<i64> {
        self.length().map(Length::nominal_millis)
    }

    /// Length of a slot; `None` on an irregular grid.
    pub fn length(&self) -> Option<Length> {
        match self {
            Self::Regular { interval } => Some(Length::Clock(*interval)),
            Self::Calendar(grid) => Some(grid.length()),
            Self::Irregular => None,
        }
    }

    /// Steps of equal length, since 1970 at least: their length, and the time at which one begins, in milliseconds.
    pub fn equal_steps(&self) -> Option<(i64, i64)> {
        match self {
            Self::Regular { interval } => Some((*interval, 0)),
            Self::Calendar(grid) => grid.equal_steps(),
            Self::Irregular => None,
        }
    }
}

/// A step a second: that of rows without times.
impl Default for Grid {
    fn default() -> Self {
        Self::Regular { interval: 1_000 }
    }
}

/// What the numbers of the slots mean; the same under other rules of a time zone.
impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regular { interval } => write!(f, "{interval}"),
            Self::Calendar(grid) => write!(f, "{grid}"),
            Self::Irregular => f.write_str("irregular"),
        }
    }
}

#[cfg(test)]
#[path = "grid_tests.rs"]
mod tests;
