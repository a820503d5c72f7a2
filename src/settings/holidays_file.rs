//! Reads holidays from a file: dates, one a line, or an iCalendar file as calendar programs export it.

use std::path::Path;

use jiff::ToSpan;
use jiff::civil::Date as CivilDate;

use super::values::Date;

/// The year in which yearly holidays without an end stop.
const LAST_YEAR: i16 = 2100;
/// The most days of one event.
const MOST_DAYS: i32 = 366;
/// The most dates of a file.
const MOST_DATES: usize = 100_000;

/// Reads the dates of a file, ascending, each once.
///
/// # Errors
/// What is wrong, with its line.
pub fn read_holidays(path: &Path) -> Result<Vec<Date>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8; save it as UTF-8", path.display()))?;
    let dates =
        parse_holidays(&text).map_err(|Mistake { line, found }| format!("{}, line {line}: {found}", path.display()))?;
    Ok(dates.into_iter().map(Date).collect())
}

/// What is wrong in a line.
#[derive(Debug, PartialEq)]
struct Mistake {
    line: usize,
    found: String,
}

fn parse_holidays(text: &str) -> Result<Vec<CivilDate>, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_calendar = text.trim_start().get(..15).is_some_and(|start| start.eq_ignore_ascii_case("BEGIN:VCALENDAR"));
    let mut dates = if is_calendar { calendar_dates(text)? } else { listed_dates(text)? };
    if dates.is_empty() {
        return Err(Mistake { line: 1, found: "no date; expected a date such as 2026-12-25 in each line".into() });
    }
    dates.sort_unstable();
    dates.dedup();
    Ok(dates)
}

/// The dates of a list or a CSV file: the first cell of each line that is one. The first line may be a header.
fn listed_dates(text: &str) -> Result<Vec<CivilDate>, Mistake> {
    let mut dates = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let cells = content.split([',', ';', '\t']).map(|cell| cell.trim().trim_matches('"'));
        // jiff also parses longer forms, such as a date with a time.
        let date = cells.filter(|cell| cell.len() == 10).find_map(|cell| cell.parse().ok());
        match date {
            Some(date) => dates.push(date),
            None if line == 1 => {}
            None => {
                let found = format!("{content:?} holds no date; expected one such as 2026-12-25");
                return Err(Mistake { line, found });
            }
        }
    }
    Ok(dates)
}

/// One event of a calendar.
#[derive(Debug, Default)]
struct Event {
    start: Option<CivilDate>,
    /// The day after the last one.
    end: Option<CivilDate>,
    rule: Option<String>,
}

/// The days of the events of an iCalendar file (RFC 5545).
fn calendar_dates(text: &str) -> Result<Vec<CivilDate>, Mistake> {
    let mut dates = Vec::new();
    let mut event: Option<Event> = None;
    for (line, content) in unfolded(text) {
        let Some((name, value)) = content.split_once(':') else { continue };
        let name = name.split(';').next().unwrap_or_default().to_ascii_uppercase();
        let value = value.trim();
        match (&*name, &mut event) {
            ("BEGIN", _) if value.eq_ignore_ascii_case("VEVENT") => event = Some(Event::default()),
            ("END", Some(_)) if value.eq_ignore_ascii_case("VEVENT") => {
                let days = event.take().unwrap_or_default().days().map_err(|found| Mistake { line, found })?;
                dates.extend(days);
                if dates.len() > MOST_DATES {
                    return Err(Mistake { line, found: format!("more than {MOST_DATES} dates; expected fewer") });
                }
            }
            ("DTSTART", Some(event)) => event.start = Some(calendar_date(line, value)?),
            ("DTEND", Some(event)) => event.end = Some(calendar_date(line, value)?),
            ("RRULE", Some(event)) => event.rule = Some(value.to_ascii_uppercase()),
            _ => {}
        }
    }
    Ok(dates)
}

/// The lines of a calendar with their numbers; a line that begins with a space continues the one before it.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

/// The date of a value such as `20261225` or `20261225T000000Z`.
fn calendar_date(line: usize, value: &str) -> Result<CivilDate, Mistake> {
    let parse = || {
        let digits = value.get(..8).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        CivilDate::new(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?).ok()
    };
    parse().ok_or_else(|| Mistake { line, found: format!("{value:?} is no date; expected one such as 20261225") })
}

