//! Slots of the local calendar: days of 23 to 25 hours, weeks, months.

use std::fmt;

use super::length::Length;
use super::zone::Zone;

/// A day of 24 hours, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;
/// More slots than a change of the clocks skips: a day of minutes.
const MOST_SKIPPED: i64 = 1_440;
/// Months beyond these, counted from 1970, are not distinguished: 30,000 years, far beyond the times of records.
const MOST_MONTHS: i64 = 360_000;

/// A grid whose slots follow the clocks and the calendar of a time zone.
///
/// Slots have numbers of the calendar: the days, weeks or months since 1970 in local time, divided by how many of them
/// a slot holds. New rules of the zone change which times belong to a slot, and not what a slot stands for.
///
/// Slots follow each other without overlap or hole. Where clocks are set back, local time stands still; a slot whose
/// local time the clocks skip, such as a day at the date line, is the last millisecond before they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarGrid {
    unit: CalendarUnit,
    /// Local time at which a slot begins, in milliseconds, from the beginning of its unit on.
    shift: i64,
    zone: Zone,
    label: Label,
}

/// What a slot of a [`CalendarGrid`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CalendarUnit {
    /// Local time of this length, in milliseconds; at least 1.
    Clock(i64),
    /// Months.
    Months {
        /// At least 1.
        count: i64,
        /// The first month of slot 0, counted from January 1970: less than `count`.
        first: i64,
    },
}

/// Which time within a slot names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Label {
    /// Months after the first one of the slot, of a slot of several months.
    months: i64,
    place: Place,
}

/// A local time, in milliseconds, within a month or within a slot of no whole months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    AfterStart(i64),
    BeforeEnd(i64),
}

impl Default for Place {
    fn default() -> Self {
        Self::AfterStart(0)
    }
}

impl CalendarGrid {
    pub(super) fn new(unit: CalendarUnit, shift: i64, zone: Zone) -> Self {
        Self { unit, shift, zone, label: Label::default() }
    }

    /// The slot that contains a time.
    pub fn slot(&self, time: i64) -> i64 {
        let slot = self.local_slot(self.zone.local(time));
        let change = self.zone.next_change(time).filter(|change| change.saturating_sub(time) <= MOST_SKIPPED);
        // The last milliseconds before a change are the slots that it skips.
        change.map_or(slot, |change| slot.max(self.local_slot(self.zone.local(change)) - (change - time)))
    }

    /// The time at which a slot begins.
    pub fn start(&self, slot: i64) -> i64 {
        let start = self.zone.instant(self.local_start(slot));
        let skipped = self.local_slot(self.zone.local(start)).saturating_sub(slot);
        start.saturating_sub(skipped.max(0))
    }

    /// The time that names a slot: its start, or where [`Self::labelled`] has found the labels to be.
    pub fn label(&self, slot: i64) -> i64 {
        if self.label == Label::default() {
            return self.start(slot);
        }
        let (start, end) = self.local_part(slot, self.label.months);
        self.zone.instant(match self.label.place {
            Place::AfterStart(after) => start.saturating_add(after),
            Place::BeforeEnd(before) => end.saturating_sub(before),
        })
    }

    /// The grid whose slots are named by these times: the same place within each slot, from its start or from its end.
    /// Without such a place, slots are named by their start.
    #[must_use]
    pub fn labelled(self, times: &[i64]) -> Self {
        let labels = |time: &i64| {
            let (slot, local) = (self.slot(*time), self.zone.local(*time));
            let months = match self.unit {
                CalendarUnit::Clock(_) => 0,
                CalendarUnit::Months { count, first } => {
                    month_at(local.saturating_sub(self.shift)) - (slot * count + first)
                }
            };
            let (start, end) = self.local_part(slot, months);
            [Place::AfterStart(local - start), Place::BeforeEnd(end - local)].map(|place| Label { months, place })
        };
        let mut all = times.iter().map(labels);
        let candidates = all.next().unwrap_or_default();
        let common = candidates.into_iter().find(|label| times.iter().all(|time| labels(time).contains(label)));
        Self { label: common.unwrap_or_default(), ..self }
    }

    /// Steps of equal length since 1970: their length, and the time at which one begins, in milliseconds.
    pub(super) fn equal_steps(&self) -> Option<(i64, i64)> {
        let mut offsets = self.zone.offsets_since_1970();
        match (self.unit, offsets.next(), offsets.next()) {
            (CalendarUnit::Clock(length), Some(offset), None) => Some((length, self.shift - offset)),
            _ => None,
        }
    }

    /// The length of a slot.
    pub fn length(&self) -> Length {
        match self.unit {
            CalendarUnit::Clock(length) => Length::Clock(length),
            CalendarUnit::Months { count, .. } => Length::Months(u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }

    fn local_slot(&self, local: i64) -> i64 {
        let local = local.saturating_sub(self.shift);
        match self.unit {
            CalendarUnit::Clock(length) => local.div_euclid(length),
            CalendarUnit::Months { count, first } => (month_at(local) - first).div_euclid(count),
        }
    }

    fn local_start(&self, slot: i64) -> i64 {
        self.local_part(slot, 0).0
    }

    /// Start and end of a slot, or of one of its months, in local time.
    fn local_part(&self, slot: i64, months: i64) -> (i64, i64) {
        let bounds = match self.unit {
            CalendarUnit::Clock(length) => [slot.saturating_mul(length), slot.saturating_add(1).saturating_mul(length)],
            CalendarUnit::Months { count, first } => {
                let month = slot.saturating_mul(count).saturating_add(first + months);
                [month, month.saturating_add(1)].map(month_start)
            }
        };
        let [start, end] = bounds.map(|local| local.saturating_add(self.shift));
        (start, end)
    }
}

impl fmt::Display for CalendarGrid {
    /// What the numbers of its slots mean, without the rules of the zone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            CalendarUnit::Clock(length) => write!(f, "{length} ms")?,
            CalendarUnit::Months { count, first } => write!(f, "{count} months from {first}")?,
        }
        write!(f, " + {} ms in {}", self.shift, self.zone.name())
    }
}

/// The month of a local time, counted from January 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn month_at(local: i64) -> i64 {
    let days = local.div_euclid(DAY) + 719_468; // since 0000-03-01
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    (era * 400 + year) * 12 + (5 * day_of_year + 2) / 153 + 2 - 1970 * 12
}

/// The local time at which a month begins.
fn month_start(month: i64) -> i64 {
    let month = month.clamp(-MOST_MONTHS, MOST_MONTHS) + 1970 * 12 - 2; // since March of the year 0
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12));
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = 365 * year + year / 4 - year / 100 + (153 * month + 2) / 5;
    (era * 146_097 + day - 719_468) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        for month in -3000..3000_i64 {
            let (year, number) = (1970 + month.div_euclid(12), month.rem_euclid(12) + 1);
            let date = jiff::civil::date(year as i16, number as i8, 1);
            let start = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap().as_millisecond();
            assert_eq!(month_start(month), start, "{date}");
            assert_eq!((month_at(start - 1), month_at(start)), (month - 1, month), "{date}");
        }
        assert!(month_at(i64::MAX) > MOST_MONTHS && month_at(i64::MIN) < -MOST_MONTHS);
    }
}
