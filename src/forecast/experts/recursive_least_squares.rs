//! Linear experts: recursive least squares on recent values, with and without a seasonal baseline.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::contract::{ForecastInput, PointForecaster};
use super::covariance::Covariance;
use super::regressors::{
    Origin, WITH_FEW_COVARIATES, WITH_MANY_COVARIATES, WITHOUT_COVARIATES, leverage_weight, regressor_count,
};
use crate::forecast::byte_shuffle;
use crate::forecast::future_covariates::{DueCovariates, FutureCovariateModel};
use crate::forecast::history::observation::Observation;
use crate::forecast::history::series_history::{History, HistoryView, LAGS, MAX_UNITS, MIN_VALUES};
use crate::forecast::numeric::{MAX_ERROR, all_finite, dot};
use crate::forecast::pending_forecasts::PendingPoints;
use crate::forecast::spec::ForecastSpec;

/// An error counts for at most this many mean absolute errors, once these are known.
const MAX_RELATIVE_ERROR: f32 = 4.0;
/// Mean absolute errors smaller than this, in units, bound the next error as if they were this.
const MIN_ERROR_BOUND: f32 = 1e-3;
/// Memory of the mean absolute error, in forecasts.
const ERROR_MEMORY: u32 = 200;

/// The linear experts of a series, one per baseline (`BASELINES`).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::forecast) struct LinearExperts {
    experts: Vec<LinearExpert>,
}

clone_in_place!(LinearExperts { experts });

/// Forecasts the deviation from the last value at each knot lead, relative to a baseline, as a linear function of
/// recent differences and of running means. Weights are learned by recursive least squares with forgetting (Ljung,
/// System Identification, 2nd ed. 1999, chapter 11).
///
/// All leads share one covariance, because they share their regressors. The leads of a bucket learn together, once the
/// value at the last of them is known.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LinearExpert {
    covariance: Covariance,
    /// `[knot][regressor]`
    #[serde(with = "byte_shuffle")]
    weights: Vec<f32>,
    /// `[bucket]`, in units.
    mean_absolute_errors: Vec<f32>,
}

clone_in_place!(LinearExpert { covariance, weights, mean_absolute_errors });

impl LinearExperts {
    pub fn new(spec: &ForecastSpec) -> Self {
        let expert = |_| LinearExpert {
            covariance: Covariance::new(regressor_count(spec)),
            weights: vec![0.0; spec.lead_tables.knot_leads.len() * regressor_count(spec)],
            mean_absolute_errors: vec![0.0; spec.buckets.len()],
        };
        Self { experts: (0..spec.active_linear_experts()).map(expert).collect() }
    }

    /// Learns from the forecasts that the current observation completes; `future` holds the future covariates that were
    /// known when they were made.
    pub fn learn_from_matured(
        &mut self,
        history: &History,
        observation: &Observation<'_>,
        mut future: Option<(&DueCovariates, &mut FutureCovariateModel)>,
    ) {
        let learn = match regressor_count(observation.spec) {
            WITHOUT_COVARIATES => LinearExpert::learn::<WITHOUT_COVARIATES>,
            WITH_FEW_COVARIATES => LinearExpert::learn::<WITH_FEW_COVARIATES>,
            _ => LinearExpert::learn::<WITH_MANY_COVARIATES>,
        };
        for (index, expert) in self.experts.iter_mut().enumerate() {
            let Some(view) = history.view(index) else { return };
            let future = future.as_mut().map(|(due, model)| (*due, model.weights_mut(observation.spec, index)));
            learn(expert, &view, observation, future);
        }
    }

    /// Adds the regressors of the newest step to the covariances, after the history has learned from its value.
    pub fn update_covariances(&mut self, history: &History, observation: &Observation<'_>) {
        let update = match regressor_count(observation.spec) {
            WITHOUT_COVARIATES => LinearExpert::update_covariance::<WITHOUT_COVARIATES>,
            WITH_FEW_COVARIATES => LinearExpert::update_covariance::<WITH_FEW_COVARIATES>,
            _ => LinearExpert::update_covariance::<WITH_MANY_COVARIATES>,
        };
        for (index, expert) in self.experts.iter_mut().enumerate() {
            let Some(view) = history.view(index) else { return };
            update(expert, &view, observation);
        }
    }

