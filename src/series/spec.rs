//! What a stream says about its series.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::covariates::COVARIATE_FEATURES;
use super::features::{FEATURES, HOLIDAY_FEATURES, YEAR_FEATURES};
use super::foreknown::KNOWN_FEATURES;
use super::{Calendar, Holidays};
use crate::time::Grid;

/// Values are held to `-LIMIT..=LIMIT`, so that differences, squares and their sums stay finite. No measurement of
/// anything real comes near it.
pub const LIMIT: f64 = 1e150;

/// Whether a number can have come of values that are held to [`LIMIT`]: one of them, a difference, a mean, all rounded.
pub(crate) fn is_within_limit(number: f64) -> bool {
    number.abs() <= 4.0 * LIMIT
}

/// The most covariates of a series.
pub const MAX_PAST_COVARIATES: usize = 8;

/// The most numbers of a series that are known in advance.
pub const MAX_FUTURE_COVARIATES: usize = 8;

/// How the readings of one slot become its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregation {
    /// The arithmetic mean.
    Mean,
    /// The sum.
    Sum,
    /// The smallest reading.
    Min,
    /// The largest reading.
    Max,
    /// The reading with the earliest event time; of equal ones the first to arrive.
    First,
    /// The reading with the latest event time; of equal ones the last to arrive.
    Last,
    /// How many readings there were. A slot without readings has the value 0: it is known, not missing.
    Count,
}

/// What a step is described by beside its own value and its time of day and of week; by default nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExtraFeatures {
    /// Whether the time of year is a feature.
    pub year_phase: bool,
    /// Days that are not taken for their weekday.
    pub holidays: Option<Holidays>,
    /// Names of the covariates: numbers that come with the values and are not forecast; at most [`MAX_PAST_COVARIATES`].
    pub past_covariates: Arc<[String]>,
    /// Numbers that are known in advance; on a regular grid only.
    pub future_covariates: Known,
}

/// Numbers that are known in advance, such as a weather forecast, and come by themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Known {
    /// Their names; at most [`MAX_FUTURE_COVARIATES`].
    pub names: Arc<[String]>,
    /// Whether they are told of the series of one key; otherwise of all series.
    pub keyed: bool,
    /// What may follow the key in the name of a series.
    pub suffixes: Arc<[String]>,
    /// The most slots of one key of which they are held, the latest ones.
    pub max_slots: usize,
}

impl Known {
    /// The key under which numbers are told of a series.
    pub fn key_of<'a>(&self, series: &'a str) -> &'a str {
        if !self.keyed {
            return "";
        }
        self.suffixes.iter().find_map(|suffix| series.strip_suffix(suffix.as_str())).unwrap_or(series)
    }
}

impl ExtraFeatures {
    /// How many features it adds.
    pub fn features(&self) -> usize {
        let year = if self.year_phase { YEAR_FEATURES } else { 0 };
        let holidays = if self.holidays.is_some() { HOLIDAY_FEATURES } else { 0 };
        year + holidays
            + self.past_covariates.len() * COVARIATE_FEATURES
            + self.future_covariates.names.len() * KNOWN_FEATURES
    }
}

/// What a stream says about its series: pure data, the same for all series of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSpec {
    /// How event time is cut into slots.
    pub grid: Grid,
    /// How the readings of one slot become its value.
    pub aggregation: Aggregation,
    /// A slot closes at once when it holds this many readings, and all earlier slots with it.
    pub readings_per_slot: Option<u32>,
    /// How far behind the newest event time of its series a reading may come, in milliseconds.
    pub allowed_lateness: i64,
    /// Regular grid: the longest run of empty slots that is bridged; the series starts anew after a longer one.
    pub max_gap: u32,
    /// Irregular grid: the longest time between two readings, in milliseconds, that is bridged; 0: any.
    pub max_gap_millis: i64,
    /// Steps in a season (a day of hourly slots: 24); below 2 there is none.
    pub season: u32,
    /// Steps ahead that are forecast.
    pub horizon: u32,
    /// Steps that are run again through new weights.
    pub burn_in: u32,
    /// The time zone of days and weeks.
    pub calendar: Calendar,
    /// What describes a step beside these.
    pub extra: ExtraFeatures,
}

impl SeriesSpec {
    /// Steps of a season, where there is one.
    pub fn seasonal(&self) -> Option<usize> {
        (self.season >= 2).then_some(self.season as usize)
    }

    /// Features of one step.
    pub fn features(&self) -> usize {
        FEATURES + self.extra.features()
    }

    /// Steps that the context holds: every lag that a forecast, its scoring and a burn-in look back on.
    pub fn context_len(&self) -> usize {
        self.season as usize + self.horizon.max(self.burn_in) as usize + 2
    }

    /// The shortest memory of the running location and scale, in steps: three seasons, at least 128.
    pub(super) fn memory(&self) -> u32 {
        self.season.saturating_mul(3).max(128)
    }
}
