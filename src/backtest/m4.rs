//! The M4 competition (Makridakis, Spiliotis, Assimakopoulos, International Journal of Forecasting 2020): series
//! without timestamps, each forecast once from its end, with the competition's error measures.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use super::error::DataError;
use super::input::m4_rows::{M4Row, read_m4_rows};
use super::method::Method;
use super::naive2::{naive_error, naive2};
use super::report::Report;
use super::report_format::significant;
use super::table::{Reading, Table};
use crate::forecast::PointMeasures;
use crate::time::{EventTime, Grid};

/// Step of the grid in milliseconds. The files have no timestamps; with a step of one week the calendar features for
/// the time of day and the day of week are constant.
const STEP: i64 = 7 * 24 * 3_600_000;

/// The training and test values of the competition.
#[derive(Debug, Clone, PartialEq)]
pub struct M4 {
    /// All series, aligned at their ends, each followed by its `horizon` test values.
    pub table: Table,
    /// The first row of the test values.
    pub end: usize,
    /// Errors of Naive2, the competition's benchmark.
    pub naive2: M4Errors,
}

/// The competition's errors: means over all series and leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct M4Errors {
    /// Symmetric mean absolute percentage error, 0 to 200.
    pub smape: f64,
    /// Mean absolute scaled error.
    pub mase: f64,
}

impl M4 {
    /// Reads the training and the test file: one series per row, with its name first. `horizon` values of each series
    /// are forecast; a season has `period` steps, at least 1.
    ///
    /// # Errors
    /// If a file is invalid, or a series is missing or too short in one of them.
    pub fn read(train: &Path, test: &Path, period: usize, horizon: usize) -> Result<Self, DataError> {
        let (histories, tests) = (read_m4_rows(train)?, read_m4_rows(test)?);
        let invalid = |file: &Path, found: String, expected: String| DataError::File {
            file: file.display().to_string(),
            found,
            expected,
        };
        let tests: BTreeMap<&str, &M4Row> = tests.iter().map(|row| (row.name.as_str(), row)).collect();
        let mut pairs = Vec::with_capacity(histories.len());
        for history in &histories {
            let name = &history.name;
            if history.values.is_empty() {
                return Err(invalid(train, format!("the row of \"{name}\" is empty"), "its values".to_owned()));
            }
            let test_values = tests.get(name.as_str()).map_or(&[][..], |row| &row.values);
            if test_values.len() < horizon {
                let found = format!("it holds {} values of \"{name}\"", test_values.len());
                return Err(invalid(test, found, format!("the {horizon} values after those of the training file")));
            }
            pairs.push((history, &test_values[..horizon]));
        }
        Self::of(&pairs, period, horizon).ok_or_else(|| {
            let found = "Naive2 has no error to compare with".to_owned();
            let longest = EventTime::MAX.0 / STEP;
            invalid(
                test,
                found,
                format!("series that are not constant, longer than {period} and up to {longest} values"),
            )
        })
    }

    /// `None` if Naive2 has no error, or a row is too long for the grid.
    fn of(pairs: &[(&M4Row, &[Option<f64>])], period: usize, horizon: usize) -> Option<Self> {
        let end = pairs.iter().map(|(history, _)| history.values.len()).max()?;
        let mut table = Table { grid: Grid::Regular { interval: STEP }, rows: end + horizon, ..Table::default() };
        let mut measures = PointMeasures::default();
        for (series, (history, test_values)) in (0..).zip(pairs) {
            let first = end - history.values.len();
            for (row, value) in (first..).zip(history.values.iter().chain(*test_values)) {
                let Some(value) = *value else {
                    table.gaps += 1;
                    continue;
                };
                let row = u32::try_from(row).ok()?;
                let time = EventTime(i64::from(row) * STEP);
                if time > EventTime::MAX {
                    return None;
                }
                table.readings.push(Reading { time, value, series, row, position: row });
            }
            table.series.push(history.name.clone());
            let known: Vec<f64> = history.values.iter().copied().flatten().collect();
            let scale = naive_error(&known, period);
            for (forecast, value) in naive2(&known, period, horizon).into_iter().zip(*test_values) {
                value.iter().for_each(|value| measures.add(*value, forecast, forecast, scale));
            }
        }
        table.readings.sort_by_key(|reading| (reading.row, reading.series));
        let naive2 = M4Errors { smape: measures.smape()?, mase: measures.mase()? };
        (naive2.smape > 0.0 && naive2.mase > 0.0).then_some(Self { table, end, naive2 })
    }
}

