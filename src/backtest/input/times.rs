//! The times of rows.

use super::cells::quoted;
use super::location::Location;
use super::rows::Rows;
use super::spec::ReadSpec;
use crate::backtest::error::DataError;
use crate::backtest::local_times::{ResolvedTimes, resolve};
use crate::backtest::timestamps::{Detected, StampContext, StampList, TimestampFormat, Undetected, detect};
use crate::series::Calendar;
use crate::time::EventTime;
use crate::wire::{DateOrder, Moment, TimeFormat, parse_stamp};

/// From this share of rows on within a millisecond of the row before, steps are shorter than a millisecond.
const SHORT_STEPS: f64 = 0.3;
/// Number of timestamps among which one is shown.
const SHOWN: usize = 1000;

/// The times of all rows.
#[derive(Debug, Default)]
pub(super) struct RowTimes {
    /// `None` for a refused row.
    pub times: Vec<Option<EventTime>>,
    /// Rows that yield to others of the same time: their local time is one that the clocks skip.
    pub late_rows: Vec<usize>,
    /// The format in words; `None` without timestamps.
    pub format: Option<String>,
    /// What speaks for it.
    pub why: String,
    /// Number of rows in the second pass of a repeated hour.
    pub second_passes: usize,
    /// Whether times count steps or rows.
    pub counted: bool,
    /// Whether no timestamp has a time of day.
    pub dates_only: bool,
    /// Number of dates without a time of day.
    pub dates: usize,
}

/// Reads the times of all rows. Rows without a valid one are counted as refused.
pub(super) fn row_times(rows: &mut Rows<'_>, spec: &ReadSpec, step: i64) -> Result<RowTimes, DataError> {
    let Some(parts) = rows.columns.time.clone() else { return counted_times(rows, step) };
    let (location, name) = (rows.location, parts.name(&rows.columns.names));
    let context = StampContext { zone: &spec.zone, name: &name, series: &rows.series_of_row };
    let detected = match &spec.time_format {
        Some(format) => {
            Detected { format: TimestampFormat::Time(format.clone()), why: "--time-format names it".to_owned() }
        }
        None => detect(&rows.stamps, context).map_err(|reason| undetected(location, rows, &name, reason))?,
    };
    let format = &detected.format;
    let moments: Vec<Option<Moment>> = rows.stamps.iter().map(|stamp| format.moment(stamp, step)).collect();
    check_milliseconds(location, rows, &name, &moments)?;
    let calendar = Calendar::new(spec.zone.clone());
    let ResolvedTimes { times, second_passes, skipped } = resolve(&moments, &rows.series_of_row, &calendar);
    for row in (0..times.len()).filter(|row| times[*row].is_none()) {
        let found = quoted(rows.stamps.get(row));
        let error = location.line_error(u64::from(rows.lines[row]), Some(&name), found, &format.expectation());
        rows.refusals.times.add(|| error.to_string());
        rows.first_refusal.get_or_insert(error);
    }
    let described = format.describe(full_stamp(&rows.stamps, &times));
    let (dates, stamps) = dates(format, &rows.stamps);
    Ok(RowTimes {
        times,
        late_rows: skipped,
        format: Some(format!("{name}, {described}")),
        why: detected.why,
        second_passes,
        counted: *format == TimestampFormat::Steps,
        dates_only: dates > 0 && dates == stamps,
        dates,
    })
}

/// Among the first timestamps one that shows the whole form: with a time of day, and with the order of its date.
fn full_stamp<'a>(stamps: &'a StampList, times: &[Option<EventTime>]) -> &'a str {
    let shows = |text: &&str| {
        let stamp = parse_stamp(text, DateOrder::DayFirst).or_else(|| parse_stamp(text, DateOrder::MonthFirst));
        stamp.map_or(0, |stamp| 2 * u8::from(!stamp.date_only) + u8::from(stamp.by_order))
    };
    let valid = (0..times.len().min(SHOWN)).filter(|row| times[*row].is_some()).map(|row| stamps.get(row));
    // Of several that show as much, the first.
    let most = valid.clone().map(|text| shows(&text)).max();
    let mut valid = valid;
    valid.find(|text| Some(shows(text)) == most).unwrap_or("")
}

