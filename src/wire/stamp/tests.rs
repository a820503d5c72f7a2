//! Each form by itself, and forms that are printed and read back.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;

use super::moment::epoch_day;
use super::*;

/// A point in time as text with `Z`, a local time without.
fn read_in(text: &str, order: DateOrder) -> Option<String> {
    let moment = parse_stamp(text, order)?.moment;
    let text = Timestamp::from_millisecond(moment.millis).unwrap().to_string();
    Some(if moment.local { text.trim_end_matches('Z').to_owned() } else { text })
}

fn read(text: &str) -> Option<String> {
    read_in(text, DateOrder::DayFirst)
}

#[test]
fn forms_of_one_time_are_read_as_it() {
    for text in [
        "2024-01-31 05:06:07",
        "2024-01-31T05:06:07",
        "2024/01/31 05:06:07",
        "2024.1.31 5:06:07",
        "31.01.2024 05:06:07",
        "31/1/2024 05:06:07",
        "31-01-2024 05:06:07",
        "31.01.24 05:06:07",
        "31.01.2024 05.06.07",
        "20240131T050607",
        "20240131 050607",
        "20240131050607",
        "20240131 05:06:07",
        "31 Jan 2024 05:06:07",
        "31-Jan-2024 05:06:07",
        "31-JAN-24 05:06:07",
        "31Jan2024 05:06:07",
        "31JAN2024:05:06:07",
        "Jan 31, 2024 05:06:07",
        "January 31 2024, 5:06:07 AM",
        "31. Januar 2024 05:06:07",
        "31. Jän. 2024 05:06:07",
        "31 janv. 2024 05:06:07",
        "31 de",
        "2024 Jan 31 05:06:07",
        "Wed Jan 31 05:06:07 2024",
        "Wed, 31 Jan 2024 05:06:07",
        "05:06:07 31/01/2024",
        "05:06:07 2024-01-31",
        "2024-01-31, 05:06:07",
        "2024-01-31_05:06:07",
        "31/Jan/2024:05:06:07",
        "2024-01-31 05:06:07 Uhr",
        " 2024-01-31  05:06:07 ",
        "31/01/2024 5:06:07 a.m.",
        "2024-01-31 05:06:07.000",
        "2024-W05-3 05:06:07",
    ] {
        let expected = (text != "31 de").then(|| "2024-01-31T05:06:07".to_owned());
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn zones_offsets_and_fractions_are_read() {
    for (text, expected) in [
        ("2024-01-31 05:06:07Z", "2024-01-31T05:06:07Z"),
        ("2024-01-31 05:06:07 UTC", "2024-01-31T05:06:07Z"),
        ("2024-01-31T05:06+02", "2024-01-31T03:06:00Z"),
        ("2024-01-31T05:06:07+0200", "2024-01-31T03:06:07Z"),
        ("2024-01-31 05:06:07 -03:30", "2024-01-31T08:36:07Z"),
        ("2024-01-31 05:06:07 GMT+2", "2024-01-31T03:06:07Z"),
        ("2024-07-31 05:06:07 CEST", "2024-07-31T03:06:07Z"),
        ("31/Jan/2024:05:06:07 -0700", "2024-01-31T12:06:07Z"),
        ("Wed Jan 31 05:06:07 CET 2024", "2024-01-31T04:06:07Z"),
        ("Wed Jan 31 2024 05:06:07 GMT+0100 (Central European Standard Time)", "2024-01-31T04:06:07Z"),
        ("2024-01-31 05:06:07 Europe/Berlin", "2024-01-31T04:06:07Z"),
        ("2024-07-31T05:06:07[Europe/Berlin]", "2024-07-31T03:06:07Z"),
        ("2024-01-31T05:06:07+01:00[Europe/Berlin]", "2024-01-31T04:06:07Z"),
        ("2024-01-31 05:06:07,25", "2024-01-31T05:06:07.25"),
        ("2024-01-31 05:06:07.123456789", "2024-01-31T05:06:07.123"),
        ("31.01.2024 05:06:07,5", "2024-01-31T05:06:07.5"),
        ("20240131050607250", "2024-01-31T05:06:07.25"),
        ("2024-01-31 12:00 AM", "2024-01-31T00:00:00"),
        ("31.01.2024 12:30 pm", "2024-01-31T12:30:00"),
        ("1/31/2024 5 PM", "2024-01-31T17:00:00"),
        ("2024-01-31 24:00", "2024-02-01T00:00:00"),
        ("2024-01-31 13h30", "2024-01-31T13:30:00"),
        ("2024-01-31 13", "2024-01-31T13:00:00"),
        ("202401311330", "2024-01-31T13:30:00"),
    ] {
        let order = if text.starts_with("1/31") { DateOrder::MonthFirst } else { DateOrder::DayFirst };
        assert_eq!(read_in(text, order).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_date_alone_is_midnight_and_a_month_its_first_day() {
    for text in ["2024-01-31", "20240131", "31.01.2024", "31/01/24", "31-Jan-2024", "Jan 31, 2024", "31. Jan. 2024"] {
        assert_eq!(read(text).as_deref(), Some("2024-01-31T00:00:00"), "{text}");
        assert!(parse_stamp(text, DateOrder::DayFirst).unwrap().date_only, "{text}");
    }
    for text in ["2024-02", "202402", "02/2024", "02.2024", "Feb 2024", "Feb-24", "2024 Feb", "2024M02", "févr. 2024"]
    {
        assert_eq!(read(text).as_deref(), Some("2024-02-01T00:00:00"), "{text}");
    }
    for text in ["2024Q2", "2024-Q2", "Q2 2024", "Q2/2024"] {
        assert_eq!(read(text).as_deref(), Some("2024-04-01T00:00:00"), "{text}");
    }
    assert_eq!(read("2021-W01").as_deref(), Some("2021-01-04T00:00:00"));
}

#[test]
fn the_order_decides_what_digits_mean() {
    let both = |text: &str| [DateOrder::DayFirst, DateOrder::MonthFirst].map(|order| read_in(text, order));
    let date = |text: &str| Some(format!("{text}T00:00:00"));
    assert_eq!(both("03/04/2024"), [date("2024-04-03"), date("2024-03-04")]);
    assert_eq!(both("13/04/2024"), [date("2024-04-13"), None]);
    assert_eq!(both("2024-04-03"), [date("2024-04-03"), date("2024-04-03")]);
    assert_eq!(read_in("24-04-03", DateOrder::YearFirst), date("2024-04-03"));
    let by_order = |text: &str| parse_stamp(text, DateOrder::DayFirst).unwrap().by_order;
    assert!(by_order("03/04/2024") && by_order("13/04/2024") && !by_order("4/4/2024") && !by_order("3 Apr 2024"));
}

#[test]
fn other_text_is_no_timestamp() {
    for text in [
        "",
        "Total",
        "yesterday",
        "2024",
        "12:30",
        "10.5",
        "1,234",
        "2024-13-01",
        "2024-02-30",
        "31.02.2024",
        "2024-01-31 25:00",
        "2024-01-31 12:60",
        "2024-01-31 12:30 XYZ",
        "13:30 PM AM 2024",
        "Marketing",
        "99999999",
        "1.2.3.4",
        "2024-01-31 0 AM",
        "1704067200",
        "mon",
        "1-2",
        "- -",
        "2024-01-31T",
        "2024-01-31T05:06:07+25:00",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_time_of_day_alone_is_read() {
    let hour = 3_600_000;
    let times = ["0:00", "12:30", "23:59:59", "1:00 PM", "24:00"].map(parse_time_of_day);
    assert_eq!(times, [0, hour * 25 / 2, 24 * hour - 1000, 13 * hour, 24 * hour].map(Some));
    assert_eq!(["12", "12:30 x", "soon", "25:00", "2024-01-01"].map(parse_time_of_day), [None; 5]);
}

#[test]
fn patterns_show_the_fields() {
    for (text, expected) in [
        ("31/01/2024 05:06", "%d/%m/%Y %H:%M"),
        ("2024-01-31T05:06:07.25Z", "%Y-%m-%dT%H:%M:%S%.f%Z"),
        ("31-Jan-24 5:06 PM", "%d-%b-%y %I:%M %p"),
        ("20240131", "%Y%m%d"),
        ("January 31, 2024", "%B %d, %Y"),
        ("2024-01-31 05:06:07+0200", "%Y-%m-%d %H:%M:%S%z"),
    ] {
        assert_eq!(stamp_pattern(text, DateOrder::DayFirst).as_deref(), Some(expected), "{text}");
    }
}

/// Patterns that together hold the year, month, day, hour, minute and second, and the order that reads them.
const PATTERNS: [(&str, DateOrder); 12] = [
    ("%Y-%m-%d %H:%M:%S", DateOrder::DayFirst),
    ("%Y-%m-%dT%H:%M:%S", DateOrder::MonthFirst),
    ("%Y/%m/%d %H:%M:%S", DateOrder::DayFirst),
    ("%Y%m%d%H%M%S", DateOrder::DayFirst),
    ("%Y%m%dT%H%M%S", DateOrder::DayFirst),
    ("%d.%m.%Y %H:%M:%S", DateOrder::DayFirst),
    ("%-d/%-m/%Y %-H:%M:%S", DateOrder::DayFirst),
    ("%m/%d/%Y %I:%M:%S %p", DateOrder::MonthFirst),
    ("%m-%d-%Y %H.%M.%S", DateOrder::MonthFirst),
    ("%d-%b-%Y %H:%M:%S", DateOrder::DayFirst),
    ("%a, %d %b %Y %H:%M:%S", DateOrder::DayFirst),
    ("%B %-d, %Y %-I:%M:%S %p", DateOrder::DayFirst),
];

proptest! {
    #[test]
    fn every_form_of_every_time_is_read_back(second in -5_000_000_000..7_000_000_000_i64, form in 0..PATTERNS.len()) {
        let (pattern, order) = PATTERNS[form];
        let civil = Timestamp::from_second(second).unwrap().to_zoned(TimeZone::UTC).datetime();
        let text = civil.strftime(pattern).to_string();
        let moment = parse_stamp(&text, order).map(|stamp| stamp.moment);
        prop_assert_eq!(moment, Some(Moment { millis: 1000 * second, local: true }), "{}", text);
        // What is shown as the pattern reads the text, too.
        let shown = stamp_pattern(&text, order).unwrap();
        let reread = DateTime::strptime(&shown, &text).ok();
        prop_assert_eq!(reread, Some(civil), "{} by {}", text, shown);
    }

    #[test]
    fn days_are_those_of_the_calendar(year in 1..=9999_i16, month in 1..=12_i8, day in 1..=31_i8) {
        let ours = epoch_day(i64::from(year), i64::from(month), i64::from(day));
        let theirs = jiff::civil::Date::new(year, month, day).ok();
        let theirs = theirs.map(|date| date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,40}", digits in "[0-9TQW:./, eZ+-]{0,40}") {
        for order in [DateOrder::DayFirst, DateOrder::MonthFirst, DateOrder::YearFirst] {
            let _ = (parse_stamp(&text, order), parse_stamp(&digits, order), stamp_pattern(&digits, order));
            let _ = (parse_time_of_day(&text), parse_time_of_day(&digits));
        }
    }
}
