//! What is forecast: leads, quantile levels, and the buckets of leads that are learnt together.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::anomaly::AnomalyThresholds;
use super::linear::MODELS;
use super::profile::Cycle;
use crate::series::{ExtraFeatures, Holidays, PAST_COVARIATE_REGRESSORS, Target};

/// Quantile levels that a forecast may have.
pub const MAX_LEVELS: usize = 32;

/// Leads of a bucket for which a linear forecast is learnt.
const KNOTS: usize = 4;

/// The longest horizon, in steps.
pub const MAX_HORIZON: usize = 4096;

/// Why there can be no such forecast.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ForecastSpecError {
    /// The horizon is out of range.
    #[error("horizon is {0} steps; expected 1 to {MAX_HORIZON}")]
    Horizon(usize),
    /// A level is no probability, or the levels do not ascend.
    #[error("quantile levels {0:?}: expected 1 to {MAX_LEVELS} ascending numbers between 0 and 1")]
    Levels(Vec<f32>),
    /// The median is missing.
    #[error("quantile levels {0:?}: expected 0.5 among them")]
    NoMedian(Vec<f32>),
    /// The threshold is no number.
    #[error("threshold {0}: expected a finite number")]
    Threshold(f64),
}

/// Where a lead lies between two buckets: `below`, the next one, and the share of the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Between {
    pub below: usize,
    pub above: usize,
    pub share: f32,
}

/// What is forecast. The same for all series of a stream.
///
/// Leads are learnt in buckets that double: 1, 2..=3, 4..=6, 7..=12, 13..=24 and so on. A bucket is judged at two leads: its
/// middle for the point forecast and the experts, its end for the quantiles. What is learnt there is interpolated between.
///
/// A forecast of one number ([`Self::one`]) has one lead, at which that number is known: the horizon.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastSpec {
    /// Steps ahead that are forecast.
    pub horizon: usize,
    /// Quantile levels, ascending; 0.5 is among them.
    pub levels: Vec<f32>,
    /// Steps in a season; below 2 there is none.
    pub season: usize,
    /// Days that are not taken for their weekday, where a season is a day.
    pub(super) holidays: Option<Holidays>,
    /// Numbers that come with the values and are not forecast.
    pub(super) covariates: usize,
    /// Numbers that are known in advance.
    pub(super) known: usize,
    /// The one number that is forecast of the whole horizon; none: each of its steps.
    pub target: Option<Target>,
    /// What that number may not cross: the forecast tells how probably it does, upwards or, of a minimum, downwards.
    pub threshold: Option<f64>,
    /// When a series is called anomalous.
    pub anomaly: AnomalyThresholds,
    /// Last lead of each bucket, ascending; the last one is `horizon`.
    pub buckets: Vec<usize>,
    /// Lead of each bucket at which points are judged. Never a whole season: the two naive forecasts coincide there.
    pub middles: Vec<usize>,
    /// Most linear experts.
    pub linear_experts: usize,
    /// Whether the network's median is the point forecast, whatever the other experts would say: to see what it has learnt.
    pub network_alone: bool,
    /// Per bucket: where its ring begins among those of the middles, and among those of the ends.
    pub(super) rings: Vec<(usize, usize)>,
    /// Index of the level 0.5.
    pub(super) median: usize,
    /// See [`Self::intervals`].
    intervals: Vec<(usize, usize)>,
    /// Leads for which a linear forecast is learnt; between them it is interpolated.
    pub(super) knots: Vec<usize>,
    /// Per level: quantile of a normal distribution whose mean absolute value is 1.
    pub(super) normal: Vec<f32>,
    /// Per level: its share of the mean, were the quantiles those of a step function.
    shares: Vec<f32>,
    /// The first lead that is forecast.
    first: usize,
    /// Per lead that is forecast: where it lies between the knots.
    pub(super) of_knots: Vec<Between>,
    /// Per lead that is forecast: where it lies between the middles of the buckets.
    pub(super) of_middles: Vec<Between>,
    /// Per lead that is forecast: where it lies between the ends of the buckets, by the square root of the lead.
    pub(super) of_ends: Vec<Between>,
}

