//! CSV to a [`Table`]. Bytes are not trusted: whatever does not fit is answered with file, line, column and what was
//! expected.

mod cells;
mod rows;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

pub use rows::{Row, read_rows};

use cells::{Neither, listed, number, quoted, text};
use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;
use jiff::tz::TimeZone;

use super::{
    error::DataError,
    stamps::StampFormat,
    table::{Reading, Table},
};
use crate::{series::VALUE_LIMIT, time::EventTime, wire::TimeFormat};

/// Rows from which the form of the time stamps is found out.
const SAMPLE: usize = 1000;
/// The step where rows are only counted and none is given: one second.
const COUNTED_STEP: i64 = 1000;

/// How the series lie in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// A row holds one reading of every series; every numeric column is a series.
    Wide {
        /// These columns only; empty: every one that begins with a number.
        columns: Vec<String>,
    },
    /// A row holds one reading of one series.
    Long {
        /// The column that names the series.
        key: String,
        /// The column of the value; `None`: the last one.
        value: Option<String>,
    },
}

/// Where the event time stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeColumn {
    /// In the first column that does not name the series.
    First,
    /// In the column of this name.
    Named(String),
    /// Nowhere: rows are counted.
    None,
}

/// How to read a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadSpec {
    /// How the series lie in it.
    pub layout: Layout,
    /// Wide layout: columns that are looked at and not forecast.
    pub past_covariates: Vec<String>,
    /// Wide layout: columns whose numbers are known in advance, and not forecast.
    pub future_covariates: Vec<String>,
    /// Where the event time stands.
    pub time: TimeColumn,
    /// The form of the time stamps; `None`: found out from the first rows.
    pub time_format: Option<TimeFormat>,
    /// The zone of time stamps that name none.
    pub zone: TimeZone,
    /// The grid's step in milliseconds; `None`: the median time between successive readings.
    pub interval: Option<i64>,
    /// Numbers that mean that there is none.
    pub missing: Vec<f64>,
    /// Whether the first row names the columns; otherwise they are named 1, 2, 3 and so on.
    pub header: bool,
    /// What stands between columns.
    pub delimiter: u8,
}

impl Default for ReadSpec {
    fn default() -> Self {
        Self {
            layout: Layout::Wide { columns: Vec::new() },
            past_covariates: Vec::new(),
            future_covariates: Vec::new(),
            time: TimeColumn::First,
            time_format: None,
            zone: TimeZone::UTC,
            interval: None,
            missing: Vec::new(),
            header: true,
            delimiter: b',',
        }
    }
}

/// Reads a file, plain or gzipped (told by its first bytes).
///
/// # Errors
/// When it cannot be opened, or does not hold what `spec` says.
pub fn read_file(path: &Path, spec: &ReadSpec) -> Result<Table, DataError> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => read(file, &name, spec),
        Err(source) => Err(DataError::Unreadable { file: name, source }),
    }
}

/// Reads the bytes of the file called `name`.
///
/// # Errors
/// When they do not hold what `spec` says.
pub fn read(source: impl Read, name: &str, spec: &ReadSpec) -> Result<Table, DataError> {
    let place = Place { file: name };
    let plain = plain(source, name)?;
    let mut csv = csv::ReaderBuilder::new().has_headers(spec.header).delimiter(spec.delimiter).from_reader(plain);
    let names = if spec.header {
        let header = csv.byte_headers().map_err(|error| place.csv(&error))?;
        header.iter().map(text).collect()
    } else {
        Vec::new()
    };
    let mut records = csv.into_byte_records();
    let mut sample = Vec::new();
    for record in records.by_ref().take(SAMPLE) {
        sample.push(record.map_err(|error| place.csv(&error))?);
    }
    let names: Vec<String> = match sample.first() {
        None => return Err(place.whole("it holds no rows", "a CSV file with a header and at least one row of numbers")),
        Some(first) if !spec.header => (1..=first.len()).map(|column| column.to_string()).collect(),
        Some(_) => names,
    };
    let mut reader = Rows::new(place, names, spec)?;
    reader.find_format(&sample)?;
    for record in sample.into_iter().map(Ok).chain(records) {
        reader.take(&record.map_err(|error| place.csv(&error))?)?;
    }
    reader.table()
}

/// The bytes of a file that may be gzipped.
fn plain<'a>(source: impl Read + 'a, name: &str) -> Result<Box<dyn Read + 'a>, DataError> {
    let mut source = BufReader::new(source);
    let start = source.fill_buf().map_err(|source| DataError::Unreadable { file: name.to_owned(), source })?;
    let gzipped = start.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(source)) } else { Box::new(source) })
}

