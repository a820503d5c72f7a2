//! Timestamps of a file: detects their format from all of them.

use jiff::tz::TimeZone;

use crate::time::EventTime;
use crate::wire::{DateOrder, Moment, TimeFormat, parse_stamp, stamp_pattern};

/// All orders of dates.
pub(super) const ORDERS: [DateOrder; 3] = [DateOrder::DayFirst, DateOrder::MonthFirst, DateOrder::YearFirst];
/// Smaller whole numbers count steps. Larger ones count time since 1970; in seconds, this bound is March 1973.
pub(super) const MIN_EPOCH_NUMBER: f64 = 1e8;
/// Numbers of digits that are read as a date: month, day, hour, minute, second, millisecond.
const COMPACT_DIGITS: [usize; 6] = [6, 8, 10, 12, 14, 17];
/// Years of dates that are written in digits alone.
const COMPACT_YEARS: std::ops::RangeInclusive<i32> = 1900..=2100;
/// Serial dates of spreadsheets from 1954 to 2119.
const SERIAL_DATES: std::ops::RangeInclusive<f64> = 20_000.0..=80_000.0;

/// The timestamps of all rows.
#[derive(Debug, Clone, Default)]
pub(super) struct StampList {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl StampList {
    /// Adds the stamp that `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The stamp of a row; empty where it is no UTF-8.
    pub fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        std::str::from_utf8(&self.text[start..self.ends[row]]).unwrap_or("")
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl<'a> FromIterator<&'a str> for StampList {
    fn from_iter<I: IntoIterator<Item = &'a str>>(stamps: I) -> Self {
        let mut list = Self::default();
        for stamp in stamps {
            list.push_with(|text| text.extend_from_slice(stamp.as_bytes()));
        }
        list
    }
}

/// The format of all timestamps of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TimestampFormat {
    /// A format of wire records.
    Time(TimeFormat),
    /// Whole numbers that count steps of the grid.
    Steps,
}

/// A format with what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detected {
    pub format: TimestampFormat,
    pub why: String,
}

/// Why no format is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undetected {
    /// No format reads most of the timestamps. The first row that does not fit.
    NoFormat(usize),
    /// Several orders of day, month and year read all of them: a row, and what it is in each order.
    SeveralOrders(usize, Vec<(DateOrder, String)>),
    /// They look like serial dates of spreadsheets: a row, and the date that it is then.
    SerialDates(usize, String),
}

/// What is known of the timestamps besides their texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampContext<'a> {
    /// The zone of timestamps without one.
    pub zone: &'a TimeZone,
    /// The name of their column.
    pub name: &'a str,
    /// The series of each row; empty if all rows are of one.
    pub series: &'a [u32],
}

/// Whether numbers are dates written in digits alone, such as 20240131 or 202401.
pub(super) fn are_compact<'a>(mut cells: impl Iterator<Item = &'a str>) -> bool {
    let mut length = None;
    let fits = |cell: &str| {
        let digits = cell.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = cell.as_bytes().get(digits..).unwrap_or_default();
        let whole = fraction.is_empty() || digits == 14 && fraction[0] == b'.';
        whole && COMPACT_DIGITS.contains(&digits) && *length.get_or_insert(digits) == digits && {
            COMPACT_YEARS.contains(&cell[..4].parse().unwrap_or(0)) && parse_stamp(cell, DateOrder::YearFirst).is_some()
        }
    };
    cells.all(fits) && length.is_some()
}

/// Whether cells such as 01.2024 are months.
pub(super) fn are_months<'a>(cells: impl Iterator<Item = &'a str>) -> bool {
    let mut count = 0;
    let mut cells = cells.inspect(|_| count += 1);
    let is_month =
        |cell: &str| cell.len() == 7 && cell.as_bytes()[2] == b'.' && parse_stamp(cell, DateOrder::DayFirst).is_some();
    cells.all(is_month) && count > 0
}

/// Finds the format that reads the timestamps of a file; single ones may not fit.
pub(super) fn detect(stamps: &StampList, context: StampContext<'_>) -> Result<Detected, Undetected> {
    let filled = || (0..stamps.len()).map(|row| (row, stamps.get(row))).filter(|(_, text)| !text.is_empty());
    let number = |(row, text): (usize, &str)| text.parse::<f64>().ok().map(|number| (row, number));
    let sample = filled().take(1000).count();
    let numeric = filled().take(1000).filter(|stamp| number(*stamp).is_some()).count();
    if numeric * 2 > sample { numbers(stamps, context) } else { texts(stamps, context) }
}

