//! How many values of a file have no effect, and why.

use super::refusals::Refusals;
use super::report::ReadingCounts;
use super::table::Table;
use crate::time::Grid;

/// From this share of refused, late and doubled values on, a report warns.
const WARN_FROM: f64 = 0.01;

/// How many values are taken and how many are not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Values that the engine takes.
    pub taken: u64,
    /// Values of refused rows and cells.
    pub refused: u64,
    /// Values whose step had passed.
    pub late: u64,
    /// Values whose step has one already.
    pub doubled: u64,
    /// What most of those without effect have in common, and what to do.
    pub cause: String,
}

impl Outcome {
    /// What the engine will do with the values of a table on `grid`.
    pub fn expected(table: &Table, grid: Grid) -> Self {
        let mut newest: Vec<Option<(i64, i64)>> = vec![None; table.series.len()];
        let (mut taken, mut doubled, mut equal, mut gaps) = (0, 0, 0, Vec::new());
        for reading in &table.readings {
            let slot = grid.slot(reading.time);
            let before = &mut newest[reading.series as usize];
            match before {
                Some((of_slot, time)) if *of_slot == slot => {
                    doubled += 1;
                    equal += u64::from(*time == reading.time.0);
                    gaps.push(reading.time.0 - *time);
                    *time = reading.time.0;
                }
                _ => {
                    taken += 1;
                    *before = Some((slot, reading.time.0));
                }
            }
        }
        let refusals = &table.refusals;
        let refused =
            refusals.rows() * (table.series.len() as u64).clamp(1, values_per_row(table)) + refusals.cells.count;
        let cause =
            if refused > doubled { refused_cause(refusals) } else { doubled_cause(table, doubled, equal, &mut gaps) };
        Self { taken, refused, late: 0, doubled, cause }
    }

    /// The same with what the engine did.
    #[must_use]
    pub fn with_counts(self, counts: ReadingCounts) -> Self {
        Self { taken: counts.accepted, late: counts.late, doubled: counts.duplicate, ..self }
    }

    /// The share of values without effect.
    pub fn share(&self) -> f64 {
        let lost = self.refused + self.late + self.doubled;
        lost as f64 / (lost + self.taken).max(1) as f64
    }

    /// How many values have no effect, and why.
    pub fn describe(&self) -> String {
        let lost = self.refused + self.late + self.doubled;
        let cause = if self.cause.is_empty() { "their steps had passed" } else { &self.cause };
        format!(
            "{lost} of {} values ({:.1} %) have no effect: {} refused, {} late, {} doubled; {cause}",
            lost + self.taken,
            100.0 * self.share(),
            self.refused,
            self.late,
            self.doubled
        )
    }

    /// A warning where more than 1 % of the values have no effect.
    pub fn warning(&self) -> Option<String> {
        (self.share() > WARN_FROM).then(|| format!("warning: {}", self.describe()))
    }
}

/// About how many values a row holds.
fn values_per_row(table: &Table) -> u64 {
    (table.readings.len() as u64).div_ceil(table.rows.max(1) as u64).max(1)
}

fn refused_cause(refusals: &Refusals) -> String {
    let commonest = refusals.commonest();
    let hint = if commonest == &refusals.cells { "; if the word means a missing value, --missing WORD" } else { "" };
    format!("most often as in {}{hint}", commonest.first)
}

/// Why several values lie in one step. `equal` of them have the same time; the others follow after `gaps`.
fn doubled_cause(table: &Table, doubled: u64, equal: u64, gaps: &mut [i64]) -> String {
    if doubled == 0 {
        return String::new();
    }
    if 2 * equal >= doubled {
        return match &table.likely_keys[..] {
            [] if table.dates_only => "the same dates repeat: if another column holds the time of day, --time \
                                       DATE,HOUR names both"
                .to_owned(),
            [] => "the same times repeat: --time names another column, --long --key one with the names of series"
                .to_owned(),
            keys => {
                let key = keys.join(",");
                format!("the same times repeat with another {key}: the file is a long one, --long --key {key}")
            }
        };
    }
    gaps.sort_unstable();
    let gap = gaps[gaps.len() / 2];
    format!(
        "values follow each other after {gap} ms, in steps of {} ms: a shorter --interval takes them all",
        table.interval
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::table::Reading;
    use crate::time::EventTime;

    fn table(times: &[i64]) -> Table {
        let reading =
            |(row, time): (u32, &i64)| Reading { time: EventTime(*time), value: 1.0, series: 0, row, position: row };
        let readings = (0..).zip(times).map(reading).collect();
        Table { series: vec!["x".into()], readings, rows: times.len(), interval: 60, ..Table::default() }
    }

    #[test]
    fn the_cause_of_doubled_values_is_named() {
        let grid = Grid::Regular { interval: 60 };
        let outcome = |table: &Table| Outcome::expected(table, grid);
        let good = outcome(&table(&[0, 60, 120]));
        assert_eq!((good.share(), good.warning()), (0.0, None));
        let repeated = Table { dates_only: true, ..table(&[0, 0, 0, 60]) };
        assert_eq!((outcome(&repeated).taken, outcome(&repeated).doubled), (2, 2));
        assert!(outcome(&repeated).warning().unwrap().contains("--time DATE,HOUR"));
        let long = Table { likely_keys: vec!["id".into()], ..repeated };
        assert!(outcome(&long).describe().contains("--long --key id"));
        let fine = outcome(&table(&[0, 15, 30, 45, 60]));
        assert!(fine.describe().starts_with("3 of 5 values (60.0 %) have no effect"), "{}", fine.describe());
        assert!(fine.describe().contains("after 15 ms, in steps of 60 ms"), "{}", fine.describe());
    }
}