impl Event {
    /// Its days; of a yearly event those of all years.
    fn days(self) -> Result<Vec<CivilDate>, String> {
        let start = self.start.ok_or("an event without DTSTART; expected its date")?;
        let length = self.end.map_or(1, |end| (end - start).get_days()).clamp(1, MOST_DAYS);
        let starts = match &self.rule {
            None => vec![start],
            Some(rule) => yearly(start, rule)?,
        };
        let days = |start: CivilDate| (0..length).filter_map(move |day| start.checked_add(day.days()).ok());
        Ok(starts.into_iter().flat_map(days).collect())
    }
}

/// The dates on which a yearly event begins.
fn yearly(start: CivilDate, rule: &str) -> Result<Vec<CivilDate>, String> {
    let refused = || {
        format!(
            "the recurrence {rule:?} is not supported; expected FREQ=YEARLY with COUNT, UNTIL or INTERVAL, or an \
                 event for each date"
        )
    };
    let (mut count, mut until, mut every, mut is_yearly) = (usize::MAX, CivilDate::MAX, 1, false);
    for part in rule.split(';') {
        let (name, value) = part.split_once('=').ok_or_else(refused)?;
        match name {
            "FREQ" => is_yearly = value == "YEARLY",
            "COUNT" => count = value.parse().map_err(|_| refused())?,
            "INTERVAL" => every = value.parse().ok().filter(|every| *every > 0).ok_or_else(refused)?,
            "UNTIL" => until = calendar_date(0, value).map_err(|_| refused())?,
            // What DTSTART says, too.
            "BYMONTH" if value.parse() == Ok(start.month()) => {}
            "BYMONTHDAY" if value.parse() == Ok(start.day()) => {}
            "WKST" => {}
            _ => return Err(refused()),
        }
    }
    if !is_yearly {
        return Err(refused());
    }
    let years = (start.year()..=LAST_YEAR.max(start.year())).step_by(every);
    let dates = years.filter_map(|year| CivilDate::new(year, start.month(), start.day()).ok());
    Ok(dates.take(count).take_while(|date| *date <= until).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        parse_holidays(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dates_are_read_from_lists_and_csv_files() {
        let list = "# of Bavaria\n2026-12-26\n\n2026-12-25\n2026-12-25\n";
        assert_eq!(texts(list), ["2026-12-25", "2026-12-26"]);
        let csv = "\u{feff}name;date\r\n\"Christmas\";2026-12-25\r\nNew Year;\"2027-01-01\"\r\n";
        assert_eq!(texts(csv), ["2026-12-25", "2027-01-01"]);
        assert_eq!(parse_holidays("date\n25.12.2026").unwrap_err().line, 2);
        assert_eq!(parse_holidays("date\n2026-12-25T00:00").unwrap_err().line, 2);
        assert!(parse_holidays("").unwrap_err().found.contains("no date"));
    }

    #[test]
    fn dates_are_read_from_calendars() {
        let event = |body: &str| format!("BEGIN:VEVENT\r\n{body}\r\nEND:VEVENT\r\n");
        let calendar = |events: &[&str]| {
            let events: String = events.iter().map(|body| event(body)).collect();
            format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
        };
        let some = calendar(&[
            "DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:Christ\r\n mas: two days",
            "DTSTART:20270101T000000Z\r\nDTEND:20270101T235959Z",
        ]);
        assert_eq!(texts(&some), ["2026-12-25", "2026-12-26", "2027-01-01"]);
        let yearly = calendar(&["DTSTART;VALUE=DATE:20240501\r\nRRULE:FREQ=YEARLY;UNTIL=20260501"]);
        assert_eq!(texts(&yearly), ["2024-05-01", "2025-05-01", "2026-05-01"]);
        assert_eq!(texts(&calendar(&["DTSTART:20240501\r\nRRULE:FREQ=YEARLY"])).len(), 77);
        for wrong in ["DTSTART:20240501\r\nRRULE:FREQ=YEARLY;BYDAY=1MO", "DTSTART:2024", "SUMMARY:x"] {
            assert!(parse_holidays(&calendar(&[wrong])).is_err(), "{wrong}");
        }
    }
}
