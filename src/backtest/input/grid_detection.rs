//! Finds the grid on which the timestamps of a file lie.

use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};

use crate::backtest::table::Reading;
use crate::time::{Grid, GridSpec, Length, Origin, Zone};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// The shortest step that may be a day, and how far days may be from 24 hours: clocks change.
const SHORTEST_DAY: i64 = 20 * HOUR;
const DAY_TOLERANCE: i64 = 2 * HOUR;
/// The shortest months, in days.
const SHORTEST_MONTH: i64 = 28;
/// The most times of day that one local time has in UTC: a zone changes its standard time, and its clocks twice a year.
const MOST_OFFSETS: usize = 4;

/// What is asked of the grid of a file. What is left open is found from its timestamps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GridRequest {
    /// Length of a step.
    pub length: Option<Length>,
    /// Where steps begin.
    pub origin: Origin,
    /// The day with which weeks begin.
    pub week_starts: Option<Weekday>,
    /// The time zone of days, weeks and months.
    pub zone: Option<TimeZone>,
}

/// Lays out the grid of a file.
///
/// Without a length, it is `step`, the median time between successive readings in milliseconds, or the days, weeks or
/// months that this is. Without a zone, it is UTC, or a zone in which the readings have the same time of day all year,
/// as days written with their offsets have. Weeks begin with the weekday that all readings have. Slots are named as the
/// readings are, such as months by their last day.
pub(super) fn lay_out(request: &GridRequest, readings: &[Reading], long: usize, step: i64) -> (Grid, Zone) {
    let mut times: Vec<i64> = readings.iter().map(|reading| reading.time.0).collect();
    times.sort_unstable();
    times.dedup();
    let step = request.length.map_or(step, Length::nominal_millis);
    let zone = match &request.zone {
        Some(zone) => Zone::new(zone.clone()),
        None => zone_of(&times, if step >= SHORTEST_DAY { DAY } else { step }).unwrap_or_default(),
    };
    let length = request.length.unwrap_or_else(|| length_of(&zone, &successive(readings, long), step));
    let week_starts = request.week_starts.or_else(|| common_weekday(&zone, &times)).unwrap_or(Weekday::Monday);
    let grid = GridSpec { length, origin: request.origin, week_starts }.grid(&zone);
    (grid.labelled(&times), zone)
}

/// Successive times that advance: of each of `long` series, or of the whole file if `long` is 0.
pub(super) fn successive(readings: &[Reading], long: usize) -> Vec<(i64, i64)> {
    let mut previous: Vec<Option<i64>> = vec![None; long.max(1)];
    let pair = |reading: &Reading| {
        let series = if long > 0 { reading.series as usize } else { 0 };
        let before = previous[series].replace(reading.time.0)?;
        (before < reading.time.0).then_some((before, reading.time.0))
    };
    readings.iter().filter_map(pair).collect()
}

/// A zone in which all times are equally far from the beginning of a step that divides a day, where they are not in
/// UTC. Of several such zones one at whose midnight they are is preferred, then the first by name.
fn zone_of(times: &[i64], step: i64) -> Option<Zone> {
    let mut phases: Vec<i64> = times.iter().map(|time| time.rem_euclid(step)).collect();
    phases.sort_unstable();
    phases.dedup();
    if DAY % step != 0 || !(2..=MOST_OFFSETS).contains(&phases.len()) {
        return None;
    }
    let phase_in = |zone: &Zone| {
        let phase = |time: &i64| (time + zone.utc_offset(*time)).rem_euclid(step);
        let first = times.first().map(phase)?;
        times.iter().all(|time| phase(time) == first).then_some(first)
    };
    let mut names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    names.sort_unstable();
    let mut found = None;
    for zone in names.iter().filter_map(|name| TimeZone::get(name).ok()).map(Zone::new) {
        match phase_in(&zone) {
            Some(0) => return Some(zone),
            Some(_) => found = found.or(Some(zone)),
            None => {}
        }
    }
    found
}

