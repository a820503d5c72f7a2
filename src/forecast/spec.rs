//! The configuration of a stream's forecasts.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::anomaly::thresholds::AnomalyThresholds;
use super::experts::expert::LINEAR_EXPERTS;
use super::history::phase::Cycle;
use super::lead_tables::{LeadTables, bucket_ends, bucket_middles};
use super::level_tables::{LevelTables, MAX_LEVELS};
use crate::series::{
    Calendar, ExtraFeatures, Holidays, LocalSlots, MAX_FUTURE_COVARIATES, PAST_COVARIATE_REGRESSORS, Target,
};
use crate::time::Grid;

/// A day of 24 hours, in milliseconds.
const DAY: i64 = 86_400_000;
const DAYS_PER_WEEK: i64 = 7;
/// The longest horizon, in steps.
pub const MAX_HORIZON: usize = 4096;

/// Why a [`ForecastSpec`] cannot be built.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ForecastSpecError {
    /// The horizon is out of range.
    #[error("horizon is {0} steps; expected 1 to {MAX_HORIZON}")]
    Horizon(usize),
    /// A level lies outside of 0 to 1, or the levels do not ascend.
    #[error("quantile levels {0:?}: expected 1 to {MAX_LEVELS} ascending numbers between 0 and 1")]
    Levels(Vec<f32>),
    /// The median is missing.
    #[error("quantile levels {0:?}: expected 0.5 among them")]
    NoMedian(Vec<f32>),
    /// The threshold is infinite or NaN.
    #[error("threshold {0}: expected a finite number")]
    Threshold(f64),
}

/// What is forecast; the same for all series of a stream.
///
/// Leads are grouped in buckets that double: 1, 2..=3, 4..=6, 7..=12, 13..=24 and so on. A bucket is scored at two
/// leads: the experts and the point forecast at its middle, the quantiles at its end. Leads between are interpolated.
///
/// A forecast of an aggregate ([`Self::aggregate`]) has one output, at the lead at which the aggregate is complete: the
/// horizon.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastSpec {
    /// Steps ahead that are forecast.
    pub horizon: usize,
    /// Quantile levels, ascending; 0.5 is among them.
    pub levels: Vec<f32>,
    /// Steps in a season; below 2 there is none.
    pub season: usize,
    /// Days that do not count as their weekday; only where a season is a day or a week.
    pub(super) holidays: Option<Holidays>,
    /// The same where a step is a day or longer, and a season something else: how many of them a step holds is a future
    /// covariate, the last one.
    pub(super) holiday_counts: Option<Holidays>,
    /// Where a season is whole days: its phase is that of the local time.
    pub(super) local_slots: LocalSlots,
    /// Number of past covariates.
    pub(super) past_covariates: usize,
    /// Number of future covariates, that of holidays included.
    pub(super) future_covariates: usize,
    /// The aggregate of the horizon that is forecast; `None`: each of its steps.
    pub target: Option<Target>,
    /// The forecast of an aggregate says how probably it exceeds this, or falls below it where it is a minimum.
    pub threshold: Option<f64>,
    /// When a series is called anomalous.
    pub anomaly: AnomalyThresholds,
    /// Whether an absent value has an anomaly score.
    pub scores_absence: bool,
    /// Last lead of each bucket, ascending; the last one is `horizon`.
    pub buckets: Vec<usize>,
    /// Lead of each bucket at which points are scored.
    pub middles: Vec<usize>,
    /// Most linear experts.
    pub linear_experts: usize,
    /// Whether the network's median alone is the point forecast, to evaluate the network without the other experts.
    pub network_alone: bool,
    /// Whether the network is pre-trained: then its forecasts are sensible before anything is known of a series.
    pub pretrained: bool,
    /// The first lead that is forecast.
    first: usize,
    pub(super) lead_tables: LeadTables,
    pub(super) level_tables: LevelTables,
}

impl ForecastSpec {
    /// A forecast of each step of the horizon.
    ///
    /// # Errors
    /// Where the horizon or the levels are out of range.
    pub fn new(horizon: usize, levels: &[f32], season: usize) -> Result<Self, ForecastSpecError> {
        Self::build(horizon, levels, season, None)
    }