    /// The expert at `index`, with what it needs to forecast.
    pub fn forecaster<'a>(&'a self, index: usize, future: Option<&'a FutureCovariateModel>) -> LinearForecaster<'a> {
        LinearForecaster { index, expert: self.experts.get(index), future }
    }

    /// Whether they have the shape that `spec` needs, and valid values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let regressors = regressor_count(spec);
        let expert = |expert: &LinearExpert| {
            expert.covariance.is_sound(regressors)
                && expert.weights.len() == spec.lead_tables.knot_leads.len() * regressors
                && expert.mean_absolute_errors.len() == spec.buckets.len()
                && expert.mean_absolute_errors.iter().all(|error| *error >= 0.0)
                && all_finite(&expert.mean_absolute_errors)
                && all_finite(&expert.weights)
        };
        self.experts.len() == spec.active_linear_experts() && self.experts.iter().all(expert)
    }

    pub fn heap_bytes(&self) -> usize {
        let expert = |expert: &LinearExpert| {
            let values = expert.weights.capacity() + expert.mean_absolute_errors.capacity();
            size_of::<LinearExpert>() + expert.covariance.heap_bytes() + values * size_of::<f32>()
        };
        self.experts.iter().map(expert).sum()
    }
}

impl LinearExpert {
    /// Learns from the buckets whose last lead is the current observation.
    fn learn<const R: usize>(
        &mut self,
        view: &HistoryView<'_>,
        observation: &Observation<'_>,
        mut future: Option<(&DueCovariates, &mut [f32])>,
    ) {
        let (spec, unit, count) = (observation.spec, view.history.unit(), view.history.count());
        let mut first = *spec.leads().start();
        for (bucket, &end) in spec.buckets.iter().enumerate() {
            let leads = first..=end;
            first = end + 1;
            if !observation.has_value_at(end) {
                continue; // no forecast was made then
            }
            let regressors = origin(observation, end).regressors::<R>(view);
            let residual = view.residual(end);
            let leverage = leverage_weight(&regressors);
            let steps = count.saturating_sub(u32::try_from(LAGS).unwrap_or(u32::MAX));
            let lead = u32::try_from(end).unwrap_or(u32::MAX);
            let gain = self.covariance.gain_of_lead(&regressors.map(|regressor| leverage * regressor), steps, lead);
            let knots = spec.lead_tables.knot_leads.iter().enumerate();
            for (knot, &lead) in knots.filter(|(_, lead)| leads.contains(lead)) {
                let Some(target) = observation.target(view, end, lead) else { continue };
                let target = ((target - residual) / unit).clamp(-MAX_UNITS, MAX_UNITS);
                let weights = &mut self.weights[knot * R..][..R];
                let mut error = target - dot(weights, &regressors);
                if let Some((due, weights)) = &future {
                    error -= due.forecast(weights, knot);
                }
                if !error.is_finite() {
                    continue; // the weights have overflowed
                }
                let mean = &mut self.mean_absolute_errors[bucket];
                let bound = if count > MIN_VALUES { MAX_RELATIVE_ERROR * *mean } else { f32::INFINITY };
                *mean += (error.abs().min(2.0 * bound.max(MIN_ERROR_BOUND)) - *mean) / count.min(ERROR_MEMORY) as f32;
                let error = error.clamp(-bound, bound);
                for (weight, gain) in weights.iter_mut().zip(gain) {
                    *weight += leverage * error * gain;
                }
                if let Some((due, weights)) = &mut future {
                    // Only from what the step above leaves of the error, so that both together do not overshoot.
                    due.learn(weights, knot, error * (1.0 - leverage * dot(&gain, &regressors)));
                }
            }
        }
    }

    fn update_covariance<const R: usize>(&mut self, view: &HistoryView<'_>, observation: &Observation<'_>) {
        let regressors = origin(observation, 0).regressors::<R>(view);
        let leverage = leverage_weight(&regressors);
        self.covariance.update(&regressors.map(|regressor| leverage * regressor));
    }
}