/// The length of a step, given successive times and the median distance between them, in milliseconds.
fn length_of(zone: &Zone, pairs: &[(i64, i64)], step: i64) -> Length {
    let dates: Vec<_> = pairs.iter().filter_map(|(one, next)| date(zone, *one).zip(date(zone, *next))).collect();
    let days = median(dates.iter().map(|(one, next)| days_between(*one, *next)));
    let Some(days) = days.filter(|days| *days > 0 && step >= SHORTEST_DAY) else { return Length::Clock(step) };
    let months = |(one, next): &(Date, Date)| {
        12 * (i64::from(next.year()) - i64::from(one.year())) + i64::from(next.month()) - i64::from(one.month())
    };
    let is_like_months = |(one, next): &(Date, Date)| {
        one.day() == next.day() || one.day() == one.days_in_month() && next.day() == next.days_in_month()
    };
    let drifts = || dates.iter().any(|(one, next)| days_between(*one, *next) % days != 0);
    if days >= SHORTEST_MONTH
        && dates.iter().all(|pair| months(pair) > 0)
        && (dates.iter().all(is_like_months) || drifts())
        && let Some(count) = median(dates.iter().map(months)).and_then(|count| u32::try_from(count).ok())
    {
        return Length::Months(count);
    }
    Length::Clock(if (step - days * DAY).abs() <= DAY_TOLERANCE { days * DAY } else { step })
}

/// The weekday of all times.
fn common_weekday(zone: &Zone, times: &[i64]) -> Option<Weekday> {
    let mut weekdays = times.iter().filter_map(|time| date(zone, *time)).map(Date::weekday);
    let first = weekdays.next()?;
    weekdays.all(|weekday| weekday == first).then_some(first)
}

/// The local date of a time.
fn date(zone: &Zone, time: i64) -> Option<Date> {
    let local = jiff::Timestamp::from_millisecond(time + zone.utc_offset(time)).ok()?;
    Some(Offset::UTC.to_datetime(local).date())
}

fn days_between(one: Date, next: Date) -> i64 {
    one.duration_until(next).as_hours() / 24
}

