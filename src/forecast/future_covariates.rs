//! What the linear experts make of future covariates.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::bf16::{from_bf16, to_bf16};
use super::experts::covariance::Covariance;
use super::experts::regressors::leverage_weight;
use super::lead_tables::Interpolation;
use super::numeric::{MAX_ERROR, all_finite, dot};
use super::ring::next_index;
use super::spec::ForecastSpec;
use crate::series::{Holidays, MAX_FUTURE_COVARIATES, SeriesState, Target};

/// Regressors of one covariate at a lead: how far it will have moved and the same of its square, for itself and for its
/// mean over a season. Heating and cooling pull the same way, hence the square; walls and people are slow, hence the
/// mean.
const PER_COVARIATE: usize = 4;
/// Regressors with few covariates, padded with zeros ...
const WITH_FEW: usize = 2 * PER_COVARIATE;
/// ... and with as many as there may be.
const WITH_MANY: usize = MAX_FUTURE_COVARIATES * PER_COVARIATE;
/// Weight of a square relative to what it is the square of.
const SQUARE_WEIGHT: f32 = 0.25;
/// Most steps of a season over which the mean runs.
const MAX_SEASON: usize = 288;

/// Adds to each linear expert a linear function of the future covariates of each lead, learned by recursive least
/// squares on its residuals.
///
/// A lead has regressors of its own, where those of the experts are the same at all leads. They are stored as they were
/// known when the forecast was made, since more is known later.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FutureCovariateModel {
    /// `[bucket]`
    covariances: Vec<Covariance>,
    /// `[expert][knot][regressor]`
    weights: Vec<f32>,
    /// Per bucket: index of the newest step in the rings of its knots.
    cursors: Vec<u16>,
    /// Rings of the knots, one after the other, `[end of the bucket][regressor]`: bfloat16 regressors.
    regressors: Vec<u16>,
}

clone_in_place!(FutureCovariateModel { covariances, weights, cursors, regressors });

/// The stored regressors of the forecasts that the current observation completes.
pub(super) struct DueCovariates {
    /// `[knot][regressor]`
    regressors: Vec<f32>,
    /// `[knot][regressor]`: how far a weight moves per unit of error.
    gains: Vec<f32>,
    /// Regressors per knot.
    count: usize,
}

impl FutureCovariateModel {
    /// `None` where there are no future covariates.
    pub fn new(spec: &ForecastSpec) -> Option<Box<Self>> {
        let regressors = regressor_count(spec);
        (spec.future_covariates > 0).then(|| {
            Box::new(Self {
                covariances: spec.buckets.iter().map(|_| Covariance::new(regressors)).collect(),
                weights: vec![0.0; weights_len(spec)],
                cursors: vec![0; spec.buckets.len()],
                regressors: vec![0; rings_len(spec)],
            })
        })
    }

    /// Moves to the current observation, which `series` does not hold yet, and returns what is due there.
    pub fn advance(&mut self, spec: &ForecastSpec, series: &SeriesState) -> DueCovariates {
        match regressor_count(spec) {
            WITH_FEW => self.advance_with::<WITH_FEW>(spec, series),
            _ => self.advance_with::<WITH_MANY>(spec, series),
        }
    }

    fn advance_with<const R: usize>(&mut self, spec: &ForecastSpec, series: &SeriesState) -> DueCovariates {
        for (cursor, &end) in self.cursors.iter_mut().zip(&spec.buckets) {
            *cursor = next_index(*cursor, end);
        }
        let mut due = DueCovariates { regressors: Vec::new(), gains: Vec::new(), count: R };
        let mut ring_start = 0;
        for Knot { lead, bucket } in knots(spec) {
            let stored = self.stored_range(spec, &mut ring_start, bucket);
            let mut regressors = [0.0; R];
            let pairs = regressors.iter_mut().zip(&self.regressors[stored]);
            pairs.for_each(|(regressor, bits)| *regressor = from_bf16(*bits));
            let leverage = leverage_weight(&regressors);
            let weighted = regressors.map(|regressor| leverage * regressor);
            let covariance = &mut self.covariances[bucket];
            due.gains.extend(covariance.gain(&weighted).map(|gain| leverage * gain));
            due.regressors.extend(regressors);
            // The leads of a bucket share a covariance; its last lead updates it, where a forecast was made.
            let end = spec.buckets[bucket];
            if lead == end && series.value_back(end - 1).is_some() {
                covariance.update(&weighted);
            }
        }
        due
    }

    /// The weights of one linear expert, `[knot][regressor]`.
    pub fn weights_mut(&mut self, spec: &ForecastSpec, expert: usize) -> &mut [f32] {
        &mut self.weights[expert_weights(spec, expert)]
    }