/// The origin `steps_back` steps before the current observation, which the series does not hold yet.
fn origin<'a>(observation: &Observation<'a>, steps_back: usize) -> Origin<'a> {
    let Observation { spec, series, slot, .. } = *observation;
    Origin { spec, series, steps_back, next_slot: slot, steps_to_next: steps_back }
}

/// Number of values from which the linear experts forecast: two seasons, also where the baseline is not seasonal. From
/// [`MIN_VALUES`] on the first would be better by chance alone, and its intervals too narrow where jobs recur hourly.
fn min_values(spec: &ForecastSpec) -> u32 {
    MIN_VALUES.max(u32::try_from(2 * spec.season).unwrap_or(u32::MAX))
}

/// Whether the newest step is the first from which the linear experts forecast.
pub(in crate::forecast) fn is_first_forecast(spec: &ForecastSpec, history: &History) -> bool {
    history.count() == min_values(spec)
}

/// One linear expert as it forecasts.
pub(in crate::forecast) struct LinearForecaster<'a> {
    index: usize,
    /// `None` where it is not in use.
    expert: Option<&'a LinearExpert>,
    future: Option<&'a FutureCovariateModel>,
}

impl LinearForecaster<'_> {
    fn forecast_with<const R: usize>(&self, input: &ForecastInput<'_>, outputs: &mut [f64]) {
        let ForecastInput { spec, series, history, .. } = *input;
        let is_ready = history.count() >= min_values(spec) && history.unit() > 0.0;
        let newest = series.newest_slot().zip(series.value_back(0)).filter(|_| is_ready);
        let (Some((slot, value)), Some(expert), Some(view)) = (newest, self.expert, history.view(self.index)) else {
            // Exponential smoothing until the weights are learned, by the first expert; the last value by the others.
            let smoothing = history.view(0).filter(|_| self.index == 0 && history.count() > 1);
            outputs.fill(smoothing.map_or(0.0, |view| f64::from(view.averages(0)[0] - view.residual(0))));
            return;
        };
        let next_slot = slot.saturating_add(1);
        let origin = Origin { spec, series, steps_back: 0, next_slot, steps_to_next: 1 };
        let regressors = origin.regressors::<R>(&view);
        let newest_baseline = history.relative(value) - view.residual(0);
        let mut baselines = view.baseline_from(spec, next_slot);
        let aggregate = spec.target.and_then(|target| target.of(baselines.by_ref().take(spec.horizon).map(f64::from)));
        let at_knot = |knot: usize| {
            let weights = &expert.weights[knot * R..][..R];
            dot(weights, &regressors).clamp(-MAX_ERROR, MAX_ERROR)
        };
        // The knots around the current lead, each with its forecast.
        let mut below = (0, at_knot(0));
        let mut above = below;
        for (output, knots) in outputs.iter_mut().zip(&spec.lead_tables.knots) {
            if knots.above != above.0 {
                (below, above) = (above, (knots.above, at_knot(knots.above)));
            }
            let baseline = aggregate.map_or_else(|| baselines.next().unwrap_or(0.0), |aggregate| aggregate as f32);
            let deviation = below.1 + knots.share * (above.1 - below.1);
            *output = f64::from(history.unit() * deviation + (baseline - newest_baseline));
        }
        if let Some(future) = self.future {
            future.add_to(spec, series, self.index, history.unit(), outputs);
        }
    }
}

impl PointForecaster for LinearForecaster<'_> {
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]) {
        match regressor_count(input.spec) {
            WITHOUT_COVARIATES => self.forecast_with::<WITHOUT_COVARIATES>(input, outputs),
            WITH_FEW_COVARIATES => self.forecast_with::<WITH_FEW_COVARIATES>(input, outputs),
            _ => self.forecast_with::<WITH_MANY_COVARIATES>(input, outputs),
        }
    }

    fn due(&self, stored: &PendingPoints) -> f32 {
        stored.linear[self.index]
    }
}
