//! Holidays: days that do not behave like their weekday.

use std::sync::Arc;

use jiff::civil::{Date, Weekday};

use super::calendar::{Calendar, DAY};
use crate::time::{EventTime, Grid};

/// The holidays of a stream, as slots of its grid. Clones share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Holidays {
    /// Ascending, without duplicates.
    days: Arc<[Holiday]>,
    slots_per_day: i64,
}

/// The slots of one holiday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holiday {
    from: i64,
    /// The slot after the last one.
    to: i64,
    /// Days from the holiday to the Sunday of its week.
    pub days_to_sunday: i64,
}

impl Holidays {
    /// The slots of `grid` whose middle lies on one of `dates` in the calendar's time zone. Where slots are longer than
    /// a day: those that overlap a holiday. Dates may be in any order.
    pub fn new(calendar: &Calendar, grid: &Grid, dates: &[Date]) -> Self {
        let mut dates = dates.to_vec();
        dates.sort_unstable();
        dates.dedup();
        let interval = grid.nominal_interval();
        let slots = |date: Date| {
            let (from, to) = calendar.zone().bounds(date)?;
            let slot = |time: i64| grid.slot(EventTime(time));
            let (from, to) = match interval {
                None => (from, to),
                Some(interval) if interval > DAY => (slot(from), slot(to - 1) + 1),
                // The first slot whose middle is not before `from` follows the slot that holds `from - interval / 2`.
                Some(interval) => (slot(from - interval / 2 - 1) + 1, slot(to - interval / 2 - 1) + 1),
            };
            Some(Holiday { from, to, days_to_sunday: i64::from(date.weekday().until(Weekday::Sunday)) })
        };
        let slots_per_day = interval.map_or(DAY, |interval| (DAY / interval).max(1));
        Self { days: dates.into_iter().filter_map(slots).collect(), slots_per_day }
    }

    /// The holiday that `slot` lies on, if any.
    pub(crate) fn find(&self, slot: i64) -> Option<Holiday> {
        // A slot longer than a day may overlap two holidays; the earlier one is returned.
        let at = self.days.partition_point(|day| day.to <= slot);
        self.days.get(at).filter(|day| day.from <= slot).copied()
    }

    /// How many holidays overlap `slot`.
    pub(crate) fn count(&self, slot: i64) -> usize {
        let first = self.days.partition_point(|day| day.to <= slot);
        self.days[first..].partition_point(|day| day.from <= slot)
    }

    /// Slots of a day; 1 where slots are longer.
    pub(crate) fn slots_per_day(&self) -> i64 {
        self.slots_per_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const HOUR: i64 = 3_600_000;

    fn holidays(zone: &str, interval: i64, dates: &[&str]) -> Holidays {
        let dates: Vec<Date> = dates.iter().map(|date| date.parse().unwrap()).collect();
        let grid = if interval == 0 { Grid::Irregular } else { Grid::Regular { interval } };
        Holidays::new(&Calendar::new(TimeZone::get(zone).unwrap()), &grid, &dates)
    }

    fn slot(text: &str, interval: i64) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond().div_euclid(interval)
    }

    #[test]
    fn a_holiday_lasts_from_midnight_to_midnight_in_local_time() {
        // In reversed order, and one of them twice.
        let dates = ["2014-12-26", "2014-12-25", "2014-03-10", "2014-12-25"];
        for interval in [HOUR, HOUR / 2, 5 * 60_000, 1] {
            let known = holidays("Australia/Melbourne", interval, &dates);
            let first = slot("2014-12-24T13:00:00Z", interval);
            let after = slot("2014-12-26T13:00:00Z", interval);
            assert_eq!(known.slots_per_day(), 24 * HOUR / interval);
            let kinds =
                [first - 1, first, first + known.slots_per_day(), after - 1, after].map(|slot| known.find(slot));
            // The 25th was a Thursday.
            assert_eq!(kinds.map(|day| day.map(|day| day.days_to_sunday)), [None, Some(3), Some(2), Some(2), None]);
        }
        let irregular = holidays("Australia/Melbourne", 0, &dates);
        assert!(irregular.find(slot("2014-12-24T13:00:00Z", 1)).is_some());
        assert!(irregular.find(slot("2014-12-24T12:59:59.999Z", 1)).is_none());
    }

    #[test]
    fn holidays_of_23_and_25_hours_are_covered_completely() {
        let known = holidays("Europe/Berlin", HOUR, &["2024-03-31", "2024-10-27"]);
        let count = |from: &str| {
            let from = slot(from, HOUR);
            (from..from + 72).filter(|slot| known.find(*slot).is_some()).count()
        };
        assert_eq!((count("2024-03-30T00:00:00Z"), count("2024-10-26T00:00:00Z")), (23, 25));
    }

    #[test]
    fn daily_slots_count_by_their_middle_and_longer_slots_by_any_overlap() {
        let day = 24 * HOUR;
        let daily = holidays("America/Los_Angeles", day, &["2024-07-04"]);
        // The UTC slot of July 4th begins at 17:00 local time on the 3rd.
        let fourth = slot("2024-07-04T00:00:00Z", day);
        assert_eq!([-1, 0, 1].map(|more| daily.find(fourth + more).is_some()), [false, true, false]);
        let weekly = holidays("UTC", 7 * day, &["2024-07-03", "2024-07-04"]);
        let week = slot("2024-07-04T00:00:00Z", 7 * day);
        assert_eq!([-1, 0, 1].map(|more| weekly.find(week + more).is_some()), [true, true, false]);
        assert_eq!([-2, -1, 0, 1].map(|more| weekly.count(week + more)), [0, 1, 1, 0]);
        assert_eq!((daily.slots_per_day(), weekly.slots_per_day()), (1, 1));
    }

    #[test]
    fn without_dates_there_are_no_holidays() {
        assert_eq!(holidays("UTC", HOUR, &[]).find(0), None);
    }
}
