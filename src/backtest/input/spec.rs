//! How to read a file.

use jiff::tz::TimeZone;

use super::grid_detection::GridRequest;
use crate::wire::TimeFormat;

/// The layout of the series in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// Every numeric column is a series, and a row holds one reading of each.
    Wide {
        /// Only these columns; if empty, every column that begins with a number.
        columns: Vec<String>,
    },
    /// A row holds one reading of one series.
    Long {
        /// Name of the column with the series' name.
        key: String,
        /// Name of the column with the value; `None` for the last column.
        value: Option<String>,
    },
}

/// The column of the event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeColumn {
    /// The first column other than the key.
    First,
    /// The column of this name.
    Named(String),
    /// There is none: rows are counted.
    None,
}

/// How to read a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadSpec {
    /// Layout of the series.
    pub layout: Layout,
    /// Wide layout: columns that are past covariates. They are not forecast.
    pub past_covariates: Vec<String>,
    /// Wide layout: columns that are future covariates. They are not forecast.
    pub future_covariates: Vec<String>,
    /// Column of the event time.
    pub time: TimeColumn,
    /// Format of the timestamps; `None` to detect it from the first rows.
    pub time_format: Option<TimeFormat>,
    /// Time zone of timestamps without an offset.
    pub zone: TimeZone,
    /// The grid, as far as it is not found from the timestamps.
    pub grid: GridRequest,
    /// Numbers that stand for a missing value.
    pub missing: Vec<f64>,
    /// Whether the first row names the columns. Otherwise their names are 1, 2, 3 and so on.
    pub header: bool,
    /// Separator of the columns.
    pub delimiter: u8,
}

impl Default for ReadSpec {
    fn default() -> Self {
        Self {
            layout: Layout::Wide { columns: Vec::new() },
            past_covariates: Vec::new(),
            future_covariates: Vec::new(),
            time: TimeColumn::First,
            time_format: None,
            zone: TimeZone::UTC,
            grid: GridRequest::default(),
            missing: Vec::new(),
            header: true,
            delimiter: b',',
        }
    }
}
