//! Slots numbered by local time, so that a season of whole days keeps its phase when the clocks change.

use std::sync::Arc;

use super::calendar::{Calendar, DAY};
use crate::time::Grid;

/// How far local slots are ahead of those of a regular grid. Local slot `n` covers the same wall-clock time on every
/// day of a calendar. The default numbers them alike. Clones share the table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalSlots {
    /// Ascending by slot; slots before the first are as far ahead as it. Empty: no slot is.
    shifts: Arc<[Shift]>,
}

/// From a slot on, local slots are so many ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shift {
    from: i64,
    ahead: i64,
}

impl LocalSlots {
    /// The local slots of a grid with equal steps of less than a day. The middle of a slot decides, as it does on which
    /// day it lies. The slots of other grids are local already.
    pub fn new(calendar: &Calendar, grid: &Grid) -> Self {
        let Some((interval, start)) = grid.equal_steps().filter(|(interval, _)| *interval < DAY) else {
            return Self::default();
        };
        let middle = start + interval / 2; // of slot 0
        let mut shifts: Vec<Shift> = Vec::new();
        for (time, offset) in calendar.zone().changes() {
            // The first slot whose middle is not before the change.
            let from = time.saturating_sub(middle + 1).div_euclid(interval) + 1;
            let ahead = (middle + offset).div_euclid(interval);
            if shifts.last().map_or(0, |last| last.ahead) != ahead {
                shifts.push(Shift { from, ahead });
            } else if shifts.is_empty() {
                shifts.push(Shift { from: i64::MIN, ahead });
            }
        }
        Self { shifts: shifts.into() }
    }

    /// How far the local slot is ahead of `slot`, and the first slot after it for which that may differ.
    #[inline]
    pub fn ahead(&self, slot: i64) -> (i64, i64) {
        if self.shifts.len() < 2 {
            return (self.shifts.first().map_or(0, |shift| shift.ahead), i64::MAX);
        }
        let later = self.shifts.partition_point(|shift| shift.from <= slot).max(1);
        (self.shifts[later - 1].ahead, self.shifts.get(later).map_or(i64::MAX, |next| next.from))
    }

    /// The slot whose local time is so many slots before that of `slot`; where the clocks skip that time, the next one.
    #[inline]
    pub fn before(&self, slot: i64, slots: i64) -> i64 {
        let before = slot.saturating_sub(slots);
        let (ahead, until) = self.ahead(before);
        if slot < until { before } else { before + self.ahead(slot).0 - ahead }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;
    use crate::time::{EventTime, GridSpec, Length};

    const HOUR: i64 = 3_600_000;

    fn local_slots(zone: &str, interval: i64) -> LocalSlots {
        LocalSlots::new(&Calendar::new(TimeZone::get(zone).unwrap()), &Grid::Regular { interval })
    }

    fn slot(text: &str, interval: i64) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond().div_euclid(interval)
    }

    #[test]
    fn the_same_time_of_day_recurs_after_a_day_of_local_slots() {
        for interval in [HOUR, HOUR / 12] {
            let (slots, day) = (local_slots("Europe/Berlin", interval), 24 * HOUR / interval);
            for (now, yesterday) in [
                ("2024-03-30T08:00:00Z", "2024-03-29T08:00:00Z"),
                ("2024-03-31T07:00:00Z", "2024-03-30T08:00:00Z"),
                ("2024-04-01T07:00:00Z", "2024-03-31T07:00:00Z"),
                ("2024-10-27T08:00:00Z", "2024-10-26T07:00:00Z"),
                ("2024-10-28T08:00:00Z", "2024-10-27T08:00:00Z"),
            ] {
                assert_eq!(slots.before(slot(now, interval), day), slot(yesterday, interval), "{now}");
            }
            // 02:30 of the day before does not exist; half past the next hour stands in.
            let skipped = slots.before(slot("2024-04-01T00:30:00Z", interval), day);
            assert_eq!(skipped, slot("2024-03-31T01:30:00Z", interval));
        }
    }

    #[test]
    fn a_slot_counts_by_its_middle() {
        let ahead = |zone, interval| local_slots(zone, interval).ahead(slot("2024-07-04T00:00:00Z", interval)).0;
        assert_eq!([HOUR, 6 * HOUR].map(|interval| ahead("America/Los_Angeles", interval)), [-7, -1]);
        assert_eq!([HOUR, 6 * HOUR].map(|interval| ahead("Europe/Berlin", interval)), [2, 0]);
        assert_eq!([LocalSlots::default().ahead(5), local_slots("UTC", HOUR).ahead(5)], [(0, i64::MAX); 2]);
    }

    #[test]
    fn hours_of_half_hour_zones_keep_their_time_of_day() {
        let zone = TimeZone::get("Australia/Adelaide").unwrap();
        let calendar = Calendar::new(zone.clone());
        let grid = GridSpec::new(Length::Clock(HOUR)).grid(calendar.zone());
        let slots = LocalSlots::new(&calendar, &grid);
        for text in ["2024-04-06T15:30:00Z", "2024-04-06T16:30:00Z", "2024-10-05T16:30:00Z", "2024-07-01T00:30:00Z"] {
            let time: Timestamp = text.parse().unwrap();
            let slot = grid.slot(EventTime(time.as_millisecond()));
            let hour = (slot + slots.ahead(slot).0).rem_euclid(24);
            assert_eq!(hour, i64::from(time.to_zoned(zone.clone()).hour()), "{text}");
        }
    }

    #[test]
    fn the_table_says_how_long_a_shift_lasts() {
        let slots = local_slots("Europe/Berlin", HOUR);
        let (spring, autumn) = (slot("2024-03-31T01:00:00Z", HOUR), slot("2024-10-27T01:00:00Z", HOUR));
        assert_eq!(
            [spring - 1, spring, autumn - 1].map(|slot| slots.ahead(slot)),
            [(1, spring), (2, autumn), (2, autumn)]
        );
        assert_eq!(slots.ahead(i64::MIN).0, 1);
        assert_eq!(slots.ahead(i64::MAX).1, i64::MAX);
    }
}