/// Where errors happen.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    file: &'a str,
}

impl Place<'_> {
    fn whole(self, found: &str, expected: &str) -> DataError {
        DataError::Whole { file: self.file.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
    }

    fn at(self, record: &ByteRecord, column: Option<&str>, found: String, expected: &str) -> DataError {
        let line = record.position().map_or(0, csv::Position::line);
        let (file, column) = (self.file.to_owned(), column.map(str::to_owned));
        DataError::Place { file, line, column, found, expected: expected.to_owned() }
    }

    fn no_number(self, record: &ByteRecord, column: &str, cell: &[u8]) -> DataError {
        let expected = format!("a number between -{VALUE_LIMIT:e} and {VALUE_LIMIT:e}, or nothing for a gap");
        self.at(record, Some(column), quoted(&text(cell)), &expected)
    }

    fn csv(self, error: &csv::Error) -> DataError {
        match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => DataError::Place {
                file: self.file.to_owned(),
                line: pos.as_ref().map_or(0, csv::Position::line),
                column: None,
                found: format!("{len} columns"),
                expected: format!("{expected_len}, as in the rows before"),
            },
            csv::ErrorKind::Io(error) => {
                self.whole(&format!("it cannot be read on ({error})"), "whole CSV, plain or gzipped")
            }
            _ => self.whole(&error.to_string(), "CSV"),
        }
    }
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// No cell with anything in it has come yet.
    Open,
    Values,
    /// Time, key, covariate, known in advance, or no numbers.
    Other,
    LeftOut,
}

/// The rows of a file on their way into a table.
struct Rows<'a> {
    place: Place<'a>,
    spec: &'a ReadSpec,
    names: Vec<String>,
    roles: Vec<Role>,
    time: Option<usize>,
    /// The columns of the covariates, and what they held so far, `[rows, covariates]`.
    covariates: Vec<usize>,
    beside: Vec<f64>,
    /// The same of what is known in advance, and of when.
    known: Vec<usize>,
    ahead: Vec<f64>,
    ahead_at: Vec<EventTime>,
    /// Long layout: the columns of key and value.
    long: Option<(usize, usize)>,
    format: StampFormat,
    /// The step while stamps are read: that of counted steps.
    step: i64,
    keys: BTreeMap<String, u32>,
    readings: Vec<Reading>,
    /// Readings so far, by series: the long layout's rows.
    counts: Vec<u32>,
    rows: u32,
    gaps: u64,
}

