//! A file's readings in memory.

use crate::{
    series::{FutureCovariateTable, FutureValues, values_on_grid},
    time::{EventTime, Grid},
};

/// One number of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Its event time.
    pub time: EventTime,
    /// The number, finite.
    pub value: f64,
    /// Index into [`Table::series`].
    pub series: u32,
    /// Wide layout: the row of the file, from 0. Long layout: how many readings of the same series come before it. This
    /// is what ranges of rows mean.
    pub row: u32,
    /// When it is fed: all readings of one row of a wide file together, those of a long file one by one. The position of
    /// an observation in the engine.
    pub position: u32,
}

/// A file's readings in the order in which they are fed: 32 bytes each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The names of the series.
    pub series: Vec<String>,
    /// Ascending by position.
    pub readings: Vec<Reading>,
    /// Wide layout: rows of the file. Long layout: readings of the longest series.
    pub rows: usize,
    /// The grid's step in milliseconds: as asked for, or the median time between successive readings.
    pub interval: i64,
    /// Cells that hold no number: gaps.
    pub gaps: u64,
    /// The names of the covariates, in order.
    pub past_covariates: Vec<String>,
    /// Wide layout, `[rows, covariates]`: what comes with every reading of a row; NaN for a gap.
    pub beside: Vec<f64>,
    /// The names of the numbers that are known in advance, in order.
    pub future_covariates: Vec<String>,
    /// Wide layout, `[rows, known]`: what is known in advance of the time of a row; NaN for a gap.
    pub ahead: Vec<f64>,
    /// The times of the rows of which something is known in advance.
    pub ahead_at: Vec<EventTime>,
    /// Columns that hold no numbers and are left out.
    pub ignored_columns: Vec<String>,
}

impl Table {
    /// The index of a series by its name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.series.iter().position(|known| known == name)
    }

    /// The newest values of a series, one step of the grid apart; see [`values_on_grid`].
    pub fn on_grid(&self, series: usize) -> Vec<f64> {
        let of_series = self.readings.iter().filter(|reading| reading.series as usize == series);
        values_on_grid(of_series.map(|reading| (reading.time.0.div_euclid(self.interval.max(1)), reading.value)))
    }

    /// The covariates that come with a reading.
    pub fn beside(&self, reading: &Reading) -> &[f64] {
        let count = self.past_covariates.len();
        let from = reading.row as usize * count;
        self.beside.get(from..from + count).unwrap_or_default()
    }

    /// What is known in advance of the time of each row, with the number of the row.
    pub fn ahead(&self) -> impl Iterator<Item = (i64, EventTime, &[f64])> {
        let numbers = self.ahead.chunks_exact(self.future_covariates.len().max(1));
        (0..).zip(&self.ahead_at).zip(numbers).map(|((row, time), numbers)| (row, *time, numbers))
    }

    /// The same as an outlook on a grid.
    pub fn outlook(&self, grid: Grid) -> FutureCovariateTable {
        let mut outlook = FutureCovariateTable::default();
        self.ahead().for_each(|(row, time, numbers)| {
            outlook.insert(FutureValues { slot: grid.slot(time), offset: row, values: numbers.into() }, usize::MAX);
        });
        outlook
    }

    /// Where in [`Table::readings`] the first reading of row `row` or a later one stands: what comes before was fed before.
    pub fn before_row(&self, row: usize) -> usize {
        let reached = |reading: &Reading| reading.row as usize >= row;
        self.readings.iter().position(reached).unwrap_or(self.readings.len())
    }
}
