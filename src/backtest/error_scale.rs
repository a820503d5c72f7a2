//! The scale in which a series' errors are measured, and the naive error for the MASE.

use std::ops::Range;

use super::slot_values::{SlotValues, mean_absolute_difference};
use super::table::Table;

/// Centre and scale of a series' errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ErrorScale {
    /// Subtracted first.
    pub centre: f64,
    /// Divided by then; positive.
    pub scale: f64,
    /// Mean absolute error, in scaled units, of the seasonal naive forecast one season ahead within the training rows
    /// (one step ahead without a season). The MASE is relative to it. `None` if these rows cover less than one season.
    pub naive_mae: Option<f64>,
}

impl ErrorScale {
    /// Scales a value.
    pub fn scaled(self, value: f64) -> f64 {
        (value - self.centre) / self.scale
    }

    /// The inverse of [`Self::scaled`].
    pub fn unscaled(self, value: f64) -> f64 {
        self.centre + self.scale * value
    }
}

/// Running mean and sum of squared deviations, by Welford's update: values far from zero cause no cancellation.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let deviation = value - self.mean;
        self.mean += deviation / self.count as f64;
        self.squares += deviation * (value - self.mean);
    }
}

/// The scale of every series. With `scale_rows` it is the mean and the population standard deviation (divided by n, as
/// in the published protocols) of those rows. Without, errors are in the series' own unit and the naive error comes
/// from `training_rows`.
pub(super) fn error_scales(
    table: &Table,
    scale_rows: Option<&Range<usize>>,
    training_rows: Range<usize>,
    season: usize,
) -> Vec<ErrorScale> {
    let naive_rows = scale_rows.cloned().unwrap_or(training_rows);
    let mut scales = vec![ErrorScale { centre: 0.0, scale: 1.0, naive_mae: None }; table.series.len()];
    if let Some(rows) = scale_rows {
        let mut moments = vec![Moments::default(); scales.len()];
        for reading in table.readings_in(rows) {
            moments[reading.series as usize].add(reading.value);
        }
        for (scale, Moments { count, mean, squares }) in scales.iter_mut().zip(moments) {
            let deviation = (squares / count.max(1) as f64).sqrt();
            scale.centre = mean;
            scale.scale = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
        }
    }
    let lag = i64::try_from(season.max(1)).unwrap_or(i64::MAX);
    let values = SlotValues::of_table(table, table.readings_in(&naive_rows));
    for (scale, values) in scales.iter_mut().zip(values) {
        scale.naive_mae = mean_absolute_difference(values.as_slice(), lag, scale.scale);
    }
    scales
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::table::Reading, time::EventTime};

    #[test]
    fn scale_and_naive_error_equal_those_by_hand() {
        let reading =
            |row: u32, value| Reading { time: EventTime(i64::from(row) * 1000), value, series: 0, row, position: row };
        let readings =
            [2.0, 4.0, 4.0, 6.0, 100.0].into_iter().zip(0..).map(|(value, row)| reading(row, value)).collect();
        let table = Table { series: vec!["a".into()], readings, rows: 5, ..Table::default() };
        let scale = error_scales(&table, Some(&(0..4)), 0..0, 2)[0];
        let deviation = 2.0_f64.sqrt();
        assert!((scale.centre - 4.0).abs() < 1e-12 && (scale.scale - deviation).abs() < 1e-12, "{scale:?}");
        assert!((scale.naive_mae.unwrap() - 2.0 / deviation).abs() < 1e-12, "{scale:?}");
        assert!((scale.scaled(6.0) - 2.0 / deviation).abs() < 1e-12);
        let scale = error_scales(&table, None, 0..3, 0)[0];
        assert_eq!(scale, ErrorScale { centre: 0.0, scale: 1.0, naive_mae: Some(1.0) });
        assert_eq!(error_scales(&table, None, 0..1, 0)[0].naive_mae, None);
    }
}
