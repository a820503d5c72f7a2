//! Lengths of steps and seasons in the calendar, origins, and files of holidays.

use jiff::civil::date;

use super::super::{Date, Interval, Millis, Season, Stream, Weekday, parse};
use crate::time::Origin;

fn stream(keys: &str) -> Stream {
    let text = format!("[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\n{keys}\n");
    parse("f.toml", &text, []).unwrap().stream.remove(0)
}

#[test]
fn weeks_months_and_years_are_read() {
    let read = ["1w", "7d", "1mo", "3mo", "1y"].map(|text| stream(&format!("interval = {text:?}")).interval);
    let week = Interval::Every(Millis::days(7));
    assert_eq!(read, [week, week, Interval::Months(1), Interval::Months(3), Interval::Months(12)]);
    assert_eq!(read.map(|interval| interval.to_string()), ["1w", "1w", "1mo", "3mo", "1y"]);
    let read = stream("interval = \"1d\"\nseason = \"1y\"\norigin = \"06:00\"\nweek_starts = \"sunday\"");
    assert_eq!((read.season, read.season_steps(), read.week_starts), (Season::Months(12), 365, Weekday::Sunday));
    assert_eq!(read.origin, Origin { date: None, time: jiff::civil::time(6, 0, 0, 0) });
}

#[test]
fn impossible_steps_seasons_and_origins_are_refused() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "1 month"
origin = "6 o'clock"
week_starts = "Sun"
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1mo"
season = "90d"
origin = "2026-01-31"
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "3mo"
season = "1mo"
[[stream]]
name = "d"
topics = ["in"]
values = ["load"]
interval = "irregular"
origin = "06:00"
[[stream]]
name = "e"
topics = ["in"]
values = ["load"]
interval = "0mo"
holidays_file = "/nowhere/holidays.ics""#;
    let problems = parse("f.toml", text, []).unwrap_err();
    let keys: Vec<&str> = problems.list.iter().map(|problem| &*problem.key).collect();
    let expected = [
        "stream[0].interval",
        "stream[0].origin",
        "stream[0].week_starts",
        "stream[1].season",
        "stream[1].origin",
        "stream[2].season",
        "stream[3].origin",
        "stream[4].interval",
        "stream[4].holidays_file",
    ];
    assert_eq!(keys, expected, "{problems}");
    assert_eq!(problems.list[0].hint, "did you mean \"1mo\"?");
}

#[test]
fn holidays_of_a_file_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("holidays.csv");
    std::fs::write(&file, "date,name\n2026-12-25,Christmas\n2026-12-24,Eve\n").unwrap();
    let read = stream(&format!("interval = \"1d\"\nholidays = [\"2026-12-25\"]\nholidays_file = {file:?}"));
    assert_eq!(read.holidays.first(), Some(&Date(date(2026, 12, 25))));
    assert!(read.holidays.contains(&Date(date(2026, 12, 24))));
}
