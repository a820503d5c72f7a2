//! The date of a timestamp.

use super::cursor::Cursor;
use super::moment::{DateOrder, epoch_day};
use super::{time_of_day, words};

/// Dates of digits alone lie in these years: other numbers are none.
const COMPACT_YEARS: std::ops::RangeInclusive<i64> = 1800..=2200;

/// A date, perhaps with what else is written in one number with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// `None` where the year comes behind the time of day.
    pub year: Option<i64>,
    pub month: i64,
    pub day: i64,
    /// Days beyond it, of a date that counts weeks.
    pub days: i64,
    /// Milliseconds since midnight, of a number that holds the time of day, too.
    pub millis: Option<i64>,
    /// Whether its order decides what it means.
    pub by_order: bool,
}

impl Date {
    fn new(year: i64, month: i64, day: i64) -> Self {
        Self { year: Some(year), month, day, days: 0, millis: None, by_order: false }
    }

    /// Days since the Unix epoch.
    pub fn epoch_day(&self) -> Option<i64> {
        epoch_day(self.year?, self.month, self.day).map(|day| day + self.days)
    }
}

/// Reads a date.
pub(super) fn date(cursor: &mut Cursor<'_>, order: DateOrder) -> Option<Date> {
    match cursor.digits_ahead() {
        0 => month_first(cursor),
        4 => year_first(cursor),
        1 | 2 => day_or_month_first(cursor, order),
        6.. => compact(cursor),
        _ => None,
    }
}

/// Passes over what separates two parts of a date, and returns it: a punctuation mark, or a space; 0 for nothing.
fn separator(cursor: &mut Cursor<'_>) -> u8 {
    let spaces = cursor.spaces();
    let mark = cursor.peek();
    if matches!(mark, b'-' | b'/' | b'.' | b',' | b'_') {
        cursor.skip();
        cursor.spaces();
        return mark;
    }
    if spaces { b' ' } else { 0 }
}

fn noted(cursor: &mut Cursor<'_>, digits: usize, name: &'static str) -> Option<i64> {
    let start = cursor.position();
    let number = cursor.number(digits)?;
    cursor.note(start, name);
    Some(number)
}

fn month_name(cursor: &mut Cursor<'_>) -> Option<i64> {
    let start = cursor.position();
    let word = cursor.word();
    let month = words::month(word)?;
    cursor.note(start, if word.chars().count() > 3 { "%B" } else { "%b" });
    Some(month)
}

fn full_year(year: i64, digits: usize) -> i64 {
    match digits {
        2 if year < 70 => 2000 + year,
        2 => 1900 + year,
        _ => year,
    }
}

/// A year of four or two digits that does not begin a time of day.
fn year(cursor: &mut Cursor<'_>) -> Option<i64> {
    let digits = cursor.digits_ahead();
    if !matches!(digits, 2 | 4) || digits == 2 && time_of_day::comes_next(cursor) {
        return None;
    }
    Some(full_year(noted(cursor, digits, if digits == 4 { "%Y" } else { "%y" })?, digits))
}

/// `Jan 31, 2024`, `Jan 2024`, `Jan-24`, `Q1 2024`, and `Jan 31` with the year elsewhere.
fn month_first(cursor: &mut Cursor<'_>) -> Option<Date> {
    if matches!(cursor.peek(), b'Q' | b'q') {
        cursor.skip();
        let quarter = cursor.number(1)?;
        separator(cursor);
        return quarter_of(year(cursor)?, quarter);
    }
    let month = month_name(cursor)?;
    let mark = separator(cursor);
    if cursor.digits_ahead() == 4 {
        return Some(Date::new(year(cursor)?, month, 1));
    }
    let digits = cursor.digits_ahead();
    if !matches!(digits, 1 | 2) {
        return None;
    }
    let start = cursor.position();
    let day = cursor.number(digits)?;
    for suffix in [b"st", b"nd", b"rd", b"th"] {
        let at = cursor.position();
        if !(cursor.eat(suffix[0]) && cursor.eat(suffix[1])) {
            cursor.reset(at);
        }
    }
    let behind = cursor.position();
    separator(cursor);
    if let Some(year) = year(cursor) {
        cursor.note_between(start, behind, "%d");
        return Some(Date::new(year, month, day));
    }
    cursor.reset(behind);
    if cursor.is_at_end() && digits == 2 && matches!(mark, b'-' | b'/' | b'.' | b' ' | 0) {
        cursor.note_between(start, behind, "%y");
        return Some(Date::new(full_year(day, 2), month, 1));
    }
    cursor.note_between(start, behind, "%d");
    Some(Date { year: None, ..Date::new(1, month, day) })
}

/// `2024-01-31`, `2024/1/31`, `2024 Jan 31`, `2024-01`, `2024Q1`, `2024-W05-1`.
fn year_first(cursor: &mut Cursor<'_>) -> Option<Date> {
    let year = noted(cursor, 4, "%Y")?;
    let mark = separator(cursor);
    match cursor.peek() {
        b'Q' | b'q' => {
            cursor.skip();
            return quarter_of(year, cursor.number(1)?);
        }
        b'W' | b'w' => {
            cursor.skip();
            return week_of(year, cursor);
        }
        b'M' | b'm' if mark == 0 || mark == b'-' => {
            let start = cursor.position();
            cursor.skip();
            if cursor.digits_ahead() == 2 {
                return Some(Date::new(year, noted(cursor, 2, "%m")?, 1));
            }
            cursor.reset(start);
        }
        _ => {}
    }
    let digits = cursor.digits_ahead();
    let (month, named) = match digits {
        0 => (month_name(cursor)?, true),
        1 | 2 if mark != 0 => (noted(cursor, digits, "%m")?, false),
        _ => return None,
    };
    let behind = cursor.position();
    let second = separator(cursor);
    let digits = cursor.digits_ahead();
    let is_day = matches!(digits, 1 | 2) && (named || second == mark) && !time_of_day::comes_next(cursor);
    if is_day {
        return Some(Date::new(year, month, noted(cursor, digits, "%d")?));
    }
    cursor.reset(behind);
    Some(Date::new(year, month, 1))
}