impl M4Errors {
    /// The errors of a backtest of [`M4::table`] that scores the rows from [`M4::end`] on; `None` if nothing was
    /// scored.
    pub fn of(report: &Report) -> Option<Self> {
        let ours = report.results.iter().rfind(|row| row.method == Method::Foretide)?;
        Some(Self { smape: ours.smape?, mase: ours.mase? })
    }

    /// Overall weighted average: the mean of both errors, each relative to the error of Naive2.
    pub fn owa(&self, naive2: &Self) -> f64 {
        (self.smape / naive2.smape + self.mase / naive2.mase) / 2.0
    }

    /// One JSON object in the competition's order.
    pub fn json(&self, naive2: &Self) -> String {
        format!(r#"{{"smape":{},"mase":{},"owa":{}}}"#, self.smape, self.mase, self.owa(naive2))
    }

    /// A text table with Naive2 for comparison.
    pub fn table(&self, naive2: &Self) -> String {
        let mut out = format!("{:<10}{:>10}{:>10}{:>10}\n", "", "sMAPE", "MASE", "OWA");
        for (name, errors) in [("foretide", self), ("Naive2", naive2)] {
            let [smape, mase, owa] = [errors.smape, errors.mase, errors.owa(naive2)].map(significant);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<10}{smape:>10}{mase:>10}{owa:>10}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_aligned_at_their_ends_and_errors_equal_those_by_hand() {
        let row = |name: &str, values: &[f64]| M4Row {
            name: name.to_owned(),
            values: values.iter().copied().map(Some).collect(),
        };
        let (long, short) = (row("long", &[1.0, 2.0, 4.0]), row("short", &[10.0, 20.0]));
        let pairs = [(&long, &[Some(6.0), Some(12.0)][..]), (&short, &[Some(20.0), Some(60.0)][..])];
        let m4 = M4::of(&pairs, 1, 2).unwrap();
        let places: Vec<(u32, u32, f64)> =
            m4.table.readings.iter().map(|reading| (reading.row, reading.series, reading.value)).collect();
        let expected = [(0, 0, 1.0), (1, 0, 2.0), (1, 1, 10.0), (2, 0, 4.0), (2, 1, 20.0)];
        assert_eq!(places[..5], expected);
        assert_eq!(places[5..], [(3, 0, 6.0), (3, 1, 20.0), (4, 0, 12.0), (4, 1, 60.0)]);
        assert_eq!((m4.end, m4.table.rows), (3, 5));
        // The last value: errors 2 of 6 + 4 and 8 of 12 + 4, none, and 40 of 60 + 20; naive errors 1.5 and 10.
        let smape = (200.0 * 2.0 / 10.0 + 200.0 * 8.0 / 16.0 + 0.0 + 200.0 * 40.0 / 80.0) / 4.0;
        let mase = (2.0 / 1.5 + 8.0 / 1.5 + 0.0 + 40.0 / 10.0) / 4.0;
        assert!((m4.naive2.smape - smape).abs() < 1e-12 && (m4.naive2.mase - mase).abs() < 1e-12, "{:?}", m4.naive2);
        let half = M4Errors { smape: smape / 2.0, mase: mase / 4.0 };
        assert!((half.owa(&m4.naive2) - 0.375).abs() < 1e-12);
        let json: serde_json::Value = serde_json::from_str(&half.json(&m4.naive2)).unwrap();
        assert_eq!(json["smape"], half.smape);
        let still = row("still", &[1.0, 1.0, 1.0]);
        assert_eq!(M4::of(&[(&still, &[Some(1.0)][..])], 1, 1), None);
    }

    #[test]
    #[ignore = "needs ../shared/data/m4_weekly_{train,test}.csv.gz; scripts/test runs it where they exist"]
    fn naive2_of_the_weekly_series_has_the_published_errors() {
        let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
        let file = |name: &str| data.join(format!("m4_weekly_{name}.csv.gz"));
        let m4 = M4::read(&file("train"), &file("test"), 1, 13).unwrap();
        assert_eq!((m4.table.series.len(), m4.end), (359, 2597));
        assert!((m4.naive2.smape - 9.161).abs() < 5e-4 && (m4.naive2.mase - 2.777).abs() < 5e-4, "{:?}", m4.naive2);
    }
}
