//! The zone of a timestamp.

use jiff::tz::TimeZone;

use super::cursor::Cursor;
use super::words::zone_offset;

const MINUTE: i64 = 60_000;

/// The zone that a timestamp names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Zone {
    /// None: the time is local.
    Unnamed,
    /// Local time less UTC, in milliseconds.
    Offset(i64),
    /// A zone of the time zone database.
    Named(TimeZone),
}

/// Reads the zone up to the end of the text; `None` where something else is there. A comment in parentheses or, behind
/// an offset, a name in brackets is passed over.
pub(super) fn zone(cursor: &mut Cursor<'_>) -> Option<Zone> {
    cursor.spaces();
    let start = cursor.position();
    let mut zone = match cursor.peek() {
        b'+' | b'-' => {
            let offset = offset(cursor)?;
            cursor.note(start, "%z");
            Zone::Offset(offset)
        }
        byte if byte.is_ascii_alphabetic() => {
            let zone = named(cursor)?;
            cursor.note(start, "%Z");
            zone
        }
        _ => Zone::Unnamed,
    };
    cursor.spaces();
    match cursor.peek() {
        b'[' => {
            let name = enclosed(cursor, b']')?;
            if zone == Zone::Unnamed {
                zone = Zone::Named(TimeZone::get(name).ok()?);
            }
            cursor.note(start, "%z");
        }
        b'(' => {
            let name = enclosed(cursor, b')')?;
            if zone == Zone::Unnamed {
                zone = Zone::Offset(zone_offset(name)?);
            }
        }
        _ => {}
    }
    cursor.spaces();
    cursor.is_at_end().then_some(zone)
}

/// What stands between a bracket, which comes next, and its end.
fn enclosed<'a>(cursor: &mut Cursor<'a>, end: u8) -> Option<&'a str> {
    cursor.skip();
    let content = cursor.run(|byte| byte != end);
    cursor.eat(end).then_some(content)
}

/// `+2`, `+02`, `+0200`, `+02:00` or `+02:00:00`.
fn offset(cursor: &mut Cursor<'_>) -> Option<i64> {
    let sign = if cursor.eat(b'-') { -1 } else { i64::from(cursor.eat(b'+')) };
    let (hours, minutes) = match cursor.digits_ahead() {
        digits @ (1 | 2) => {
            let hours = cursor.number(digits)?;
            let minutes = if cursor.eat(b':') { cursor.number(2)? } else { 0 };
            if cursor.eat(b':') {
                cursor.number(2)?;
            }
            (hours, minutes)
        }
        4 => (cursor.number(2)?, cursor.number(2)?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (60 * hours + minutes) * MINUTE)
}

/// `UTC`, `GMT+2`, `CEST` or `Europe/Berlin`.
fn named(cursor: &mut Cursor<'_>) -> Option<Zone> {
    let start = cursor.position();
    let word = cursor.word();
    // A German time of day may end in it.
    if word.eq_ignore_ascii_case("uhr") {
        return Some(Zone::Unnamed);
    }
    if let Some(base) = zone_offset(word).filter(|_| cursor.peek() != b'/') {
        let signed = matches!(cursor.peek(), b'+' | b'-');
        return Some(Zone::Offset(base + if signed { offset(cursor)? } else { 0 }));
    }
    cursor.reset(start);
    let name = cursor.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+'));
    name.contains('/').then(|| TimeZone::get(name).ok().map(Zone::Named))?
}
