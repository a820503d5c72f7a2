//! The time of day of a timestamp.

use super::cursor::Cursor;

/// Whether a time of day comes next: digits with a colon behind them.
pub(super) fn comes_next(cursor: &mut Cursor<'_>) -> bool {
    let start = cursor.position();
    let digits = cursor.digits_ahead();
    let found = (1..=2).contains(&digits) && cursor.number(digits).is_some() && cursor.peek() == b':';
    cursor.reset(start);
    found
}

/// Reads `12`, `12:30`, `12.30`, `12h30`, `1230`, `12:30:15`, `123015`, each with a fraction of a second behind a point
/// or a comma, and `AM` or `PM`: milliseconds since midnight, 24 hours for the end of the day.
pub(super) fn time_of_day(cursor: &mut Cursor<'_>) -> Option<i64> {
    let (mut hour, minute, second, exact) = match cursor.digits_ahead() {
        digits @ (1 | 2) => {
            let hour = part(cursor, digits, "%H")?;
            let (minute, second, separator) = minutes_and_seconds(cursor)?;
            (hour, minute, second, digits == 2 || separator)
        }
        4 => (part(cursor, 2, "%H")?, part(cursor, 2, "%M")?, None, true),
        6 => (part(cursor, 2, "%H")?, part(cursor, 2, "%M")?, Some(part(cursor, 2, "%S")?), true),
        _ => return None,
    };
    let fraction = if second.is_some() { fraction(cursor)? } else { 0 };
    match half_of_day(cursor) {
        Some(afternoon) if (1..=12).contains(&hour) => hour = hour % 12 + if afternoon { 12 } else { 0 },
        Some(_) if hour > 12 => {}
        Some(_) => return None,
        None if !exact => return None,
        None => {}
    }
    let second = second.unwrap_or(0);
    let ends_day = hour == 24 && minute == 0 && second == 0 && fraction == 0;
    // A leap second counts as the first second of the next minute.
    let valid = minute < 60 && second <= 60 && (hour < 24 || ends_day);
    valid.then_some(((hour * 60 + minute) * 60 + second) * 1000 + fraction)
}

fn part(cursor: &mut Cursor<'_>, digits: usize, name: &'static str) -> Option<i64> {
    let start = cursor.position();
    let number = cursor.number(digits)?;
    cursor.note(start, name);
    Some(number)
}

/// Minutes, seconds, and whether there was a separator.
fn minutes_and_seconds(cursor: &mut Cursor<'_>) -> Option<(i64, Option<i64>, bool)> {
    let separator = cursor.peek();
    if !matches!(separator, b':' | b'.' | b'h' | b'H') {
        return Some((0, None, false));
    }
    cursor.skip();
    if matches!(separator, b'h' | b'H') && cursor.digits_ahead() == 0 {
        return Some((0, None, true));
    }
    let digits = cursor.digits_ahead();
    let minute = part(cursor, digits.min(2), "%M")?;
    let separator = if separator == b'.' { b'.' } else { b':' };
    let second = if cursor.peek() == separator {
        cursor.skip();
        let digits = cursor.digits_ahead();
        Some(part(cursor, digits.min(2), "%S")?)
    } else {
        None
    };
    Some((minute, second, true))
}

/// A fraction of a second, in milliseconds, truncated.
fn fraction(cursor: &mut Cursor<'_>) -> Option<i64> {
    if !matches!(cursor.peek(), b'.' | b',' | b':') {
        return Some(0);
    }
    let start = cursor.position();
    cursor.skip();
    let digits = cursor.digits_ahead();
    if digits == 0 {
        return None;
    }
    let kept = digits.min(3);
    let number = cursor.number(kept)?;
    cursor.run(|byte| byte.is_ascii_digit());
    cursor.note(start, "%.f");
    Some(number * 10_i64.pow(3 - kept as u32))
}

/// Whether `AM` (false) or `PM` (true) comes next.
fn half_of_day(cursor: &mut Cursor<'_>) -> Option<bool> {
    let start = cursor.position();
    cursor.spaces();
    let begin = cursor.position();
    let first = cursor.peek().to_ascii_lowercase();
    let marks = |cursor: &mut Cursor<'_>| {
        cursor.skip();
        let dotted = cursor.eat(b'.');
        cursor.spaces();
        let found = matches!(cursor.peek(), b'm' | b'M');
        cursor.skip();
        if dotted {
            cursor.eat(b'.');
        }
        found && !cursor.peek().is_ascii_alphabetic()
    };
    if matches!(first, b'a' | b'p') && marks(cursor) {
        cursor.note(begin, "%p");
        return Some(first == b'p');
    }
    cursor.reset(start);
    None
}