fn median(numbers: impl Iterator<Item = i64>) -> Option<i64> {
    let mut numbers: Vec<i64> = numbers.collect();
    let middle = numbers.len().checked_sub(1)? / 2;
    Some(*numbers.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;

    /// The grid of a file with these times in RFC 3339, its zone, and the names of the slots of the last time and the
    /// two after it.
    fn found(times: &[String], zone: Option<&str>) -> (Length, String, Vec<String>) {
        let millis = |text: &String| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let reading =
            |(row, text)| Reading { time: EventTime(millis(text)), value: 1.0, series: 0, row, position: row };
        let readings: Vec<Reading> = (0..).zip(times).map(reading).collect();
        let step = median(successive(&readings, 0).iter().map(|(one, next)| next - one)).unwrap();
        let request = GridRequest { zone: zone.map(|name| TimeZone::get(name).unwrap()), ..GridRequest::default() };
        let (grid, zone) = lay_out(&request, &readings, 0, step);
        let slots: Vec<i64> = readings.iter().map(|reading| grid.slot(reading.time)).collect();
        assert!(slots.windows(2).all(|pair| pair[0] < pair[1]), "each time has a slot of its own");
        let last = slots.last().unwrap();
        let name = |slot| {
            let time = jiff::Timestamp::from_millisecond(grid.label(slot).0).unwrap();
            time.to_zoned(zone.time_zone().clone()).strftime("%Y-%m-%d %H:%M").to_string()
        };
        (grid.length().unwrap(), zone.name(), (*last..last + 3).map(name).collect())
    }

    /// `count` dates at midnight in a zone, with their offsets.
    fn dates(zone: &str, first: &str, count: i64, next: impl Fn(Date, i64) -> Date) -> Vec<String> {
        let (zone, first) = (TimeZone::get(zone).unwrap(), first.parse().unwrap());
        let text = |step| {
            let zoned = next(first, step).to_zoned(zone.clone()).unwrap();
            zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        };
        (0..count).map(text).collect()
    }

    fn days(count: i64) -> impl Fn(Date, i64) -> Date {
        use jiff::ToSpan;
        move |first, step| first.checked_add((count * step).days()).unwrap()
    }

    fn months(count: i64) -> impl Fn(Date, i64) -> Date {
        use jiff::ToSpan;
        move |first, step| first.checked_add((count * step).months()).unwrap()
    }

    #[test]
    fn days_and_weeks_are_those_of_the_zone() {
        for (name, zone) in
            [("Europe/London", None), ("America/New_York", None), ("Europe/Berlin", Some("Europe/Berlin"))]
        {
            let (length, found, names) = found(&dates(name, "2023-01-01", 731, days(1)), zone);
            assert_eq!(length, Length::Clock(DAY), "{name}");
            assert_eq!(names, ["2024-12-31 00:00", "2025-01-01 00:00", "2025-01-02 00:00"], "{name} as {found}");
        }
        let (length, _, names) = found(&dates("Europe/Berlin", "2023-01-04", 100, days(7)), Some("Europe/Berlin"));
        assert_eq!((length, &*names[1]), (Length::Clock(7 * DAY), "2024-12-04 00:00"), "weeks from Wednesday");
        let (length, _, names) = found(&dates("UTC", "2023-01-01", 60, days(28)), None);
        assert_eq!((length, &*names[0]), (Length::Clock(28 * DAY), "2027-07-11 00:00"));
        // Working days: the median is a day.
        let working = dates("UTC", "2023-01-02", 100, |first, step| days(1)(first, step / 5 * 7 + step % 5));
        assert_eq!(found(&working, None).0, Length::Clock(DAY));
    }

    #[test]
    fn months_quarters_and_years_are_found_from_their_first_or_last_days() {
        let case = |first: &str, count, step, zone: &str| found(&dates(zone, first, count, months(step)), None);
        let (length, _, names) = case("2005-01-01", 240, 1, "UTC");
        assert_eq!((length, names[1..].join(" ")), (Length::Months(1), "2025-01-01 00:00 2025-02-01 00:00".into()));
        let last = |first: &str, count, step| {
            let dates = dates("UTC", first, count, |first, at| months(step)(first, at).last_of_month());
            found(&dates, None)
        };
        let (length, _, names) = last("2005-01-31", 240, 1);
        assert_eq!((length, names[1..].join(" ")), (Length::Months(1), "2025-01-31 00:00 2025-02-28 00:00".into()));
        let (length, _, names) = last("2015-03-31", 40, 3);
        assert_eq!((length, names[1..].join(" ")), (Length::Months(3), "2025-03-31 00:00 2025-06-30 00:00".into()));
        let (length, _, names) = last("2000-12-31", 25, 12);
        assert_eq!((length, &*names[1]), (Length::Months(12), "2025-12-31 00:00"));
        let (length, _, names) = case("2000-07-01", 25, 12, "UTC");
        assert_eq!((length, &*names[1]), (Length::Months(12), "2025-07-01 00:00"));
        let (length, zone, names) = case("2005-01-01", 240, 1, "Europe/London");
        assert_eq!((length, &*names[1]), (Length::Months(1), "2025-01-01 00:00"), "{zone}");
        // The last working day of each month.
        let working = dates("UTC", "2020-01-31", 60, |first, at| {
            let last = months(1)(first, at).last_of_month();
            days(-1)(last, (i64::from(last.weekday().to_monday_one_offset()) - 5).max(0))
        });
        assert_eq!(found(&working, None).0, Length::Months(1));
    }

    #[test]
    fn shorter_steps_are_what_they_are() {
        let at = |minutes: i64| {
            let time = jiff::Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap();
            time.to_string()
        };
        for minutes in [1, 15, 60, 90, 1440 / 2, 2160] {
            let times: Vec<String> = (0..100).map(|step| at(step * minutes)).collect();
            assert_eq!(found(&times, None).0, Length::Clock(minutes * 60_000));
        }
        let six = |step: i64| {
            let time = jiff::civil::date(2024, 3, 1).at(0, 0, 0, 0).to_zoned(TimeZone::get("Europe/London").unwrap());
            let local = time.unwrap().datetime().checked_add(jiff::Span::new().hours(6 * step)).unwrap();
            local.to_zoned(TimeZone::get("Europe/London").unwrap()).unwrap().timestamp().to_string()
        };
        let (length, zone, _) = found(&(0..300).map(six).collect::<Vec<_>>(), None);
        assert_eq!(length, Length::Clock(6 * HOUR), "{zone}");
    }
}
