//! Which columns hold the time.

use super::names::{is_clock, is_index, is_time, time_part};
use super::profile::{Kind, Profile, Sample};
use super::time_parts::{PartKind, TimePart, TimeParts};
use crate::backtest::findings::Findings;
use crate::backtest::timestamps::{MIN_EPOCH_NUMBER, are_compact, are_months};

/// From this share of rows on, dates repeat: the time of day is elsewhere.
const REPEATED: f64 = 0.1;

/// Finds the time columns by what the columns hold; `None` where no column holds times. `excluded` holds none.
pub(super) fn find_time(
    sample: &Sample<'_>,
    profiles: &[Profile],
    excluded: &[usize],
    findings: &mut Findings,
) -> Option<TimeParts> {
    let free: Vec<usize> = (0..profiles.len()).filter(|column| !excluded.contains(column)).collect();
    let of_kind = |kind: Kind| free.iter().copied().filter(move |column| profiles[*column].kind == kind);
    let named = |column: usize| is_time(&sample.names[column]);
    let stamps = of_kind(Kind::Stamps).find(|column| named(*column)).or_else(|| of_kind(Kind::Stamps).next());
    if let Some(column) = stamps {
        let profile = &profiles[column];
        let parts = if profile.dates_only { with_time_of_day(sample, profiles, column, &free) } else { None };
        let why = format!("{} of its {} cells in a sample are timestamps", profile.fitting, profile.cells);
        return Some(noted(parts.unwrap_or_else(|| TimeParts::one(column)), sample, why, findings));
    }
    let numbers: Vec<usize> = of_kind(Kind::Numbers).collect();
    if let Some(parts) = in_parts(sample, profiles, &numbers) {
        return Some(noted(parts, sample, "their names are those of the parts of a time".into(), findings));
    }
    let texts = |column: usize| sample.cells(column).filter(|cell| !sample.rule.is_gap(cell)).map(as_text);
    let is_compact = |column: &usize| are_compact(texts(*column)) || are_months(texts(*column));
    let one_way = |column: usize| sample.directions(column).into_iter().any(|share| share > 0.9);
    let is_epoch = |column: &usize| {
        let large = sample.numbers(*column).flatten().all(|number| number.abs() >= MIN_EPOCH_NUMBER);
        large && (named(*column) || one_way(*column))
    };
    let compact = numbers.iter().copied().filter(is_compact);
    let epochs = numbers.iter().copied().filter(is_epoch);
    let mut dates: Vec<usize> = compact.chain(epochs).collect();
    dates.sort_by_key(|column| !named(*column));
    if let Some(column) = dates.first().copied() {
        let parts = if is_compact(&column) { with_time_of_day(sample, profiles, column, &free) } else { None };
        let why = "its numbers are dates or times since 1970".into();
        return Some(noted(parts.unwrap_or_else(|| TimeParts::one(column)), sample, why, findings));
    }
    let counting = |column: &usize| one_way(*column) && (named(*column) || is_index(&sample.names[*column]));
    let first = free.first().copied().filter(|column| numbers.contains(column) && one_way(*column));
    let by_name = numbers.iter().copied().find(counting).or(first);
    let by_name = by_name.or_else(|| numbers.iter().copied().find(|column| named(*column)));
    if let Some(column) = by_name.filter(|_| numbers.len() > 1 || profiles.len() > 1) {
        return Some(noted(
            TimeParts::one(column),
            sample,
            "its numbers go one way, or its name is a time's".into(),
            findings,
        ));
    }
    // A first column of words is taken for the time: the error names its first cell.
    let words = free.first().copied().filter(|column| profiles[*column].kind != Kind::Numbers && profiles.len() > 1);
    if words.is_none() {
        let why = "no column holds dates, or numbers that go one way; --time COLUMN names it";
        findings.say("time: none found, rows are counted (as with --no-time)".into(), why.into());
    }
    words.map(TimeParts::one)
}

fn as_text(cell: &[u8]) -> &str {
    std::str::from_utf8(cell).unwrap_or("")
}

fn noted(parts: TimeParts, sample: &Sample<'_>, why: String, findings: &mut Findings) -> TimeParts {
    let others = if parts.0.len() > 1 { " together" } else { "" };
    findings.note(format!("time column {}{others}", parts.name(sample.names)), why);
    parts
}

