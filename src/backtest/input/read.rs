//! Reads the rows of a CSV file into a [`Table`].

use std::{collections::BTreeMap, io::Read, path::Path};

use csv::ByteRecord;

use super::cells::{NotANumber, number, quoted, text};
use super::columns::{Columns, LongColumns, Role};
use super::grid_detection::{lay_out, successive};
use super::location::{Location, decompressed, open};
use super::spec::ReadSpec;
use crate::backtest::error::DataError;
use crate::backtest::table::{Reading, Table};
use crate::backtest::timestamps::TimestampFormat;
use crate::time::{EventTime, Length};

/// Number of rows from which the format of the timestamps is detected.
const SAMPLE_ROWS: usize = 1000;
/// Default step of counted rows, in milliseconds.
const COUNTED_STEP: i64 = 1000;

/// Reads a file, plain or gzipped.
///
/// # Errors
/// If it cannot be opened, or its content does not match `spec`.
pub fn read_file(path: &Path, spec: &ReadSpec) -> Result<Table, DataError> {
    read(open(path)?, &path.display().to_string(), spec)
}

/// Reads the content of the file called `name`.
///
/// # Errors
/// If the content does not match `spec`.
pub fn read(source: impl Read, name: &str, spec: &ReadSpec) -> Result<Table, DataError> {
    let location = Location { file: name };
    let source = decompressed(source, name)?;
    let mut csv = csv::ReaderBuilder::new().has_headers(spec.header).delimiter(spec.delimiter).from_reader(source);
    let names = if spec.header {
        let header = csv.byte_headers().map_err(|error| location.csv_error(&error))?;
        header.iter().map(text).collect()
    } else {
        Vec::new()
    };
    let mut records = csv.into_byte_records();
    let mut sample = Vec::new();
    for record in records.by_ref().take(SAMPLE_ROWS) {
        sample.push(record.map_err(|error| location.csv_error(&error))?);
    }
    let names: Vec<String> = match sample.first() {
        None => {
            let expected = "a CSV file with a header and at least one row of numbers";
            return Err(location.file_error("it holds no rows", expected));
        }
        Some(first) if !spec.header => (1..=first.len()).map(|column| column.to_string()).collect(),
        Some(_) => names,
    };
    let columns = Columns::new(location, names, spec)?;
    let format = timestamp_format(location, &columns, spec, &sample)?;
    let table = Table {
        past_covariates: spec.past_covariates.clone(),
        future_covariates: spec.future_covariates.clone(),
        ..Table::default()
    };
    let step = spec.grid.length.map_or(COUNTED_STEP, Length::nominal_millis);
    let (keys, counts) = (BTreeMap::new(), Vec::new());
    let mut reader = TableReader { location, spec, columns, format, step, keys, counts, rows: 0, table };
    for record in sample.into_iter().map(Ok).chain(records) {
        reader.add(&record.map_err(|error| location.csv_error(&error))?)?;
    }
    reader.table()
}

/// The format of the timestamps, as specified or detected from the first rows.
fn timestamp_format(
    location: Location<'_>,
    columns: &Columns,
    spec: &ReadSpec,
    sample: &[ByteRecord],
) -> Result<TimestampFormat, DataError> {
    let Some(column) = columns.time else { return Ok(TimestampFormat::Steps) };
    if let Some(format) = &spec.time_format {
        return Ok(TimestampFormat::Time(format.clone()));
    }
    let stamps: Vec<String> = sample.iter().filter_map(|record| record.get(column)).map(text).collect();
    let stamps: Vec<&str> = stamps.iter().map(String::as_str).collect();
    if let Some(format) = TimestampFormat::detect(&stamps, &spec.zone) {
        return Ok(format);
    }
    // The error names the first timestamp that does not fit the earlier ones.
    let counts: Vec<usize> = (1..=stamps.len()).collect();
    let fits = |count: &usize| TimestampFormat::detect(&stamps[..*count], &spec.zone).is_some();
    let first = counts.partition_point(fits).min(stamps.len() - 1);
    let found = stamps.get(first).copied().unwrap_or_default();
    let expected = "timestamps of one format, such as 2024-05-01 12:30:00 or 2024-05-01T12:30:00Z (another column: \
                    --time COLUMN; another format: --time-format; no timestamps: --no-time)";
    Err(location.line_error(&sample[first], Some(&columns.names[column]), quoted(found), expected))
}

/// Collects the rows of a file.
struct TableReader<'a> {
    location: Location<'a>,
    spec: &'a ReadSpec,
    columns: Columns,
    format: TimestampFormat,
    /// Step of counted rows and of timestamps that count steps, in milliseconds.
    step: i64,
    /// Long layout: index of each series.
    keys: BTreeMap<String, u32>,
    /// Long layout: number of rows of each series so far.
    counts: Vec<u32>,
    rows: u32,
    /// The table so far. In the wide layout the index of a column stands for the series until all roles are known.
    table: Table,
}

