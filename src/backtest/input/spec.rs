//! How to read a file.

use jiff::tz::TimeZone;

use crate::wire::TimeFormat;

/// The layout of the series in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// Every numeric column is a series, and a row holds one reading of each.
    Wide {
        /// Only these columns; if empty, every column of numbers but one that counts the rows. A file whose times
        /// repeat with different names is then read as a long one.
        columns: Vec<String>,
    },
    /// A row holds one reading of one series.
    Long {
        /// Name of the column with the series' name, or several ones separated by commas.
        key: String,
        /// Name of the column with the value; `None` for the last column.
        value: Option<String>,
    },
}

/// The column of the event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeColumn {
    /// The column that holds times, or several that do together.
    Found,
    /// The column of this name, or several ones separated by commas, such as the date and the hour.
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
    /// Format of the timestamps; `None` to detect it from all of them.
    pub time_format: Option<TimeFormat>,
    /// Time zone of timestamps without an offset.
    pub zone: TimeZone,
    /// Step of the grid in milliseconds; `None` for the median time between successive readings, or a round step that
    /// explains it.
    pub interval: Option<i64>,
    /// Numbers that stand for a missing value.
    pub missing: Vec<f64>,
    /// Words that do, besides those that are known.
    pub missing_words: Vec<String>,
    /// The mark before decimals, `.` or `,`; the other one may stand between thousands. `None` to find it out.
    pub decimal: Option<u8>,
    /// Whether the first row names the columns; otherwise their names are 1, 2, 3 and so on. `None` to find it out.
    pub header: Option<bool>,
    /// Separator of the columns; `None` to find it out.
    pub delimiter: Option<u8>,
    /// The share of rows or of values, 0 to 1, that may be refused.
    pub max_refused: f64,
}

impl Default for ReadSpec {
    fn default() -> Self {
        Self {
            layout: Layout::Wide { columns: Vec::new() },
            past_covariates: Vec::new(),
            future_covariates: Vec::new(),
            time: TimeColumn::Found,
            time_format: None,
            zone: TimeZone::UTC,
            interval: None,
            missing: Vec::new(),
            missing_words: Vec::new(),
            decimal: None,
            header: None,
            delimiter: None,
            max_refused: 0.2,
        }
    }
}
