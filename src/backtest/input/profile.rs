//! What the columns of a file hold, by a sample of its rows.

use csv::ByteRecord;

use super::cells::{CellRule, text};
use crate::backtest::timestamps::ORDERS;
use crate::wire::{Stamp, parse_stamp, parse_time_of_day};

/// What most cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All are gaps.
    Empty,
    /// Text with a date.
    Stamps,
    /// A time of day without a date.
    TimesOfDay,
    /// Numbers, which may be dates, too.
    Numbers,
    /// Other text.
    Words,
}

/// A column of the sample.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub kind: Kind,
    /// Number of cells that are no gaps.
    pub cells: usize,
    /// Number of cells of its kind.
    pub fitting: usize,
    /// Whether no timestamp has a time of day.
    pub dates_only: bool,
}

/// Whether text is a timestamp in some order of its parts.
pub(super) fn any_stamp(text: &str) -> Option<Stamp> {
    ORDERS.iter().find_map(|order| parse_stamp(text, *order))
}

/// A sample of a file's rows.
pub(super) struct Sample<'a> {
    pub rows: &'a [ByteRecord],
    pub rule: CellRule<'a>,
    pub names: &'a [String],
}

impl Sample<'_> {
    /// The profile of each column.
    pub fn profiles(&self) -> Vec<Profile> {
        (0..self.names.len()).map(|column| self.profile(column)).collect()
    }

    fn profile(&self, column: usize) -> Profile {
        let [mut stamps, mut times, mut numbers, mut words] = [0; 4];
        let mut dates_only = true;
        for cell in self.cells(column).filter(|cell| !self.rule.is_gap(cell)) {
            if let Ok(number) = self.rule.number(cell) {
                numbers += usize::from(number.is_some());
                continue;
            }
            let text = text(cell);
            if let Some(stamp) = any_stamp(&text) {
                stamps += 1;
                dates_only &= stamp.date_only;
            } else if parse_time_of_day(&text).is_some() {
                times += 1;
            } else {
                words += 1;
            }
        }
        let cells = stamps + times + numbers + words;
        let kinds = [(stamps, Kind::Stamps), (numbers, Kind::Numbers), (times, Kind::TimesOfDay), (words, Kind::Words)];
        // Of several that are equally frequent, the first.
        let best = kinds.into_iter().rev().max_by_key(|(count, _)| *count).filter(|(count, _)| *count > 0);
        let (fitting, kind) = best.unwrap_or((0, Kind::Empty));
        Profile { kind, cells, fitting, dates_only }
    }

    /// The cells of a column, without spaces around them.
    pub fn cells(&self, column: usize) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(move |row| row.get(column).unwrap_or_default().trim_ascii())
    }

    /// The numbers of a column, `None` for what is none.
    pub fn numbers(&self, column: usize) -> impl Iterator<Item = Option<f64>> {
        self.cells(column).map(|cell| self.rule.number(cell).ok().flatten())
    }

    /// Whether every number of a column is whole and lies within bounds.
    pub fn whole_within(&self, column: usize, least: f64, most: f64) -> bool {
        self.numbers(column).flatten().all(|number| number.fract() == 0.0 && (least..=most).contains(&number))
    }

    /// The share of steps from one number to the next that are up and that are down.
    pub fn directions(&self, column: usize) -> [f64; 2] {
        let numbers: Vec<f64> = self.numbers(column).flatten().collect();
        let steps = numbers.len().saturating_sub(1).max(1) as f64;
        let count = |is: fn(f64, f64) -> bool| numbers.windows(2).filter(|pair| is(pair[0], pair[1])).count() as f64;
        [count(|earlier, later| later > earlier) / steps, count(|earlier, later| later < earlier) / steps]
    }

    /// Whether a column counts its rows: in some order, each number is one more than another.
    pub fn counts_rows(&self, column: usize) -> bool {
        let mut numbers: Vec<f64> = self.numbers(column).flatten().collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let jumps = numbers.windows(2).filter(|pair| pair[1] - pair[0] != 1.0).count();
        // The sample of a large file has three parts.
        let parts = if numbers.len() > 100 { 2 } else { 0 };
        numbers.len() > 2 && jumps <= parts && numbers.iter().all(|number| number.fract() == 0.0)
    }

    /// The share of rows whose cells in `columns` are those of another row.
    pub fn repeated(&self, columns: &[usize]) -> f64 {
        let key = |row: &ByteRecord| {
            let cells = columns.iter().map(|column| row.get(*column).unwrap_or_default().trim_ascii());
            cells.collect::<Vec<_>>().join(&0)
        };
        let mut keys: Vec<Vec<u8>> = self.rows.iter().map(key).collect();
        keys.sort_unstable();
        let distinct = keys.chunk_by(|one, other| one == other).count();
        1.0 - distinct as f64 / self.rows.len().max(1) as f64
    }

    /// Number of different cells of a column.
    pub fn distinct(&self, column: usize) -> usize {
        let mut cells: Vec<&[u8]> = self.cells(column).collect();
        cells.sort_unstable();
        cells.dedup();
        cells.len()
    }
}
