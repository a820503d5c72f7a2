//! The readings of a file in memory.

use std::ops::Range;

use crate::series::{FutureCovariateTable, FutureValues, values_on_grid};
use crate::time::{EventTime, Grid, Zone};

/// One number of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Event time.
    pub time: EventTime,
    /// The number; finite.
    pub value: f64,
    /// Index into [`Table::series`].
    pub series: u32,
    /// Row number, from 0; row ranges refer to it. Wide layout: row of the file. Long layout: number of earlier
    /// readings of the series.
    pub row: u32,
    /// Position of the observation in the engine. Wide layout: the same for all readings of a row. Long layout: one per
    /// reading.
    pub position: u32,
}

/// The future covariates of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FutureCovariateRow<'a> {
    /// Row number.
    pub row: i64,
    /// Time of the row.
    pub time: EventTime,
    /// One value for each of [`Table::future_covariates`]; NaN for a gap.
    pub values: &'a [f64],
}

/// The readings of a file in the order in which the engine receives them; 32 bytes each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Names of the series.
    pub series: Vec<String>,
    /// Readings, ascending by position.
    pub readings: Vec<Reading>,
    /// Wide layout: number of rows. Long layout: number of readings of the longest series.
    pub rows: usize,
    /// The grid: the requested one, or the one on which the readings lie.
    pub grid: Grid,
    /// The time zone of the grid, of seasons and of holidays.
    pub zone: Zone,
    /// Number of cells without a number.
    pub gaps: u64,
    /// Names of the past covariates.
    pub past_covariates: Vec<String>,
    /// Wide layout: past covariates of each row, `[rows, past_covariates]`; NaN for a gap.
    pub past_covariate_values: Vec<f64>,
    /// Names of the future covariates.
    pub future_covariates: Vec<String>,
    /// Wide layout: future covariates of each row, `[rows, future_covariates]`; NaN for a gap.
    pub future_covariate_values: Vec<f64>,
    /// Times of the rows with future covariates.
    pub future_covariate_times: Vec<EventTime>,
    /// Names of columns without numbers, which are ignored.
    pub ignored_columns: Vec<String>,
}

impl Table {
    /// The index of a series.
    pub fn series_index(&self, name: &str) -> Option<usize> {
        self.series.iter().position(|known| known == name)
    }

    /// The newest values of a series on the grid, oldest first; see [`values_on_grid`].
    pub fn on_grid(&self, series: usize) -> Vec<f64> {
        let of_series = self.readings.iter().filter(|reading| reading.series as usize == series);
        values_on_grid(of_series.map(|reading| (self.grid.slot(reading.time), reading.value)))
    }

    /// Length of a step in milliseconds, the mean one of months.
    pub fn interval(&self) -> i64 {
        self.grid.nominal_interval().unwrap_or(1)
    }

    /// The readings of a range of rows.
    pub(super) fn readings_in(&self, rows: &Range<usize>) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(|reading| rows.contains(&(reading.row as usize)))
    }

    /// The past covariates of a reading.
    pub(super) fn past_covariates_of(&self, reading: &Reading) -> &[f64] {
        let count = self.past_covariates.len();
        let from = reading.row as usize * count;
        self.past_covariate_values.get(from..from + count).unwrap_or_default()
    }

    /// The future covariates of each row.
    pub(super) fn future_covariate_rows(&self) -> impl Iterator<Item = FutureCovariateRow<'_>> {
        let values = self.future_covariate_values.chunks_exact(self.future_covariates.len().max(1));
        (0..).zip(&self.future_covariate_times).zip(values).map(|((row, time), values)| FutureCovariateRow {
            row,
            time: *time,
            values,
        })
    }

    /// All future covariates by slot of `grid`.
    pub(super) fn future_covariate_table(&self, grid: &Grid) -> FutureCovariateTable {
        let mut table = FutureCovariateTable::default();
        for FutureCovariateRow { row, time, values } in self.future_covariate_rows() {
            table.insert(FutureValues { slot: grid.slot(time), offset: row, values: values.into() }, usize::MAX);
        }
        table
    }

    /// The index of the first reading of row `row` or a later row.
    pub(super) fn first_reading_of_row(&self, row: usize) -> usize {
        let reached = |reading: &Reading| reading.row as usize >= row;
        self.readings.iter().position(reached).unwrap_or(self.readings.len())
    }
}
