//! How a grid is laid out: the length of a step, and where steps begin.

use std::{fmt, str::FromStr};

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;

use super::calendar_grid::{CalendarGrid, CalendarUnit, DAY};
use super::grid::Grid;
use super::length::Length;
use super::zone::Zone;

const WEEK: i64 = 7 * DAY;
/// Shorter steps do not follow the local clocks.
const MINUTE: i64 = 60_000;
/// The Unix epoch was a Thursday.
const EPOCH: Weekday = Weekday::Thursday;

/// A local time at which a step begins: a time of day on the days, weeks or months that the calendar has, or on a date
/// from which they are counted. It is written `06:00`, `2026-04-01` or `2026-04-01T06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// From which date steps are counted.
    pub date: Option<Date>,
    /// Time of day.
    pub time: Time,
}

/// How a grid is laid out. The same code serves the daemon and the commands that read files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridSpec {
    /// Length of a step.
    pub length: Length,
    /// Where steps begin.
    pub origin: Origin,
    /// The day with which weeks begin, without a date of origin.
    pub week_starts: Weekday,
}

impl GridSpec {
    /// Steps of this length that begin with the minute, day, week (Monday), month or year.
    pub fn new(length: Length) -> Self {
        Self { length, origin: Origin::default(), week_starts: Weekday::Monday }
    }

    /// The grid in a time zone.
    ///
    /// Steps of whole days, and months, follow the local calendar. Shorter steps that divide a day begin at local
    /// midnight: with a length of their own where the offsets of the zone differ by whole steps, so that an hour which
    /// the clocks repeat is a step; else in local time, where a step is longer or shorter when the clocks change. Other
    /// steps are counted in UTC.
    pub fn grid(&self, zone: &Zone) -> Grid {
        let GridSpec { length, origin, week_starts } = *self;
        let time = millis_of_day(origin.time);
        match length {
            Length::Months(count) => {
                let count = i64::from(count.max(1));
                let [months, days] = origin.date.map_or([0, 0], |date| {
                    [months_since_1970(date), i64::from(date.day()) - 1] // checked to be within every month
                });
                let unit = CalendarUnit::Months { count, first: months.rem_euclid(count) };
                Grid::Calendar(CalendarGrid::new(unit, days * DAY + time, zone.clone()))
            }
            Length::Clock(length) => {
                let length = length.max(1);
                let days = origin.date.map_or_else(
                    || if length % WEEK == 0 { i64::from(EPOCH.until(week_starts)) } else { 0 },
                    days_since_1970,
                );
                let shift = (days * DAY + time).rem_euclid(length);
                let zone = clocks(zone, length);
                let grid = CalendarGrid::new(CalendarUnit::Clock(length), shift, zone);
                match grid.equal_steps() {
                    Some((interval, 0)) => Grid::Regular { interval },
                    _ => Grid::Calendar(grid),
                }
            }
        }
    }
}

/// The clocks that steps of `length` milliseconds follow.
fn clocks(zone: &Zone, length: i64) -> Zone {
    if length % DAY == 0 {
        return zone.clone();
    }
    if length < MINUTE || DAY % length != 0 {
        return Zone::utc();
    }
    let mut phases = zone.offsets_since_1970().map(|offset| offset.rem_euclid(length));
    let phase = phases.next().unwrap_or(0);
    if phases.all(|other| other == phase) { Zone::fixed(phase) } else { zone.clone() }
}

fn millis_of_day(time: Time) -> i64 {
    let seconds = (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
    seconds * 1000 + i64::from(time.millisecond())
}

fn days_since_1970(date: Date) -> i64 {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_or(0, |start| start.as_millisecond().div_euclid(DAY))
}

fn months_since_1970(date: Date) -> i64 {
    (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no origin; expected a time of day such as 06:00, a date such as 2026-04-01, or both as in \
                 2026-04-01T06:00"
            )
        };
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (Some(date), Some(time)),
            None if text.contains(':') => (None, Some(text)),
            None => (Some(text), None),
        };
        // jiff also parses longer forms; accepting them would drop a part silently.
        let is_short = date.is_none_or(|date| date.len() == 10) && time.is_none_or(|time| [5, 8].contains(&time.len()));
        let date = date.map(str::parse).transpose().ok().filter(|_| is_short);
        let time = time.map(str::parse).transpose().ok();
        let (date, time) = date.zip(time).ok_or_else(expected)?;
        Ok(Self { date, time: time.unwrap_or_default() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = match self.time {
            time if time.second() == 0 && time.subsec_nanosecond() == 0 => time.strftime("%H:%M"),
            time => time.strftime("%H:%M:%S"),
        };
        match self.date {
            None => time.fmt(f),
            Some(date) if self.time == Time::midnight() => date.fmt(f),
            Some(date) => write!(f, "{date}T{time}"),
        }
    }
}
