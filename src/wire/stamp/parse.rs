//! Reads a whole timestamp.

use super::cursor::Cursor;
use super::date::{Date, date};
use super::moment::{DAY, DateOrder, Moment, epoch_day};
use super::time_of_day::{self, time_of_day};
use super::words::{is_weekday, zone_offset};
use super::zone::{Zone, zone};

/// A timestamp that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// What it says.
    pub moment: Moment,
    /// Whether it is a date without a time of day, which means midnight.
    pub date_only: bool,
    /// Whether another [`DateOrder`] reads it as another time, or not at all.
    pub by_order: bool,
}

/// Reads a timestamp that begins or ends with a date. `order` decides what 03/04/2024 is; dates that begin with a year
/// of four digits, or name the month, do not depend on it. A date alone is midnight, a month its first day. `None` for
/// any other text.
pub fn parse_stamp(text: &str, order: DateOrder) -> Option<Stamp> {
    let text = text.trim();
    iso(text.as_bytes()).or_else(|| stamp(&mut Cursor::new(text, false), order))
}

/// The `strftime` pattern of a timestamp, such as `%d/%m/%Y %H:%M`.
pub fn stamp_pattern(text: &str, order: DateOrder) -> Option<String> {
    let text = text.trim();
    let mut cursor = Cursor::new(text, true);
    stamp(&mut cursor, order)?;
    let mut fields = cursor.fields.unwrap_or_default();
    fields.sort_by_key(|field| field.start);
    let afternoon = fields.iter().any(|field| field.name == "%p");
    let (mut pattern, mut at) = (String::new(), 0);
    for field in fields {
        pattern += text.get(at..field.start).unwrap_or("");
        pattern += if afternoon && field.name == "%H" { "%I" } else { field.name };
        at = field.end;
    }
    pattern += text.get(at..).unwrap_or("");
    Some(pattern)
}

/// Reads a time of day alone, such as `12:30`, in milliseconds since midnight. `24:00` is the end of the day.
pub fn parse_time_of_day(text: &str) -> Option<i64> {
    let mut cursor = Cursor::new(text.trim(), false);
    if !time_of_day::comes_next(&mut cursor) {
        return None;
    }
    let millis = time_of_day(&mut cursor)?;
    cursor.is_at_end().then_some(millis)
}

