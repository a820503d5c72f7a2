//! The value one season before the target as its forecast.

use super::contract::{ForecastInput, PointForecaster};
use crate::forecast::pending_forecasts::PendingPoints;

/// Seasons that are tried, one after the other, where the value a season before the target is unknown.
const MAX_SEASONS: usize = 4;

/// Forecasts the value whole seasons before the target. Where that one is unknown: the value further seasons before,
/// else what the seasonal profile expects, else the last value.
pub(in crate::forecast) struct SeasonalNaive;

impl PointForecaster for SeasonalNaive {
    fn forecast(&self, input: &ForecastInput<'_>, outputs: &mut [f64]) {
        let (spec, series, last_value) = (input.spec, input.series, input.series.last_value());
        let Some(origin) = series.newest_slot().filter(|_| spec.season >= 2) else { return outputs.fill(0.0) };
        let path = |lead: usize| path_value(input, origin, lead).unwrap_or(f64::NAN);
        if let Some(target) = spec.target {
            outputs.fill(target.of((1..=spec.horizon).map(path)).map_or(0.0, |value| value - last_value));
            return;
        }
        let signed = |steps: usize| i64::try_from(steps).unwrap_or(i64::MAX);
        let (_, until) = spec.local_slots.ahead(origin.saturating_sub(signed(spec.season)));
        // Unless the clocks change, the newest season repeats.
        let is_regular = until > origin.saturating_add(signed(spec.horizon));
        for (season, first_lead) in outputs.chunks_mut(spec.season).zip((1..).step_by(spec.season)) {
            season.fill(f64::NAN);
            if is_regular {
                series.copy_back(spec.season - 1, season);
            }
            for (lead, output) in (first_lead..).zip(season) {
                let value = if output.is_nan() { path(lead) } else { *output };
                *output = if value.is_nan() { 0.0 } else { value - last_value };
            }
        }
    }

    fn due(&self, stored: &PendingPoints) -> f32 {
        stored.seasonal_naive
    }
}

/// The forecast of the value `lead` steps after the slot `origin`; `None` where nothing says it.
fn path_value(input: &ForecastInput<'_>, origin: i64, lead: usize) -> Option<f64> {
    let ForecastInput { spec, series, history, .. } = *input;
    let target = origin.saturating_add(i64::try_from(lead).ok()?);
    let at = |seasons: usize| {
        let slots = i64::try_from(seasons.saturating_mul(spec.season)).ok()?;
        series.value_back(usize::try_from(origin - spec.local_slots.before(target, slots)).ok()?)
    };
    let nearest = lead.div_ceil(spec.season);
    (nearest..nearest + MAX_SEASONS).find_map(at).or_else(|| Some(history.absolute(history.expected(spec, target)?)))
}