    /// A forecast of an aggregate of all steps of the horizon, and of how probably it crosses `threshold`.
    ///
    /// # Errors
    /// Where the horizon, the levels or the threshold are out of range.
    pub fn aggregate(
        horizon: usize,
        levels: &[f32],
        season: usize,
        target: Target,
        threshold: Option<f64>,
    ) -> Result<Self, ForecastSpecError> {
        match threshold {
            Some(threshold) if !threshold.is_finite() => Err(ForecastSpecError::Threshold(threshold)),
            _ => Ok(Self { threshold, ..Self::build(horizon, levels, season, Some(target))? }),
        }
    }

    fn build(horizon: usize, levels: &[f32], season: usize, target: Option<Target>) -> Result<Self, ForecastSpecError> {
        if horizon == 0 || horizon > MAX_HORIZON {
            return Err(ForecastSpecError::Horizon(horizon));
        }
        let ascending = levels.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
        if levels.is_empty() || levels.len() > MAX_LEVELS || !ascending || !inside {
            return Err(ForecastSpecError::Levels(levels.to_vec()));
        }
        let Some(median) = levels.iter().position(|level| *level == 0.5) else {
            return Err(ForecastSpecError::NoMedian(levels.to_vec()));
        };
        let first = if target.is_some() { horizon } else { 1 };
        let buckets = if target.is_some() { vec![horizon] } else { bucket_ends(horizon) };
        let middles = if target.is_some() { vec![horizon] } else { bucket_middles(&buckets, season) };
        Ok(Self {
            horizon,
            levels: levels.to_vec(),
            season,
            holidays: None,
            holiday_counts: None,
            local_slots: LocalSlots::default(),
            past_covariates: 0,
            future_covariates: 0,
            target,
            threshold: None,
            anomaly: AnomalyThresholds::default(),
            scores_absence: false,
            linear_experts: LINEAR_EXPERTS,
            network_alone: false,
            pretrained: false,
            first,
            lead_tables: LeadTables::new(first, &buckets, &middles),
            level_tables: LevelTables::new(levels, median),
            buckets,
            middles,
        })
    }

    /// Adds the holidays and the covariates of the stream's series.
    #[must_use]
    pub fn with_extra(self, extra: &ExtraFeatures) -> Self {
        let season = i64::try_from(self.season).unwrap_or(i64::MAX);
        let days = extra.holidays.as_ref().map_or(0, Holidays::slots_per_day);
        let in_profile = season == days || season == days.saturating_mul(DAYS_PER_WEEK);
        let names = extra.future_covariates.names.len();
        let counted = !in_profile && days == 1 && names < MAX_FUTURE_COVARIATES;
        Self {
            holidays: extra.holidays.clone().filter(|_| in_profile),
            holiday_counts: extra.holidays.clone().filter(|_| counted),
            past_covariates: extra.past_covariates.len(),
            future_covariates: names + usize::from(counted),
            ..self
        }
    }

    /// The same with seasons of whole days that follow the local time of `calendar`.
    #[must_use]
    pub fn with_local_time(self, calendar: &Calendar, grid: &Grid) -> Self {
        let season = i64::try_from(self.season).unwrap_or(i64::MAX);
        let is_days = grid.nominal_interval().is_some_and(|interval| season.saturating_mul(interval) % DAY == 0);
        let local_slots = if is_days { LocalSlots::new(calendar, grid) } else { LocalSlots::default() };
        Self { local_slots, ..self }
    }

    /// Whether holidays have a seasonal profile of their own.
    pub fn holidays(&self) -> bool {
        self.holidays.is_some()
    }

    /// Whether the number of holidays of a step is a future covariate.
    pub fn counts_holidays(&self) -> bool {
        self.holiday_counts.is_some()
    }

    /// Regressors of the past covariates at one step.
    pub(super) fn past_covariate_regressors(&self) -> usize {
        self.past_covariates * PAST_COVARIATE_REGRESSORS
    }

