//! The regressors of the linear experts.

use crate::forecast::history::exponential_averages::MEMORIES;
use crate::forecast::history::seasonal_profile::Baseline;
use crate::forecast::history::series_history::{HistoryView, LAGS, MAX_UNITS};
use crate::forecast::spec::ForecastSpec;
use crate::series::{MAX_PAST_COVARIATES, PAST_COVARIATE_REGRESSORS, SeriesState};

/// Regressors without past covariates: a constant, the lags, the level and the running means.
pub(super) const WITHOUT_COVARIATES: usize = 1 + LAGS + 1 + MEMORIES.len();
/// Regressors with a few past covariates, padded with zeros to a multiple of four ...
pub(super) const WITH_FEW_COVARIATES: usize = WITHOUT_COVARIATES + 8;
/// ... and with as many as there may be.
pub(super) const WITH_MANY_COVARIATES: usize = WITHOUT_COVARIATES + PAST_COVARIATE_REGRESSORS * MAX_PAST_COVARIATES;

/// Number of values around one season ago that replace the oldest lags where nothing else is seasonal.
const SEASONAL_LAGS: usize = 3;
/// Observations whose largest regressor exceeds this are down-weighted, in units.
const MAX_LEVERAGE: f32 = 2.5;

/// The step at which a forecast is made.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub spec: &'a ForecastSpec,
    pub series: &'a SeriesState,
    /// Steps from the origin to the newest step of the history.
    pub steps_back: usize,
    /// The slot that the series takes next, and steps from the origin to it.
    pub next_slot: i64,
    pub steps_to_next: usize,
}

/// Number of regressors of a linear expert: [`WITHOUT_COVARIATES`], [`WITH_FEW_COVARIATES`] or
/// [`WITH_MANY_COVARIATES`].
#[inline]
pub(super) fn regressor_count(spec: &ForecastSpec) -> usize {
    match spec.past_covariate_regressors() {
        0 => WITHOUT_COVARIATES,
        few if few <= WITH_FEW_COVARIATES - WITHOUT_COVARIATES => WITH_FEW_COVARIATES,
        _ => WITH_MANY_COVARIATES,
    }
}

impl Origin<'_> {
    /// A constant 1, the newest differences from the origin's residual, those of the level and of the running means,
    /// all in units, and the past covariates.
    #[inline]
    pub fn regressors<const R: usize>(&self, view: &HistoryView<'_>) -> [f32; R] {
        let residual = view.residual(self.steps_back);
        let mut regressors = [1.0; R];
        let (own, covariates) = regressors.split_at_mut(WITHOUT_COVARIATES);
        self.write_past_covariates(covariates);
        let (lags, averages) = own[1..].split_at_mut(LAGS);
        for (lag, regressor) in (1..).zip(&mut *lags) {
            *regressor = view.residual(self.steps_back + lag);
        }
        if let Some(seasonal) = self.seasonal_lags(view) {
            lags[LAGS - SEASONAL_LAGS..].copy_from_slice(&seasonal.map(|value| value.unwrap_or(residual)));
        }
        averages[0] = view.level();
        averages[1..].copy_from_slice(&view.averages(self.steps_back));
        for regressor in &mut own[1..] {
            *regressor = ((*regressor - residual) / view.history.unit()).clamp(-MAX_UNITS, MAX_UNITS);
        }
        regressors
    }

    fn write_past_covariates(&self, out: &mut [f32]) {
        out.fill(0.0);
        let (spec, count) = (self.spec, self.spec.past_covariate_regressors());
        if count > 0 {
            let out = &mut out[..count];
            self.series.past_covariate_regressors(self.next_slot, self.steps_to_next, spec.season.max(1), out);
        }
    }

    /// The values around one season before the origin, where the baseline is zero and there is a season; what the
    /// seasonal profile expects for those that are unknown.
    #[inline]
    fn seasonal_lags(&self, view: &HistoryView<'_>) -> Option<[Option<f32>; SEASONAL_LAGS]> {
        let Self { spec, series, steps_to_next, next_slot, .. } = *self;
        let applies = view.baseline == Baseline::Zero && spec.season >= SEASONAL_LAGS;
        let origin = next_slot.saturating_sub(i64::try_from(steps_to_next).ok()?);
        let season_before = spec.local_slots.before(origin, i64::try_from(spec.season).ok()?);
        let value = |ahead: i64| {
            let slot = season_before.saturating_add(ahead);
            let value = usize::try_from(next_slot - 1 - slot).ok().and_then(|back| series.value_back(back));
            value.map(|value| view.history.relative(value)).or_else(|| view.history.expected(spec, slot))
        };
        applies.then(|| [0, 1, 2].map(value))
    }
}

/// The factor by which an observation with these regressors is scaled before anything learns from it. One far out would
/// outweigh hundreds of others (bounded influence: Krasker and Welsch, Journal of the American Statistical Association
/// 1982).
#[inline]
pub(in crate::forecast) fn leverage_weight(regressors: &[f32]) -> f32 {
    let largest = regressors.iter().fold(0.0_f32, |largest, regressor| largest.max(regressor.abs()));
    if largest > MAX_LEVERAGE { MAX_LEVERAGE / largest } else { 1.0 }
}