impl ForecastSpec {
    /// A forecast of each step of the horizon: derives buckets and tables.
    ///
    /// # Errors
    /// Where the horizon or the levels are out of their range.
    pub fn new(horizon: usize, levels: &[f32], season: usize) -> Result<Self, ForecastSpecError> {
        Self::of(horizon, levels, season, None)
    }

    /// A forecast of one number that is made of all steps of the horizon, and of how probably it crosses `threshold`.
    ///
    /// # Errors
    /// Where the horizon, the levels or the threshold are out of their range.
    pub fn aggregate(
        horizon: usize,
        levels: &[f32],
        season: usize,
        target: Target,
        threshold: Option<f64>,
    ) -> Result<Self, ForecastSpecError> {
        match threshold {
            Some(threshold) if !threshold.is_finite() => Err(ForecastSpecError::Threshold(threshold)),
            _ => Ok(Self { threshold, ..Self::of(horizon, levels, season, Some(target))? }),
        }
    }

    fn of(horizon: usize, levels: &[f32], season: usize, target: Option<Target>) -> Result<Self, ForecastSpecError> {
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
        let buckets = if target.is_some() { vec![horizon] } else { buckets(horizon) };
        let middles = if target.is_some() { vec![horizon] } else { middles(&buckets, season) };
        let knots = if target.is_some() { vec![horizon] } else { knots(&buckets) };
        let deviation = std::f64::consts::FRAC_PI_2.sqrt(); // of a normal distribution whose mean absolute value is 1
        let leads = || (first..=horizon).map(|lead| lead as f64);
        Ok(Self {
            horizon,
            levels: levels.to_vec(),
            season,
            holidays: None,
            covariates: 0,
            known: 0,
            target,
            threshold: None,
            anomaly: AnomalyThresholds::default(),
            linear_experts: MODELS,
            network_alone: false,
            rings: (0..buckets.len())
                .map(|bucket| (middles[..bucket].iter().sum(), buckets[..bucket].iter().sum()))
                .collect(),
            median,
            intervals: intervals(levels, median),
            normal: levels.iter().map(|level| (deviation * normal_quantile(f64::from(*level))) as f32).collect(),
            shares: shares(levels),
            first,
            of_knots: leads().map(|lead| between(&knots, lead, |lead| lead)).collect(),
            knots,
            of_middles: leads().map(|lead| between(&middles, lead, |lead| lead)).collect(),
            of_ends: leads().map(|lead| between(&buckets, lead, f64::sqrt)).collect(),
            buckets,
            middles,
        })
    }

    /// The same of series with these holidays, where a season is a day, covariates, and numbers known in advance.
    #[must_use]
    pub fn with_extra(self, extra: &ExtraFeatures) -> Self {
        let daily =
            |holidays: &&Holidays| usize::try_from(holidays.slots_per_day()).is_ok_and(|day| day == self.season);
        let holidays = extra.holidays.as_ref().filter(daily).cloned();
        Self { holidays, covariates: extra.past_covariates.len(), known: extra.future_covariates.names.len(), ..self }
    }

    /// Whether there are days that are not taken for their weekday.
    pub fn holidays(&self) -> bool {
        self.holidays.is_some()
    }

    /// Numbers that tell of the covariates at a step.
    pub(super) fn looks(&self) -> usize {
        self.covariates * PAST_COVARIATE_REGRESSORS
    }