/// The format of numbers.
fn numbers(stamps: &StampList, context: StampContext<'_>) -> Result<Detected, Undetected> {
    let zone = context.zone.clone();
    let numeric = || (0..stamps.len()).filter(|row| stamps.get(*row).parse::<f64>().is_ok());
    let cells = || numeric().map(|row| stamps.get(row));
    let found = |format: TimeFormat, why: &str| Ok(Detected { format: TimestampFormat::Time(format), why: why.into() });
    if are_compact(cells()) || are_months(cells()) {
        return found(TimeFormat::AnyStamp { order: DateOrder::YearFirst, zone }, "every number is a date in digits");
    }
    let numbers = || cells().filter_map(|cell| cell.parse::<f64>().ok());
    let largest = numbers().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    let whole = numbers().all(|number| number.fract() == 0.0);
    let name = context.name.to_lowercase();
    let date_named = ["date", "datum", "day", "tag", "time", "zeit", "fecha"].iter().any(|part| name.contains(part));
    if (!whole || date_named) && numbers().all(|number| SERIAL_DATES.contains(&number)) {
        let row = numeric().next().unwrap_or(0);
        let serial = TimeFormat::Serial { zone: TimeZone::UTC };
        let date = serial.parse(stamps.get(row)).map_or_else(String::new, |time| local_text(time.0));
        return Err(Undetected::SerialDates(row, date));
    }
    if largest < MIN_EPOCH_NUMBER {
        return if whole {
            Ok(Detected { format: TimestampFormat::Steps, why: "they are whole numbers too small for dates".into() })
        } else {
            found(TimeFormat::EpochSeconds, "they have fractions, and are too small for another unit")
        };
    }
    let formats = [(1e11, TimeFormat::EpochSeconds), (1e14, TimeFormat::EpochMillis)];
    let finer = [(1e17, TimeFormat::EpochMicros), (f64::INFINITY, TimeFormat::EpochNanos)];
    let format = formats.into_iter().chain(finer).find(|(below, _)| largest < *below).map(|(_, format)| format);
    found(format.unwrap_or(TimeFormat::EpochNanos), "in this unit they are times of recent decades")
}

/// How well an order reads the timestamps.
struct Tally {
    order: DateOrder,
    read: usize,
    forward: usize,
    backward: usize,
    newest: Vec<Option<i64>>,
    /// The first and the last of all times.
    span: [i64; 2],
}

impl Tally {
    fn new(order: DateOrder, series: usize) -> Self {
        Self { order, read: 0, forward: 0, backward: 0, newest: vec![None; series], span: [i64::MAX, i64::MIN] }
    }

    fn add(&mut self, moment: Moment, series: usize) {
        self.read += 1;
        self.span = [self.span[0].min(moment.millis), self.span[1].max(moment.millis)];
        let Some(before) = self.newest[series].replace(moment.millis) else { return };
        self.forward += usize::from(moment.millis > before);
        self.backward += usize::from(moment.millis < before);
    }

    /// Whether its dates lie much closer together than those of `other`: years with two digits are recognised by it.
    fn is_narrower(&self, other: &Self) -> bool {
        let length = |tally: &Self| tally.span[1].saturating_sub(tally.span[0]);
        (self.order == DateOrder::YearFirst) != (other.order == DateOrder::YearFirst)
            && length(self).saturating_mul(12) < length(other)
    }

    /// Number of steps against the direction of most.
    fn disorder(&self) -> usize {
        self.forward.min(self.backward)
    }
}

