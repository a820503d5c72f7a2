//! Collects the rows of a table.

use std::collections::BTreeMap;

use csv::ByteRecord;

use super::cells::{CellRule, NotANumber, text};
use super::columns::{Columns, LongColumns, Role};
use super::location::Location;
use crate::backtest::error::DataError;
use crate::backtest::refusals::Refusals;
use crate::backtest::table::Reading;
use crate::backtest::timestamps::StampList;
use crate::time::EventTime;

/// The rows so far.
pub(super) struct Rows<'a> {
    pub location: Location<'a>,
    pub rule: CellRule<'a>,
    pub columns: Columns,
    /// Number of lines above the table.
    pub lines_before: u64,
    /// The time of each row as text.
    pub stamps: StampList,
    /// The line of each row.
    pub lines: Vec<u32>,
    /// Long layout: the series of each row.
    pub series_of_row: Vec<u32>,
    /// Long layout: the names of the series.
    pub series: Vec<String>,
    keys: BTreeMap<String, u32>,
    /// The values, without their times. In the wide layout the index of a column stands for the series.
    pub readings: Vec<Reading>,
    pub past_covariates: Vec<f64>,
    pub future_covariates: Vec<f64>,
    /// Cells without a number, by what they hold.
    pub gaps: BTreeMap<String, u64>,
    pub empty_cells: u64,
    pub refusals: Refusals,
    /// The first refusal, as an error.
    pub first_refusal: Option<DataError>,
}

impl<'a> Rows<'a> {
    pub fn new(location: Location<'a>, rule: CellRule<'a>, columns: Columns, lines_before: u64) -> Self {
        Self {
            location,
            rule,
            columns,
            lines_before,
            stamps: StampList::default(),
            lines: Vec::new(),
            series_of_row: Vec::new(),
            series: Vec::new(),
            keys: BTreeMap::new(),
            readings: Vec::new(),
            past_covariates: Vec::new(),
            future_covariates: Vec::new(),
            gaps: BTreeMap::new(),
            empty_cells: 0,
            refusals: Refusals::default(),
            first_refusal: None,
        }
    }

    /// Adds a row. Rows whose cells are all empty are passed over.
    pub fn add(&mut self, record: &ByteRecord) -> Result<(), DataError> {
        let width = self.columns.names.len();
        let is_empty = |cell: &[u8]| cell.trim_ascii().is_empty();
        if record.len() < width || record.iter().skip(width).any(|cell| !is_empty(cell)) {
            if !record.iter().all(is_empty) {
                let found = format!("{} columns", record.len());
                let error = self.error(record, None, found, format!("{width}, as in earlier rows"));
                self.refusals.widths.add(|| error.to_string());
                self.first_refusal.get_or_insert(error);
            }
            return Ok(());
        }
        if record.get(0).is_some_and(is_empty) && record.iter().all(is_empty) {
            return Ok(());
        }
        let row = self.row()?;
        if let Some(time) = &self.columns.time {
            self.stamps.push_with(|out| time.write(record, &self.rule, out));
        }
        self.lines.push(self.line(record));
        match self.columns.long.take() {
            Some(columns) => {
                self.add_long(record, row, &columns);
                self.columns.long = Some(columns);
            }
            None => self.add_wide(record, row),
        }
        Ok(())
    }

    /// The number of the next row.
    fn row(&self) -> Result<u32, DataError> {
        let too_many = || self.location.file_error("it has more than 4 billion rows", "fewer");
        u32::try_from(self.lines.len()).ok().filter(|row| *row < u32::MAX).ok_or_else(too_many)
    }

    fn add_wide(&mut self, record: &ByteRecord, row: u32) {
        for at in 0..self.columns.past_covariates.len() {
            let number = self.number(record, self.columns.past_covariates[at]);
            self.past_covariates.push(number.unwrap_or(f64::NAN));
        }
        for at in 0..self.columns.future_covariates.len() {
            let number = self.number(record, self.columns.future_covariates[at]);
            self.future_covariates.push(number.unwrap_or(f64::NAN));
        }
        for column in 0..self.columns.names.len() {
            match self.columns.roles[column] {
                Role::NotSeries | Role::Ignored => {}
                Role::Series => self.push(record, column, column as u32, row),
                Role::Undecided => match self.rule.number(record.get(column).unwrap_or_default()) {
                    Ok(Some(_)) => {
                        self.columns.roles[column] = Role::Series;
                        self.push(record, column, column as u32, row);
                    }
                    Ok(None) => self.empty_cells += 1,
                    Err(NotANumber) => self.columns.roles[column] = Role::Ignored,
                },
            }
        }
    }

    fn add_long(&mut self, record: &ByteRecord, row: u32, columns: &LongColumns) {
        let cell = |column: &usize| text(record.get(*column).unwrap_or_default());
        let name = match &columns.keys[..] {
            [key] => cell(key),
            keys => keys.iter().map(cell).collect::<Vec<_>>().join("/"),
        };
        let last = self.series_of_row.last().map(|series| (*series, self.series[*series as usize].as_str()));
        let series = match last {
            Some((series, of_last)) if of_last == name => series,
            _ => match self.keys.get(&name) {
                Some(series) => *series,
                None => {
                    let series = self.series.len() as u32;
                    self.series.push(name.clone());
                    self.keys.insert(name, series);
                    series
                }
            },
        };
        self.series_of_row.push(series);
        self.push(record, columns.value, series, row);
    }

    /// Adds the value of a cell, if it is one.
    fn push(&mut self, record: &ByteRecord, column: usize, series: u32, row: u32) {
        if let Some(value) = self.number(record, column) {
            self.readings.push(Reading { time: EventTime(0), value, series, row, position: row });
        }
    }

    /// The number in a cell. Gaps and refused cells are counted.
    fn number(&mut self, record: &ByteRecord, column: usize) -> Option<f64> {
        let cell = record.get(column).unwrap_or_default();
        match self.rule.number(cell) {
            Ok(Some(number)) => return Some(number),
            Ok(None) if cell.trim_ascii().is_empty() => self.empty_cells += 1,
            Ok(None) => *self.gaps.entry(text(cell)).or_insert(0) += 1,
            Err(NotANumber) => {
                let line = u64::from(self.line(record));
                let error = self.location.number_error(line, &self.columns.names[column], cell);
                self.refusals.cells.add(|| error.to_string());
                self.first_refusal.get_or_insert(error);
            }
        }
        None
    }

    fn line(&self, record: &ByteRecord) -> u32 {
        let line = record.position().map_or(0, csv::Position::line) + self.lines_before;
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    fn error(&self, record: &ByteRecord, column: Option<&str>, found: String, expected: String) -> DataError {
        self.location.line_error(u64::from(self.line(record)), column, found, &expected)
    }
}