impl TableReader<'_> {
    fn add(&mut self, record: &ByteRecord) -> Result<(), DataError> {
        let time = match self.columns.time {
            Some(column) => {
                let stamp = text(record.get(column).unwrap_or_default());
                let invalid = || {
                    let (name, expected) = (&self.columns.names[column], self.format.expectation());
                    self.location.line_error(record, Some(name), quoted(&stamp), &expected)
                };
                Some(self.format.read(&stamp, self.step).ok_or_else(invalid)?)
            }
            None => None,
        };
        match self.columns.long {
            Some(columns) => self.add_long(record, time, columns)?,
            None => self.add_wide(record, time)?,
        }
        let too_many = || self.location.file_error("it has more than 4 billion rows", "fewer");
        self.rows = self.rows.checked_add(1).ok_or_else(too_many)?;
        Ok(())
    }

    fn add_wide(&mut self, record: &ByteRecord, time: Option<EventTime>) -> Result<(), DataError> {
        let time = time.map_or_else(|| self.counted_time(record, self.rows), Ok)?;
        for &column in &self.columns.past_covariates {
            let number = self.number(record, column)?;
            self.table.past_covariate_values.push(number.unwrap_or(f64::NAN));
        }
        for &column in &self.columns.future_covariates {
            let number = self.number(record, column)?;
            self.table.future_covariate_values.push(number.unwrap_or(f64::NAN));
        }
        if !self.columns.future_covariates.is_empty() {
            self.table.future_covariate_times.push(time);
        }
        for column in 0..record.len() {
            let role = self.columns.roles[column];
            if matches!(role, Role::NotSeries | Role::Ignored) {
                continue;
            }
            match self.number(record, column) {
                Ok(Some(value)) => {
                    self.columns.roles[column] = Role::Series;
                    let series = u32::try_from(column).unwrap_or(u32::MAX);
                    self.table.readings.push(Reading { time, value, series, row: self.rows, position: self.rows });
                }
                Ok(None) => self.table.gaps += 1,
                Err(_) if role == Role::Undecided => self.columns.roles[column] = Role::Ignored,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn add_long(
        &mut self,
        record: &ByteRecord,
        time: Option<EventTime>,
        columns: LongColumns,
    ) -> Result<(), DataError> {
        let name = text(record.get(columns.key).unwrap_or_default());
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let series = *self.keys.entry(name).or_insert(next);
        if series == next {
            self.counts.push(0);
        }
        let row = self.counts[series as usize];
        let time = time.map_or_else(|| self.counted_time(record, row), Ok)?;
        self.counts[series as usize] += 1;
        match self.number(record, columns.value)? {
            Some(value) => self.table.readings.push(Reading { time, value, series, row, position: 0 }),
            None => self.table.gaps += 1,
        }
        Ok(())
    }

    /// The time of a row in a file without timestamps.
    fn counted_time(&self, record: &ByteRecord, row: u32) -> Result<EventTime, DataError> {
        let time = self.step.checked_mul(i64::from(row)).map(EventTime).filter(|time| *time <= EventTime::MAX);
        let expected = "rows times --interval to stay below the year 10000";
        time.ok_or_else(|| self.location.line_error(record, None, "a time out of range".to_owned(), expected))
    }

    /// The number in a column; `None` for a gap.
    fn number(&self, record: &ByteRecord, column: usize) -> Result<Option<f64>, DataError> {
        let cell = record.get(column).unwrap_or_default();
        number(cell, &self.spec.missing)
            .map_err(|NotANumber| self.location.number_error(record, &self.columns.names[column], cell))
    }

    fn table(mut self) -> Result<Table, DataError> {
        if self.table.readings.is_empty() {
            let expected = "numbers in at least one column besides the time";
            return Err(self.location.file_error("it holds no numbers", expected));
        }
        self.table.ignored_columns = self.columns.ignored();
        if self.columns.long.is_some() {
            self.order_long()
        } else {
            self.order_wide()
        }
        let step = match self.spec.grid.length {
            Some(length) => length.nominal_millis(),
            None if self.columns.time.is_none() || self.format == TimestampFormat::Steps => COUNTED_STEP,
            None => median_step(&self.table.readings, self.counts.len()).ok_or_else(|| {
                self.location.file_error("time never advances", "at least two rows at different times, or --interval")
            })?,
        };
        let (readings, series) = (&self.table.readings, self.counts.len());
        (self.table.grid, self.table.zone) = lay_out(&self.spec.grid, readings, series, step);
        Ok(self.table)
    }

    /// Numbers the columns that are series.
    fn order_wide(&mut self) {
        let Columns { names, roles, .. } = &self.columns;
        let columns: Vec<usize> = (0..names.len()).filter(|&column| roles[column] == Role::Series).collect();
        let mut series_of_column = vec![0; names.len()];
        for (series, column) in (0..).zip(&columns) {
            series_of_column[*column] = series;
        }
        for reading in &mut self.table.readings {
            reading.series = series_of_column[reading.series as usize];
        }
        self.table.series = columns.into_iter().map(|column| names[column].clone()).collect();
        self.table.rows = self.rows as usize;
    }

    /// Merges the series by time, as in a topic. Each series keeps the order of the file, so that its late readings
    /// stay late.
    fn order_long(&mut self) {
        let mut newest = vec![i64::MIN; self.counts.len()];
        let mut order: Vec<(i64, Reading)> = Vec::with_capacity(self.table.readings.len());
        for reading in self.table.readings.drain(..) {
            let newest = &mut newest[reading.series as usize];
            *newest = reading.time.0.max(*newest);
            order.push((*newest, reading));
        }
        order.sort_by_key(|(newest, _)| *newest);
        let numbered = (0..).zip(order).map(|(position, (_, reading))| Reading { position, ..reading });
        self.table.readings = numbered.collect();
        self.table.series = vec![String::new(); self.counts.len()];
        for (name, series) in std::mem::take(&mut self.keys) {
            self.table.series[series as usize] = name;
        }
        self.table.rows = self.counts.iter().max().map_or(0, |rows| *rows as usize);
    }
}

/// The median time between successive rows in milliseconds: of each of `long` series, or of the whole file if `long` is
/// 0.
fn median_step(readings: &[Reading], long: usize) -> Option<i64> {
    let mut steps: Vec<i64> = successive(readings, long).iter().map(|(one, next)| next - one).collect();
    let middle = steps.len().checked_sub(1)? / 2;
    Some(*steps.select_nth_unstable(middle).1)
}