    /// Stores the regressors of the forecast that is made at the newest step.
    pub fn store(&mut self, spec: &ForecastSpec, series: &SeriesState) {
        let (mut knots, mut ring_start) = (knots(spec).peekable(), 0);
        for_each_lead(spec, series, |lead, regressors| {
            if let Some(knot) = knots.next_if(|knot| knot.lead == lead) {
                let stored = self.stored_range(spec, &mut ring_start, knot.bucket);
                let pairs = self.regressors[stored].iter_mut().zip(regressors);
                pairs.for_each(|(bits, regressor)| *bits = to_bf16(*regressor));
            }
        });
    }

    /// Adds the contribution of the future covariates to the forecast of one linear expert; `unit` is that of its
    /// weights.
    pub fn add_to(&self, spec: &ForecastSpec, series: &SeriesState, expert: usize, unit: f32, outputs: &mut [f64]) {
        let count = regressor_count(spec);
        let weights = &self.weights[expert_weights(spec, expert)];
        let mut outputs = outputs.iter_mut().zip(&spec.lead_tables.knots);
        for_each_lead(spec, series, |_, regressors| {
            let Some((output, Interpolation { below, above, share })) = outputs.next() else { return };
            let at = |knot: usize| dot(&weights[knot * count..][..count], &regressors[..count]);
            let (low, high) = (at(*below), at(*above));
            *output += f64::from(unit * (low + share * (high - low)).clamp(-MAX_ERROR, MAX_ERROR));
        });
    }

    /// The stored regressors of a knot at the newest step. Moves `ring_start` from this knot's ring to the next.
    fn stored_range(&self, spec: &ForecastSpec, ring_start: &mut usize, bucket: usize) -> std::ops::Range<usize> {
        let count = spec.future_covariates * PER_COVARIATE;
        let at = *ring_start + usize::from(self.cursors[bucket]) * count;
        *ring_start += spec.buckets[bucket] * count;
        at..at + count
    }

    /// Whether it has the shape that `spec` needs, and valid indices and values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let regressors = regressor_count(spec);
        spec.future_covariates > 0
            && self.covariances.len() == spec.buckets.len()
            && self.covariances.iter().all(|covariance| covariance.is_sound(regressors))
            && self.weights.len() == weights_len(spec)
            && all_finite(&self.weights)
            && self.cursors.len() == spec.buckets.len()
            && self.cursors.iter().zip(&spec.buckets).all(|(cursor, end)| usize::from(*cursor) < *end)
            && self.regressors.len() == rings_len(spec)
            && self.regressors.iter().all(|bits| from_bf16(*bits).is_finite())
    }

    pub fn heap_bytes(&self) -> usize {
        self.covariances.capacity() * size_of::<Covariance>()
            + self.covariances.iter().map(Covariance::heap_bytes).sum::<usize>()
            + self.weights.capacity() * size_of::<f32>()
            + (self.cursors.capacity() + self.regressors.capacity()) * size_of::<u16>()
    }
}

impl DueCovariates {
    /// The forecast at a knot with these weights, in units.
    pub fn forecast(&self, weights: &[f32], knot: usize) -> f32 {
        let at = knot * self.count;
        dot(&weights[at..at + self.count], &self.regressors[at..at + self.count])
    }

    /// Learns from an error at a knot.
    pub fn learn(&self, weights: &mut [f32], knot: usize, error: f32) {
        let at = knot * self.count;
        for (weight, gain) in weights[at..at + self.count].iter_mut().zip(&self.gains[at..at + self.count]) {
            *weight += error * gain;
        }
    }
}

struct Knot {
    lead: usize,
    bucket: usize,
}

fn knots(spec: &ForecastSpec) -> impl Iterator<Item = Knot> + '_ {
    let bucket = |lead: usize| spec.buckets.partition_point(|end| *end < lead);
    spec.lead_tables.knot_leads.iter().map(move |lead| Knot { lead: *lead, bucket: bucket(*lead) })
}

fn rings_len(spec: &ForecastSpec) -> usize {
    knots(spec).map(|knot| spec.buckets[knot.bucket] * spec.future_covariates * PER_COVARIATE).sum()
}

fn weights_len(spec: &ForecastSpec) -> usize {
    expert_weights(spec, spec.active_linear_experts()).start
}

/// Regressors at a lead, padded with zeros to one of two sizes.
fn regressor_count(spec: &ForecastSpec) -> usize {
    if spec.future_covariates * PER_COVARIATE <= WITH_FEW { WITH_FEW } else { WITH_MANY }
}

