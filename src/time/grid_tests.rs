use jiff::civil::{Weekday, date};
use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;

use super::super::{GridSpec, Origin};
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn zone(name: &str) -> Zone {
    Zone::new(TimeZone::get(name).unwrap())
}

fn grid(length: Length, name: &str) -> Grid {
    GridSpec::new(length).grid(&zone(name))
}

fn time(text: &str) -> EventTime {
    EventTime(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// The local times at which `count` slots from that of `from` on begin.
fn starts(grid: &Grid, name: &str, from: &str, count: i64) -> Vec<String> {
    let zone = TimeZone::get(name).unwrap();
    let first = grid.slot(time(from));
    let local = |slot| jiff::Timestamp::from_millisecond(grid.start(slot).0).unwrap().to_zoned(zone.clone());
    (first..first + count).map(|slot| local(slot).strftime("%m-%d %H:%M").to_string()).collect()
}

#[test]
fn days_weeks_and_months_begin_at_local_midnight() {
    let days = grid(Length::Clock(DAY), "Europe/Berlin");
    let expected = ["03-30 00:00", "03-31 00:00", "04-01 00:00"];
    assert_eq!(starts(&days, "Europe/Berlin", "2024-03-30T12:00:00Z", 3), expected);
    let slot = days.slot(time("2024-03-31T12:00:00Z"));
    assert_eq!(days.closes_at(slot).0 - days.start(slot).0, 23 * HOUR);
    assert_eq!(slot, date(2024, 3, 31).duration_since(date(1970, 1, 1)).as_hours() / 24, "the number of the date");
    let weeks = grid(Length::Clock(7 * DAY), "Europe/London");
    let expected = ["03-25 00:00", "04-01 00:00", "04-08 00:00"];
    assert_eq!(starts(&weeks, "Europe/London", "2024-03-31T12:00:00Z", 3), expected);
    let sundays = GridSpec { week_starts: Weekday::Sunday, ..GridSpec::new(Length::Clock(7 * DAY)) };
    let sundays = sundays.grid(&Zone::utc());
    assert_eq!(starts(&sundays, "UTC", "2024-03-30T23:59:59Z", 2), ["03-24 00:00", "03-31 00:00"]);
    let months = grid(Length::Months(1), "America/New_York");
    let expected = ["01-01 00:00", "02-01 00:00", "03-01 00:00", "04-01 00:00"];
    assert_eq!(starts(&months, "America/New_York", "2024-01-31T23:00:00Z", 4), expected);
    assert_eq!(months.slot(time("2024-01-31T23:00:00Z")), 54 * 12);
    let quarters = grid(Length::Months(3), "Asia/Tokyo");
    assert_eq!(starts(&quarters, "Asia/Tokyo", "2024-02-15T00:00:00Z", 2), ["01-01 00:00", "04-01 00:00"]);
    let years = grid(Length::Months(12), "Asia/Tokyo");
    assert_eq!(years.slot(time("2023-12-31T15:00:00Z")), 54);
}

#[test]
fn shorter_steps_begin_with_local_midnight() {
    assert_eq!(grid(Length::Clock(HOUR), "Europe/Berlin"), Grid::Regular { interval: HOUR });
    assert_eq!(grid(Length::Clock(DAY), "UTC"), Grid::Regular { interval: DAY });
    let indian = grid(Length::Clock(HOUR), "Asia/Kolkata");
    assert_eq!(starts(&indian, "Asia/Kolkata", "2024-01-01T00:00:00Z", 2), ["01-01 05:00", "01-01 06:00"]);
    // A change by whole hours leaves every hour its length, on half hours of UTC, too.
    let adelaide = grid(Length::Clock(HOUR), "Australia/Adelaide");
    let expected = ["04-07 01:00", "04-07 02:00", "04-07 02:00", "04-07 03:00"];
    assert_eq!(starts(&adelaide, "Australia/Adelaide", "2024-04-06T14:45:00Z", 4), expected);
    assert_eq!(adelaide.equal_steps(), Some((HOUR, -30 * MINUTE)));
    let six = grid(Length::Clock(6 * HOUR), "Europe/Berlin");
    let expected = ["03-30 18:00", "03-31 00:00", "03-31 06:00", "03-31 12:00"];
    assert_eq!(starts(&six, "Europe/Berlin", "2024-03-30T18:00:00Z", 4), expected);
    assert_eq!(six.equal_steps(), None);
    // Steps that do not divide a day follow no clock.
    assert_eq!(grid(Length::Clock(7 * HOUR), "Europe/Berlin"), Grid::Regular { interval: 7 * HOUR });
}

#[test]
fn an_origin_shifts_where_steps_begin() {
    let with = |length, origin: &str, name| {
        GridSpec { origin: origin.parse().unwrap(), ..GridSpec::new(length) }.grid(&zone(name))
    };
    let shifts = with(Length::Clock(DAY), "06:00", "Europe/Berlin");
    assert_eq!(starts(&shifts, "Europe/Berlin", "2024-03-31T03:59:59Z", 2), ["03-30 06:00", "03-31 06:00"]);
    let thirds = with(Length::Clock(8 * HOUR), "06:00", "UTC");
    assert_eq!(starts(&thirds, "UTC", "2024-03-31T05:00:00Z", 2), ["03-30 22:00", "03-31 06:00"]);
    let fiscal = with(Length::Months(12), "2000-04-06", "Europe/London");
    assert_eq!(starts(&fiscal, "Europe/London", "2024-04-05T12:00:00Z", 2), ["04-06 00:00", "04-06 00:00"]);
    let fortnights = with(Length::Clock(14 * DAY), "2024-01-08T12:00", "UTC");
    assert_eq!(starts(&fortnights, "UTC", "2024-01-08T11:00:00Z", 2), ["12-25 12:00", "01-08 12:00"]);
    for text in ["06:00", "06:30:15", "2024-04-01", "2024-04-01T06:00"] {
        assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
    }
    for text in ["", "6", "25:00", "2024-13-01", "2024-04-01T06:00Z", "2024-04-01T", "06:00[UTC]"] {
        assert!(text.parse::<Origin>().unwrap_err().contains("06:00"), "{text}");
    }
}

#[test]
fn a_day_that_the_clocks_skip_is_an_instant() {
    let samoa = grid(Length::Clock(DAY), "Pacific/Apia");
    let slots = |text| samoa.slot(time(text));
    let before = slots("2011-12-30T09:00:00Z");
    assert_eq!(slots("2011-12-30T10:00:00Z"), before + 2, "midnight of the 31st follows that of the 29th");
    assert_eq!(samoa.closes_at(before + 1).0 - samoa.start(before + 1).0, 1);
}

#[test]
fn slots_are_named_as_the_times_are() {
    let months = grid(Length::Months(1), "UTC");
    let of = |texts: &[&str]| texts.iter().map(|text| time(text).0).collect::<Vec<_>>();
    let last = of(&["2024-10-31T00:00:00Z", "2024-11-30T00:00:00Z", "2024-12-31T00:00:00Z"]);
    let labelled = months.clone().labelled(&last);
    let slot = labelled.slot(EventTime(last[2]));
    let expected = [last[2], time("2025-01-31T00:00:00Z").0, time("2025-02-28T00:00:00Z").0];
    assert_eq!([0, 1, 2].map(|more| labelled.label(slot + more).0), expected);
    assert_eq!(labelled.start(slot), time("2024-12-01T00:00:00Z"), "the slots are the same");
    let fifteenth = months.clone().labelled(&of(&["2024-10-15T12:00:00Z", "2024-11-15T12:00:00Z"]));
    assert_eq!(fifteenth.label(slot), time("2024-12-15T12:00:00Z"));
    let any = months.labelled(&of(&["2024-10-15T12:00:00Z", "2024-11-03T12:00:00Z"]));
    assert_eq!(any.label(slot), time("2024-12-01T00:00:00Z"));
    let hours = grid(Length::Clock(HOUR), "UTC").labelled(&[30 * MINUTE, HOUR + 30 * MINUTE]);
    assert_eq!((hours.label(5).0, hours.start(5).0), (5 * HOUR + 30 * MINUTE, 5 * HOUR));
    let quarters = grid(Length::Months(3), "UTC").labelled(&of(&["2024-02-29T00:00:00Z", "2024-05-31T00:00:00Z"]));
    assert_eq!(quarters.label(220), time("2025-02-28T00:00:00Z"));
}

fn any_length() -> impl Strategy<Value = Length> {
    let clock = [1, 5, 30, 45, 60, 90, 120, 180, 360, 420, 720, 1440, 2 * 1440, 7 * 1440, 10 * 1440, 14 * 1440];
    let clock = proptest::sample::select(clock.map(|minutes| Length::Clock(minutes * MINUTE)).to_vec());
    let months = proptest::sample::select([1, 2, 3, 6, 12, 5].map(Length::Months).to_vec());
    prop_oneof![clock, months]
}

fn any_spec() -> impl Strategy<Value = GridSpec> {
    let origin = prop_oneof![
        Just(Origin::default()),
        Just(Origin { date: None, time: jiff::civil::time(6, 0, 0, 0) }),
        Just(Origin { date: Some(date(2001, 4, 6)), time: jiff::civil::time(23, 30, 0, 0) }),
    ];
    let days = [Weekday::Monday, Weekday::Saturday, Weekday::Sunday];
    (any_length(), origin, proptest::sample::select(days.to_vec())).prop_map(|(length, origin, week_starts)| GridSpec {
        length,
        origin,
        week_starts,
    })
}

/// Slots around a time follow each other: each begins once, where the one before it ends.
fn assert_contiguous(grid: &Grid, time: i64) {
    let slot = grid.slot(EventTime(time));
    for slot in slot - 3..=slot + 3 {
        let (start, end) = (grid.start(slot), grid.closes_at(slot));
        assert!(start < end, "slot {slot} from {start:?} to {end:?} of {grid:?}");
        assert_eq!((grid.slot(start), end), (slot, grid.start(slot + 1)), "{grid:?}");
        assert_eq!(grid.slot(EventTime(end.0 - 1)), slot, "the end of slot {slot} of {grid:?}");
        assert_eq!(grid.slot(EventTime((start.0 + end.0) / 2)), slot, "{grid:?}");
    }
    assert!((grid.start(slot).0..grid.closes_at(slot).0).contains(&time), "{time} of {grid:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of every zone of the database: around changes of its clocks, and at any time from 1970 to 2100.
    #[test]
    fn slots_follow_each_other_in_every_zone(
        spec in any_spec(),
        pick in any::<proptest::sample::Index>(),
        times in proptest::collection::vec(0_i64..4_102_444_800_000, 8),
    ) {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let zone = zone(&names[pick.index(names.len())]);
        let grid = spec.grid(&zone);
        let changes: Vec<i64> = zone.changes().map(|(from, _)| from).filter(|from| *from > 0).collect();
        let around = changes.iter().flat_map(|change| [change - 1, *change, change + HOUR, change + DAY]);
        for time in around.chain(times) {
            assert_contiguous(&grid, time);
        }
    }
}

/// Days and hours of zones that skip days, change at midnight, by half an hour or by seconds.
#[test]
fn slots_follow_each_other_in_the_strangest_zones() {
    for name in [
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "Pacific/Kiritimati",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Africa/Monrovia",
        "Asia/Pyongyang",
        "Antarctica/Troll",
        "Pacific/Chatham",
        "America/Havana",
        "Asia/Tehran",
        "Africa/Casablanca",
    ] {
        let zone = zone(name);
        for length in
            [30 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY].map(Length::Clock).into_iter().chain([Length::Months(1)])
        {
            let grid = GridSpec::new(length).grid(&zone);
            for (change, _) in zone.changes().filter(|(from, _)| *from > i64::MIN) {
                (-30..=30).for_each(|hours| assert_contiguous(&grid, change + hours * HOUR));
            }
        }
    }
}

#[test]
fn days_are_named_by_their_dates_in_every_zone() {
    for name in jiff::tz::db().available() {
        let time_zone = TimeZone::get(&name.to_string()).unwrap();
        let grid = GridSpec::new(Length::Clock(DAY)).grid(&Zone::new(time_zone.clone()));
        for day in (0..47_000).step_by(97) {
            let noon = Offset::UTC.to_datetime(jiff::Timestamp::from_second(day * 86_400 + 43_200).unwrap());
            let zoned = noon.to_zoned(time_zone.clone()).unwrap();
            // A noon that the clocks skip is none.
            let slot = grid.slot(EventTime(zoned.timestamp().as_millisecond()));
            assert!(slot == day || zoned.date() != noon.date(), "{name}: {slot} for {day}");
        }
    }
}

#[test]
fn grids_whose_slot_numbers_mean_something_else_have_other_descriptions() {
    let origin = |text: &str| GridSpec { origin: text.parse().unwrap(), ..GridSpec::new(Length::Months(12)) };
    let sundays = GridSpec { week_starts: Weekday::Sunday, ..GridSpec::new(Length::Clock(7 * DAY)) };
    let grids = [
        grid(Length::Clock(DAY), "Europe/Berlin"),
        grid(Length::Clock(DAY), "Europe/London"),
        grid(Length::Clock(DAY), "UTC"),
        grid(Length::Clock(7 * DAY), "Europe/London"),
        sundays.grid(&zone("Europe/London")),
        grid(Length::Months(12), "Europe/London"),
        origin("2024-04-01").grid(&zone("Europe/London")),
        origin("2024-04-06").grid(&zone("Europe/London")),
        origin("06:00").grid(&zone("Europe/London")),
        Grid::Irregular,
    ];
    let texts: std::collections::BTreeSet<String> = grids.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), grids.len(), "{texts:?}");
    let labelled = grids[5].clone().labelled(&[time("2023-12-31T00:00:00Z").0]);
    assert_eq!(labelled.to_string(), grids[5].to_string(), "labels are no matter of the numbers");
}

#[test]
fn the_limits_of_time_have_slots() {
    for length in [Length::Clock(DAY), Length::Clock(6 * HOUR), Length::Months(1), Length::Months(12)] {
        let grid = grid(length, "America/New_York");
        for time in [EventTime::MIN, EventTime::MAX] {
            assert!(grid.contains(grid.slot(time)));
            assert!(!grid.contains(i64::MAX) && !grid.contains(i64::MIN));
        }
        for slot in [i64::MIN, i64::MAX - 1] {
            assert_eq!(grid.start(slot).0.signum(), slot.signum());
            assert_eq!(grid.label(slot).0.signum(), slot.signum());
        }
        for time in [i64::MIN, i64::MAX] {
            assert_eq!(grid.slot(EventTime(time)).signum(), time.signum());
        }
    }
}