    /// What repeats.
    pub(super) fn cycle(&self) -> Cycle<'_> {
        Cycle { season: self.season, holidays: self.holidays.as_ref() }
    }

    /// How many numbers a forecast tells: the horizon, or one.
    pub fn outputs(&self) -> usize {
        self.horizon + 1 - self.first
    }

    /// The leads of the numbers that are told, in order: all up to the horizon, or the horizon alone.
    pub fn leads(&self) -> RangeInclusive<usize> {
        self.first..=self.horizon
    }

    /// Where a lead stands among the numbers that are told.
    pub fn output_index(&self, lead: usize) -> usize {
        lead - self.first
    }

    /// The lag of the seasonal naive forecast at `lead`, counted back from the target: whole seasons, at least the lead.
    /// None where there is no season.
    pub fn seasonal_lag(&self, lead: usize) -> Option<usize> {
        (self.season >= 2).then(|| lead.div_ceil(self.season) * self.season)
    }

    /// The mean that quantiles tell of, roughly: each stands for what is nearer to its level than to the next.
    pub(super) fn mean(&self, quantiles: &[f32]) -> f32 {
        quantiles.iter().zip(&self.shares).map(|(quantile, share)| quantile * share).sum()
    }

    /// Index of the level 0.5.
    pub fn median(&self) -> usize {
        self.median
    }

    /// Central intervals: pairs of levels `(low, high)` with `low + high = 1`, by index, outermost first.
    pub fn intervals(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.intervals.iter().copied()
    }
}

fn intervals(levels: &[f32], median: usize) -> Vec<(usize, usize)> {
    let count = levels.len();
    let pairs = (0..median.min(count - 1 - median)).map(|low| (low, count - 1 - low));
    pairs.filter(|(low, high)| (levels[*low] + levels[*high] - 1.0).abs() < 1e-6).collect()
}

/// Of all probability, what is nearer to each level than to its neighbours.
fn shares(levels: &[f32]) -> Vec<f32> {
    let between = levels.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let ends: Vec<f32> = between.chain([1.0]).collect();
    let starts = std::iter::once(0.0).chain(ends.iter().copied());
    ends.iter().zip(starts).map(|(end, start)| end - start).collect()
}

/// Doubling ends up to the horizon; a short rest joins the bucket before it.
fn buckets(horizon: usize) -> Vec<usize> {
    let doubling = std::iter::successors(Some(3), |end| Some(end * 2));
    let mut ends: Vec<_> = std::iter::once(1).chain(doubling).take_while(|end| end * 4 / 3 < horizon).collect();
    ends.push(horizon);
    ends
}

fn middles(buckets: &[usize], season: usize) -> Vec<usize> {
    let starts = std::iter::once(1).chain(buckets.iter().map(|end| end + 1));
    let whole = |lead: usize| season >= 2 && lead.is_multiple_of(season);
    let middle = |(start, end): (usize, usize)| {
        let middle = (start + end) / 2;
        (start..=end).filter(|lead| !whole(*lead)).min_by_key(|lead| lead.abs_diff(middle)).unwrap_or(middle)
    };
    starts.zip(buckets.iter().copied()).map(middle).collect()
}

/// The ends of the buckets, and what divides each evenly.
fn knots(buckets: &[usize]) -> Vec<usize> {
    let starts = std::iter::once(0).chain(buckets.iter().copied());
    let within = |(start, end): (usize, &usize)| {
        let pieces = (end - start).min(KNOTS);
        let (length, end) = (end - start, *end);
        (0..pieces).rev().map(move |piece| end - piece * length / pieces)
    };
    starts.zip(buckets).flat_map(within).collect()
}

fn between(marks: &[usize], lead: f64, measure: impl Fn(f64) -> f64) -> Between {
    let above = marks.partition_point(|mark| (*mark as f64) < lead);
    if above == 0 || above == marks.len() {
        let nearest = above.min(marks.len() - 1);
        return Between { below: nearest, above: nearest, share: 0.0 };
    }
    let (low, high) = (measure(marks[above - 1] as f64), measure(marks[above] as f64));
    Between { below: above - 1, above, share: ((measure(lead) - low) / (high - low)) as f32 }
}