/// Reads the most frequent forms, `2024-01-31`, `2024-01-31 12:30[:15[.25]][Z|+02:00]`, without looking back.
fn iso(text: &[u8]) -> Option<Stamp> {
    let digits = |from: usize, count: usize| {
        let part = text.get(from..from + count)?;
        let digit = |number: i64, byte: &u8| byte.is_ascii_digit().then(|| 10 * number + i64::from(byte - b'0'));
        part.iter().try_fold(0, digit)
    };
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    if !is(4, b'-') || !is(7, b'-') {
        return None;
    }
    let day = epoch_day(digits(0, 4)?, digits(5, 2)?, digits(8, 2)?)? * DAY;
    let found = |millis: i64, local: bool, date_only: bool| {
        Some(Stamp { moment: Moment { millis, local }, date_only, by_order: false })
    };
    if text.len() == 10 {
        return found(day, true, true);
    }
    if !(is(10, b' ') || is(10, b'T')) || !is(13, b':') {
        return None;
    }
    let (hour, minute) = (digits(11, 2)?, digits(14, 2)?);
    let (mut second, mut fraction, mut at) = (0, 0, 16);
    if is(at, b':') {
        second = digits(17, 2)?;
        at = 19;
        if is(at, b'.') || is(at, b',') {
            at += 1;
            let count = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let kept = count.min(3);
            fraction = digits(at, kept).filter(|_| count > 0)? * 10_i64.pow(3 - kept as u32);
            at += count;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let millis = day + ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
    match &text[at..] {
        [] => found(millis, true, false),
        [b'Z'] => found(millis, false, false),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            let offset = (60 * hours + minutes) * 60_000;
            let valid = hours <= 18 && minutes < 60;
            let offset = if *sign == b'-' { -offset } else { offset };
            if valid { found(millis - offset, false, false) } else { None }
        }
        _ => None,
    }
}

/// Reads any form.
fn stamp(cursor: &mut Cursor<'_>, order: DateOrder) -> Option<Stamp> {
    cursor.spaces();
    weekday(cursor);
    let mut time = None;
    if time_of_day::comes_next(cursor) {
        time = Some(time_of_day(cursor)?);
        separator(cursor);
    }
    let mut date = date(cursor, order)?;
    if time.is_none() && date.millis.is_none() {
        time = time_behind(cursor)?;
    }
    if date.year.is_none() {
        // As `date` and `ctime` print: the year comes last, perhaps with the zone before it.
        return year_last(cursor, &mut date, time?);
    }
    if let Some(millis) = &mut date.millis {
        *millis += fraction_behind(cursor)?;
    }
    let zone = zone(cursor)?;
    finish(&date, time, &zone)
}

/// A weekday with what follows it.
fn weekday(cursor: &mut Cursor<'_>) {
    let start = cursor.position();
    let word = cursor.word();
    if !is_weekday(word) {
        return cursor.reset(start);
    }
    cursor.note(start, if word.len() > 4 { "%A" } else { "%a" });
    cursor.eat(b'.');
    cursor.eat(b',');
    cursor.spaces();
}

/// What separates a date from a time of day. Whether there was anything.
fn separator(cursor: &mut Cursor<'_>) -> bool {
    let spaces = cursor.spaces();
    let mark = cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b',') || cursor.eat(b'_') || cursor.eat(b':');
    cursor.spaces();
    spaces || mark
}

/// The time of day behind a date, if there is one; `None` where what is there is none.
fn time_behind(cursor: &mut Cursor<'_>) -> Option<Option<i64>> {
    let start = cursor.position();
    if separator(cursor) && cursor.digits_ahead() > 0 {
        return time_of_day(cursor).map(Some);
    }
    cursor.reset(start);
    Some(None)
}

/// The fraction of a second behind a number that holds date and time, in milliseconds.
fn fraction_behind(cursor: &mut Cursor<'_>) -> Option<i64> {
    if !cursor.eat(b'.') {
        return Some(0);
    }
    let kept = cursor.digits_ahead().min(3);
    let number = cursor.number(kept)?;
    cursor.run(|byte| byte.is_ascii_digit());
    Some(number * 10_i64.pow(3 - kept as u32))
}

fn year_last(cursor: &mut Cursor<'_>, date: &mut Date, time: i64) -> Option<Stamp> {
    cursor.spaces();
    let start = cursor.position();
    let mut named = Zone::Unnamed;
    if cursor.peek().is_ascii_alphabetic() {
        let name = cursor.word();
        named = Zone::Offset(zone_offset(name)?);
        cursor.note(start, "%Z");
        cursor.spaces();
    }
    let start = cursor.position();
    if cursor.digits_ahead() != 4 {
        return None;
    }
    date.year = cursor.number(4);
    cursor.note(start, "%Y");
    let zone = match zone(cursor)? {
        Zone::Unnamed => named,
        zone => zone,
    };
    finish(date, Some(time), &zone)
}

fn finish(date: &Date, time: Option<i64>, zone: &Zone) -> Option<Stamp> {
    let millis = date.epoch_day()? * DAY + time.or(date.millis).unwrap_or(0);
    let local = Moment { millis, local: true };
    let moment = match zone {
        Zone::Unnamed => local,
        Zone::Offset(offset) => Moment::at(millis - offset),
        Zone::Named(zone) => Moment::at(local.in_zone(zone)?.0),
    };
    Some(Stamp { moment, date_only: time.is_none() && date.millis.is_none(), by_order: date.by_order })
}