/// The date column with the column of the time of day, where dates repeat and there is one.
fn with_time_of_day(sample: &Sample<'_>, profiles: &[Profile], date: usize, free: &[usize]) -> Option<TimeParts> {
    let part = |column: usize, kind: PartKind| TimePart { column, kind };
    let others = || free.iter().copied().filter(|column| *column != date);
    if let Some(time) = others().find(|column| profiles[*column].kind == Kind::TimesOfDay) {
        return Some(TimeParts(vec![part(date, PartKind::Stamp), part(time, PartKind::TimeOfDay)]));
    }
    if sample.repeated(&[date]) < REPEATED {
        return None;
    }
    let numbers = || others().filter(|column| profiles[*column].kind == Kind::Numbers);
    let named = |kind: PartKind| numbers().find(|column| time_part(&sample.names[*column]) == Some(kind));
    let fewer = |hour: &usize| {
        let (before, after) = (sample.repeated(&[date]), sample.repeated(&[date, *hour]));
        after < before / 2.0 && rises_within(sample, date, *hour)
    };
    let clock = numbers().find(|column| is_clock(&sample.names[*column]));
    let hour = named(PartKind::Hour).or(clock).or_else(|| numbers().find(fewer))?;
    let mut parts = vec![part(date, PartKind::Stamp)];
    if sample.whole_within(hour, 0.0, 24.0) {
        parts.push(part(hour, PartKind::Hour));
        let minute = named(PartKind::Minute).filter(|minute| sample.whole_within(*minute, 0.0, 59.0));
        parts.extend(minute.map(|minute| part(minute, PartKind::Minute)));
    } else if sample.whole_within(hour, 0.0, 2400.0) {
        parts.push(part(hour, PartKind::HourAndMinute));
    } else {
        return None;
    }
    Some(TimeParts(parts))
}

/// Whether the numbers of a column go up, within 0 to 24, in the rows of one date.
fn rises_within(sample: &Sample<'_>, date: usize, column: usize) -> bool {
    let rows: Vec<(&[u8], Option<f64>)> = sample.cells(date).zip(sample.numbers(column)).collect();
    let rises = |pair: &[(&[u8], Option<f64>)]| pair[0].0 != pair[1].0 || pair[1].1 > pair[0].1;
    sample.whole_within(column, 0.0, 24.0) && rows.windows(2).all(rises)
}

/// Columns of year, month, day and so on, by their names.
fn in_parts(sample: &Sample<'_>, profiles: &[Profile], numbers: &[usize]) -> Option<TimeParts> {
    let find = |kind: PartKind, least: f64, most: f64| {
        let fits = |column: &usize| {
            time_part(&sample.names[*column]) == Some(kind) && sample.whole_within(*column, least, most)
        };
        numbers.iter().copied().find(fits).map(|column| TimePart { column, kind })
    };
    let year = find(PartKind::Year, 1800.0, 2200.0)?;
    let month = find(PartKind::Month, 1.0, 12.0)?;
    let mut parts = vec![year, month];
    let day = find(PartKind::Day, 1.0, 31.0);
    parts.extend(day);
    if day.is_some() {
        let clock = (0..profiles.len()).find(|column| profiles[*column].kind == Kind::TimesOfDay);
        let hour = find(PartKind::Hour, 0.0, 24.0);
        match (clock, hour) {
            (Some(column), _) => parts.push(TimePart { column, kind: PartKind::TimeOfDay }),
            (None, Some(hour)) => {
                parts.push(hour);
                let minute = find(PartKind::Minute, 0.0, 59.0);
                parts.extend(minute);
                parts.extend(minute.and(find(PartKind::Second, 0.0, 59.0)));
            }
            (None, None) => {}
        }
    }
    Some(TimeParts(parts))
}

/// What each of several columns that the user names says about the time.
pub(super) fn named_parts(sample: &Sample<'_>, profiles: &[Profile], columns: &[usize]) -> TimeParts {
    let kind = |(place, column): (usize, &usize)| match profiles[*column].kind {
        Kind::TimesOfDay => PartKind::TimeOfDay,
        Kind::Numbers => match time_part(&sample.names[*column]) {
            Some(PartKind::Hour) if !sample.whole_within(*column, 0.0, 24.0) => PartKind::HourAndMinute,
            Some(PartKind::Day) if place == 0 => PartKind::Stamp,
            Some(kind) => kind,
            None if place == 0 => PartKind::Stamp,
            None if sample.whole_within(*column, 0.0, 24.0) => PartKind::Hour,
            None => PartKind::HourAndMinute,
        },
        _ => PartKind::Stamp,
    };
    TimeParts(columns.iter().enumerate().map(|at| TimePart { column: *at.1, kind: kind(at) }).collect())
}