/// Quantile of the standard normal distribution, by bisection.
fn normal_quantile(level: f64) -> f64 {
    // The density is integrated from 0 by Simpson's rule: slow and exact, and done once per configuration.
    let cumulative = |z: f64| {
        let (count, step) = (200, z / 200.0);
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let inner = (1..count).map(|i| density(f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 });
        0.5 + step / 3.0 * (density(0.0) + density(z) + inner.sum::<f64>())
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if cumulative(middle) < level { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

    #[test]
    fn buckets_double_and_end_at_the_horizon() {
        for (horizon, expected) in [
            (1, vec![1]),
            (2, vec![1, 2]),
            (3, vec![1, 3]),
            (13, vec![1, 3, 6, 13]),
            (24, vec![1, 3, 6, 12, 24]),
            (48, vec![1, 3, 6, 12, 24, 48]),
        ] {
            assert_eq!(ForecastSpec::new(horizon, &LEVELS, 0).unwrap().buckets, expected);
        }
    }

    #[test]
    fn middles_lie_in_their_bucket_and_avoid_whole_seasons() {
        assert_eq!(ForecastSpec::new(24, &LEVELS, 24).unwrap().middles, [1, 2, 5, 9, 18]);
        assert_eq!(ForecastSpec::new(24, &LEVELS, 9).unwrap().middles, [1, 2, 5, 8, 17]);
        for (horizon, season) in (1..60).flat_map(|horizon| (0..30).map(move |season| (horizon, season))) {
            let spec = ForecastSpec::new(horizon, &LEVELS, season).unwrap();
            for (bucket, middle) in spec.middles.iter().enumerate() {
                let start = if bucket == 0 { 1 } else { spec.buckets[bucket - 1] + 1 };
                assert!((start..=spec.buckets[bucket]).contains(middle));
                assert!(season < 2 || start == spec.buckets[bucket] || middle % season != 0, "{horizon} {season}");
            }
        }
    }

    #[test]
    fn one_number_is_told_where_it_is_known() {
        for horizon in [1, 2, 24, 100] {
            let spec = ForecastSpec::aggregate(horizon, &LEVELS, 24, Target::Mean, Some(3.0)).unwrap();
            assert_eq!((spec.buckets.as_slice(), spec.middles.as_slice()), (&[horizon][..], &[horizon][..]));
            assert_eq!((spec.outputs(), spec.output_index(horizon)), (1, 0));
            assert_eq!((spec.of_middles.len(), spec.of_ends.len()), (1, 1));
        }
        let path = ForecastSpec::new(24, &LEVELS, 24).unwrap();
        assert_eq!((path.outputs(), path.output_index(1), path.output_index(24)), (24, 0, 23));
        let wrong = ForecastSpec::aggregate(1, &LEVELS, 0, Target::Last, Some(f64::NAN));
        assert!(matches!(wrong, Err(ForecastSpecError::Threshold(_))));
    }

    #[test]
    fn normal_quantiles_are_right() {
        for (level, z) in [(0.5, 0.0), (0.9, 1.281_551_565_5), (0.975, 1.959_963_984_5), (0.001, -3.090_232_306_2)] {
            assert!((normal_quantile(level) - z).abs() < 1e-6, "{level}");
        }
    }

    #[test]
    fn wrong_levels_and_horizons_are_refused() {
        assert!(matches!(ForecastSpec::new(0, &LEVELS, 0), Err(ForecastSpecError::Horizon(0))));
        for levels in [&[][..], &[0.5, 0.1], &[0.0, 0.5], &[0.5, 1.0], &[f32::NAN, 0.5]] {
            assert!(matches!(ForecastSpec::new(1, levels, 0), Err(ForecastSpecError::Levels(_))), "{levels:?}");
        }
        assert!(matches!(ForecastSpec::new(1, &[0.1, 0.9], 0), Err(ForecastSpecError::NoMedian(_))));
    }

    #[test]
    fn intervals_pair_the_levels() {
        let spec = ForecastSpec::new(1, &LEVELS, 0).unwrap();
        assert_eq!(spec.intervals().collect::<Vec<_>>(), [(0, 4), (1, 3)]);
        assert_eq!(ForecastSpec::new(1, &[0.5], 0).unwrap().intervals().count(), 0);
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