/// The order of the parts of dates.
fn texts(stamps: &StampList, context: StampContext<'_>) -> Result<Detected, Undetected> {
    let series = context.series.iter().max().map_or(1, |last| *last as usize + 1);
    let mut tallies = ORDERS.map(|order| Tally::new(order, series));
    let (mut filled, mut first_by_order) = (0, None);
    for (row, text) in stamps.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        filled += 1;
        let series = context.series.get(row).map_or(0, |series| *series as usize);
        let first = parse_stamp(text, DateOrder::DayFirst);
        if let Some(stamp) = first.filter(|stamp| !stamp.by_order) {
            tallies.iter_mut().for_each(|tally| tally.add(stamp.moment, series));
            continue;
        }
        for tally in &mut tallies {
            if let Some(stamp) = parse_stamp(text, tally.order) {
                first_by_order.get_or_insert(row);
                tally.add(stamp.moment, series);
            }
        }
    }
    let most = tallies.iter().map(|tally| tally.read).max().unwrap_or(0);
    if most * 2 <= filled || most == 0 {
        let fits = |row: &usize| ORDERS.iter().any(|order| parse_stamp(stamps.get(*row), *order).is_some());
        return Err(Undetected::NoFormat((0..stamps.len()).find(|row| !fits(row)).unwrap_or(0)));
    }
    let best: Vec<&Tally> = tallies.iter().filter(|tally| tally.read == most).collect();
    let found = |order: DateOrder, why: String| {
        let format = TimeFormat::AnyStamp { order, zone: context.zone.clone() };
        Ok(Detected { format: TimestampFormat::Time(format), why })
    };
    let Some(row) = first_by_order else {
        return found(DateOrder::YearFirst, format!("{most} of {filled} timestamps are read so"));
    };
    if let [only] = best[..] {
        let why = format!("{most} of {filled} timestamps are dates with the {}", only.order.name());
        return found(only.order, why + ", fewer in another order");
    }
    let least = best.iter().map(|tally| tally.disorder()).min().unwrap_or(0);
    let ordered: Vec<&&Tally> = best.iter().filter(|tally| tally.disorder() <= 10 * least).collect();
    let ordered: Vec<&Tally> = ordered
        .iter()
        .filter(|tally| !ordered.iter().any(|other| other.is_narrower(tally)))
        .map(|tally| **tally)
        .collect();
    if let [only] = ordered[..] {
        let why = format!("in another order than {} time would go back and forth", only.order.name());
        return found(only.order, why);
    }
    let reading = |tally: &&Tally| {
        let stamp = parse_stamp(stamps.get(row), tally.order)?;
        Some((tally.order, local_text(stamp.moment.millis)))
    };
    Err(Undetected::SeveralOrders(row, ordered.iter().filter_map(reading).collect()))
}

/// A local time as text, without the time of day at midnight.
pub(super) fn local_text(millis: i64) -> String {
    let text = jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string());
    text.trim_end_matches('Z').trim_end_matches("T00:00:00").replace('T', " ")
}

impl TimestampFormat {
    /// Parses a timestamp. `interval` is the length of a step in milliseconds.
    pub fn moment(&self, text: &str, interval: i64) -> Option<Moment> {
        let moment = match self {
            Self::Time(format) => format.moment(text)?,
            Self::Steps => {
                let count: f64 = text.parse().ok()?;
                // Exact: a whole number below 2^53.
                let whole = (count.fract() == 0.0 && count.abs() < 9e15).then_some(count as i64)?;
                Moment { millis: whole.checked_mul(interval)?, local: false }
            }
        };
        (EventTime::MIN.0..=EventTime::MAX.0).contains(&moment.millis).then_some(moment)
    }

    /// Whether the timestamps may be local times.
    fn zone(&self) -> Option<&TimeZone> {
        match self {
            Self::Time(
                TimeFormat::AnyStamp { zone, .. } | TimeFormat::Serial { zone } | TimeFormat::Strftime { zone, .. },
            ) => Some(zone),
            _ => None,
        }
    }

    /// The format in words, such as `%d/%m/%Y, day first, Europe/Berlin`. `stamp` is one of the timestamps.
    pub fn describe(&self, stamp: &str) -> String {
        let name = match self {
            Self::Steps => "steps".to_owned(),
            Self::Time(TimeFormat::AnyStamp { order, .. }) => {
                let pattern = stamp_pattern(stamp, *order).unwrap_or_default();
                let by_order = parse_stamp(stamp, *order).is_some_and(|stamp| stamp.by_order);
                if by_order { format!("{pattern}, {}", order.name()) } else { pattern }
            }
            Self::Time(TimeFormat::Strftime { pattern, .. }) => pattern.clone(),
            Self::Time(TimeFormat::EpochSeconds) if stamp.parse().is_ok_and(|time: f64| time < MIN_EPOCH_NUMBER) => {
                "seconds".to_owned()
            }
            Self::Time(TimeFormat::Serial { .. }) => "serial dates of spreadsheets".to_owned(),
            Self::Time(TimeFormat::Rfc3339) => "RFC 3339".to_owned(),
            Self::Time(format) => format.expectation().replace(" as a number", ""),
        };
        let local = self.moment(stamp, 1).is_some_and(|moment| moment.local);
        match self.zone() {
            Some(zone) if local => format!("{name}, {}", zone.iana_name().unwrap_or("a fixed offset")),
            Some(_) => format!("{name}, with offsets"),
            None => name,
        }
    }

