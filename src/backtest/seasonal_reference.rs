//! The seasonal naive forecast with quantiles, as a reference.

use super::slot_values::{SlotValue, SlotValues, differences, mean_absolute_difference};

/// Newest residuals whose quantiles are taken.
const RESIDUALS: usize = 10_000;

/// The forecast for each step of a horizon from one origin.
pub(super) struct SeasonalReference {
    /// Point forecasts, `[lead]`.
    pub point: Vec<f64>,
    /// Quantiles, `[lead][level]`.
    pub quantiles: Vec<f64>,
    /// Mean absolute seasonal naive error of all values up to the origin: the unit of the MASE. `None` if it is
    /// unknown or 0.
    pub error: Option<f64>,
}

/// The seasonal naive forecast of `horizon` steps after slot `origin`: the value as many whole seasons before the
/// target as the lead needs, or as many more as it takes to find one; the last value if there is none or no season
/// (`season` is 1). Its quantiles add those of the differences between values as many seasons from each other.
///
/// `None` before the first value.
pub(super) fn seasonal_reference(
    values: &SlotValues,
    origin: i64,
    horizon: usize,
    season: usize,
    levels: &[f64],
) -> Option<SeasonalReference> {
    let known = values.until(origin);
    let (first, last) = (known.first()?, known.last()?);
    let season_steps = i64::try_from(season).unwrap_or(i64::MAX);
    let (mut points, mut quantiles) = (Vec::with_capacity(horizon), Vec::with_capacity(horizon * levels.len()));
    let mut residuals = Vec::new();
    let mut residuals_of = 0;
    for lead in 1..=horizon {
        let lag = i64::try_from(lead.div_ceil(season) * season).unwrap_or(i64::MAX);
        if residuals_of != lag {
            residuals = residual_quantiles(known, lag, levels);
            residuals_of = lag;
        }
        let newest = origin.saturating_add(i64::try_from(lead).unwrap_or(i64::MAX)).saturating_sub(lag);
        let earlier = (0..).map(|more: i64| newest.saturating_sub(more.saturating_mul(season_steps)));
        let mut earlier = earlier.take_while(|slot| *slot >= first.slot);
        let point = if season > 1 { earlier.find_map(|slot| values.get(slot)) } else { None };
        let point = point.unwrap_or(last.value);
        points.push(point);
        quantiles.extend(residuals.iter().map(|residual| point + residual));
    }
    Some(SeasonalReference { point: points, quantiles, error: naive_error(known, season_steps) })
}

/// Mean absolute difference to the value one season before, or, where there is no such pair, one step before.
fn naive_error(known: &[SlotValue], season: i64) -> Option<f64> {
    let mean = |lag| mean_absolute_difference(known, lag, 1.0);
    mean(season).or_else(|| mean(1)).filter(|error| *error > 0.0)
}

/// Quantiles of the newest differences over `lag` slots; 0 where there are none.
fn residual_quantiles(known: &[SlotValue], lag: i64, levels: &[f64]) -> Vec<f64> {
    // More values than residuals are looked at: of the oldest values of this part the values before are not in it.
    let first = known.last().map_or(0, |last| {
        let span = i64::try_from(RESIDUALS).unwrap_or(i64::MAX).saturating_add(lag);
        known.partition_point(|at| at.slot <= last.slot.saturating_sub(span))
    });
    let mut sorted: Vec<f64> = differences(&known[first..], lag).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    levels.iter().map(|level| quantile(&sorted, *level)).collect()
}

/// The quantile of ascending numbers at a level, interpolated between neighbours (type 7); 0 of none.
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let Some(most) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = level * most as f64;
    let low = (place as usize).min(most);
    let (below, above) = (sorted[low], sorted[(low + 1).min(most)]);
    below + (above - below) * (place - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let sorted = [0.0, 1.0, 3.0, 7.0, 8.0];
        assert_eq!([0.0, 0.5, 0.75, 0.875, 1.0].map(|level| quantile(&sorted, level)), [0.0, 3.0, 7.0, 7.5, 8.0]);
        assert_eq!((quantile(&[], 0.3), quantile(&[2.0], 0.3)), (0.0, 2.0));
    }
}
