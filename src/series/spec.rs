//! What a stream's configuration says about its series.

use std::sync::Arc;

use super::aggregation::Aggregation;
use super::calendar::Calendar;
use super::feature_layout::{
    FEATURES, FUTURE_COVARIATE_FEATURES, HOLIDAY_FEATURES, PAST_COVARIATE_FEATURES, YEAR_FEATURES,
};
use super::future_covariates::FutureCovariateSpec;
use super::holidays::Holidays;
use crate::time::{EventTime, Grid};

/// The most past covariates of a series: bounds the features and regressors of one step.
pub const MAX_PAST_COVARIATES: usize = 8;

/// Over more empty slots than this a series jumps, and may return (see `time_doubt`).
const JUMP_SLOTS: u32 = 64;

/// Optional features of a step, beside its own value, time of day and time of week. None by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExtraFeatures {
    /// Whether the time of year is a feature.
    pub year_phase: bool,
    /// Holidays of the stream's region.
    pub holidays: Option<Holidays>,
    /// Names of the past covariates: they arrive with the values and are not forecast; at most [`MAX_PAST_COVARIATES`].
    pub past_covariates: Arc<[String]>,
    /// Future covariates; on a regular grid only.
    pub future_covariates: FutureCovariateSpec,
}

impl ExtraFeatures {
    /// How many features they add to a step.
    pub fn features(&self) -> usize {
        let year = if self.year_phase { YEAR_FEATURES } else { 0 };
        let holidays = if self.holidays.is_some() { HOLIDAY_FEATURES } else { 0 };
        let past = self.past_covariates.len() * PAST_COVARIATE_FEATURES;
        let future = self.future_covariates.names.len() * FUTURE_COVARIATE_FEATURES;
        year + holidays + past + future
    }
}

/// Whose event time closes the slots of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseBy {
    /// Its own.
    Series,
    /// That of its partition, too.
    Partition,
}

/// What an empty slot means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Its value is unknown.
    Gap,
    /// Its value is 0.
    Zero,
    /// Its value is unknown, and it has an anomaly score of its own.
    Anomaly,
}

/// What a stream's configuration says about its series: plain data, the same for all series of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSpec {
    /// How event time is divided into slots.
    pub grid: Grid,
    /// How the readings of one slot become its value.
    pub aggregation: Aggregation,
    /// A slot closes as soon as it holds this many readings, and all earlier slots with it.
    pub readings_per_slot: Option<u32>,
    /// Whose event time closes slots.
    pub close_by: CloseBy,
    /// What an empty slot means.
    pub absence: Absence,
    /// So many of the newest closed slots are corrected by late readings; on a regular grid only.
    pub correction: u32,
    /// How far a reading may lag behind the newest event time of its series, in milliseconds.
    pub allowed_lateness: i64,
    /// How far a reading may be ahead both of its record's timestamp and of the newest reading of its series, in
    /// milliseconds; `i64::MAX` for any time.
    pub max_ahead: i64,
    /// How far a reading may be ahead of the newest reading of its series, in milliseconds; `i64::MAX` for any time.
    pub max_step: i64,
    /// The same where its record's timestamp agrees with its time, as after an outage.
    pub max_outage: i64,
    /// Regular grid: the longest run of empty slots that is bridged. After a longer one the series resets.
    pub max_gap: u32,
    /// Irregular grid: the longest time between two readings that is bridged, in milliseconds; 0 for any.
    pub max_gap_millis: i64,
    /// Steps in a season (24 for a daily season of hourly slots); below 2 there is no season.
    pub season: u32,
    /// Steps ahead that are forecast.
    pub horizon: u32,
    /// Recent steps that are replayed through new weights to rebuild the network's hidden state.
    pub burn_in: u32,
    /// The time zone of days and weeks.
    pub calendar: Calendar,
    /// Whether a network asks for each lead by a query: then a series keeps a phase store, and its features do not
    /// depend on the horizon.
    pub queries: bool,
    /// Optional features.
    pub extra: ExtraFeatures,
}

impl SeriesSpec {
    /// A spec for series on `grid` with a horizon of one step, without season, lateness or extra features, in UTC.
    pub fn new(grid: Grid) -> Self {
        Self {
            grid,
            aggregation: Aggregation::Mean,
            readings_per_slot: None,
            close_by: CloseBy::Series,
            absence: Absence::Gap,
            correction: 0,
            allowed_lateness: 0,
            max_ahead: i64::MAX,
            max_step: i64::MAX,
            max_outage: i64::MAX,
            max_gap: 10,
            max_gap_millis: 0,
            season: 0,
            horizon: 1,
            burn_in: 4,
            calendar: Calendar::utc(),
            queries: false,
            extra: ExtraFeatures::default(),
        }
    }

    /// Whether a series jumps between two event times: over [`JUMP_SLOTS`] empty slots, or a gap that resets it.
    pub(super) fn jumps(&self, before: EventTime, after: EventTime) -> bool {
        if self.grid == Grid::Irregular {
            return self.max_gap_millis > 0 && after.0.saturating_sub(before.0) > self.max_gap_millis;
        }
        let empty = self.grid.slot(after).saturating_sub(self.grid.slot(before)).saturating_sub(1);
        empty > i64::from(self.max_gap.min(JUMP_SLOTS))
    }

    /// Times of different series that differ by more do not belong together, in milliseconds.
    pub fn clock_tolerance(&self) -> i64 {
        let interval = self.grid.nominal_interval().unwrap_or(1);
        interval.saturating_mul(i64::from(JUMP_SLOTS)).saturating_add(self.allowed_lateness)
    }

    /// Steps of a season, where there is one.
    pub fn seasonal(&self) -> Option<usize> {
        (self.season >= 2).then_some(self.season as usize)
    }

    /// Steps of a season whose phases a phase store keeps, where there is one.
    pub(super) fn phase_season(&self) -> Option<usize> {
        self.seasonal().filter(|_| self.queries && self.grid != Grid::Irregular)
    }

    /// Features of one step.
    pub fn features(&self) -> usize {
        FEATURES + self.extra.features()
    }

    /// Steps that the context holds: every lag that a forecast, its scoring and a burn-in refer to.
    pub fn context_len(&self) -> usize {
        self.season as usize + self.horizon.max(self.burn_in) as usize + 2
    }

    /// Time constant of the running location and scale, in steps: three seasons, at least 128.
    pub(super) fn scale_window(&self) -> u32 {
        self.season.saturating_mul(3).max(128)
    }
}