/// `31 Jan 2024`, `31. Januar 2024`, `31Jan24`, `31/01/2024`, `01/31/24`, `01/2024`.
fn day_or_month_first(cursor: &mut Cursor<'_>, order: DateOrder) -> Option<Date> {
    let start = cursor.position();
    let digits = cursor.digits_ahead();
    let first = cursor.number(digits)?;
    let first_end = cursor.position();
    let mark = separator(cursor);
    if cursor.digits_ahead() == 0 {
        cursor.note_between(start, first_end, "%d");
        let month = month_name(cursor)?;
        cursor.eat(b'.');
        separator(cursor);
        return Some(Date::new(year(cursor)?, month, first));
    }
    if !matches!(mark, b'-' | b'/' | b'.') {
        return None;
    }
    if cursor.digits_ahead() == 4 {
        cursor.note_between(start, first_end, "%m");
        return Some(Date::new(year(cursor)?, first, 1));
    }
    let second_start = cursor.position();
    let digits_of_second = cursor.digits_ahead();
    let second = if matches!(digits_of_second, 1 | 2) { cursor.number(digits_of_second)? } else { return None };
    let second_end = cursor.position();
    if separator(cursor) != mark {
        return None;
    }
    let third_start = cursor.position();
    let digits_of_third = cursor.digits_ahead();
    if !matches!(digits_of_third, 1 | 2 | 4) {
        return None;
    }
    let third = cursor.number(digits_of_third)?;
    let third_end = cursor.position();
    let year_name = if digits_of_third == 4 { "%Y" } else { "%y" };
    let (names, year, month, day) = match order {
        DateOrder::YearFirst if digits_of_third == 4 => return None,
        DateOrder::YearFirst if digits == 2 => (["%y", "%m", "%d"], full_year(first, 2), second, third),
        DateOrder::DayFirst if digits_of_third != 1 => {
            (["%d", "%m", year_name], full_year(third, digits_of_third), second, first)
        }
        DateOrder::MonthFirst if digits_of_third != 1 => {
            (["%m", "%d", year_name], full_year(third, digits_of_third), first, second)
        }
        _ => return None,
    };
    for (name, [start, end]) in
        names.into_iter().zip([[start, first_end], [second_start, second_end], [third_start, third_end]])
    {
        cursor.note_between(start, end, name);
    }
    // Whatever the order, 5/5/2024 is the same day.
    let by_order = digits_of_third == 2 || first != second;
    Some(Date { by_order, ..Date::new(year, month, day) })
}

/// `20240131`, `202401`, and with a time of day `2024013112`, `202401311230`, `20240131123000`, `20240131123000250`.
fn compact(cursor: &mut Cursor<'_>) -> Option<Date> {
    let digits = cursor.digits_ahead();
    if !matches!(digits, 6 | 8 | 10 | 12 | 14 | 17) {
        return None;
    }
    let year = noted(cursor, 4, "%Y").filter(|year| COMPACT_YEARS.contains(year))?;
    let month = noted(cursor, 2, "%m")?;
    if digits == 6 {
        return Some(Date::new(year, month, 1));
    }
    let mut date = Date::new(year, month, noted(cursor, 2, "%d")?);
    if digits > 8 {
        let hour = noted(cursor, 2, "%H").filter(|hour| *hour < 24)?;
        let minute = if digits > 10 { noted(cursor, 2, "%M").filter(|minute| *minute < 60)? } else { 0 };
        let second = if digits > 12 { noted(cursor, 2, "%S").filter(|second| *second < 60)? } else { 0 };
        let millis = if digits > 14 { noted(cursor, 3, "%3f")? } else { 0 };
        date.millis = Some(((hour * 60 + minute) * 60 + second) * 1000 + millis);
    }
    Some(date)
}

fn quarter_of(year: i64, quarter: i64) -> Option<Date> {
    (1..=4).contains(&quarter).then(|| Date::new(year, 3 * quarter - 2, 1))
}

/// A week of ISO 8601, with or without its day; without, its Monday.
fn week_of(year: i64, cursor: &mut Cursor<'_>) -> Option<Date> {
    let week = cursor.number(2).filter(|week| (1..=53).contains(week))?;
    let at = cursor.position();
    let day = if cursor.eat(b'-') { cursor.number(1).filter(|day| (1..=7).contains(day)) } else { Some(1) };
    let day = day.or_else(|| {
        cursor.reset(at);
        None
    })?;
    // 4 January is in the first week. The Unix epoch was a Thursday, so that Monday is 3 days on.
    let fourth = epoch_day(year, 1, 4)?;
    let since_monday = (fourth + 3).rem_euclid(7);
    Some(Date { days: 7 * (week - 1) - since_monday + day - 1, ..Date::new(year, 1, 4) })
}