/// Number of dates without a time of day, and of timestamps that are read.
fn dates(format: &TimestampFormat, stamps: &StampList) -> (usize, usize) {
    let TimestampFormat::Time(TimeFormat::AnyStamp { order, .. }) = format else { return (0, 0) };
    // Timestamps with a colon have a time of day; those that are longer than a date may have one.
    let is_date = |text: &&str| parse_stamp(text, *order).is_some_and(|stamp| stamp.date_only);
    let dates = stamps.iter().filter(|text| !text.contains(':')).filter(is_date).count();
    (dates, stamps.len())
}

/// The times of rows without timestamps.
fn counted_times(rows: &Rows<'_>, step: i64) -> Result<RowTimes, DataError> {
    let mut counts = vec![0_i64; rows.series.len().max(1)];
    let mut times = Vec::with_capacity(rows.lines.len());
    for (row, line) in rows.lines.iter().enumerate() {
        let count = &mut counts[rows.series_of_row.get(row).map_or(0, |series| *series as usize)];
        let time = step.checked_mul(*count).map(EventTime).filter(|time| *time <= EventTime::MAX);
        *count += 1;
        let expected = "rows times --interval to stay below the year 10000";
        let beyond = || rows.location.line_error(u64::from(*line), None, "a time out of range".to_owned(), expected);
        times.push(Some(time.ok_or_else(beyond)?));
    }
    Ok(RowTimes { times, counted: true, ..RowTimes::default() })
}

/// The error of timestamps whose format is not found.
fn undetected(location: Location<'_>, rows: &Rows<'_>, name: &str, reason: Undetected) -> DataError {
    let error = |row: usize, found: String, expected: &str| {
        let line = rows.lines.get(row).copied().unwrap_or_default();
        location.line_error(u64::from(line), Some(name), found, expected)
    };
    let stamp = |row: usize| quoted(if row < rows.stamps.len() { rows.stamps.get(row) } else { "" });
    match reason {
        Undetected::NoFormat(row) => error(
            row,
            stamp(row),
            "timestamps of one format, such as 2024-05-01 12:30:00 or 2024-05-01T12:30:00Z (another column: --time \
             COLUMN; another format: --time-format; no timestamps: --no-time)",
        ),
        Undetected::SeveralOrders(row, readings) => {
            let reading = |(order, time): &(DateOrder, String)| format!("{time} with the {}", order.name());
            let read: Vec<String> = readings.iter().map(reading).collect();
            let options: Vec<String> =
                readings.iter().map(|(order, _)| format!("--time-format {}", order.name().replace(' ', "-"))).collect();
            let found = format!("{} may be {}: all timestamps are dates in each order", stamp(row), read.join(" or "));
            error(row, found, &options.join(" or "))
        }
        Undetected::SerialDates(row, date) => {
            let found = format!("{} looks like a serial date of a spreadsheet, {date}", stamp(row));
            error(row, found, "--time-format serial to read it so, or --time-format s for seconds since 1970")
        }
    }
}

/// An error where many different timestamps lie within one millisecond.
fn check_milliseconds(
    location: Location<'_>,
    rows: &Rows<'_>,
    name: &str,
    moments: &[Option<Moment>],
) -> Result<(), DataError> {
    let mut newest: Vec<Option<usize>> = vec![None; rows.series.len().max(1)];
    let (mut steps, mut short, mut example) = (0_usize, 0_usize, None);
    for (row, moment) in moments.iter().enumerate() {
        let Some(moment) = moment else { continue };
        let series = rows.series_of_row.get(row).map_or(0, |series| *series as usize);
        let Some(before) = newest[series].replace(row) else { continue };
        steps += 1;
        let same = moments[before].is_some_and(|before| before.millis == moment.millis);
        if same && rows.stamps.get(before) != rows.stamps.get(row) {
            short += 1;
            example.get_or_insert((before, row));
        }
    }
    match example {
        Some((before, row)) if short as f64 > SHORT_STEPS * steps as f64 => {
            let (earlier, later) = (quoted(rows.stamps.get(before)), quoted(rows.stamps.get(row)));
            let found = format!("{later} less than 1 ms after {earlier}: steps below 1 ms are not supported");
            let expected = "steps of 1 ms or more: aggregate the readings first, or name another --time-format";
            Err(location.line_error(u64::from(rows.lines[row]), Some(name), found, expected))
        }
        _ => Ok(()),
    }
}