    /// Linear experts in use: those with a seasonal baseline need a season.
    pub(super) fn active_linear_experts(&self) -> usize {
        self.linear_experts.min(if self.season >= 2 { LINEAR_EXPERTS } else { 1 })
    }

    /// The cycle of the seasonal profile; without a season where no expert looks at it.
    pub(super) fn cycle(&self) -> Cycle<'_> {
        if self.active_linear_experts() > 1 {
            Cycle { season: self.season, holidays: self.holidays.as_ref(), local_slots: Some(&self.local_slots) }
        } else {
            Cycle { season: 0, holidays: None, local_slots: None }
        }
    }

    /// Outputs of a forecast: the horizon, or 1 for an aggregate.
    pub fn outputs(&self) -> usize {
        self.horizon + 1 - self.first
    }

    /// The leads of the outputs, in order: all up to the horizon, or the horizon alone for an aggregate.
    pub fn leads(&self) -> RangeInclusive<usize> {
        self.first..=self.horizon
    }

    /// The index of a lead among the outputs.
    pub fn output_index(&self, lead: usize) -> usize {
        lead - self.first
    }

    /// The lag of the seasonal naive forecast at `lead`, counted back from the target: the fewest whole seasons that
    /// reach back to an observed value. `None` without a season.
    pub fn seasonal_lag(&self, lead: usize) -> Option<usize> {
        (self.season >= 2).then(|| lead.div_ceil(self.season) * self.season)
    }

    /// The approximate mean of a distribution with these quantiles, `[level]`.
    pub(super) fn mean_of_quantiles(&self, quantiles: &[f32]) -> f32 {
        quantiles.iter().zip(&self.level_tables.mean_weights).map(|(quantile, weight)| quantile * weight).sum()
    }

    /// Index of the level 0.5.
    pub fn median(&self) -> usize {
        self.level_tables.median
    }

    /// Central intervals: pairs of levels `(low, high)` with `low + high = 1`, by index, outermost first.
    pub fn intervals(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.level_tables.intervals.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

    #[test]
    fn an_aggregate_has_one_output_at_the_horizon() {
        for horizon in [1, 2, 24, 100] {
            let spec = ForecastSpec::aggregate(horizon, &LEVELS, 24, Target::Mean, Some(3.0)).unwrap();
            assert_eq!((spec.buckets.as_slice(), spec.middles.as_slice()), (&[horizon][..], &[horizon][..]));
            assert_eq!((spec.outputs(), spec.output_index(horizon)), (1, 0));
            assert_eq!((spec.lead_tables.middles.len(), spec.lead_tables.ends.len()), (1, 1));
        }
        let path = ForecastSpec::new(24, &LEVELS, 24).unwrap();
        assert_eq!((path.outputs(), path.output_index(1), path.output_index(24)), (24, 0, 23));
        let wrong = ForecastSpec::aggregate(1, &LEVELS, 0, Target::Last, Some(f64::NAN));
        assert!(matches!(wrong, Err(ForecastSpecError::Threshold(_))));
    }

    #[test]
    fn wrong_levels_and_horizons_are_rejected() {
        assert!(matches!(ForecastSpec::new(0, &LEVELS, 0), Err(ForecastSpecError::Horizon(0))));
        for levels in [&[][..], &[0.5, 0.1], &[0.0, 0.5], &[0.5, 1.0], &[f32::NAN, 0.5]] {
            assert!(matches!(ForecastSpec::new(1, levels, 0), Err(ForecastSpecError::Levels(_))), "{levels:?}");
        }
        assert!(matches!(ForecastSpec::new(1, &[0.1, 0.9], 0), Err(ForecastSpecError::NoMedian(_))));
    }

    #[test]
    fn seasonal_lags_are_whole_seasons() {
        let spec = ForecastSpec::new(30, &LEVELS, 24).unwrap();
        assert_eq!(
            (spec.seasonal_lag(1), spec.seasonal_lag(24), spec.seasonal_lag(25)),
            (Some(24), Some(24), Some(48))
        );
    }
}
