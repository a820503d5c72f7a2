//! Brings rows into the order of time.

use super::columns::{Columns, Role};
use super::rows::Rows;
use crate::backtest::table::{Reading, Table};
use crate::time::EventTime;

/// Rows in the order of time, whose times may still be moved.
pub(super) struct Ordered {
    /// Wide layout: the times of all rows. Long layout: those of each series. Ascending.
    pub tracks: Vec<Vec<i64>>,
    series: Vec<String>,
    readings: Vec<Reading>,
    long: bool,
    past_covariate_values: Vec<f64>,
    future_covariate_values: Vec<f64>,
}

/// The rows that have a time, in the order of time. Of equal times the first in the file comes first, but `late_rows`
/// come last.
fn sorted(rows: impl Iterator<Item = usize>, times: &[Option<EventTime>], late_rows: &[usize]) -> Vec<usize> {
    let mut kept: Vec<usize> = rows.filter(|row| times[*row].is_some()).collect();
    kept.sort_by_key(|row| (times[*row], late_rows.binary_search(row).is_ok()));
    kept
}

fn millis(times: &[Option<EventTime>], row: usize) -> i64 {
    times[row].map_or(0, |time| time.0)
}

/// Orders a wide table. Rows are numbered anew.
pub(super) fn order_wide(rows: Rows<'_>, times: &[Option<EventTime>], late_rows: &[usize]) -> Ordered {
    let Rows { columns: Columns { names, roles, past_covariates, future_covariates, .. }, mut readings, .. } = rows;
    let columns: Vec<usize> = (0..names.len()).filter(|&column| roles[column] == Role::Series).collect();
    let mut series_of_column = vec![0; names.len()];
    for (series, column) in (0..).zip(&columns) {
        series_of_column[*column] = series;
    }
    for reading in &mut readings {
        reading.series = series_of_column[reading.series as usize];
    }
    let order = sorted(0..times.len(), times, late_rows);
    let (mut past, mut future) = (rows.past_covariates, rows.future_covariates);
    // In most files nothing has to move.
    if order.len() < times.len() || !order.is_sorted() {
        let mut place = vec![u32::MAX; times.len()];
        for (new, row) in (0..).zip(&order) {
            place[*row] = new;
        }
        readings.retain(|reading| place[reading.row as usize] != u32::MAX);
        readings.iter_mut().for_each(|reading| reading.row = place[reading.row as usize]);
        readings.sort_by_key(|reading| reading.row);
        readings.iter_mut().for_each(|reading| reading.position = reading.row);
        let moved = |values: &[f64], count: usize| -> Vec<f64> {
            order.iter().flat_map(|row| values[row * count..(row + 1) * count].iter().copied()).collect()
        };
        past = moved(&past, past_covariates.len());
        future = moved(&future, future_covariates.len());
    }
    Ordered {
        tracks: vec![order.iter().map(|row| millis(times, *row)).collect()],
        series: columns.into_iter().map(|column| names[column].clone()).collect(),
        readings,
        long: false,
        past_covariate_values: past,
        future_covariate_values: future,
    }
}

/// Orders a long table: each series by time. Its readings are numbered within it.
pub(super) fn order_long(rows: Rows<'_>, times: &[Option<EventTime>], late_rows: &[usize]) -> Ordered {
    let mut of_series: Vec<Vec<usize>> = vec![Vec::new(); rows.series.len()];
    for (index, reading) in rows.readings.iter().enumerate() {
        of_series[reading.series as usize].push(index);
    }
    let of_readings: Vec<Option<EventTime>> = rows.readings.iter().map(|reading| times[reading.row as usize]).collect();
    let late = |index: usize| late_rows.binary_search(&(rows.readings[index].row as usize)).is_ok();
    let late: Vec<usize> = (0..rows.readings.len()).filter(|index| !late_rows.is_empty() && late(*index)).collect();
    let (mut tracks, mut readings) = (Vec::new(), Vec::with_capacity(rows.readings.len()));
    for indexes in of_series {
        let order = sorted(indexes.into_iter(), &of_readings, &late);
        tracks.push(order.iter().map(|index| millis(&of_readings, *index)).collect());
        readings.extend((0..).zip(order).map(|(row, index)| {
            let reading = rows.readings[index];
            // The position keeps the order of the file for equal times.
            Reading { row, position: reading.row, ..reading }
        }));
    }
    let (past_covariate_values, future_covariate_values) = (Vec::new(), Vec::new());
    Ordered { tracks, series: rows.series, readings, long: true, past_covariate_values, future_covariate_values }
}

impl Ordered {
    /// Fills the table with the rows and their times.
    pub fn fill(self, table: &mut Table) {
        let mut readings = self.readings;
        for reading in &mut readings {
            let track = &self.tracks[if self.long { reading.series as usize } else { 0 }];
            reading.time = EventTime(track[reading.row as usize]);
        }
        table.rows = self.tracks.iter().map(Vec::len).max().unwrap_or(0);
        if self.long {
            // Merged by time, as in a topic.
            readings.sort_by_key(|reading| (reading.time, reading.position));
            (0..).zip(&mut readings).for_each(|(position, reading)| reading.position = position);
        } else if !self.future_covariate_values.is_empty() {
            table.future_covariate_times = self.tracks[0].iter().copied().map(EventTime).collect();
        }
        table.series = self.series;
        table.readings = readings;
        table.past_covariate_values = self.past_covariate_values;
        table.future_covariate_values = self.future_covariate_values;
    }
}