impl<'a> Rows<'a> {
    fn new(place: Place<'a>, names: Vec<String>, spec: &'a ReadSpec) -> Result<Self, DataError> {
        let find = |name: &str| {
            let missing =
                || place.whole(&format!("it has no column \"{name}\""), &format!("one of {}", listed(&names)));
            names.iter().position(|known| known == name).ok_or_else(missing)
        };
        let key = match &spec.layout {
            Layout::Long { key, .. } => Some(find(key)?),
            Layout::Wide { .. } => None,
        };
        let time = match &spec.time {
            TimeColumn::First => (0..names.len()).find(|column| Some(*column) != key),
            TimeColumn::Named(name) => Some(find(name)?),
            TimeColumn::None => None,
        };
        let mut roles = vec![Role::Open; names.len()];
        let mut long = None;
        match &spec.layout {
            Layout::Wide { columns } if columns.is_empty() => {}
            Layout::Wide { columns } => {
                roles.fill(Role::Other);
                for name in columns {
                    roles[find(name)?] = Role::Values;
                }
            }
            Layout::Long { value, .. } => {
                roles.fill(Role::Other);
                let last = (0..names.len()).rev().find(|column| Some(*column) != key && Some(*column) != time);
                let nothing = || place.whole("it has no column of values", "columns of key, time and value");
                let value = value.as_deref().map(find).transpose()?.or(last).ok_or_else(nothing)?;
                long = key.map(|key| (key, value));
            }
        }
        if let Some(time) = time {
            roles[time] = Role::Other;
        }
        let columns = |named: &[String]| named.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>();
        let (covariates, known) = (columns(&spec.past_covariates)?, columns(&spec.future_covariates)?);
        let kinds = [("covariate", "covariates"), ("column known in advance", "columns known in advance")];
        for ((one, all), named) in kinds.into_iter().zip([&covariates, &known]) {
            for &column in named {
                let twice = covariates.iter().chain(&known).filter(|other| **other == column).count() > 1;
                if roles[column] == Role::Values || time == Some(column) || twice {
                    let found = format!("the {one} \"{}\" is named for something else too", names[column]);
                    return Err(place.whole(&found, &format!("{all} that are neither time nor forecast, each once")));
                }
            }
        }
        covariates.iter().chain(&known).for_each(|column| roles[*column] = Role::Other);
        for (column, name) in names.iter().enumerate() {
            if roles[column] != Role::Other && names[..column].contains(name) {
                return Err(place.whole(&format!("two columns are called \"{name}\""), "a name of its own for each"));
            }
        }
        let (format, step) = (StampFormat::Steps, spec.interval.unwrap_or(COUNTED_STEP));
        let (keys, readings, counts) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Self {
            place,
            spec,
            names,
            roles,
            time,
            covariates,
            beside: Vec::new(),
            known,
            ahead: Vec::new(),
            ahead_at: Vec::new(),
            long,
            format,
            step,
            keys,
            readings,
            counts,
            rows: 0,
            gaps: 0,
        })
    }

    /// Finds out the form of the time stamps.
    fn find_format(&mut self, sample: &[ByteRecord]) -> Result<(), DataError> {
        let Some(column) = self.time else { return Ok(()) };
        if let Some(format) = &self.spec.time_format {
            self.format = StampFormat::Time(format.clone());
            return Ok(());
        }
        let stamps: Vec<String> = sample.iter().filter_map(|record| record.get(column)).map(text).collect();
        let stamps: Vec<&str> = stamps.iter().map(String::as_str).collect();
        let expected = "time stamps of one form, such as 2024-05-01 12:30:00 or 2024-05-01T12:30:00Z (another column: \
                        --time COLUMN; another form: --time-format; no time stamps: --no-time)";
        if let Some(format) = StampFormat::detect(&stamps, &self.spec.zone) {
            self.format = format;
            return Ok(());
        }
        // The place of the first stamp that does not fit those before it.
        let counts: Vec<usize> = (1..=stamps.len()).collect();
        let fits = |count: &usize| StampFormat::detect(&stamps[..*count], &self.spec.zone).is_some();
        let first = counts.partition_point(fits).min(stamps.len() - 1);
        let found = stamps.get(first).copied().unwrap_or_default();
        Err(self.place.at(&sample[first], Some(&self.names[column]), quoted(found), expected))
    }

    fn take(&mut self, record: &ByteRecord) -> Result<(), DataError> {
        let time = match self.time {
            Some(column) => {
                let stamp = text(record.get(column).unwrap_or_default());
                let wrong =
                    || self.place.at(record, Some(&self.names[column]), quoted(&stamp), &self.format.expectation());
                self.format.read(&stamp, self.step).ok_or_else(wrong)?
            }
            None => EventTime(0), // counted below, series by series
        };
        match self.long {
            Some((key, value)) => self.take_long(record, time, key, value)?,
            None => self.take_wide(record, time)?,
        }
        let too_many = || self.place.whole("it has more than 4 billion rows", "fewer");
        self.rows = self.rows.checked_add(1).ok_or_else(too_many)?;
        Ok(())
    }

    fn take_wide(&mut self, record: &ByteRecord, time: EventTime) -> Result<(), DataError> {
        let time = if self.time.is_none() { self.counted(record, self.rows)? } else { time };
        for &column in &self.covariates {
            let number = self.number(record, column, record.get(column).unwrap_or_default())?;
            self.beside.push(number.unwrap_or(f64::NAN));
        }
        for &column in &self.known {
            let number = self.number(record, column, record.get(column).unwrap_or_default())?;
            self.ahead.push(number.unwrap_or(f64::NAN));
        }
        if !self.known.is_empty() {
            self.ahead_at.push(time);
        }
        for (column, cell) in record.iter().enumerate() {
            if matches!(self.roles[column], Role::Other | Role::LeftOut) {
                continue;
            }
            let number = match self.number(record, column, cell) {
                Ok(number) => number,
                Err(_) if self.roles[column] == Role::Open => {
                    self.roles[column] = Role::LeftOut;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(value) = number else {
                self.gaps += 1;
                continue;
            };
            self.roles[column] = Role::Values;
            // Columns become series once it is known which of them are.
            let series = u32::try_from(column).unwrap_or(u32::MAX);
            self.readings.push(Reading { time, value, series, row: self.rows, position: self.rows });
        }
        Ok(())
    }

    fn take_long(&mut self, record: &ByteRecord, time: EventTime, key: usize, value: usize) -> Result<(), DataError> {
        let name = text(record.get(key).unwrap_or_default());
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let series = *self.keys.entry(name).or_insert(next);
        if series == next {
            self.counts.push(0);
        }
        let row = self.counts[series as usize];
        let time = if self.time.is_none() { self.counted(record, row)? } else { time };
        self.counts[series as usize] += 1;
        match self.number(record, value, record.get(value).unwrap_or_default())? {
            Some(value) => self.readings.push(Reading { time, value, series, row, position: 0 }),
            None => self.gaps += 1,
        }
        Ok(())
    }

    fn counted(&self, record: &ByteRecord, row: u32) -> Result<EventTime, DataError> {
        let time = self.step.checked_mul(i64::from(row)).map(EventTime).filter(|time| *time <= EventTime::MAX);
        let expected = "rows times --interval to stay below the year 10000";
        time.ok_or_else(|| self.place.at(record, None, "a time too far off".to_owned(), expected))
    }

    /// The number in a cell; `None` for a gap.
    fn number(&self, record: &ByteRecord, column: usize, cell: &[u8]) -> Result<Option<f64>, DataError> {
        number(cell, &self.spec.missing).map_err(|Neither| self.place.no_number(record, &self.names[column], cell))
    }

    fn table(mut self) -> Result<Table, DataError> {
        if self.readings.is_empty() {
            let expected = "numbers in at least one column besides the time";
            return Err(self.place.whole("it holds no numbers", expected));
        }
        let left_out = self.roles.iter().zip(&self.names);
        let left_out = left_out.filter(|(role, _)| matches!(role, Role::LeftOut | Role::Open));
        let left_out = left_out.map(|(_, name)| name.clone()).collect();
        let (series, rows) = if self.long.is_some() { self.order_long() } else { self.order_wide() };
        let interval = match self.spec.interval {
            Some(interval) => interval,
            None if self.time.is_none() || self.format == StampFormat::Steps => COUNTED_STEP,
            None => median_step(&self.readings, self.counts.len()).ok_or_else(|| {
                self.place.whole("time never moves on", "at least two rows at different times, or --interval")
            })?,
        };
        Ok(Table {
            series,
            readings: self.readings,
            rows,
            interval,
            gaps: self.gaps,
            past_covariates: self.spec.past_covariates.clone(),
            beside: self.beside,
            future_covariates: self.spec.future_covariates.clone(),
            ahead: self.ahead,
            ahead_at: self.ahead_at,
            ignored_columns: left_out,
        })
    }

    /// Numbers the columns that are series.
    fn order_wide(&mut self) -> (Vec<String>, usize) {
        let columns: Vec<usize> = (0..self.names.len()).filter(|&column| self.roles[column] == Role::Values).collect();
        let mut series_of = vec![0; self.names.len()];
        for (series, column) in (0..).zip(&columns) {
            series_of[*column] = series;
        }
        for reading in &mut self.readings {
            reading.series = series_of[reading.series as usize];
        }
        (columns.into_iter().map(|column| self.names[column].clone()).collect(), self.rows as usize)
    }

    /// Merges the series by time, as a topic would carry them, each in its own order: what is late in the file is late.
    fn order_long(&mut self) -> (Vec<String>, usize) {
        let mut newest = vec![i64::MIN; self.counts.len()];
        let mut order: Vec<(i64, Reading)> = Vec::with_capacity(self.readings.len());
        for reading in self.readings.drain(..) {
            let newest = &mut newest[reading.series as usize];
            *newest = reading.time.0.max(*newest);
            order.push((*newest, reading));
        }
        order.sort_by_key(|(newest, _)| *newest);
        let numbered = (0..).zip(order).map(|(position, (_, reading))| Reading { position, ..reading });
        self.readings = numbered.collect();
        let mut names = vec![String::new(); self.counts.len()];
        for (name, series) in std::mem::take(&mut self.keys) {
            names[series as usize] = name;
        }
        (names, self.counts.iter().max().map_or(0, |rows| *rows as usize))
    }
}

/// The median of the times by which rows follow one another: those of each of `long` series, or, where there are none, all of
/// a wide file.
fn median_step(readings: &[Reading], long: usize) -> Option<i64> {
    let mut before: Vec<Option<i64>> = vec![None; long.max(1)];
    let step = |reading: &Reading| {
        let series = if long > 0 { reading.series as usize } else { 0 };
        let before = before[series].replace(reading.time.0)?;
        Some(reading.time.0 - before).filter(|step| *step > 0)
    };
    let mut steps: Vec<i64> = readings.iter().filter_map(step).collect();
    let middle = steps.len().checked_sub(1)? / 2;
    Some(*steps.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests;