    /// The expected format, for error messages.
    pub fn expectation(&self) -> String {
        match self {
            Self::Time(format) => {
                format!("{}, between the years 1 and 9999, as in earlier rows", format.expectation())
            }
            Self::Steps => "a whole number that counts steps, as in earlier rows".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(sample: &[&str]) -> Result<TimestampFormat, Undetected> {
        let context = StampContext { zone: &TimeZone::UTC, name: "t", series: &[] };
        detect(&sample.iter().copied().collect(), context).map(|found| found.format)
    }

    fn times(sample: &[&str]) -> Option<Vec<i64>> {
        let format = detected(sample).ok()?;
        sample.iter().map(|text| format.moment(text, 1000).map(|time| time.millis)).collect()
    }

    #[test]
    fn formats_are_detected() {
        let hour = 3_600_000;
        for sample in [
            ["2016-07-01 00:00:00", "2016-07-01 01:00:00"],
            ["2016-07-01T00:00:00Z", "2016-07-01T03:00:00+02:00"],
            ["2016/7/1 0:00", "2016/7/1 1:00"],
            ["1 Jul 2016 0:00", "1 Jul 2016 1:00"],
            ["2016-07-01 00:00", "2016-07-01 01:00"],
            ["2016-07-01", "2016-07-01 01:00"],
            ["1467331200", "1467334800"],
            ["1467331200.0", "1.4673348e9"],
            ["1467331200000", "1467334800000"],
            ["1467331200000000", "1467334800000000"],
            ["1467331200000000000", "1467334800000000000"],
            ["20160701000000", "20160701010000"],
            ["2016070100", "2016070101"],
        ] {
            let start = 1_467_331_200_000;
            assert_eq!(times(&sample), Some(vec![start, start + hour]), "{sample:?}");
        }
        for sample in [["2016-07-01", "2016-07-02"], ["20160701", "20160702"]] {
            assert_eq!(times(&sample), Some(vec![1_467_331_200_000, 1_467_417_600_000]));
        }
        assert_eq!(times(&["01.2016", "02.2016"]), times(&["2016-01", "2016-02"]));
        assert_eq!(times(&["0", "1", "7"]), Some(vec![0, 1000, 7000]));
        assert_eq!(
            times(&["20240101", "20240102", "20240145"]),
            Some(vec![20_240_101_000, 20_240_102_000, 20_240_145_000])
        );
        assert_eq!(detected(&["yesterday"]), Err(Undetected::NoFormat(0)));
        assert_eq!(detected(&["2016-07-01", "a", "b"]), Err(Undetected::NoFormat(1)));
    }

    #[test]
    fn the_whole_file_decides_the_order_of_day_and_month() {
        let day = 86_400_000;
        let read = times(&["30/4/2020 0:00", "1/5/2020 0:00"]).unwrap();
        assert_eq!(read[1] - read[0], day);
        let read = times(&["1/12/2020", "1/13/2020"]).unwrap();
        assert_eq!(read[1] - read[0], day);
        let read = times(&["9/1/2020 0:00", "10/1/2020 0:00", "1/2/2020 0:00"]).unwrap();
        assert!(read.is_sorted(), "with the month first, time would go back at the third timestamp");
        let read = times(&["20-01-30", "20-01-31", "20-02-01"]).unwrap();
        assert_eq!([read[1] - read[0], read[2] - read[1]], [day, day]);
        for year in [["20-01-16", "20-01-17"], ["16.01.20", "17.01.20"]] {
            let read = times(&year).unwrap();
            assert_eq!(read[1] - read[0], day, "years lie together: {year:?}");
        }
        let both =
            vec![(DateOrder::DayFirst, "2020-12-04".to_owned()), (DateOrder::MonthFirst, "2020-04-12".to_owned())];
        assert_eq!(detected(&["4/12/2020", "5/12/2020", "6/12/2020"]), Err(Undetected::SeveralOrders(0, both)));
    }

    #[test]
    fn serial_dates_are_not_taken_for_seconds() {
        let found = Err(Undetected::SerialDates(0, "2024-01-01".to_owned()));
        assert_eq!(detected(&["45292", "45292.041666667"]), found);
        assert_eq!(times(&["45292", "45293"]), Some(vec![45_292_000, 45_293_000]));
        assert_eq!(times(&["0.0", "0.1"]), Some(vec![0, 100]));
    }

    #[test]
    fn formats_are_described() {
        let describe = |stamp: &str| detected(&[stamp, stamp]).unwrap().describe(stamp);
        for (stamp, description) in [
            ("31/01/2024", "%d/%m/%Y, day first, UTC"),
            ("2024-01-31 10:00", "%Y-%m-%d %H:%M, UTC"),
            ("2024-01-31T10:00:00+01:00", "%Y-%m-%dT%H:%M:%S%z, with offsets"),
            ("1704067200", "seconds since 1970"),
            ("1704067200000", "milliseconds since 1970"),
            ("17", "steps"),
            ("0.25", "seconds"),
        ] {
            assert_eq!(describe(stamp), description);
        }
    }
}
