//! What follows from the keys of a stream: lengths in steps, and what `auto` stands for.

use super::grid::{Interval, Season, months_millis};
use super::record::Time;
use super::stream::Stream;
use super::values::{Auto, Limit, Millis};
use crate::time::GridSpec;

impl Stream {
    /// Names of the fields that hold values.
    pub fn fields(&self) -> Vec<String> {
        self.values.iter().map(|value| value.field.clone()).collect()
    }

    /// How the grid is laid out; none where it is irregular.
    pub fn grid_spec(&self) -> Option<GridSpec> {
        let (length, origin) = (self.interval.length()?, self.origin);
        Some(GridSpec { length, origin, week_starts: self.week_starts.into() })
    }

    /// Steps per season; 0 where there is none. `Season::Auto` is one day where the interval divides it into 4 to 1440
    /// steps (intervals of one minute to six hours), one week where the interval is a day, one year where it is a week
    /// (52 steps), or months that divide it (12 months, 4 quarters), and none otherwise: a season of more steps costs
    /// each series much memory, and one of fewer steps shows no pattern. Whether a series has the season, its forecasts
    /// find out: where the season helps nothing, the experts that use it have no weight.
    pub fn season_steps(&self) -> u32 {
        let Some(interval) = self.interval.nominal().filter(|interval| interval.0 > 0) else { return 0 };
        let day = Millis::days(1).0;
        let steps = match (self.season, self.interval) {
            (Season::None, _) => 0,
            (Season::Every(season), _) => season.0 / interval.0,
            (Season::Months(season), Interval::Months(months)) => i64::from(season / months.max(1)),
            (Season::Months(season), _) => months_millis(season) / interval.0,
            (Season::Auto, Interval::Months(months @ 1..=6)) if 12 % months == 0 => i64::from(12 / months),
            (Season::Auto, Interval::Months(_)) => 0,
            (Season::Auto, _) if day % interval.0 == 0 && (4..=1440).contains(&(day / interval.0)) => day / interval.0,
            (Season::Auto, _) if interval.0 == day => 7,
            (Season::Auto, _) if interval.0 == 7 * day => 52,
            (Season::Auto, _) => 0,
        };
        u32::try_from(steps).unwrap_or(u32::MAX)
    }

    /// The season as it would be configured; none where there is none.
    pub fn season_length(&self) -> Option<Season> {
        let steps = self.season_steps();
        match (self.season, self.interval) {
            _ if steps == 0 => None,
            (Season::Months(_), _) => Some(self.season),
            (_, Interval::Months(months)) => Some(Season::Months(months.saturating_mul(steps))),
            _ => Some(Season::Every(Millis(self.interval.nominal()?.0.saturating_mul(i64::from(steps))))),
        }
    }

    /// Longest gap, in milliseconds, that does not reset a series. `auto` is two seasons, at least 64 steps; on an
    /// irregular grid one day.
    pub fn max_gap_millis(&self) -> i64 {
        match (self.max_gap, self.interval.nominal()) {
            (Auto::Set(gap), _) => gap.0,
            (Auto::Auto, None) => Millis::days(1).0,
            (Auto::Auto, Some(interval)) => {
                interval.0.saturating_mul(i64::from(self.season_steps().saturating_mul(2).max(64)))
            }
        }
    }

    /// Time without an observation, in milliseconds of the event time of its partition, after which a series ends; none
    /// where it never does. `auto` is four times [`Self::max_gap_millis`], at least seven days.
    pub fn series_ttl_millis(&self) -> Option<i64> {
        match self.series_ttl {
            Limit::None => None,
            Limit::Set(ttl) => Some(ttl.0),
            Limit::Auto => Some(self.max_gap_millis().saturating_mul(4).max(Millis::days(7).0)),
        }
    }

    /// How far a reading may be ahead of both its record's timestamp and the newest reading of its series, in
    /// milliseconds; `None` for any time. `auto` is four intervals, at least five minutes; on an irregular grid one
    /// hour.
    pub fn max_ahead_millis(&self) -> Option<i64> {
        match (self.max_ahead, self.interval.nominal()) {
            (Limit::None, _) => None,
            (Limit::Set(ahead), _) => Some(ahead.0),
            (Limit::Auto, None) => Some(Millis::hours(1).0),
            (Limit::Auto, Some(interval)) => Some(interval.0.saturating_mul(4).max(Millis::seconds(300).0)),
        }
    }

    /// How far a reading may be ahead of the newest reading of its series, whatever its record's timestamp, in
    /// milliseconds; `None` for any time. It is 1,000 intervals, at least one day, `max_gap` and `max_ahead`; on an
    /// irregular grid 30 days instead.
    pub fn max_step_millis(&self) -> Option<i64> {
        let steps = match self.interval.nominal() {
            None => Millis::days(30).0,
            Some(interval) => interval.0.saturating_mul(1_000).max(Millis::days(1).0),
        };
        Some(steps.max(self.max_gap_millis()).max(self.max_ahead_millis()?))
    }

    /// How far back training reads, in milliseconds. `auto` is `max_steps_per_series` intervals; on an irregular grid
    /// 30 days. The retention of the topics bounds it too.
    pub fn history_millis(&self) -> i64 {
        match (self.training.history, self.interval.nominal()) {
            (Auto::Set(history), _) => history.0,
            (Auto::Auto, None) => Millis::days(30).0,
            (Auto::Auto, Some(interval)) => interval.0.saturating_mul(i64::from(self.training.max_steps_per_series)),
        }
    }

    /// Most slots of future covariates that are kept for one key. `auto` is 65,536 where all series share them, and
    /// four horizons, at least 256, where each key has its own.
    pub fn future_covariate_slots(&self) -> u32 {
        match (self.future_covariates.slots, &self.future_covariates.key) {
            (Auto::Set(slots), _) => slots,
            (Auto::Auto, None) => 65_536,
            (Auto::Auto, Some(_)) => self.horizon.saturating_mul(4).max(256),
        }
    }

    /// Time zone of the timestamps of the stream that have no offset.
    pub fn timestamp_zone(&self) -> &str {
        self.zone_of(&self.time)
    }

    /// Time zone of the timestamps of `time` that have no offset.
    pub fn zone_of<'a>(&'a self, time: &'a Time) -> &'a str {
        match time {
            Time::Field { zone: Some(zone), .. } => zone,
            Time::Field { zone: None, .. } | Time::Record => &self.time_zone,
        }
    }
}
