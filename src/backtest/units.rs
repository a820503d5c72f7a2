//! The unit in which a series' errors are measured, and how well the naive forecast does in its training rows.

use std::ops::Range;

use super::table::Table;
use crate::time::Grid;

/// A series' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// What is subtracted first.
    pub centre: f64,
    /// What is divided by then; positive.
    pub scale: f64,
    /// Mean absolute error, in this unit, of the seasonal naive forecast one season ahead (one step ahead without a season)
    /// within the training rows: what the scaled error is scaled by. None where no two of them lie a season apart.
    pub naive: Option<f64>,
}

impl Unit {
    pub fn of(self, value: f64) -> f64 {
        (value - self.centre) / self.scale
    }

    /// What [`Self::of`] made `value` of.
    pub fn back(self, value: f64) -> f64 {
        self.centre + self.scale * value
    }
}

/// The unit of every series. With `scale_rows` it is centred at their mean and as long as their standard deviation (the
/// mean over all of them, not over one less, as in the published protocols); without, errors are in the series' own unit and
/// the naive error comes from `training_rows`.
pub(super) fn units(
    table: &Table,
    scale_rows: Option<&Range<usize>>,
    training_rows: Range<usize>,
    season: usize,
) -> Vec<Unit> {
    let naive_rows = scale_rows.cloned().unwrap_or(training_rows);
    let mut units = vec![Unit { centre: 0.0, scale: 1.0, naive: None }; table.series.len()];
    if let Some(rows) = scale_rows {
        let mut sums = vec![(0_u64, 0.0, 0.0); units.len()];
        for (series, value) in within(table, rows) {
            // Welford's update: no cancellation for values far from zero.
            let (count, mean, squares) = &mut sums[series];
            *count += 1;
            let apart = value - *mean;
            *mean += apart / *count as f64;
            *squares += apart * (value - *mean);
        }
        for (unit, (count, mean, squares)) in units.iter_mut().zip(sums) {
            let deviation = (squares / count.max(1) as f64).sqrt();
            unit.centre = mean;
            unit.scale = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
        }
    }
    let lag = i64::try_from(if season >= 2 { season } else { 1 }).unwrap_or(i64::MAX);
    let grid = Grid::Regular { interval: table.interval };
    let mut slots: Vec<Vec<(i64, f64)>> = vec![Vec::new(); units.len()];
    let inside = table.readings.iter().filter(|reading| naive_rows.contains(&(reading.row as usize)));
    for reading in inside {
        let (slots, slot) = (&mut slots[reading.series as usize], grid.slot(reading.time));
        // What does not move on is late or doubled.
        if slots.last().is_none_or(|(last, _)| *last < slot) {
            slots.push((slot, reading.value));
        }
    }
    for (unit, slots) in units.iter_mut().zip(slots) {
        let error = |&(slot, value): &(i64, f64)| {
            let at = slots.binary_search_by_key(&(slot - lag), |(slot, _)| *slot).ok()?;
            Some((value - slots[at].1).abs() / unit.scale)
        };
        let (count, sum) =
            slots.iter().filter_map(error).fold((0_u64, 0.0), |(count, sum), error| (count + 1, sum + error));
        unit.naive = (count > 0).then(|| sum / count as f64);
    }
    units
}

fn within<'a>(table: &'a Table, rows: &'a Range<usize>) -> impl Iterator<Item = (usize, f64)> + 'a {
    let inside = table.readings.iter().filter(|reading| rows.contains(&(reading.row as usize)));
    inside.map(|reading| (reading.series as usize, reading.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::table::Reading, time::EventTime};

    #[test]
    fn units_by_hand() {
        let reading =
            |row: u32, value| Reading { time: EventTime(i64::from(row) * 1000), value, series: 0, row, position: row };
        let readings =
            [2.0, 4.0, 4.0, 6.0, 100.0].into_iter().zip(0..).map(|(value, row)| reading(row, value)).collect();
        let table = Table { series: vec!["a".into()], readings, rows: 5, interval: 1000, ..Table::default() };
        let unit = units(&table, Some(&(0..4)), 0..0, 2)[0];
        let deviation = 2.0_f64.sqrt();
        assert!((unit.centre - 4.0).abs() < 1e-12 && (unit.scale - deviation).abs() < 1e-12, "{unit:?}");
        assert!((unit.naive.unwrap() - 2.0 / deviation).abs() < 1e-12, "{unit:?}");
        assert!((unit.of(6.0) - 2.0 / deviation).abs() < 1e-12);
        let unit = units(&table, None, 0..3, 0)[0];
        assert_eq!(unit, Unit { centre: 0.0, scale: 1.0, naive: Some(1.0) });
        assert_eq!(units(&table, None, 0..1, 0)[0].naive, None);
    }
}
