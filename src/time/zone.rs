//! A time zone: its UTC offsets, and its clock.

use std::{fmt, sync::Arc};

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// 1970 and 2200 begin, in milliseconds.
const YEAR_1970: i64 = 0;
const YEAR_2200: i64 = 7_258_118_400_000;

/// A time zone with a table of its UTC offsets until the year 2200: a lookup costs nanoseconds, and clones share it.
/// From then on the last offset holds.
///
/// *Local time* is what its clocks show, in milliseconds since 1970-01-01T00:00 there.
#[derive(Clone)]
pub struct Zone {
    zone: TimeZone,
    /// Ascending by time; the first is at [`i64::MIN`].
    changes: Arc<[Change]>,
}

/// A change of the UTC offset, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Change {
    from: i64,
    offset: i64,
    /// The latest local time before it.
    reached: i64,
}

impl Zone {
    /// The table of a time zone.
    pub fn new(zone: TimeZone) -> Self {
        let first = offset_at(&zone, Timestamp::MIN);
        let mut changes = vec![Change { from: i64::MIN, offset: first, reached: i64::MIN }];
        let mut last = changes[0];
        for change in zone.following(Timestamp::MIN) {
            let (from, offset) = (change.timestamp().as_millisecond(), i64::from(change.offset().seconds()) * 1000);
            if from >= YEAR_2200 {
                break;
            }
            if offset != last.offset {
                last = Change { from, offset, reached: last.reached.max(from - 1 + last.offset) };
                changes.push(last);
            }
        }
        Self { zone, changes: changes.into() }
    }

    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Self::new(TimeZone::UTC)
    }

    /// The zone whose clocks are always `offset` milliseconds, in whole seconds within a day, ahead of UTC.
    pub(super) fn fixed(offset: i64) -> Self {
        let seconds = i32::try_from(offset / 1000).unwrap_or(0);
        Self::new(Offset::from_seconds(seconds).map_or(TimeZone::UTC, TimeZone::fixed))
    }

    /// Its name in the time zone database; its offset where it has none.
    pub fn name(&self) -> String {
        self.zone.iana_name().map_or_else(|| format!("UTC{:+}s", self.changes[0].offset / 1000), str::to_owned)
    }

    /// The zone as the time zone library has it.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Local time less UTC at a time, in milliseconds.
    pub fn utc_offset(&self, time: i64) -> i64 {
        self.changes[self.change_before(time)].offset
    }

    /// The changes of the UTC offset, ascending: from a time on, the offset, in milliseconds. The first one is at
    /// [`i64::MIN`].
    pub fn changes(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.changes.iter().map(|change| (change.from, change.offset))
    }

    /// The offsets from 1970 on.
    pub(super) fn offsets_since_1970(&self) -> impl Iterator<Item = i64> + '_ {
        self.changes[self.change_before(YEAR_1970)..].iter().map(|change| change.offset)
    }

    /// The latest local time until a time: where the clocks are set back, they stand still instead.
    #[inline]
    pub fn local(&self, time: i64) -> i64 {
        let Change { offset, reached, .. } = self.changes[self.change_before(time)];
        time.saturating_add(offset).max(reached)
    }

    /// The first time at which [`Self::local`] is at least `local`.
    #[inline]
    pub fn instant(&self, local: i64) -> i64 {
        // The first change is before every local time: there is one.
        let later = self.changes.partition_point(|change| change.reached < local).max(1);
        let Change { from, offset, .. } = self.changes[later - 1];
        local.saturating_sub(offset).max(from)
    }

    /// The next change of the UTC offset after a time.
    #[inline]
    pub(super) fn next_change(&self, time: i64) -> Option<i64> {
        self.changes.get(self.change_before(time) + 1).map(|change| change.from)
    }

    /// Start of a local day and of the next one, in milliseconds; none at the limits of the calendar.
    pub fn bounds(&self, date: Date) -> Option<(i64, i64)> {
        let start = |date: Date| {
            let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
            Some(self.instant(midnight.as_millisecond()))
        };
        Some((start(date)?, start(date.checked_add(1.day()).ok()?)?))
    }

    #[inline]
    fn change_before(&self, time: i64) -> usize {
        // The first change is at `i64::MIN`: there is one.
        self.changes.partition_point(|change| change.from <= time) - 1
    }
}

fn offset_at(zone: &TimeZone, timestamp: Timestamp) -> i64 {
    i64::from(zone.to_offset(timestamp).seconds()) * 1000
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone // the zone determines the table
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Zone").field(&self.zone).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn offsets_follow_daylight_saving_time() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for text in [
            "1850-07-01T00:00:00Z",
            "1960-07-01T00:00:00Z",
            "1985-03-31T00:59:59Z",
            "2024-03-31T00:59:59Z",
            "2024-03-31T01:00:00Z",
            "2024-10-27T01:00:00Z",
            "2150-07-01T00:00:00Z",
        ] {
            let expected = offset_at(&berlin, text.parse().unwrap());
            assert_eq!(Zone::new(berlin.clone()).utc_offset(millis(text)), expected, "{text}");
        }
    }

    #[test]
    fn clocks_that_are_set_back_stand_still() {
        let berlin = Zone::new(TimeZone::get("Europe/Berlin").unwrap());
        let (two, three) = (millis("2024-10-27T02:00:00Z"), millis("2024-10-27T03:00:00Z"));
        let times = ["2024-10-27T00:30:00Z", "2024-10-27T01:00:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:00:00Z"];
        let local = times.map(|time| berlin.local(millis(time)));
        assert_eq!(local, [two + 1_800_000, three - 1, three - 1, three]);
        assert_eq!(berlin.instant(three), millis("2024-10-27T02:00:00Z"));
        // A time that the clocks skip is the time at which they do.
        assert_eq!(berlin.instant(millis("2024-03-31T02:20:00Z")), millis("2024-03-31T01:00:00Z"));
    }

    #[test]
    fn a_day_lasts_from_midnight_to_midnight() {
        let hours = |zone: &str, date: &str| {
            let (from, to) = Zone::new(TimeZone::get(zone).unwrap()).bounds(date.parse().unwrap()).unwrap();
            (to - from) / 3_600_000
        };
        assert_eq!(hours("Europe/Berlin", "2024-03-31"), 23);
        assert_eq!(hours("Europe/Berlin", "2024-10-27"), 25);
        // These clocks are set forth and back at midnight.
        assert_eq!(hours("America/Sao_Paulo", "2018-11-04"), 23);
        assert_eq!(hours("America/Sao_Paulo", "2018-02-17"), 25);
    }

    #[test]
    fn the_limits_of_time_have_a_local_time() {
        for zone in [Zone::utc(), Zone::new(TimeZone::get("Pacific/Apia").unwrap())] {
            for time in [i64::MIN, i64::MAX] {
                assert_eq!(zone.local(time).signum(), time.signum());
                assert_eq!(zone.instant(time).signum(), time.signum());
            }
        }
    }
}