/// Where the weights of one linear expert lie.
fn expert_weights(spec: &ForecastSpec, expert: usize) -> std::ops::Range<usize> {
    let count = spec.lead_tables.knot_leads.len() * regressor_count(spec);
    expert * count..(expert + 1) * count
}

/// Visits the regressors of each lead that is forecast, in order, as they are known at the newest step; for an
/// aggregate other than the last value, their mean over all leads. Unknown ones are 0.
fn for_each_lead(spec: &ForecastSpec, series: &SeriesState, mut visit: impl FnMut(usize, &[f32; WITH_MANY])) {
    let mut paths: Vec<_> = (0..spec.future_covariates).map(|index| CovariatePath::new(spec, series, index)).collect();
    let takes_mean = spec.target.is_some_and(|target| target != Target::Last);
    let mut sums = [0.0; WITH_MANY];
    for lead in 1..=spec.horizon {
        let mut regressors = [0.0; WITH_MANY];
        for (path, out) in paths.iter_mut().zip(regressors.chunks_exact_mut(PER_COVARIATE)) {
            out.copy_from_slice(&path.next(lead));
        }
        if takes_mean {
            sums.iter_mut().zip(regressors).for_each(|(sum, regressor)| *sum += regressor);
            regressors = sums.map(|sum| sum / lead as f32);
        }
        if spec.leads().contains(&lead) {
            visit(lead, &regressors);
        }
    }
}

/// What is known of one covariate at the newest step: that of the series, or how many holidays a step holds.
struct CovariateSource<'a> {
    series: &'a SeriesState,
    index: usize,
    /// The holidays, and the newest step.
    holidays: Option<(&'a Holidays, i64)>,
}

impl<'a> CovariateSource<'a> {
    fn new(spec: &'a ForecastSpec, series: &'a SeriesState, index: usize) -> Self {
        let holidays = spec.holiday_counts.as_ref().filter(|_| index + 1 == spec.future_covariates);
        Self { series, index, holidays: holidays.zip(series.newest_slot()) }
    }

    /// The covariate `lead` steps after the newest step.
    fn ahead(&self, lead: usize) -> Option<f32> {
        match self.holidays {
            Some((holidays, newest)) => Some(holidays.count(newest + i64::try_from(lead).ok()?) as f32),
            None => self.series.future_covariate_ahead(self.index, lead),
        }
    }

    /// The covariate `back` steps before the newest step.
    fn back(&self, back: usize) -> Option<f32> {
        match self.holidays {
            Some((holidays, newest)) => Some(holidays.count(newest - i64::try_from(back).ok()?) as f32),
            None => self.series.future_covariate_back(self.index, back),
        }
    }
}

/// One covariate on the way from the newest step to the horizon.
struct CovariatePath<'a> {
    source: CovariateSource<'a>,
    /// At the newest step; `None` where unknown.
    now: Option<f32>,
    /// Steps over which the mean runs; 0 where there is none.
    season: usize,
    /// Sum of these steps up to the current lead.
    sum: f32,
    /// Mean up to the newest step.
    mean_now: f32,
}

impl<'a> CovariatePath<'a> {
    fn new(spec: &'a ForecastSpec, series: &'a SeriesState, index: usize) -> Self {
        let source = CovariateSource::new(spec, series, index);
        let now = source.back(0);
        let season = if spec.season >= 2 && now.is_some() { spec.season.min(MAX_SEASON) } else { 0 };
        let sum: f32 = (0..season).map(|back| source.back(back).or(now).unwrap_or(0.0)).sum();
        Self { source, now, season, sum, mean_now: sum / season.max(1) as f32 }
    }

    /// The regressors of the next lead.
    fn next(&mut self, lead: usize) -> [f32; PER_COVARIATE] {
        let Some(now) = self.now else { return [0.0; PER_COVARIATE] };
        let value = self.source.ahead(lead);
        if self.season > 0 {
            let leaving = match lead.checked_sub(self.season) {
                Some(lead) if lead > 0 => self.source.ahead(lead),
                _ => self.source.back(self.season - lead),
            };
            self.sum += value.unwrap_or(now) - leaving.unwrap_or(now);
        }
        let Some(value) = value else { return [0.0; PER_COVARIATE] };
        let mean = self.sum / self.season.max(1) as f32;
        let change = |to: f32, from: f32| [to - from, SQUARE_WEIGHT * (to * to - from * from)];
        let ([own, own_square], [slow, slow_square]) = (change(value, now), change(mean, self.mean_now));
        [own, own_square, slow, slow_square]
    }
}
